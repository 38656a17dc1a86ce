# shellcheck shell=bash
# Sections of the environment collector about GPUs, ROCm and CUDA.
# shellcheck disable=SC2154,SC2034  # variables of core.sh, and variables it reads

rocm_root=${ROCM_PATH:-/opt/rocm}
#: Names of variables that belong to a GPU stack, upper case.
rocm_variables='ROCM|HIP|HSA|HCC|ROCR|ROCP|ROCBLAS|MIOPEN|TENSILE|CCL|AMD|GPU|GFX|TORCH|UCX|MPI|OMP_|LD_LIBRARY_PATH|^MAD_'
cuda_variables='CUDA|CUDNN|CUBLAS|NVIDIA|NVTE|CCL|GPU|TORCH|UCX|MPI|OMP_|LD_LIBRARY_PATH|^MAD_'
#: Tags of an AMD system with a text file only (contract 11.3).
amd_texts=(rocm_repo_setup rocm_smi ifwi_version rocm_smi_showhw rocm_smi_pcie rocm_smi_pids rocm_smi_topology
    rocm_smi_showserial rocm_smi_showperflevel rocm_smi_showrasinfo rocm_smi_showxgmierr rocm_smi_clocks
    rocm_smi_showcompute_partition rocm_smi_nodesbwi rocm_info)

# Vendor -> REPLY: what the host said, else what the container shows; CPU without a GPU.
detect_vendor() {
    # Tools of the ROCm root are often not on PATH.
    [[ -d $rocm_root/bin ]] && PATH=$PATH:$rocm_root/bin
    REPLY=${MAD_GPU_VENDOR-}
    [[ -n $REPLY ]] && return
    if [[ -e /dev/nvidiactl ]] || type -P nvidia-smi >/dev/null; then
        REPLY=NVIDIA
    elif [[ -e /dev/kfd ]] || type -P rocminfo >/dev/null || type -P rocm-smi >/dev/null; then
        REPLY=AMD
    elif type -P xpu-smi >/dev/null; then
        REPLY=INTEL
    else
        REPLY=CPU
    fi
}

start_gpu_information() {
    case $rocenv_vendor in
        AMD) start gpu_information rocminfo ;;
        NVIDIA) start gpu_information nvidia-smi -L ;;
        INTEL) start gpu_information xpu-smi discovery ;;
    esac
}

section_gpu_information() {
    GPU_COUNT=0
    case $rocenv_vendor in
        AMD)
            if have_text; then gpus_of_rocminfo; fi
            ((GPU_COUNT > 0)) || gpus_of_kfd
            ;;
        NVIDIA) if have_text; then gpus_of_nvidia_smi; fi ;;
        INTEL) if have_text; then gpus_of_xpu_smi; fi ;;
    esac
    add 'Num GPU' "$GPU_COUNT"
}

# rocminfo lists agents; each GPU agent gives four lines.  An ISA below an agent has a Name, too: the first counts.
gpus_of_rocminfo() {
    local line key is_gpu=
    local -A fact=()
    for line in "${LINES_READ[@]}" 'Agent end'; do
        if [[ $line =~ ^Agent\ ([0-9]+|end) ]]; then
            [[ -n $is_gpu ]] && add_amd_gpu "${fact[Name]-}" "${fact[Uuid]-}" "${fact[Marketing Name]-}" \
                "${fact[Vendor Name]-}"
            fact=()
            is_gpu=
            continue
        fi
        [[ $line == *:* ]] || continue
        trim "${line%%:*}"
        key=$REPLY
        trim "${line#*:}"
        case $key in
            Name | Uuid | 'Marketing Name' | 'Vendor Name') [[ -n ${fact[$key]+set} ]] || fact[$key]=$REPLY ;;
            'Device Type') [[ $REPLY == GPU ]] && is_gpu=1 ;;
        esac
    done
}

# Without rocminfo: the topology of the kernel driver, for the render nodes this container has.
gpus_of_kfd() {
    local file line name uuid
    local -A fact
    for file in /sys/devices/virtual/kfd/kfd/topology/nodes/*/properties; do
        read_lines "$file" || continue
        fact=()
        for line in "${LINES_READ[@]}"; do
            [[ $line == ?*' '* ]] && fact[${line%% *}]=${line##* }
        done
        ((${fact[simd_count]:-0} > 0)) || continue
        [[ -e /dev/dri/renderD${fact[drm_render_minor]:-0} ]] || continue
        gfx_name "${fact[gfx_target_version]:-0}"
        name=$REPLY
        printf -v uuid 'GPU-%016x' "${fact[unique_id]:-0}"
        add_amd_gpu "$name" "$uuid" '' AMD
    done
}

# Decimal MMmmss -> gfx name -> REPLY (contract 7.4).  $1 version.
gfx_name() {
    printf -v REPLY 'gfx%d%x%x' $(($1 / 10000)) $(($1 / 100 % 100)) $(($1 % 100))
}

# $1 name, $2 uuid, $3 marketing name, $4 vendor.
add_amd_gpu() {
    add Name "$1"
    add Uuid "$2"
    add 'Marketing Name' "$3"
    add 'Vendor Name' "$4"
    GPU_COUNT=$((GPU_COUNT + 1))
}

gpus_of_nvidia_smi() {
    local line
    for line in "${LINES_READ[@]}"; do
        [[ $line =~ ^GPU\ [0-9]+:\ (.*)\ \(UUID:\ ([^\)]*)\) ]] || continue
        add Name "${BASH_REMATCH[1]}"
        add Uuid "${BASH_REMATCH[2]}"
        GPU_COUNT=$((GPU_COUNT + 1))
    done
}

gpus_of_xpu_smi() {
    local line
    for line in "${LINES_READ[@]}"; do
        if [[ $line =~ Device\ Name:\ ([^|]*) ]]; then
            trim "${BASH_REMATCH[1]}"
            add Name "$REPLY"
            GPU_COUNT=$((GPU_COUNT + 1))
        elif [[ $line =~ (^|[^A-Za-z])UUID:\ ([^|]*) ]]; then
            trim "${BASH_REMATCH[2]}"
            add Uuid "$REPLY"
        fi
    done
}

section_rocm_information() {
    read_first "$rocm_root/.info/version" || read_first /opt/rocm/.info/version || return 0
    add 'ROCm version' "$REPLY"
}

start_rocm_smi_gpudeviceid() { start rocm_smi_gpudeviceid rocm-smi -i; }

section_rocm_smi_gpudeviceid() {
    local line file found=
    if have_text; then
        for line in "${LINES_READ[@]}"; do
            [[ $line =~ (Device|GPU)\ ID:?[[:space:]]*:?[[:space:]]*(0x[0-9A-Fa-f]+) ]] || continue
            add 'GPU Device ID' "${BASH_REMATCH[2]}"
            found=1
        done
    fi
    [[ -n $found ]] && return
    for file in /sys/class/drm/renderD*/device/vendor; do
        read_first "$file" || continue
        [[ $REPLY == 0x1002 ]] || continue
        [[ $file =~ /(renderD[0-9]+)/ && -e /dev/dri/${BASH_REMATCH[1]} ]] || continue
        read_first "${file%/vendor}/device" && add 'GPU Device ID' "$REPLY"
    done
}

section_rocm_env_variables() { add_variables "$rocm_variables"; }

start_cuda_information() {
    if type -P nvcc >/dev/null; then
        start cuda_information nvcc --version
    else
        start cuda_information nvidia-smi
    fi
}

section_cuda_information() {
    local line
    have_text || return 0
    for line in "${LINES_READ[@]}"; do
        if [[ $line =~ release\ ([0-9][0-9.]*) || $line =~ CUDA\ Version:\ *([0-9][0-9.]*) ]]; then
            add 'CUDA Version' "${BASH_REMATCH[1]}"
            return
        fi
    done
}

section_cuda_env_variables() { add_variables "$cuda_variables"; }

# Starts the command of a tag that has a text file only.  rocm-smi where it exists, else amd-smi.  $1 tag.
start_amd_text() {
    local old new
    case $1 in
        rocm_repo_setup)
            repository_setup
            return
            ;;
        rocm_info)
            start "$1" rocminfo
            return
            ;;
        rocm_smi) old='' new='' ;;
        ifwi_version) old=--showvbios new='static --vbios' ;;
        rocm_smi_showhw) old=--showhw new='static --asic' ;;
        rocm_smi_pcie) old=--showbus new='static --bus' ;;
        rocm_smi_pids) old=--showpids new=process ;;
        rocm_smi_topology) old=--showtopo new=topology ;;
        rocm_smi_showserial) old=--showserial new='static --board' ;;
        rocm_smi_showperflevel) old=--showperflevel new='metric --perf-level' ;;
        rocm_smi_showrasinfo) old='--showrasinfo all' new='static --ras' ;;
        rocm_smi_showxgmierr) old=--showxgmierr new='metric --xgmi-err' ;;
        rocm_smi_clocks) old=--showclocks new='metric --clock' ;;
        rocm_smi_showcompute_partition) old=--showcomputepartition new='static --partition' ;;
        rocm_smi_nodesbwi) old=--shownodesbw new=xgmi ;;
    esac
    # shellcheck disable=SC2086  # option lists of this very function
    if type -P rocm-smi >/dev/null; then
        start "$1" rocm-smi $old
    else
        start "$1" amd-smi $new
    fi
}

# Package sources of ROCm; a source may hold a password in its URL.
repository_setup() {
    local file line text=
    for file in /etc/apt/sources.list.d/{rocm,amdgpu,radeon}*.{list,sources} /etc/yum.repos.d/{rocm,amdgpu}*.repo; do
        read_lines "$file" || continue
        text+="# $file"$'\n'
        for line in "${LINES_READ[@]}"; do
            redact "$line"
            text+=$REPLY$'\n'
        done
    done
    printf '%s' "$text" >"$rocenv_dir/rocm_repo_setup/rocm_repo_setup.txt"
}
