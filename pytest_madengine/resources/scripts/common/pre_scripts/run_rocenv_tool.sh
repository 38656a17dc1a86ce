#!/usr/bin/env bash
# run_rocenv_tool.sh NAME [lite|full] [GUEST_OS]: collects the environment (contract 11.3).
#
# Runs in the model directory before every model, so it is pure bash, starts few processes, starts the slow ones
# at once and needs nothing of the image but bash and mkdir.  It writes, beside the model directory,
#   NAME.csv                one section per tag, lines key|value
#   .NAME/<tag>/<tag>.txt   the text a section was made from
# What the image cannot tell is left out.  Exit status 1: the output could not be written.
set -u
LC_ALL=C

main() {
    local name=${1-} mode=${2:-lite} guest_os=${3:-UBUNTU} library
    name=${name//\//_}
    if [[ -z $name || $name == . || $name == .. ]]; then
        echo "run_rocenv_tool.sh: usage: run_rocenv_tool.sh NAME [lite|full] [GUEST_OS]" >&2
        return 1
    fi
    if [[ $mode != lite && $mode != full ]]; then
        echo "warning: unknown rocenv_mode '$mode': lite is used (known: lite, full)" >&2
        mode=lite
    fi
    # The caller copies this file into the model directory; its library stays in scripts/common.
    for library in ../scripts/common/tools/rocenv "${BASH_SOURCE[0]%/*}/../tools/rocenv" ''; do
        [[ -r $library/core.sh ]] && break
    done
    if [[ -z $library ]]; then
        echo "run_rocenv_tool.sh: scripts/common/tools/rocenv is missing: nothing is collected" >&2
        return 1
    fi
    # shellcheck source=../tools/rocenv/core.sh
    source "$library/core.sh"
    # shellcheck source=../tools/rocenv/system.sh
    source "$library/system.sh"
    # shellcheck source=../tools/rocenv/gpu.sh
    source "$library/gpu.sh"
    # shellcheck source=../tools/rocenv/packages.sh
    source "$library/packages.sh"
    if [[ $mode == full ]]; then
        # shellcheck source=../tools/rocenv/full.sh
        source "$library/full.sh"
        install_full_tools "$guest_os"
    fi
    collect_environment .. "$name" "$mode"
}

main "$@"
