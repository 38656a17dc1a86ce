# The first process of a pod.  Variables _pod_* come from start.sh, which deploy/podscript.py makes.
#
# It fills the workspace from the ConfigMap, runs init.sh, which runs the phases of the plan, holds them to their
# limits, keeps log and collected files on the results volume, and ends with the exit status of the model.
# Of external programs cp, mkdir and tee are used; grep and chmod may be missing.

# shellcheck disable=SC2154,SC2329  # start.sh sets variables; a trap calls a function
_pod_control=$_pod_workspace/.madengine
_pod_out=$_pod_results/$_pod_job/${MAD_K8S_POD_NAME:-pod}
_pod_child=
_pod_stopped=

_pod_stop() {
  _pod_stopped=1
  [[ -z $_pod_child ]] || kill -TERM "$_pod_child" 2>/dev/null
}
trap _pod_stop TERM INT HUP QUIT

_pod_say() { printf 'madengine: %s\n' "$*"; }

_pod_prepare() {
  local name
  mkdir -p "$_pod_out" "$_pod_control" || return
  cp -RL "$_pod_source/tree/." "$_pod_workspace/" || return
  cp -RL "$_pod_source/control/." "$_pod_control/" || return
  for name in init phases; do
    printf '%s\n' "$(<"$_pod_control/$name.head")" "$(<"$_pod_control/$name.body")" >"$_pod_control/$name.sh" || return
  done
  : >"$_pod_control/events"
  if [[ -d $_pod_secret_files ]]; then
    mkdir -p "$_pod_control/ssh" && cp -L "$_pod_secret_files"/* "$_pod_control/ssh/" || return
    if type -P chmod >/dev/null; then chmod 600 "$_pod_control/ssh"/*; fi
  fi
  if ((${#_pod_hostfile[@]})); then
    printf '%s\n' "${_pod_hostfile[@]}" >"$_pod_workspace/hostfile"
  fi
  return 0
}

# The present phase and the seconds since it began, in _pod_phase and _pod_seconds.
_pod_where() {
  local up kind text now since=0
  _pod_phase=
  while read -r _ up kind text; do
    [[ $kind == phase && $up =~ ^[0-9]+([.][0-9]+)?$ ]] && _pod_phase=$text since=$up
  done <"$_pod_control/events"
  read -r now _ </proc/uptime
  _pod_seconds=$((${now%.*} - ${since%.*}))
}

# Ends the run when a phase takes longer than it may.
_pod_watch() {
  local limit
  while read -rt 1 -u "$_pod_hold" || kill -0 "$_pod_child" 2>/dev/null; do
    _pod_where
    case $_pod_phase in
    prepare) limit=$_pod_limit_prepare ;;
    run) limit=$_pod_limit_run ;;
    collect) limit=$_pod_limit_collect ;;
    *) limit=0 ;;
    esac
    if ((limit > 0 && _pod_seconds > limit)); then
      _pod_say "Program timed out. Requested timeout=$limit (phase $_pod_phase)"
      : >"$_pod_control/expired"
      kill -TERM "$_pod_child" 2>/dev/null
      return
    fi
  done
}

# Files that match a pattern; never commands: nothing but file names is expanded.
_pod_collect_from() {
  local base=$1 pattern match
  local IFS=
  cd "$base" || return 0
  shopt -s nullglob globstar
  for pattern in "${_pod_patterns[@]}"; do
    for match in $pattern; do
      if [[ $base == "$_pod_workspace" ]]; then
        [[ ${match%%/*} == scripts || ${match%%/*} == "${_pod_model_dir##*/}" ]] && continue
      fi
      [[ -e $_pod_out/$match ]] && continue
      if [[ $match == */* ]]; then mkdir -p "$_pod_out/${match%/*}"; fi
      cp -R -- "$match" "$_pod_out/${match%/*}" || _pod_say "WARNING: cannot collect $match"
    done
  done
}

# A run that reports nothing is a failure, whatever its exit status is.
_pod_reported() {
  local file
  [[ ${NODE_RANK:-0} == 0 && ${MAD_COLLECT_METRICS:-true} != false ]] || return 0
  if [[ -n $_pod_multiple_results ]]; then
    for file in "$_pod_workspace/$_pod_multiple_results" "$_pod_model_dir/$_pod_multiple_results"; do
      [[ -s $file && ! $file -ot $_pod_control/run-start ]] && return 0
    done
    _pod_say "the run left no $_pod_multiple_results"
    return 1
  fi
  type -P grep >/dev/null || return 0
  grep -Eq 'performance:[[:blank:]]*[-+.]?[0-9]|train_samples_per_second' "$_pod_log" && return 0
  _pod_say 'the run printed no "performance:" line'
  return 1
}

if ! _pod_prepare; then
  _pod_say "the workspace could not be filled"
  exit 1
fi
_pod_log=$_pod_out/$_pod_log_name.run.live.log
cd "$_pod_workspace" || exit 1

# Everything goes to the log of the pod and to the results volume.
exec {_pod_tee}> >(exec tee "$_pod_log")
_pod_tee_pid=$!
# init.sh ends everything when its standard input ends; this pipe never does.
exec {_pod_hold}<> <(:)
if [[ -z $_pod_stopped ]]; then
  "$BASH" -p "$_pod_control/init.sh" <&"$_pod_hold" >&"$_pod_tee" 2>&1 {_pod_tee}>&- &
  _pod_child=$!
fi
_pod_code=143
if [[ -n $_pod_child ]]; then
  _pod_watch >&"$_pod_tee" &
  _pod_watcher=$!
  while :; do
    wait "$_pod_child"
    _pod_code=$?
    # A handled signal interrupts "wait": then the run is still there.
    kill -0 "$_pod_child" 2>/dev/null || break
  done
  kill "$_pod_watcher" 2>/dev/null
  wait "$_pod_watcher" 2>/dev/null
fi
exec {_pod_tee}>&-
for ((_pod_tenths = 0; _pod_tenths < 50; _pod_tenths++)); do
  kill -0 "$_pod_tee_pid" 2>/dev/null || break
  read -rt 0.1 -u "$_pod_hold"
done

(_pod_collect_from "$_pod_workspace")
(_pod_collect_from "$_pod_model_dir")
cp "$_pod_control/events" "$_pod_out/events"
if [[ -e $_pod_control/expired ]]; then
  _pod_code=124
elif ((_pod_code == 0)) && ! _pod_reported; then
  _pod_code=65
fi
printf '%s\n' "$_pod_code" >"$_pod_out/exit_status"
_pod_say "exit status $_pod_code; results in $_pod_job/${MAD_K8S_POD_NAME:-pod} of the results claim"
exit "$_pod_code"
