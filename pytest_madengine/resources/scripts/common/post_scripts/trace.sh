#!/usr/bin/env bash
# trace.sh rpd|rocprof|rocm_trace_lite: gathers what a tracer left in the model directory (contract 11.2).
# The gathered directory stays in the model directory, from where it is collected.  A tracer without output is
# a warning: a workload that uses no GPU has nothing to trace.
set -u
shopt -s nullglob

common=../scripts/common/tools

# Puts files or directories into a directory: as links where that works, because traces are large.
# $1 directory, then what to put there.
gather() {
    local directory=$1 entry
    shift
    for entry in "$@"; do
        # The model's own result file is not a trace.
        [[ ${entry#./} == "${MAD_OUTPUT_CSV-}" || $entry -ef $directory ]] && continue
        [[ -e $directory/${entry##*/} ]] && continue
        cp -Rl -- "$entry" "$directory/" 2>/dev/null || cp -R -- "$entry" "$directory/" || return 1
    done
}

collect_rpd() {
    if [[ ! -s trace.rpd ]]; then
        echo "warning: rpd: no trace.rpd" >&2
        return 0
    fi
    mkdir -p rpd_output && mv -f -- trace.rpd rpd_output/trace.rpd || return 1
    local converter=rocmProfileData/tools/rpd2tracing.py
    [[ -e $converter ]] || converter=$(type -P rpd2tracing.py) || converter=
    if [[ -z $converter ]] || ! python3 "$converter" rpd_output/trace.rpd rpd_output/trace.json; then
        echo "warning: rpd: trace.rpd cannot be converted to trace.json" >&2
        rm -f rpd_output/trace.json
    fi
}

collect_rocprof() {
    local output=rocprof_output database directory kind files
    mkdir -p "$output" || return 1
    gather "$output" results* rocprofv3-* ./*_trace.csv || return 1
    # Without -d rocprofv3 makes a directory with the name of the host.
    for database in */*_results.db; do
        directory=${database%/*}
        [[ $directory == "$output" ]] || gather "$output" "$directory" || return 1
    done
    for kind in agent_info domain_stats kernel_stats kernel_trace hip_api_trace counter_collection; do
        [[ -e $output/rocprofv3_output_$kind.csv ]] && continue
        files=("$output"/*_"$kind".csv "$output"/*/*_"$kind".csv "$output"/*/*/*_"$kind".csv)
        ((${#files[@]} > 0)) || continue
        join_csv "$output/rocprofv3_output_$kind.csv" "${files[@]}" || return 1
    done
    if [[ -e $output/rocprofv3_output_counter_collection.csv || -e $output/rocprofv3_output_domain_stats.csv ]] &&
        type -P python3 >/dev/null; then
        python3 "$common/instruction_histogram.py" "$output" ||
            echo "warning: rocprof: no instruction_histogram.json" >&2
    fi
    files=("$output"/*)
    ((${#files[@]} > 0)) || echo "warning: rocprof: the profiler left no output" >&2
    return 0
}

# One file out of those of several processes: the header of the first, the rows of all with the same header.
# $1 new file, then the files.
join_csv() {
    local target=$1 file first header=
    shift
    if (($# == 1)); then
        gather_as "$1" "$target"
        return
    fi
    for file in "$@"; do
        IFS= read -r first <"$file" || continue
        if [[ -z $header ]]; then
            header=$first
            cat -- "$file" >"$target" || return 1
        elif [[ $first == "$header" ]]; then
            tail -n +2 -- "$file" >>"$target" || return 1
        fi
    done
}

# Another name for a file, as a link where that works.  $1 file, $2 new name.
gather_as() { cp -l -- "$1" "$2" 2>/dev/null || cp -- "$1" "$2"; }

collect_rocm_trace_lite() {
    local directory=${RTL_WRAPPER_OUTPUT_DIR:-rocm_trace_lite_output}
    local database=${RTL_WRAPPER_TRACE_DB:-$directory/trace.db}
    if [[ -s $database ]]; then
        echo "rocm_trace_lite: trace in $database"
    else
        echo "warning: rocm_trace_lite: no $database" >&2
    fi
}

case ${1-} in
    rpd) collect_rpd ;;
    rocprof) collect_rocprof ;;
    rocm_trace_lite) collect_rocm_trace_lite ;;
    *)
        echo "usage: trace.sh rpd|rocprof|rocm_trace_lite" >&2
        exit 2
        ;;
esac
