#!/bin/bash
# Answers git's questions for user name and password, for the host of the clone only: a submodule or a
# redirection on another host never sees them.  The prompt is like: Password for 'https://user@host':
asked=${1#*"'"}
asked=${asked%"'"*}
asked=${asked#*://}
asked=${asked##*@}
[[ ${asked%%/*} == "$MAD_CLONE_HOST" ]] || exit 1
case $1 in
Username*) printf '%s\n' "$MAD_CLONE_USERNAME" ;;
*) printf '%s\n' "$MAD_CLONE_PASSWORD" ;;
esac
