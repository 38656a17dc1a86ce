#!/usr/bin/env bash
# gpu_info_post.sh TOOL: says whether the profiler left samples.  Its file stays in the model directory, from
# where it is collected.  No samples: a warning, not a failure (contract 11.5).
set -u

tool=${1-}
case $tool in
    gpu_info_power_profiler) file=${POWER_OUTPUT_FILE:-${tool}_output.csv} ;;
    gpu_info_vram_profiler) file=${VRAM_OUTPUT_FILE:-${tool}_output.csv} ;;
    *)
        echo "gpu_info_post.sh: usage: gpu_info_post.sh gpu_info_power_profiler|gpu_info_vram_profiler" >&2
        exit 2
        ;;
esac
if [[ -s $file ]]; then
    echo "$tool: samples in $file"
else
    echo "warning: $tool: no samples" >&2
fi
