# shellcheck shell=bash
# Sources of a repository at one revision.  Sourced by pre-scripts.

# Installs packages of the distribution that a build needs; only from the image's own package sources.
# $@ Debian names.
install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    if type -P apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"
    else
        echo "warning: no apt-get in the image; the build needs: $*" >&2
    fi
}

# Checks out one revision without history.  $1 repository, $2 commit, tag or branch, $3 new directory.
# A full commit id is verified; git verifies that the content belongs to it.
fetch_source() {
    local repository=$1 revision=$2 directory=$3 head
    if [[ -z $revision || $revision == -* ]]; then
        echo "'$revision' is not a revision" >&2
        return 2
    fi
    rm -rf -- "$directory"
    git init -q -- "$directory" || return 1
    if ! GIT_TERMINAL_PROMPT=0 git -C "$directory" fetch -q --depth 1 "$repository" "$revision"; then
        echo "cannot fetch revision $revision of $repository: is the network reachable from the container?" >&2
        return 1
    fi
    git -C "$directory" -c advice.detachedHead=false checkout -q FETCH_HEAD || return 1
    head=$(git -C "$directory" rev-parse HEAD) || return 1
    if [[ $revision =~ ^[0-9a-f]{40}$ && $head != "$revision" ]]; then
        echo "got revision $head of $repository instead of $revision: refused" >&2
        return 1
    fi
    git -C "$directory" submodule -q update --init --recursive --depth 1 || return 1
    echo "$repository at $head"
}
