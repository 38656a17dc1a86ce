# First process of a run.  Variables _mad_* come from the header that plan/script.py puts in front.
#
# It uses bash builtins only.  It runs phases.sh, and it ends everything when one of these happens:
#   - its stdin (the lifeline) reaches its end: the process that started the container is gone;
#   - it is told to: TERM, INT, HUP, QUIT (docker stop), or USR1 (stop the work, keep the container).
# A first process ignores every signal it has no handler for, so all of them need one.

# bash reports killed children on stderr: not part of anybody's log.
exec 3<&0 </dev/null 2>/dev/null
_mad_stop=
trap '_mad_stop=${_mad_stop:-term}' TERM INT HUP QUIT
trap '_mad_stop=${_mad_stop:-work}' USR1
trap '_mad_stop=lifeline' USR2
# A pipe nobody writes to: "read -t" on it sleeps without a sleep program.
exec {_mad_nap}<> <(:)
# Events go to the file of the beginning, whatever the workload puts in its place; a pod gives a pipe.
{ : >&9; } 2>/dev/null || exec 9>>"$_mad_control/events"

_mad_event() {
  local now=${EPOCHREALTIME:-0} up=0
  read -r up _ </proc/uptime
  printf '%s %s %s\n' "$now" "$up" "$*" >&9
}

_mad_signal() {
  # With a process namespace of our own "-1" is exactly this container; otherwise it would be the host.
  if ((_mad_all)); then kill -s "$1" -- -1; else kill -s "$1" -- "-$_mad_phases"; fi
}

# Waits until nothing but this process is left, at most $1 tenths of a second.
_mad_emptied() {
  local tenths
  for ((tenths = 0; tenths < $1; tenths++)); do
    _mad_signal 0 || return 0
    read -rt 0.1 -u "$_mad_nap"
  done
  ! _mad_signal 0
}

_mad_end_work() {
  _mad_event stopping "$_mad_stop"
  _mad_signal TERM
  if ! _mad_emptied "$1"; then
    _mad_signal KILL
    _mad_emptied 20
  fi
  _mad_event stopped "$_mad_stop"
}

# Kills of the kernel for memory in this container (control group version 2, then 1).
_mad_oom_kills() {
  local file key value path
  path=$(</proc/self/cgroup)
  for file in /sys/fs/cgroup/memory.events "/sys/fs/cgroup${path#0::}/memory.events" \
    /sys/fs/cgroup/memory/memory.oom_control; do
    [[ -r $file ]] || continue
    while read -r key value _; do
      if [[ $key == oom_kill ]]; then
        ((value > 0)) && _mad_event oom "$value"
        return
      fi
    done <"$file"
  done
}

# Runs phases.sh with an argument and waits for it, at most $1 tenths of a second.
_mad_finish() {
  local tenths
  printf '\001mad:%s:handback\n' "$_mad_nonce"
  "$BASH" -p "$_mad_control/phases.sh" finish 3<&- {_mad_nap}<&- 2>&1 &
  for ((tenths = 0; tenths < $1; tenths++)); do
    kill -0 $! || return 0
    read -rt 0.1 -u "$_mad_nap"
  done
  kill -KILL $!
}

_mad_all=0
if (($$ == 1)); then _mad_all=1; else set -m; fi

"$BASH" -p "$_mad_control/phases.sh" 3<&- {_mad_nap}<&- 2>&1 &
_mad_phases=$!
if ((!_mad_keep)); then
  (
    trap - TERM INT HUP QUIT USR1 USR2
    while IFS= read -r _; do :; done
    kill -USR2 $$
  ) <&3 >/dev/null 9>&- &
fi
exec 3<&-

_mad_code=0
while [[ -z $_mad_stop ]]; do
  wait "$_mad_phases"
  _mad_code=$?
  # A handled signal interrupts "wait": then the phases are still there.
  kill -0 "$_mad_phases" || break
done

if [[ -n $_mad_stop ]]; then
  _mad_code=143
  if [[ $_mad_stop == lifeline ]]; then _mad_end_work 20; else _mad_end_work 80; fi
fi
_mad_oom_kills
if [[ ! -e $_mad_control/finished ]]; then
  if [[ $_mad_stop == lifeline ]]; then _mad_finish 50; else _mad_finish 6000; fi
fi
_mad_event end "$_mad_code"
if ((_mad_keep)) && [[ $_mad_stop != term ]]; then
  # What the workload cannot write: nobody but this process and the host knows the nonce by now.
  printf '\001mad:%s:kept %s\n' "$_mad_nonce" "$_mad_code"
  _mad_stop=
  while [[ $_mad_stop != term ]]; do read -rt 1 -u "$_mad_nap"; done
  _mad_signal TERM
  _mad_emptied 20
fi
exit "$_mad_code"
