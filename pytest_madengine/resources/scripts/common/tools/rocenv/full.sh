# shellcheck shell=bash
# Sections of the environment collector that only the mode "full" has.
# shellcheck disable=SC2154  # variables of core.sh

# Installs lshw, dmidecode, modinfo and lscpu from the package sources of the image when they are missing.
# $1 guest OS.  Never an error: a missing tool only leaves its section empty.
install_full_tools() {
    local tool missing='' manager
    for tool in lshw dmidecode modinfo lscpu dmesg; do
        type -P "$tool" >/dev/null || missing=1
    done
    [[ -n $missing ]] || return 0
    case $1 in
        UBUNTU)
            type -P apt-get >/dev/null || return 0
            export DEBIAN_FRONTEND=noninteractive
            limited apt-get update -qq
            limited apt-get install -y -qq --no-install-recommends lshw dmidecode kmod util-linux
            ;;
        CENTOS)
            for manager in microdnf dnf yum; do
                type -P "$manager" >/dev/null || continue
                limited "$manager" install -y lshw dmidecode kmod util-linux
                break
            done
            ;;
    esac
    hash -r
}

# Runs an installation with a limit and without its chatter; a failure is one warning.
limited() {
    local status=0
    if [[ -n $rocenv_timeout ]]; then
        "$rocenv_timeout" 300 "$@" </dev/null >/dev/null 2>&1 || status=$?
    else
        "$@" </dev/null >/dev/null 2>&1 || status=$?
    fi
    ((status == 0)) || echo "warning: $1 ended with status $status: some sections may stay empty" >&2
}

start_hardware_information() { start hardware_information lshw -quiet; }

section_hardware_information() {
    local line key
    have_text || return 0
    for line in "${LINES_READ[@]}"; do
        [[ $line == *:* ]] || continue
        trim "${line%%:*}"
        key=$REPLY
        case $key in
            product | vendor | serial | width | size | description | capabilities | clock)
                trim "${line#*:}"
                add "$key" "$REPLY"
                ;;
        esac
    done
}

start_bios_settings() { start bios_settings dmidecode -q; }
section_bios_settings() { add_colon_lines; }

start_dmsg_gpu_drm_atom_logs() { start dmsg_gpu_drm_atom_logs dmesg; }

# The last 50 lines about the GPU driver.
section_dmsg_gpu_drm_atom_logs() {
    local line found=()
    have_text || return 0
    for line in "${LINES_READ[@]}"; do
        [[ ${line,,} =~ gpu|drm|atom ]] && found+=("$line")
    done
    ((${#found[@]} > 50)) && found=("${found[@]: -50}")
    for line in ${found[@]+"${found[@]}"}; do add Log "$line"; done
}

start_amdgpu_modinfo() { start amdgpu_modinfo modinfo amdgpu; }
section_amdgpu_modinfo() { add_colon_lines; }
