#!/usr/bin/env bash
# trace.sh rpd|rocprof|rocm_trace_lite: prepares a tracer before the run (contract 11.2).
# A tracer that the image has is used; otherwise the version of tools/pins.sh is installed.
set -u

common=../scripts/common/tools

prepare_rpd() {
    local tracer directory=rocmProfileData/rpd_tracer package missing=()
    [[ -x $directory/runTracer.sh ]] && return 0
    if tracer=$(type -P runTracer.sh); then
        # The tool's command names a file below the model directory.
        mkdir -p -- "$directory" || return 1
        printf '#!/usr/bin/env bash\nexec %q "$@"\n' "$tracer" >"$directory/runTracer.sh" || return 1
        chmod a+rx "$directory/runTracer.sh"
        echo "rpd: the image's tracer is used: $tracer"
        return
    fi
    # shellcheck source=../tools/pins.sh
    source "$common/pins.sh" || return 1
    # shellcheck source=../tools/fetch_source.sh
    source "$common/fetch_source.sh" || return 1
    for package in git make g++ sqlite3; do
        type -P "$package" >/dev/null || missing+=("$package")
    done
    [[ -e /usr/include/sqlite3.h ]] || missing+=(libsqlite3-dev)
    [[ -e /usr/include/fmt/format.h ]] || missing+=(libfmt-dev)
    [[ -e /usr/include/nlohmann/json.hpp ]] || missing+=(nlohmann-json3-dev)
    if ((${#missing[@]} > 0)); then install_packages "${missing[@]}" || return 1; fi
    fetch_source "$RPD_REPOSITORY" "$RPD_REVISION" rocmProfileData || return 1
    make -s -C rocmProfileData && make -s -C rocmProfileData install || return 1
    chmod a+rx "$directory/runTracer.sh"
}

prepare_rocm_trace_lite() {
    if type -P rtl >/dev/null || python3 -c 'import rocm_trace_lite.cli' >/dev/null 2>&1; then
        echo "rocm_trace_lite: the image's package is used"
        return 0
    fi
    if ! type -P python3 >/dev/null; then
        echo "no python3 in the image: rocm-trace-lite cannot be installed" >&2
        return 1
    fi
    # shellcheck source=../tools/pins.sh
    source "$common/pins.sh" || return 1
    # The address of a wheel may hold a credential: it stays in the environment and is never printed.
    python3 "$common/install_wheel.py" --package rocm_trace_lite --url-variable ROCM_TRACE_LITE_WHEEL_URL \
        --repository "$RTL_REPOSITORY" --release "$RTL_RELEASE" --latest-variable ROCM_TRACE_LITE_FOLLOW_LATEST
}

case ${1-} in
    rpd) prepare_rpd ;;
    rocm_trace_lite) prepare_rocm_trace_lite ;;
    rocprof) ;;
    *)
        echo "usage: trace.sh rpd|rocprof|rocm_trace_lite" >&2
        exit 2
        ;;
esac
status=$?
((status == 0)) || echo "trace.sh: the tracer '$1' cannot be prepared (status $status)" >&2
exit "$status"
