#!/usr/bin/env bash
# detect_therock.sh: looks for a ROCm that was built by TheRock (contract 11.2) and prints what it finds.
# Exit status 1 when there is none.
set -u

found=
seen=:

# Prints a finding.  $1 text.
report() {
    echo "TheRock: $1"
    found=1
}

# Text value of a key in a small JSON file -> REPLY; lists are joined by blanks.  $1 file, $2 key.
json_value() {
    local text
    REPLY=
    text=$(<"$1") || return 1
    if [[ $text =~ \"$2\"[[:space:]]*:[[:space:]]*\"([^\"]*)\" ]]; then
        REPLY=${BASH_REMATCH[1]}
    elif [[ $text =~ \"$2\"[[:space:]]*:[[:space:]]*\[([^]]*)\] ]]; then
        REPLY=${BASH_REMATCH[1]//[\",]/}
        # shellcheck disable=SC2086  # words of a list, joined by one blank each
        printf -v REPLY '%s ' $REPLY
        REPLY=${REPLY% }
    fi
    [[ -n $REPLY ]]
}

# Looks at one root.  $1 directory.
look_at() {
    local root=${1%/} file
    [[ -n $root && -d $root && $seen != *:"$root":* ]] || return 0
    seen+=$root:
    file=$root/share/therock/therock_manifest.json
    if [[ -r $file ]]; then
        if json_value "$file" the_rock_commit; then report "$root: commit $REPLY"; else report "$root: $file"; fi
    fi
    for file in "$root/share/therock/dist_info.json" "$root/dist_info.json"; do
        if [[ -r $file ]] && json_value "$file" dist_amdgpu_targets; then report "$root: GPU targets $REPLY"; fi
    done
    return 0
}

if type -P rocm-sdk >/dev/null; then
    report "rocm-sdk at $(type -P rocm-sdk)"
    look_at "$(rocm-sdk path --root 2>/dev/null </dev/null)"
fi
if type -P python3 >/dev/null; then
    while IFS= read -r line; do
        [[ -n $line ]] || continue
        report "Python package $line"
        look_at "${line#* }"
    done < <(python3 -c '
import importlib.util
for name in ("rocm_sdk", "_rocm_sdk_core"):
    spec = importlib.util.find_spec(name)
    if spec is not None:
        places = list(spec.submodule_search_locations or [])
        print(name, places[0] if places else spec.origin)
' 2>/dev/null)
fi
for root in "${HOME:-/root}/rocm" "${HOME:-/root}/therock" /opt/rocm /usr/local/rocm "${HOME:-/root}/.local/rocm" \
    "${ROCM_PATH-}" "${ROCM_HOME-}" "${HIP_PATH-}"; do
    look_at "$root"
done

if [[ -z $found ]]; then
    echo "detect_therock.sh: no TheRock installation found (looked for rocm-sdk, its Python packages and" \
        "share/therock in the usual ROCm roots)" >&2
    exit 1
fi
