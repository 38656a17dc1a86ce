# shellcheck shell=bash
# Core of the environment collector: sections, output files, background commands, redaction.
# Sourced by run_rocenv_tool.sh.  Builtins only, wherever they can do the work.

#: Whole CSV; text of the current section; its tag; directory of the text files.
rocenv_csv=
rocenv_text=
rocenv_tag=
rocenv_dir=
#: AMD, NVIDIA, INTEL or CPU.
rocenv_vendor=
#: Seconds after which a command of the image is given up.
rocenv_limit=30
#: Values of secret variables, masked wherever environment text is written.
rocenv_secrets=()

# Makes all sections.  $1 directory, $2 name, $3 lite or full.
collect_environment() {
    local parent=$1 name=$2 mode=$3 tag tags texts
    detect_vendor
    rocenv_vendor=$REPLY
    tags=(os_information cpu_information gpu_information memory_information)
    texts=()
    case $rocenv_vendor in
        AMD)
            tags+=(rocm_information rocm_smi_gpudeviceid rocm_packages_installed rocm_env_variables)
            texts=("${amd_texts[@]}")
            ;;
        NVIDIA) tags+=(cuda_information cuda_packages_installed cuda_env_variables) ;;
    esac
    tags+=(pip_list numa_balancing)
    if [[ $mode == full ]]; then
        tags+=(hardware_information bios_settings dmsg_gpu_drm_atom_logs)
        [[ $rocenv_vendor == AMD ]] && tags+=(amdgpu_modinfo)
    fi

    rocenv_dir=$parent/.$name
    local directories=()
    for tag in "${tags[@]}" ${texts[@]+"${texts[@]}"}; do directories+=("$rocenv_dir/$tag"); done
    if ! mkdir -p -- "${directories[@]}"; then
        echo "run_rocenv_tool.sh: cannot make $rocenv_dir: nothing is collected" >&2
        return 1
    fi

    read_secrets
    # A text of an earlier run in the same place must not be read as this one's.
    for tag in "${tags[@]}" ${texts[@]+"${texts[@]}"}; do
        : >"$rocenv_dir/$tag/$tag.txt" || return 1
    done
    # Slow commands run at the same time; wait without arguments waits for all of them.
    for tag in "${tags[@]}" ${texts[@]+"${texts[@]}"}; do
        if declare -F "start_$tag" >/dev/null; then "start_$tag"; fi
    done
    for tag in ${texts[@]+"${texts[@]}"}; do start_amd_text "$tag"; done
    wait

    rocenv_csv=$'sep=|\n'
    for tag in "${tags[@]}"; do
        rocenv_tag=$tag
        rocenv_text=
        rocenv_csv+="------- Section: $tag ----------"$'\n'
        "section_$tag"
        # Sections made without a command get their lines as text.
        if [[ ! -s $rocenv_dir/$tag/$tag.txt ]]; then
            printf '%s' "$rocenv_text" >"$rocenv_dir/$tag/$tag.txt" || return 1
        fi
    done
    if ! printf '%s' "$rocenv_csv" >"$parent/$name.csv"; then
        echo "run_rocenv_tool.sh: cannot write $parent/$name.csv" >&2
        return 1
    fi
    echo "environment details ($mode): $name.csv, .$name/"
}

# Adds a line as it is.  $1 line; line ends inside become blanks.
add_line() {
    local line=${1//[$'\r\n']/ }
    rocenv_csv+=$line$'\n'
    rocenv_text+=$line$'\n'
}

# Adds key|value.  $1 key, $2 value.
add() { add_line "$1|$2"; }

# Adds every "key: value" line of the file of the current section.
add_colon_lines() {
    local line key value
    have_text || return 0
    for line in "${LINES_READ[@]}"; do
        [[ $line == *:* ]] || continue
        trim "${line%%:*}"
        key=$REPLY
        trim "${line#*:}"
        value=$REPLY
        [[ -n $key ]] && add "$key" "$value"
    done
}

# Starts a command in the background; its output is the text of a tag.  $1 tag, then the command.  A missing
# command is no error.  Only stdout counts: an error text must not become a value.
start() {
    local tag=$1
    shift
    type -P "$1" >/dev/null || return 0
    if [[ -n $rocenv_timeout ]]; then set -- "$rocenv_timeout" "$rocenv_limit" "$@"; fi
    { exec "$@"; } </dev/null >"$rocenv_dir/$tag/$tag.txt" 2>/dev/null &
}
rocenv_timeout=$(type -P timeout || :)

# Lines of the text of the current section -> LINES_READ.  False when there is none.
have_text() { read_lines "$rocenv_dir/$rocenv_tag/$rocenv_tag.txt"; }

# Lines of a file -> LINES_READ.  False when it cannot be read or is empty.  $1 file.
read_lines() {
    LINES_READ=()
    [[ -r $1 ]] || return 1
    { mapfile -t LINES_READ <"$1"; } 2>/dev/null
    ((${#LINES_READ[@]} > 0))
}

# First line of a file -> REPLY, trimmed.  False when it cannot be read or is empty.  $1 file.
read_first() {
    local line=
    REPLY=
    [[ -r $1 ]] || return 1
    { IFS= read -r line <"$1"; } 2>/dev/null
    trim "$line"
    [[ -n $REPLY ]]
}

# Without blanks at both ends -> REPLY.  $1 text.
trim() {
    REPLY=${1#"${1%%[![:space:]]*}"}
    REPLY=${REPLY%"${REPLY##*[![:space:]]}"}
}

# Non-empty parts of a text -> PARTS.  Not by a here-string: old shells write that to a file, and the text may
# be a secret.  $1 text, $2 separator, one character.
split() {
    local rest=$1$2
    PARTS=()
    while [[ -n $rest ]]; do
        [[ -n ${rest%%"$2"*} ]] && PARTS+=("${rest%%"$2"*}")
        rest=${rest#*"$2"}
    done
}

# True when a variable of this name holds a secret (contract 14.2).  $1 name.
is_secret_name() {
    local name=${1,,}
    [[ $name == *mad_secrets* || $name =~ token|secret|passw|api_?key|credential|private_key ]]
}

# Values of secret variables -> rocenv_secrets; values under four characters are not searched for.
read_secrets() {
    local pair value line
    rocenv_secrets=()
    [[ -r /proc/self/environ ]] || return 0
    while IFS= read -r -d '' pair; do
        is_secret_name "${pair%%=*}" || continue
        value=${pair#*=}
        split "$value" $'\n'
        for line in ${PARTS[@]+"${PARTS[@]}"}; do
            ((${#line} >= 4)) && rocenv_secrets+=("$line")
        done
    done </proc/self/environ
}

# Text without known secrets and without passwords of URLs -> REPLY.  $1 text.
redact() {
    local rest=$1 secret match out=
    for secret in ${rocenv_secrets[@]+"${rocenv_secrets[@]}"}; do rest=${rest//"$secret"/'***'}; done
    while [[ $rest =~ ://[^/[:space:]:@]*:([^/[:space:]@]+)@ ]]; do
        match=${BASH_REMATCH[0]}
        out+="${rest%%"$match"*}${match%":${BASH_REMATCH[1]}@"}:***@"
        rest=${rest#*"$match"}
    done
    REPLY=$out$rest
}

# Adds NAME|value of every variable whose upper-case name matches.  $1 extended regular expression.
add_variables() {
    local pair name value
    [[ -r /proc/self/environ ]] || return 0
    while IFS= read -r -d '' pair; do
        name=${pair%%=*}
        [[ ${name^^} =~ $1 ]] || continue
        value=${pair#*=}
        if is_secret_name "$name"; then REPLY='***'; else redact "$value"; fi
        add "$name" "$REPLY"
    done </proc/self/environ
}
