#!/usr/bin/env bash
# gpu_info_power_stop.sh: ends the sampler of gpu_info_power_profiler, which then has written its last line.
set -u
# shellcheck source=../tools/gpu_info.sh
source ../scripts/common/tools/gpu_info.sh || exit 1
stop_sampler power
