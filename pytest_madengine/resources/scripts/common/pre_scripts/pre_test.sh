#!/usr/bin/env bash
# pre_test.sh [N]: shows that a pre-script of the context was run.
set -u
printf 'Pre-Script test called %s\n' "${1:-0}"
