#!/usr/bin/env bash
# gpu_info_vram_start.sh: starts the sampler of gpu_info_vram_profiler in the background (contract 11.5).
set -u
# shellcheck source=../tools/gpu_info.sh
source ../scripts/common/tools/gpu_info.sh || exit 1
start_sampler vram
