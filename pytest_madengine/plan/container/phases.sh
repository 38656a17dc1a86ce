# The phases of a run (contract 10.3).  Variables _mad_* come from the header that plan/script.py puts in front.
#
# Everything printed goes to one stream, so that the order of lines is kept and marker lines separate the
# phases.  Of external programs only cp is needed; git, whoami, mkdir, chmod and chown may be missing.

exec 2>&1
_mad_workspace=${_mad_control%/*}
# The first process opened the events; nothing of the model gets this descriptor.
{ : >&9; } 2>/dev/null || exec 9>>"$_mad_control/events"

_mad_event() {
  local now=${EPOCHREALTIME:-0} up=0
  read -r up _ </proc/uptime
  printf '%s %s %s\n' "$now" "$up" "$*" >&9
}

_mad_phase() {
  _mad_event phase "$1"
  _mad_mark "$1"
}

# Without its nonce a marker would be nothing but noise in the log.
_mad_mark() {
  [[ -z $_mad_nonce ]] || printf '\001mad:%s:%s\n' "$_mad_nonce" "$1"
}

_mad_warn() {
  printf 'WARNING: %s\n' "$*"
  _mad_event warning "$*"
}

_mad_has() { type -P "$1" >/dev/null; }

# Mount points strictly below a directory; the kernel writes blanks as octal escapes.
_mad_has_mounts() {
  local point
  for point in "${_mad_mounts[@]}"; do
    [[ $point == "$1"/* ]] && return 0
  done
  return 1
}

_mad_read_mounts() {
  local point
  _mad_mounts=()
  while read -r _ _ _ _ point _; do
    printf -v point '%b' "${point//\\/\\0}"
    _mad_mounts+=("$point")
  done </proc/self/mountinfo
}

_mad_is_mount() {
  local point
  for point in "${_mad_mounts[@]}"; do
    [[ $point == "$1" ]] && return 0
  done
  return 1
}

# Collects in _mad_own everything below a directory that is not a mount of something else: trees without
# mounts as a whole (_mad_trees), directories that contain mounts one by one (_mad_single).
_mad_own_files() {
  local entry
  local -a entries
  if ! _mad_has_mounts "$1"; then
    _mad_trees+=("$1")
    return
  fi
  _mad_single+=("$1")
  entries=("$1"/*)
  for entry in "${entries[@]}"; do
    if _mad_is_mount "$entry"; then
      continue
    elif [[ -d $entry && ! -L $entry ]]; then
      _mad_own_files "$entry"
    else
      _mad_single+=("$entry")
    fi
  done
}

# Applies a recursive program (chown, chmod) to our own files below a directory, never to mounted ones.
_mad_recursive() {
  local directory=$1 program=$2 setting=$3 link=$4 status=0
  _mad_trees=() _mad_single=()
  shopt -s dotglob nullglob
  _mad_own_files "$directory"
  shopt -u dotglob nullglob
  if ((${#_mad_trees[@]})); then "$program" -R $link "$setting" "${_mad_trees[@]}" || status=$?; fi
  if ((${#_mad_single[@]})); then "$program" $link "$setting" "${_mad_single[@]}" || status=$?; fi
  return "$status"
}

# Gives every file of the workspace to the user who started the run, in every case.
_mad_hand_back() {
  [[ -e $_mad_control/finished ]] && return
  _mad_phase handback
  _mad_read_mounts
  if ! _mad_has chown; then
    _mad_warn "the image has no chown: files stay owned by uid $EUID"
  elif ! _mad_recursive "$_mad_workspace" chown "$_mad_owner" -h; then
    _mad_warn "not every file of the workspace could be given to $_mad_owner"
  fi
  : >"$_mad_control/finished"
}

_mad_fail() {
  local code=$1
  shift
  printf 'ERROR: %s failed with status %s\n' "$*" "$code"
  _mad_event failed "$code" "$*"
  ((_mad_failed)) || _mad_failed=$code
}

# --- prepare ------------------------------------------------------------------------------------------

# First line of a file, in _mad_line.
_mad_first_line() {
  _mad_line=
  [[ -r $1 ]] && read -r _mad_line <"$1"
}

_mad_row() {
  [[ -n $2$3 ]] && printf '%-10s | %-36s | %s\n' "$1" "${2:--}" "${3:--}"
}

_mad_versions() {
  local key value os=
  if [[ -r /etc/os-release ]]; then
    while IFS== read -r key value; do
      [[ $key == PRETTY_NAME ]] && os=${value//[\"\']/}
    done </etc/os-release
  fi
  _mad_row version host container
  _mad_row os "$_mad_host_os" "${os:-unknown}"
  _mad_first_line /proc/sys/kernel/osrelease
  _mad_row kernel "$_mad_host_kernel" "$_mad_line"
  _mad_row bash "" "$BASH_VERSION"
  _mad_first_line "${ROCM_PATH:-/opt/rocm}/.info/version"
  _mad_row rocm "$_mad_host_rocm" "$_mad_line"
  _mad_row cuda "$_mad_host_cuda" "${CUDA_VERSION-}"
}

_mad_describe() {
  local user tool
  if _mad_has whoami; then user=$(whoami); fi
  printf 'USER: %s\n' "${user:-uid $EUID}"
  for tool in "${_mad_smi[@]}"; do
    if _mad_has "${tool%% *}"; then
      "$BASH" -c "$tool" 9>&- && break
    fi
  done
  _mad_versions
}

_mad_is_rocm() {
  [[ -e $1/share/therock/therock_manifest.json || -e $1/share/therock/dist_info.json ||
    -x $1/bin/rocminfo || (-x $1/bin/rocm-smi && -x $1/bin/amd-smi) || -e $1/.info/version ]]
}

_mad_probe_rocm() {
  local root tool
  [[ -n ${ROCM_PATH-} ]] && return
  for root in /opt/rocm /opt/rocm-* "${ROCM_HOME-}" "${HIP_PATH-}" /usr/local/rocm ~/rocm ~/therock; do
    if [[ -n $root ]] && _mad_is_rocm "$root"; then
      export ROCM_PATH=$root
      return
    fi
  done
  if _mad_has rocm-sdk && root=$(rocm-sdk path --root 2>/dev/null) && [[ -d $root ]]; then
    export ROCM_PATH=$root
    return
  fi
  for tool in rocminfo amd-smi rocm-smi; do
    if root=$(type -P "$tool") && [[ $root == */bin/* ]]; then
      export ROCM_PATH=${root%/bin/*}
      return
    fi
  done
  export ROCM_PATH=/opt/rocm
}

_mad_trust_directories() {
  local directory
  _mad_has git || return 0
  for directory in "$_mad_workspace" "$_mad_model_dir"; do
    git config --global --add safe.directory "$directory" ||
      _mad_warn "git config --global failed; git may refuse $directory"
  done
}

_mad_git() {
  LC_ALL=C GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=$_mad_askpass GIT_SSH_COMMAND=$_mad_ssh \
    MAD_CLONE_HOST=$_mad_clone_host MAD_CLONE_USERNAME=$_mad_username MAD_CLONE_PASSWORD=$_mad_password \
    git "$@" </dev/null 9>&-
}

_mad_clone() {
  local attempt status=1 askpass=$_mad_askpass
  if ! _mad_has git; then
    printf 'the image has no git\n'
    return 127
  fi
  for attempt in $_mad_attempts; do
    _mad_askpass=
    [[ $attempt == credential ]] && _mad_askpass=$askpass
    _mad_git clone -- "$_mad_url" "$_mad_model_dir" &&
      _mad_git -C "$_mad_model_dir" submodule update --init --recursive
    status=$?
    ((status == 0)) && break
    # A submodule that was refused leaves a clone behind, which would be in the way of the next attempt.
    if [[ $attempt == anonymous && -e $_mad_model_dir && $_mad_attempts == *credential ]]; then
      _mad_askpass=$askpass
      _mad_git -C "$_mad_model_dir" submodule update --init --recursive
      status=$?
      break
    fi
  done
  # The key served the clone only: nothing that runs later can read it.
  [[ -e $_mad_control/ssh/key ]] && : >"$_mad_control/ssh/key"
  _mad_username='' _mad_password=''
  ((status == 0)) || return "$status"
  status=$(git -C "$_mad_model_dir" rev-parse HEAD) && _mad_event commit "$status"
  printf 'MODEL GIT COMMIT: %s\n' "$status"
}

# A pre- or post-script: the file is copied into the model directory and run there.
_mad_script() {
  local script=$1 command=$2
  cp -f "$_mad_workspace/$script" "$_mad_model_dir/" && cd "$_mad_model_dir" && bash -c "$command" 9>&-
}

_mad_data() {
  local home=$1 command=$2 limit=$3 pid watch status
  [[ -d $home ]] || mkdir -p "$home" || return
  cd "$home" || return
  set -m # a process group of its own, so that the limit ends all of it
  bash -c "$command" </dev/null 9>&- &
  pid=$!
  (
    exec {nap}<> <(:)
    read -rt "$limit" -u "$nap"
    printf 'limit of %s seconds reached\n' "$limit"
    kill -TERM -- "-$pid"
    read -rt 5 -u "$nap"
    kill -KILL -- "-$pid"
  ) &
  watch=$!
  set +m
  wait "$pid"
  status=$?
  kill -KILL -- "-$watch" 2>/dev/null
  wait "$watch" 2>/dev/null
  return "$status"
}

_mad_copy_scripts() {
  local commit=
  _mad_has git && commit=$(git -C "$_mad_workspace/$_mad_script_dir" rev-parse HEAD 2>/dev/null)
  printf 'MODEL REPO COMMIT: %s\n' "$commit"
  # Times are kept, so that a file from the repository never looks like one written by this run.
  cp -LRp "$_mad_workspace/$_mad_script_dir/." "$_mad_model_dir/"
}

_mad_open_model_dir() {
  _mad_read_mounts
  if ! _mad_has chmod; then
    _mad_warn "the image has no chmod: the permissions of the model directory stay as they are"
  elif ! _mad_recursive "$_mad_model_dir" chmod a+rw ''; then
    _mad_warn "the permissions of some files of the model directory could not be changed"
  fi
}

# --- all ----------------------------------------------------------------------------------------------

# Runs one step in a shell of its own; its directory and variables do not reach the next one.
_mad_step() {
  local name=$1 status
  shift
  _mad_event step "$name"
  printf -- '--- %s\n' "$name"
  ("$@")
  status=$?
  ((status == 0)) || _mad_fail "$status" "$name"
  return "$status"
}

_mad_optional_step() {
  local name=$1 status
  shift
  printf -- '--- %s\n' "$name"
  ("$@")
  status=$?
  ((status == 0)) || _mad_warn "$name failed with status $status"
}

# Places that hold files of others: the image, and what is mounted.  The host itself looks at the workspace.
_mad_places() {
  local point
  _mad_read_mounts
  _mad_found_places=("$_mad_look")
  for point in "${_mad_mounts[@]}"; do
    case $point in
    / | /proc | /proc/* | /sys | /sys/* | /dev | /dev/*) continue ;;
    "$_mad_workspace" | "$_mad_workspace"/*) ((${_mad_look_inside:-0})) || continue ;;
    esac
    [[ $point == "${_mad_look%/}"/* ]] && _mad_found_places+=("$point")
  done
}

# Content hashes of files that look like results and lie outside of the workspace, before the script can touch
# them: copied, moved or renamed, with whatever time, they are no results of this run.
_mad_remember() {
  local pid tries nap name
  local -a names=()
  if ! _mad_has find || ! _mad_has sha256sum; then
    _mad_warn "the image has no find or no sha256sum: its own files cannot be told from results"
    return
  fi
  for name in "${_mad_results[@]}"; do names+=(${names:+-o} -name "$name"); done
  _mad_places
  set -m # a process group of its own, so that the limit ends all of it
  find "${_mad_found_places[@]}" -xdev -type f -size +0 -size -131073 \( "${names[@]}" \) \
    -exec sha256sum {} + >"$_mad_control/before" 2>/dev/null </dev/null 9>&- &
  pid=$!
  set +m
  exec {nap}<> <(:)
  for ((tries = 0; tries < _mad_look_limit * 50; tries++)); do
    kill -0 "$pid" 2>/dev/null || break
    read -rt 0.02 -u "$nap"
  done
  exec {nap}<&-
  if kill -KILL -- "-$pid" 2>/dev/null; then
    _mad_warn "not all files of the image and of the data were looked at in $_mad_look_limit seconds"
  fi
  wait "$pid" 2>/dev/null
}

# Lets the host look at the workspace before the script can change anything in it.
_mad_await_host() {
  local tries nap
  [[ -e $_mad_control/ask ]] || return
  _mad_remember
  : >"$_mad_control/ready"
  _mad_mark ready
  exec {nap}<> <(:)
  for ((tries = 0; tries < 1200; tries++)); do
    [[ -e $_mad_control/go ]] && break
    read -rt 0.02 -u "$nap"
  done
  exec {nap}<&-
}

_mad_run() {
  local file
  for file in "${_mad_watched[@]}"; do
    [[ -e $_mad_workspace/$file ]] && _mad_event existing "$_mad_workspace/$file"
    [[ -e $_mad_model_dir/$file ]] && _mad_event existing "$_mad_model_dir/$file"
  done
  _mad_await_host
  : >"$_mad_control/run-start"
  if ! cd "$_mad_model_dir"; then
    _mad_fail 1 "model directory"
    return
  fi
  _mad_phase run
  bash -c "$_mad_run_line" 9>&-
  _mad_code=$?
  _mad_event exit "$_mad_code"
}

if [[ ${1-} == finish ]]; then
  _mad_hand_back
  exit
fi

_mad_username=${MAD_CLONE_USERNAME-} _mad_password=${MAD_CLONE_PASSWORD-}
unset MAD_CLONE_USERNAME MAD_CLONE_PASSWORD
_mad_failed=0 _mad_code=0
_mad_phase prepare
for _mad_line in "${_mad_banner[@]}"; do printf '%s\n' "$_mad_line"; done
((_mad_probe)) && _mad_probe_rocm
_mad_describe
_mad_trust_directories
if _mad_prepare && ((!_mad_skip)); then _mad_run; fi
_mad_phase collect
if ((!_mad_failed)); then _mad_collect; fi
_mad_hand_back
_mad_event finished
((_mad_code)) && exit "$_mad_code"
exit "$_mad_failed"
