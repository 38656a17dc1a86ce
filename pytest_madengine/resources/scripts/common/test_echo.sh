#!/usr/bin/env bash
# test_echo.sh WORD...: prints its arguments in one line, e.g. "pre_script A".
set -u
printf '%s\n' "$*"
