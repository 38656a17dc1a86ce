# shellcheck shell=bash
# Start and stop of the background sampler of the GPU profilers.  Sourced in the model directory.

# Starts the sampler; no python3 is a warning (contract 11.5: no samples are not a failure).  $1 power or vram.
start_sampler() {
    local state=.gpu_info_$1 pid tries
    rm -f -- "$state.pid" "$state.log"
    if ! type -P python3 >/dev/null; then
        echo "warning: no python3 in the image: no $1 samples" >&2
        return 0
    fi
    # Nothing of this step's input and output is kept open: the step must end here.  No interpreter start-up
    # files of the model's environment are wanted in the sampler (-E -s).
    (
        trap '' HUP
        exec python3 -E -s ../scripts/common/tools/gpu_info_sampler.py "$1"
    ) </dev/null >"$state.log" 2>&1 &
    pid=$!
    # Until it runs the sampler's program nobody could tell it from another process.
    for ((tries = 0; tries < 100; tries++)); do
        if is_sampler "$pid" || [[ ! -d /proc/$pid ]]; then break; fi
        sleep 0.01
    done
    printf '%s\n' "$pid" >"$state.pid" || return 1
}

# Ends the sampler and shows what it said.  $1 power or vram.
stop_sampler() {
    local state=.gpu_info_$1 pid='' tries
    if [[ -r $state.pid ]]; then read -r pid <"$state.pid"; fi
    if [[ $pid =~ ^[0-9]+$ ]] && is_sampler "$pid" && kill -TERM "$pid" 2>/dev/null; then
        # A vendor's command may still run; then twenty seconds are its limit.
        for ((tries = 0; tries < 250; tries++)); do
            is_sampler "$pid" || break
            sleep 0.1
        done
        if is_sampler "$pid"; then kill -KILL "$pid" 2>/dev/null; fi
    fi
    if [[ -s $state.log ]]; then cat -- "$state.log"; fi
    rm -f -- "$state.pid" "$state.log"
    return 0
}

# True while the process is a sampler: a number of a dead process may belong to another one.  $1 process id.
is_sampler() {
    local word
    [[ -r /proc/$1/cmdline ]] || return 1
    while IFS= read -r -d '' word; do
        [[ $word == */gpu_info_sampler.py ]] && return 0
    done 2>/dev/null <"/proc/$1/cmdline"
    return 1
}
