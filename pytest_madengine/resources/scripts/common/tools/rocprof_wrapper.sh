#!/usr/bin/env bash
# rocprof_wrapper.sh OPTION... -- COMMAND...: runs a command under the ROCm profiler that the image has:
#   rocprofv3 OPTION... -- COMMAND...      or      rocprof OPTION... COMMAND...
# The exit status is the workload's (both profilers pass it on).  Without "--" every argument is the command.
set -u

options=()
command=("$@")
for ((i = 1; i <= $#; i++)); do
    if [[ ${!i} == -- ]]; then
        options=("${@:1:i-1}")
        command=("${@:i+1}")
        break
    fi
done
if ((${#command[@]} == 0)); then
    echo "rocprof_wrapper.sh: no command to profile after '--'" >&2
    exit 2
fi

# The profilers below the ROCm root are often not on PATH; the workload's own PATH stays as it is.
rocm=${ROCM_PATH:-/opt/rocm}
find_profiler() { PATH=$PATH:$rocm/bin type -P "$1"; }

if profiler=$(find_profiler rocprofv3); then
    exec "$profiler" ${options[@]+"${options[@]}"} -- "${command[@]}"
fi
if profiler=$(find_profiler rocprof); then
    exec "$profiler" ${options[@]+"${options[@]}"} "${command[@]}"
fi
echo "rocprof_wrapper.sh: neither rocprofv3 nor rocprof is in the image (looked on PATH and in $rocm/bin);" \
    "use an image with the ROCm profiler or run without this tool" >&2
exit 127
