set -euo pipefail

# runtime_secret NAME KEY=VARIABLE... @KEY=VARIABLE_WITH_A_PATH...
runtime_secret() {
  local name=$1 word key variable fd
  local -a arguments=() open=()
  shift
  for word in "$@"; do
    key=${word%%=*} variable=${word#*=}
    if [[ -z ${!variable+set} ]]; then
      printf 'the variable %s is not set: Secret %s needs it for %s\n' "$variable" "$name" "${key#@}" >&2
      exit 1
    fi
    if [[ $key == @* ]]; then
      arguments+=("--from-file=${key#@}=${!variable}")
    else
      exec {fd}< <(printf %s "${!variable}")
      open+=("$fd")
      arguments+=("--from-file=$key=/dev/fd/$fd")
    fi
  done
  apply generic "$name" "${arguments[@]}"
  for fd in "${open[@]}"; do exec {fd}<&-; done
}

# registry_secret NAME SERVER; without a login the image is pulled anonymously.
registry_secret() {
  local name=$1 server=$2 login fd
  if [[ -z ${MAD_REGISTRY_USERNAME-} || -z ${MAD_REGISTRY_PASSWORD-} ]]; then
    printf 'MAD_REGISTRY_USERNAME and MAD_REGISTRY_PASSWORD are not set: no Secret %s\n' "$name" >&2
    return
  fi
  login=$(printf '%s:%s' "$MAD_REGISTRY_USERNAME" "$MAD_REGISTRY_PASSWORD" | base64 | tr -d '\n')
  exec {fd}< <(printf '{"auths":{"%s":{"auth":"%s"}}}' "$server" "$login")
  apply generic "$name" --type=kubernetes.io/dockerconfigjson "--from-file=.dockerconfigjson=/dev/fd/$fd"
  exec {fd}<&-
}

# Makes the Secret, or replaces its values.
apply() {
  local kind=$1 name=$2
  shift 2
  kubectl create secret "$kind" "$name" --namespace "$namespace" "$@" --dry-run=client --output yaml |
    kubectl apply --server-side --filename - # no copy of the values in an annotation
}

