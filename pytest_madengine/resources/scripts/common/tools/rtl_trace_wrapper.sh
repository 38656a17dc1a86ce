#!/usr/bin/env bash
# rtl_trace_wrapper.sh COMMAND...: runs a command under rocm-trace-lite (contract 11.2).
#   RTL_MODE                lite or default; passed as --mode when this release knows the option
#   RTL_WRAPPER_OUTPUT_DIR  directory of the trace, default rocm_trace_lite_output
#   RTL_WRAPPER_TRACE_DB    file of the trace, default <directory>/trace.db
set -u

if (($# == 0)); then
    echo "rtl_trace_wrapper.sh: no command to trace" >&2
    exit 2
fi
if command -v rtl >/dev/null; then
    tracer=(rtl)
elif python3 -c 'import rocm_trace_lite.cli' >/dev/null 2>&1; then
    tracer=(python3 -m rocm_trace_lite.cli)
else
    echo "rtl_trace_wrapper.sh: rocm-trace-lite is not installed (its pre-script is 'trace.sh rocm_trace_lite')" >&2
    exit 127
fi

directory=${RTL_WRAPPER_OUTPUT_DIR:-rocm_trace_lite_output}
database=${RTL_WRAPPER_TRACE_DB:-$directory/trace.db}
parent=.
[[ $database == */* ]] && parent=${database%/*}
mkdir -p -- "$directory" "${parent:-/}" || exit 1

mode=()
if [[ -n ${RTL_MODE-} ]]; then
    if [[ $("${tracer[@]}" trace --help 2>&1) == *--mode* ]]; then
        mode=(--mode "$RTL_MODE")
    elif [[ $RTL_MODE != default ]]; then
        echo "warning: this rocm-trace-lite has no --mode; RTL_MODE=$RTL_MODE is left to the environment" >&2
    fi
fi
exec "${tracer[@]}" trace ${mode[@]+"${mode[@]}"} -o "$database" "$@"
