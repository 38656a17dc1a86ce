# shellcheck shell=bash
# Sections of the environment collector about the operating system, processors and memory.
# shellcheck disable=SC2154  # variables of core.sh

section_os_information() {
    local line pretty=
    read_first /proc/sys/kernel/ostype || REPLY=$(uname -s 2>/dev/null)
    add Distribution "$REPLY"
    add 'Node name' "${HOSTNAME-}"
    read_first /proc/sys/kernel/osrelease || REPLY=$(uname -r 2>/dev/null)
    # The blank after the bar is part of the format (contract 11.3).
    add 'Kernel version' " $REPLY"
    if read_lines /etc/os-release || read_lines /usr/lib/os-release; then
        for line in "${LINES_READ[@]}"; do
            [[ $line == PRETTY_NAME=* ]] || continue
            pretty=${line#PRETTY_NAME=}
            pretty=${pretty//[\"\']/}
        done
    fi
    add 'OS version' "$pretty"
}

start_cpu_information() { start cpu_information lscpu; }

section_cpu_information() {
    if have_text; then add_colon_lines; else cpu_from_proc; fi
}

# The most used lines of lscpu, from the first processor of /proc/cpuinfo.
cpu_from_proc() {
    local key value count=0 cpuinfo=() online=
    add Architecture "${HOSTTYPE-}"
    read_first /sys/devices/system/cpu/online && online=$REPLY
    # Only the first processor is read: the file of a large machine has ten thousand lines.
    while IFS= read -r value && [[ -n $value ]]; do cpuinfo+=("$value"); done 2>/dev/null </proc/cpuinfo
    count_ranges "$online"
    count=$REPLY
    if ((count > 0)); then
        add 'CPU(s)' "$count"
        add 'On-line CPU(s) list' "$online"
    fi
    for value in ${cpuinfo[@]+"${cpuinfo[@]}"}; do
        trim "${value%%:*}"
        key=$REPLY
        trim "${value#*:}"
        case $key in
            vendor_id) add 'Vendor ID' "$REPLY" ;;
            'model name') add 'Model name' "$REPLY" ;;
            'cpu family') add 'CPU family' "$REPLY" ;;
            model) add Model "$REPLY" ;;
            stepping) add Stepping "$REPLY" ;;
            'cpu cores') add 'Core(s) per socket' "$REPLY" ;;
            bogomips | BogoMIPS) add BogoMIPS "$REPLY" ;;
            flags | Features) add Flags "$REPLY" ;;
        esac
    done
}

# Number of elements of a list such as 0-3,8 -> REPLY.  $1 list.
count_ranges() {
    local part count=0
    split "$1" ,
    for part in ${PARTS[@]+"${PARTS[@]}"}; do
        if [[ $part =~ ^([0-9]+)-([0-9]+)$ ]]; then
            count=$((count + 10#${BASH_REMATCH[2]} - 10#${BASH_REMATCH[1]} + 1))
        elif [[ $part =~ ^[0-9]+$ ]]; then
            count=$((count + 1))
        fi
    done
    REPLY=$count
}

start_memory_information() { start memory_information lsmem --summary=only; }

section_memory_information() {
    local line
    if have_text; then
        add_colon_lines
        return
    fi
    if read_first /sys/devices/system/memory/block_size_bytes && [[ $REPLY =~ ^[0-9A-Fa-f]+$ ]]; then
        human_size $((16#$REPLY))
        add 'Memory block size' "$REPLY"
    fi
    read_lines /proc/meminfo || return 0
    for line in "${LINES_READ[@]}"; do
        if [[ $line =~ ^MemTotal:[[:space:]]+([0-9]+) ]]; then
            human_size $((BASH_REMATCH[1] * 1024))
            add 'Total online memory' "$REPLY"
            # Without lsmem nobody tells of offline blocks.
            add 'Total offline memory' 0B
            break
        fi
    done
}

# Bytes as lsmem prints them (24G, 23.5G, 128M) -> REPLY.  $1 bytes.
human_size() {
    local bytes=$1 unit divisor=1 tenths
    for unit in B K M G T P; do
        ((bytes / divisor < 1024)) && break
        divisor=$((divisor * 1024))
    done
    tenths=$((bytes % divisor * 10 / divisor))
    REPLY=$((bytes / divisor))
    ((tenths > 0)) && REPLY+=.$tenths
    REPLY+=$unit
}

section_numa_balancing() {
    # A kernel without the file does not balance; 2 is balancing between memory tiers.
    read_first /proc/sys/kernel/numa_balancing || REPLY=0
    [[ $REPLY == 0 ]] || REPLY=1
    # The spelling is part of the format (contract 11.3).
    add 'Numa Balacing' "$REPLY"
}
