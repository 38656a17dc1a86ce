# shellcheck disable=SC2154,SC2329,SC2034  # the header sets variables; srun calls functions
set -uo pipefail

# The values above are data; only names of this script are used below.  Submit from the directory of this file:
# the manifest and the context lie there.
mad_here=${SLURM_SUBMIT_DIR:?run this with sbatch, from the directory it lies in}
mad_collected=${mad_results:-$mad_here/$mad_output}
[[ $mad_collected == /* ]] || mad_collected=$mad_here/$mad_collected
mad_collected=$mad_collected/$mad_name/$SLURM_JOB_ID
export MODEL_DIR=${MODEL_DIR:-$mad_root}
mad_command=${MADENGINE_COMMAND:-madengine-cli}

# --- what every node is told ----------------------------------------------------------------------------

mapfile -t mad_nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
if ((${#mad_nodes[@]} != mad_node_count)); then
  printf 'the job has %s nodes, %s were asked for\n' "${#mad_nodes[@]}" "$mad_node_count" >&2
  exit 1
fi
mad_hosts=$(
  IFS=,
  printf %s "${mad_nodes[*]}"
)
# Addresses in the order of the nodes, as madengine gives them to scripts: names of nodes need not be known in a
# container.  A node's own name often means 127.0.1.1 there, which no other node reaches.
mad_address() {
  local found
  while read -r found _; do
    [[ $found == 127.* || $found == ::1 ]] && continue
    printf '%s\n' "$found"
    return
  done < <(getent ahostsv4 "$1"; getent hosts "$1")
  printf '%s\n' "$1"
}
mad_addresses=
for mad_node in "${mad_nodes[@]}"; do mad_addresses+=${mad_addresses:+,}$(mad_address "$mad_node"); done
export MASTER_ADDR=${mad_nodes[0]} MASTER_PORT=$mad_port
export NNODES=$mad_node_count GPUS_PER_NODE=$mad_gpus NPROC_PER_NODE=$mad_processes
export WORLD_SIZE=$((mad_node_count * mad_processes))
export MAD_DEPLOYMENT_TYPE=slurm MAD_IN_SLURM_JOB=1 MAD_SLURM_JOB_ID=$SLURM_JOB_ID MAD_TOTAL_NODES=$mad_node_count
[[ -z $mad_launcher ]] || export MAD_LAUNCHER_TYPE=$mad_launcher
if [[ -n $mad_interface ]]; then export NCCL_SOCKET_IFNAME=$mad_interface GLOO_SOCKET_IFNAME=$mad_interface; fi
for mad_module in "${mad_modules[@]}"; do module load "$mad_module" || exit; done
export mad_here mad_collected mad_command mad_manifest mad_context mad_hosts mad_addresses mad_vendor mad_gpus mad_launcher
export mad_verbose mad_processes mad_image mad_pull

# --- on each node ---------------------------------------------------------------------------------------

# Is there an engine, and are there GPUs?
mad_check() {
  if ! docker info >/dev/null 2>&1; then
    printf 'node %s: no container engine answers\n' "$HOSTNAME" >&2
    return 1
  fi
  if ((mad_gpus > 0)); then
    case $mad_vendor in
    AMD) [[ -e /dev/kfd ]] ;;
    NVIDIA) nvidia-smi -L >/dev/null 2>&1 ;;
    INTEL) compgen -G '/dev/dri/renderD*' >/dev/null ;;
    esac || {
      printf 'node %s: no %s GPU\n' "$HOSTNAME" "$mad_vendor" >&2
      return 1
    }
  fi
  ((!mad_verbose)) || printf 'node %s: engine and GPUs are there\n' "$HOSTNAME"
}

# The visible devices as a container counts them: it has no others than those of this run.
mad_devices() {
  local list
  ((mad_gpus > 0)) || return 0
  list=$(seq -s, 0 "$((mad_gpus - 1))")
  case $mad_vendor in
  NVIDIA) export CUDA_VISIBLE_DEVICES=$list ;;
  AMD)
    export HIP_VISIBLE_DEVICES=$list
    case $mad_launcher in
    vllm | sglang*) unset ROCR_VISIBLE_DEVICES CUDA_VISIBLE_DEVICES ;;
    *) export ROCR_VISIBLE_DEVICES=$list ;;
    esac
    ;;
  esac
}

mad_json() {
  local text=${1//\\/\\\\}
  printf %s "${text//\"/\\\"}"
}

# One run of the model with madengine-cli; a signal ends it, and with it the container.
mad_task() {
  local out=$mad_collected/node_$SLURM_NODEID text child status host
  local -a gpus=()
  # Slurm knows which GPUs of the node are ours; other jobs have the others.
  if [[ ${SLURM_STEP_GPUS:-${SLURM_JOB_GPUS-}} =~ ^[0-9,-]+$ ]]; then gpus=(--gpus "${BASH_REMATCH[0]}"); fi
  export NODE_RANK=$SLURM_NODEID RANK=$SLURM_PROCID MAD_NODE_RANK=$SLURM_NODEID MAD_COLLECT_METRICS=false
  ((SLURM_NODEID)) || MAD_COLLECT_METRICS=true
  mkdir -p "$out" || return
  mad_devices
  for host in ${mad_hosts//,/ }; do printf '%s slots=%s\n' "$host" "$mad_processes"; done >"$out/hostfile"
  text=$(<"$mad_here/$mad_context") || return
  text=${text//@MAD_NODE_RANK@/$NODE_RANK}
  text=${text//@MAD_MASTER_ADDR@/$MASTER_ADDR}
  text=${text//@MAD_NODE_ADDRESSES@/$mad_addresses}
  text=${text//@MAD_OUT@/$(mad_json "$out")}
  printf '%s\n' "$text" >"$out/context.json"
  "$mad_command" run --manifest-file "$mad_here/$mad_manifest" --additional-context-file "$out/context.json" \
    --output "$out/perf.csv" --results-dir "$out/mad-results" --summary-output "$out/summary.json" \
    "${gpus[@]}" </dev/null &
  child=$!
  trap 'kill -TERM "$child" 2>/dev/null' TERM INT HUP
  wait "$child"
  status=$?
  while kill -0 "$child" 2>/dev/null; do
    wait "$child"
    status=$?
  done
  return "$status"
}

mad_pull_image() { docker pull "$mad_image" >/dev/null || printf 'node %s: cannot pull %s\n' "$HOSTNAME" "$mad_image" >&2; }

export -f mad_check mad_devices mad_json mad_task mad_pull_image

# --- the job --------------------------------------------------------------------------------------------

mkdir -p "$mad_collected" || exit
mad_everywhere=(srun --nodes="$mad_node_count" --ntasks="$mad_node_count" --ntasks-per-node=1)
if ((mad_checked)) && ! "${mad_everywhere[@]}" bash -c mad_check; then
  ((mad_check_may_fail)) || exit 1
fi
if ((mad_multi)); then
  # The launcher slurm_multi: the model's own script runs once and starts what it needs.
  export "${mad_env[@]}"
  for mad_pair in "${mad_inherited[@]}"; do
    mad_source=${mad_pair#*=}
    export "${mad_pair%%=*}=${!mad_source?a secret of this model is missing in the environment}"
  done
  [[ -z $mad_image ]] || "${mad_everywhere[@]}" bash -c mad_pull_image
  : >"$mad_collected/started"
  cd "$MODEL_DIR/$mad_script_dir" || exit
  bash -c "$mad_run_line" </dev/null &
else
  "${mad_everywhere[@]}" --kill-on-bad-exit=1 bash -c mad_task &
fi
mad_child=$!
trap 'kill -TERM "$mad_child" 2>/dev/null' TERM INT HUP
wait "$mad_child"
mad_status=$?
while kill -0 "$mad_child" 2>/dev/null; do
  wait "$mad_child"
  mad_status=$?
done
if ((mad_multi)); then
  for mad_place in "${mad_results:-$MODEL_DIR/$mad_script_dir}" "$MODEL_DIR/$mad_script_dir/slurm_output/perf_csv"; do
    [[ -d $mad_place ]] || continue
    find "$mad_place" -maxdepth 1 -name 'perf*.csv' -newer "$mad_collected/started" -exec cp {} "$mad_collected/" \;
  done
  if ((mad_status == 0)) && ! compgen -G "$mad_collected/perf*.csv" >/dev/null; then
    printf 'the job left no perf*.csv: that is a failure\n' >&2
    mad_status=1
  fi
elif [[ -e $mad_collected/node_0/summary.json ]]; then
  cp "$mad_collected/node_0/summary.json" "$mad_collected/results_summary.json"
fi
printf 'exit status %s; results in %s\n' "$mad_status" "$mad_collected"
exit "$mad_status"
