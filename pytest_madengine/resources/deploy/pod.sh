# The first process of a pod.  Variables _pod_* come from start.sh, which deploy/podscript.py makes.
#
# It fills the workspace from the ConfigMap, runs init.sh, which runs the phases of the plan, holds them to their
# limits, keeps log and collected files on the results volume, and ends with the exit status of the model.
# Of external programs cp, mkdir, mv and tee are used; grep, chmod, find and sha256sum may be missing.
#
# The model can write into the workspace and the results volume.  So what decides is kept where it cannot reach by
# a name: descriptors that were open before, a pipe for events, variables of this process.

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
    # In braces, so that the shell reads all of it before anything of the model can change it.
    printf '%s\n' '{' "$(<"$_pod_control/$name.head")" "$(<"$_pod_control/$name.body")" exit '}' \
      >"$_pod_control/$name.sh" || return
  done
  read -r _pod_nonce </proc/sys/kernel/random/uuid
  printf '%s\n' "$_pod_nonce" >"$_pod_control/nonce" || return
  if [[ -n $_pod_multiple_results ]]; then
    : >"$_pod_control/ask" && : >"$_pod_control/before" || return
  fi
  if [[ -d $_pod_secret_files ]]; then
    mkdir -p "$_pod_control/ssh" && cp -L "$_pod_secret_files"/* "$_pod_control/ssh/" || return
    if type -P chmod >/dev/null; then chmod 600 "$_pod_control/ssh"/*; fi
  fi
  if ((${#_pod_hostfile[@]})); then
    printf '%s\n' "${_pod_hostfile[@]}" >"$_pod_workspace/hostfile"
  fi
  return 0
}

# Copies events to the results volume, and ends the run when a phase takes longer than it may (status 3).
_pod_watch() {
  local stamp up kind text now since=0 limit=0 rank=0 new
  while :; do
    if read -rt 1 -u 9 stamp up kind text; then
      printf '%s %s %s %s\n' "$stamp" "$up" "$kind" "$text" >&"$_pod_events"
      [[ $kind == phase && $up =~ ^[0-9]+([.][0-9]+)?$ ]] || continue
      new=0
      case $text in
      prepare) new=1 now=$_pod_limit_prepare ;;
      run) new=2 now=$_pod_limit_run ;;
      collect) new=3 now=$_pod_limit_collect ;;
      handback) new=4 now=600 ;;
      esac
      # Phases begin once, in their order.
      if ((new > rank)); then rank=$new limit=$now since=${up%.*} _pod_phase=$text; fi
    fi
    read -r now _ </proc/uptime
    if ((limit > 0 && ${now%.*} - since > limit)); then
      _pod_say "Program timed out. Requested timeout=$limit (phase $_pod_phase)"
      kill -TERM "$_pod_child" 2>/dev/null
      return 3
    fi
  done
}

# What has the content of a results file already; then the script may start.
_pod_remember() {
  local line
  _pod_before=
  [[ -n $_pod_multiple_results ]] || return
  while kill -0 "$_pod_child" 2>/dev/null; do
    if [[ -e $_pod_control/ready ]]; then
      while read -r line; do
        line=${line#\\}
        _pod_before+=" ${line%% *}"
      done <"$_pod_control/before"
      : >"$_pod_control/go"
      return
    fi
    read -rt 0.05 -u "$_pod_hold"
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
      [[ -f $match || -d $match ]] || continue # a pipe has no content
      [[ -e $_pod_out/$match ]] && continue
      if [[ $match == */* ]]; then mkdir -p "$_pod_out/${match%/*}"; fi
      cp -R -- "$match" "$_pod_out/${match%/*}" || _pod_say "WARNING: cannot collect $match"
    done
  done
}

# A results file of this run, and of nobody before.
_pod_is_result() {
  local sum
  [[ -f $1 && ! -L $1 && -s $1 && ! $1 -ot $_pod_control/run-start ]] || return
  type -P sha256sum >/dev/null || return 0
  sum=$(sha256sum <"$1")
  [[ $_pod_before != *"${sum%% *}"* ]] && return
  _pod_say "$1 was there before the run and is not a result of it"
  return 1
}

# A run that reports nothing is a failure, whatever its exit status is.
_pod_reported() {
  local line running=
  [[ ${NODE_RANK:-0} == 0 && ${MAD_COLLECT_METRICS:-true} != false ]] || return 0
  if [[ -n $_pod_multiple_results ]]; then
    _pod_is_result "$_pod_workspace/$_pod_multiple_results" && return
    _pod_is_result "$_pod_model_dir/$_pod_multiple_results" && return
    _pod_say "the run left no $_pod_multiple_results"
    return 1
  fi
  type -P grep >/dev/null || return 0
  # Only what the run itself printed: between the marks of its beginning and its end.
  while IFS= read -r line; do
    case $line in
    *"mad:$_pod_nonce:run") running=1 ;;
    *"mad:$_pod_nonce:collect") break ;;
    *) [[ -z $running ]] || return 0 ;;
    esac
  done < <(
    grep -aE "mad:$_pod_nonce:(run|collect)\$|performance:[[:blank:]]*[-+.]?[0-9]|train_samples_per_second" \
      <&"$_pod_printed"
  )
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
: >"$_pod_log"
exec {_pod_printed}<"$_pod_log"
exec {_pod_tee}> >(exec tee "$_pod_log")
_pod_tee_pid=$!
exec {_pod_events}>"$_pod_out/events"
# A pipe that only the scripts of the plan and the watcher have.
exec 9<> <(:)
# init.sh ends everything when its standard input ends; this pipe never does.
exec {_pod_hold}<> <(:)
if [[ -z $_pod_stopped ]]; then
  "$BASH" -p "$_pod_control/init.sh" <&"$_pod_hold" >&"$_pod_tee" 2>&1 \
    {_pod_tee}>&- {_pod_events}>&- {_pod_printed}<&- &
  _pod_child=$!
fi
_pod_code=143
_pod_watched=0
if [[ -n $_pod_child ]]; then
  _pod_watch >&"$_pod_tee" &
  _pod_watcher=$!
  _pod_remember
  while :; do
    wait "$_pod_child"
    _pod_code=$?
    # A handled signal interrupts "wait": then the run is still there.
    kill -0 "$_pod_child" 2>/dev/null || break
  done
  kill "$_pod_watcher" 2>/dev/null
  wait "$_pod_watcher" 2>/dev/null
  _pod_watched=$?
  while IFS= read -rt 0.1 -u 9 _pod_line; do printf '%s\n' "$_pod_line" >&"$_pod_events"; done
fi
exec {_pod_tee}>&-
for ((_pod_tenths = 0; _pod_tenths < 50; _pod_tenths++)); do
  kill -0 "$_pod_tee_pid" 2>/dev/null || break
  read -rt 0.1 -u "$_pod_hold"
done

(_pod_collect_from "$_pod_workspace")
(_pod_collect_from "$_pod_model_dir")
if ((_pod_watched == 3)); then
  _pod_code=124
elif ((_pod_code == 0)) && ! _pod_reported; then
  _pod_code=65
fi
# Something else under this name would lead elsewhere, or block for ever.
if [[ -L $_pod_out/exit_status || ! -f $_pod_out/exit_status ]]; then
  mv -- "$_pod_out/exit_status" "$_pod_out/exit_status.of_the_run" 2>/dev/null
fi
printf '%s\n' "$_pod_code" >"$_pod_out/exit_status"
_pod_say "exit status $_pod_code; results in $_pod_job/${MAD_K8S_POD_NAME:-pod} of the results claim"
exit "$_pod_code"
