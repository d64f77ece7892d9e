#!/usr/bin/env bash
# Starts one node of a Ray cluster that asks everybody for a token, in the foreground.
#     start.sh head | worker | health [further options of ray start]
# RAY_AUTH_TOKEN       the token; or
# RAY_AUTH_TOKEN_PATH  a file with it that nobody else may read
# RAY_HEAD             worker, health: HOST:PORT of the head (health: of this machine if unset)
# RAY_NODE_IP          address that the others reach this node at  [head: 127.0.0.1, where nobody else
#                      can; worker: Ray's guess]
# RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=1  lets workers of this machine join a head at 127.0.0.1, which
#                      then listens on all addresses, as Ray does wherever it forms a cluster
# RAY_CPUS, RAY_GPUS   what the node offers  [head: no CPU; worker: what is there]
# RAY_DASHBOARD_HOST   where dashboard and job server listen  [127.0.0.1]
# RAY_METRICS_PORT     where Prometheus finds the node  [8080]
set -euo pipefail

fail() { echo "error: $*" >&2; exit 2; }

# What others can read is no secret: it is whoever holds the token that may run programs here.
check_token() {
  [ -n "${RAY_AUTH_TOKEN:-}" ] && return
  local file="${RAY_AUTH_TOKEN_PATH:-}"
  [ -n "$file" ] || fail "no token: set RAY_AUTH_TOKEN_PATH to a file with one, made by" \
    "(umask 077; od -An -N32 -tx1 /dev/urandom | tr -d ' \\n' > FILE)"
  [ -r "$file" ] || fail "token file $file: it is not there, or $(id -un) may not read it"
  [ -s "$file" ] || fail "token file $file is empty"
  case "$(stat -L -c %a "$file")" in
    *00) ;;
    *) fail "token file $file can be read by others: chmod 600 $file" ;;
  esac
}

# Ray wants a number where it says who it is; a name that nobody knows stays as it is.
address() {
  local found
  found="$(getent ahostsv4 "$1" | awk 'NR == 1 { print $1 }')" || true
  echo "${found:-$1}"
}

export RAY_AUTH_MODE=token
# What a node does in the background must not reach anybody outside.
export RAY_USAGE_STATS_ENABLED=0
common=(--block --disable-usage-stats --metrics-export-port "${RAY_METRICS_PORT:-8080}")
[ -n "${RAY_GPUS:-}" ] && common+=(--num-gpus "$RAY_GPUS")

# A head at a loopback address keeps to itself, and listens there alone; Ray listens on every address
# of the machine unless it is kept from forming a cluster at all. Who asks such a head needs the same
# setting, or Ray asks at the machine's other address.
keep_to_itself() {
  case "$1" in
    127.* | localhost)
      export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="${RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER:-0}"
      ;;
  esac
}

case "${1:-}" in
  head)
    check_token
    keep_to_itself "${RAY_NODE_IP:-127.0.0.1}"
    exec ray start --head --port "${RAY_PORT:-6379}" \
      --node-ip-address "$(address "${RAY_NODE_IP:-127.0.0.1}")" \
      --dashboard-host "${RAY_DASHBOARD_HOST:-127.0.0.1}" --num-cpus "${RAY_CPUS:-0}" "${common[@]}" "${@:2}"
    ;;
  worker)
    check_token
    [ -n "${RAY_HEAD:-}" ] || fail "RAY_HEAD is not set: HOST:PORT of the head, such as ray-head:6379"
    [ -n "${RAY_NODE_IP:-}" ] && common+=(--node-ip-address "$(address "$RAY_NODE_IP")")
    [ -n "${RAY_CPUS:-}" ] && common+=(--num-cpus "$RAY_CPUS")
    exec ray start --address "$RAY_HEAD" "${common[@]}" "${@:2}"
    ;;
  health)
    head="${RAY_HEAD:-${RAY_NODE_IP:-127.0.0.1}:${RAY_PORT:-6379}}"
    keep_to_itself "${head%:*}"
    exec ray health-check --address "$head"
    ;;
  *)
    fail "expected head, worker or health, not '${1:-}'"
    ;;
esac
