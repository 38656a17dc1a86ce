#!/usr/bin/env bash
# gpu_info_power_start.sh: starts the sampler of gpu_info_power_profiler in the background (contract 11.5).
set -u
# shellcheck source=../tools/gpu_info.sh
source ../scripts/common/tools/gpu_info.sh || exit 1
start_sampler power
