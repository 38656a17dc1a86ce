#!/usr/bin/env bash
# post_test.sh [N]: shows that a post-script of the context was run.
set -u
printf 'Post-Script test called %s\n' "${1:-0}"
