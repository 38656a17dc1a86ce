#!/usr/bin/env bash
# gpu_info_pre.sh: says in time why a GPU profiler will have no samples.  Installs nothing, never fails.
set -u

type -P python3 >/dev/null || echo "warning: no python3 in the image: the GPU profiler will have no samples" >&2
for tool in amd-smi rocm-smi nvidia-smi xpu-smi; do
    type -P "$tool" >/dev/null && exit 0
done
for node in /dev/dri/renderD*; do
    [[ -e $node ]] && exit 0
done
echo "warning: neither amd-smi, rocm-smi, nvidia-smi, xpu-smi nor a render node is in the container:" \
    "the GPU profiler will have no samples" >&2
