#!/usr/bin/env bash
# miopen_build_latest.sh [REVISION]: builds MIOpen from source and installs it over the image's (contract 11.2).
# REVISION is a branch, tag or commit of the MIOpen repository; without one the release of the image's ROCm
# is built, so that two runs with one image build the same sources.
set -u

common=../scripts/common/tools
rocm=${ROCM_PATH:-/opt/rocm}

build() {
    local revision=${1-} version='' jobs composable=ON
    # shellcheck source=../tools/pins.sh
    source "$common/pins.sh" || return 1
    # shellcheck source=../tools/fetch_source.sh
    source "$common/fetch_source.sh" || return 1
    if [[ -z $revision ]]; then
        if [[ -r $rocm/.info/version ]]; then read -r version <"$rocm/.info/version"; fi
        if [[ ! $version =~ ^([0-9]+\.[0-9]+\.[0-9]+) ]]; then
            echo "no ROCm version in $rocm/.info/version: give the revision of MIOpen as argument" >&2
            return 1
        fi
        revision=rocm-${BASH_REMATCH[1]}
    fi
    # Libraries come from the image's package sources: MIOpen's own dependency script fetches unpinned ones.
    if type -P apt-get >/dev/null; then
        install_packages cmake git make pkg-config libsqlite3-dev libbz2-dev nlohmann-json3-dev \
            libboost-filesystem-dev libeigen3-dev || return 1
    fi
    fetch_source "$MIOPEN_REPOSITORY" "$revision" MIOpen || return 1
    [[ -d $rocm/lib/cmake/composable_kernel ]] || composable=OFF
    jobs=$(nproc 2>/dev/null) || jobs=4
    # The parts that are off need sources that no package source has.
    cmake -S MIOpen -B MIOpen/build -DCMAKE_BUILD_TYPE=Release -DMIOPEN_BACKEND=HIP -DBUILD_TESTING=OFF \
        -DMIOPEN_USE_MLIR=OFF -DMIOPEN_USE_COMPOSABLEKERNEL="$composable" \
        -DMIOPEN_ENABLE_AI_KERNEL_TUNING=OFF -DMIOPEN_ENABLE_AI_IMMED_MODE_FALLBACK=OFF \
        -DCMAKE_PREFIX_PATH="$rocm" -DCMAKE_INSTALL_PREFIX="$rocm" -DCMAKE_CXX_COMPILER="$rocm/llvm/bin/clang++" &&
        cmake --build MIOpen/build --parallel "$jobs" &&
        cmake --install MIOpen/build
}

if ! build "$@"; then
    echo "miopen_build_latest.sh: MIOpen cannot be built" >&2
    exit 1
fi
