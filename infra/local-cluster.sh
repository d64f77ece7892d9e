#!/usr/bin/env bash
# A whole cluster on this machine, without containers: a Ray head and workers that ask for a token,
# PostgreSQL, an S3 store, MLflow's server with passwords. They listen on loopback; only Ray, behind
# its token, listens on all addresses whatever it is told.
#     local-cluster.sh up [FOLDER] [--without postgres|s3|mlflow]... [--workers N] [--cpus N]
#     local-cluster.sh status [FOLDER]
#     local-cluster.sh down [FOLDER] [--purge]
# FOLDER        holds state, logs, secrets and process numbers; `. FOLDER/env` points programs at the
#               cluster  [longhaul-cluster-USER in the temporary folder]
# --without     starts that one not; without postgres MLflow keeps SQLite, without s3 a folder
# --workers     worker nodes [2], of --cpus CPUs each [1]
# --purge       removes the folder, too
# LONGHAUL_VENV the environment with longhaul, ray[default], mlflow[auth] [.venv of this repository]
set -euo pipefail
umask 077

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
fail() { echo "error: $*" >&2; exit 2; }
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2; exit 2; }

task="${1:-}"
shift || usage
folder="${TMPDIR:-/tmp}/longhaul-cluster-$(id -un)"
workers=2 cpus=1 without=" " purge=
while [ $# -gt 0 ]; do
  case "$1" in
    --without)
      case "${2:-}" in
        postgres | s3 | mlflow) without+="$2 " ;;
        *) fail "--without: expected postgres, s3 or mlflow, not '${2:-}'" ;;
      esac
      shift
      ;;
    --workers) workers="${2:?--workers needs a number}"; shift ;;
    --cpus) cpus="${2:?--cpus needs a number}"; shift ;;
    --purge) purge=yes ;;
    -*) usage ;;
    *) folder="$1" ;;
  esac
  shift
done
[[ "$folder" == /* ]] || folder="$PWD/$folder"
venv="${LONGHAUL_VENV:-$root/.venv}"
[ ! -d "$venv/bin" ] || export PATH="$venv/bin:$PATH"

with() { [[ "$without" != *" $1 "* ]]; }
random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
has() { python -c "import importlib.util as u, sys; sys.exit(u.find_spec('$1') is None)" 2> /dev/null; }
free_port() {
  python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# A process is told apart from a later one of the same number by its start.
started_at() { sed 's/.*) //' "/proc/$1/stat" 2> /dev/null | cut -d' ' -f20; }
is_alive() {
  local pid start
  [ -e "$folder/pids/$1" ] || return 1
  read -r pid start < "$folder/pids/$1"
  [ -n "$start" ] && [ "$(started_at "$pid")" = "$start" ]
}

# launch NAME COMMAND...: in a session of its own, with its log and its number in the folder.
launch() {
  local name="$1" pid
  shift
  if is_alive "$name"; then
    return
  fi
  setsid "$@" > "$folder/logs/$name.log" 2>&1 < /dev/null &
  pid=$!
  echo "$pid $(started_at "$pid")" > "$folder/pids/$name"
  echo "started $name (process $pid)"
}

# await NAME SECONDS COMMAND...: until the command succeeds.
await() {
  local name="$1" left=$(($2 * 2))
  shift 2
  until "$@" > /dev/null 2>&1; do
    if ! is_alive "$name" || [ $((left -= 1)) -le 0 ]; then
      tail -n 20 "$folder/logs/$name.log" >&2
      fail "$name did not start; its log is $folder/logs/$name.log"
    fi
    sleep 0.5
  done
}

answers() {
  python -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])), 2)' "$1"
}

check_programs() {
  command -v python > /dev/null || fail "no python on the PATH: set LONGHAUL_VENV"
  has longhaul || fail "no longhaul in $(command -v python): set LONGHAUL_VENV, or run make search"
  { has ray && has aiohttp_cors; } || fail "no Ray dashboard: pip install 'ray[default]'"
  if with postgres; then
    for one in /usr/lib/postgresql/*/bin; do [ ! -d "$one" ] || PATH="$PATH:$one"; done
    command -v initdb pg_ctl > /dev/null ||
      fail "no PostgreSQL: apt-get install postgresql, or --without postgres"
    has psycopg2 || fail "no psycopg2: pip install psycopg2-binary, or --without postgres"
  fi
  if with s3; then
    command -v moto_server > /dev/null || fail "no moto_server: pip install 'moto[server]', or --without s3"
    has boto3 || fail "no boto3: pip install boto3, or --without s3"
  fi
  if with mlflow; then
    has flask_wtf || fail "no passwords in MLflow: pip install 'mlflow[auth]', or --without mlflow"
  fi
}

# A secret, or a port, that is there stays as it is, so that a second call changes nothing.
keep() { [ -s "$folder/$1" ] || printf '%s' "$2" > "$folder/$1"; }
text() { cat "$folder/$1"; }

postgres_tool() {
  local -a as=()
  # PostgreSQL refuses to run as root.
  [ "$(id -u)" != 0 ] || as=(runuser -u postgres --)
  "${as[@]}" env -C / PATH="$PATH" "$@"
}

start_postgres() {
  local home="$folder/postgres" port
  keep secrets/postgres_password "$(random 24)"
  keep ports/postgres "$(free_port)"
  port="$(text ports/postgres)"
  if [ ! -e "$home/data/PG_VERSION" ]; then
    mkdir -p "$home"
    cp "$folder/secrets/postgres_password" "$home/password"
    [ "$(id -u)" != 0 ] || chown -R postgres "$home"
    postgres_tool initdb -D "$home/data" -U mlflow -A scram-sha-256 --pwfile="$home/password" \
      > "$folder/logs/initdb.log" 2>&1 || fail "initdb failed; its log is $folder/logs/initdb.log"
  fi
  if ! is_alive postgres; then
    postgres_tool pg_ctl -D "$home/data" -w -l "$home/log" \
      -o "-h 127.0.0.1 -p $port -k $home" start > "$folder/logs/pg_ctl.log" 2>&1 ||
      fail "PostgreSQL did not start; its log is $home/log"
    local pid
    pid="$(head -n 1 "$home/data/postmaster.pid")"
    echo "$pid $(started_at "$pid")" > "$folder/pids/postgres"
    echo "started postgres (process $pid)"
  fi
  export PGHOST=127.0.0.1 PGPORT="$port" PGUSER=mlflow PGDATABASE=mlflow
  PGPASSWORD="$(text secrets/postgres_password)" createdb mlflow 2> "$folder/logs/createdb.log" ||
    grep -q "already exists" "$folder/logs/createdb.log" || fail "$(cat "$folder/logs/createdb.log")"
}

start_s3() {
  keep secrets/s3_access_key "$(random 10)"
  keep secrets/s3_secret_key "$(random 24)"
  keep ports/s3 "$(free_port)"
  launch s3 moto_server -H 127.0.0.1 -p "$(text ports/s3)"
  AWS_ENDPOINT_URL="http://127.0.0.1:$(text ports/s3)"
  export AWS_ENDPOINT_URL AWS_DEFAULT_REGION=us-east-1
  await s3 60 answers "$(text ports/s3)"
  SECRETS="$folder/secrets" python "$root/infra/tracking/make_bucket.py" mlflow
}

start_mlflow() {
  local port
  keep secrets/mlflow_secret_key "$(random 32)"
  keep secrets/mlflow_admin_password "$(random 16)"
  keep ports/mlflow "$(free_port)"
  port="$(text ports/mlflow)"
  export MLFLOW_PORT="$port" MLFLOW_ALLOWED_HOSTS="127.0.0.1:$port,localhost:$port"
  export MLFLOW_ARTIFACTS="$folder/artifacts" SECRETS="$folder/secrets" MLFLOW_WORKERS=1
  with s3 && MLFLOW_ARTIFACTS=s3://mlflow
  with postgres || export MLFLOW_DATABASE="sqlite:///$folder/mlflow.db"
  launch mlflow "$root/infra/tracking/serve.sh" serve
  await mlflow 180 "$root/infra/tracking/serve.sh" health
}

start_ray() {
  local number
  keep secrets/ray_token "$(random 32)"
  keep ports/ray "$(free_port)"
  keep ports/dashboard "$(free_port)"
  export RAY_AUTH_TOKEN_PATH="$folder/secrets/ray_token" RAY_PORT RAY_HEAD
  unset RAY_AUTH_TOKEN RAY_ADDRESS
  RAY_PORT="$(text ports/ray)" RAY_HEAD="127.0.0.1:$(text ports/ray)"
  export LONGHAUL_STORAGE="${LONGHAUL_STORAGE:-$folder/runs}"
  if with mlflow; then
    MLFLOW_TRACKING_URI="http://127.0.0.1:$(text ports/mlflow)"
    MLFLOW_TRACKING_PASSWORD="$(text secrets/mlflow_admin_password)"
    export MLFLOW_TRACKING_URI MLFLOW_TRACKING_USERNAME=admin MLFLOW_TRACKING_PASSWORD
  fi
  export RAY_raylet_start_wait_time_s=60
  export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=1 # or the head would keep to itself, see start.sh
  # Nodes that share a folder remove each other's working directories.
  # Small object stores: trials pass numbers, and several nodes share this machine's memory.
  local small=(--object-store-memory 100000000 --num-gpus 0)
  # A head whose agent finds its usual port taken, by any other Ray of this machine, runs no jobs.
  export RAY_METRICS_PORT
  RAY_METRICS_PORT="$(free_port)"
  start_node head 1 head --temp-dir "$folder/ray" --dashboard-port "$(text ports/dashboard)" \
    --ray-client-server-port "$(free_port)" --dashboard-agent-listen-port "$(free_port)" \
    "${small[@]}"
  for number in $(seq "$workers"); do
    RAY_METRICS_PORT="$(free_port)"
    RAY_NODE_IP="127.0.0.$((number + 1))" RAY_CPUS="$cpus" \
      start_node "worker-$number" $((number + 1)) worker --temp-dir "$folder/w$number" \
      --dashboard-agent-listen-port "$(free_port)" "${small[@]}"
  done
}

# start_node NAME COUNT ROLE OPTIONS...: until so many nodes live. Ray gives the parts of a node some
# seconds to find each other, which a busy machine may not have: then once more.
start_node() {
  local name="$1" count="$2" try
  shift 2
  for try in 1 2 3; do
    launch "$name" "$root/infra/ray/start.sh" "$@"
    for _ in $(seq 60); do
      if joined "$count" 2> /dev/null; then
        return
      fi
      is_alive "$name" || break
      sleep 1
    done
    stop "$name"
    echo "$name did not start in try $try"
  done
  tail -n 20 "$folder/logs/$name.log" >&2
  fail "$name did not start; its log is $folder/logs/$name.log"
}

# Whether so many nodes live.
joined() { [ "$(nodes)" -ge "$1" ]; }

nodes() {
  python - "http://127.0.0.1:$(text ports/dashboard)/nodes?view=summary" "$folder/secrets/ray_token" << 'CODE'
import json, pathlib, sys, urllib.request

token = pathlib.Path(sys.argv[2]).read_text().strip()
request = urllib.request.Request(sys.argv[1], headers={"Authorization": f"Bearer {token}"})
told = json.load(urllib.request.urlopen(request, timeout=10))
print(sum(one["raylet"].get("state") == "ALIVE" for one in told["data"]["summary"]))
CODE
}

write_env() {
  {
    echo "export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH='$folder/secrets/ray_token'"
    echo "export LONGHAUL_CLUSTER=http://127.0.0.1:$(text ports/dashboard)"
    if with mlflow; then
      echo "export MLFLOW_TRACKING_URI=http://127.0.0.1:$(text ports/mlflow) MLFLOW_TRACKING_USERNAME=admin"
      echo "MLFLOW_TRACKING_PASSWORD=\"\$(cat '$folder/secrets/mlflow_admin_password')\""
      echo "export MLFLOW_TRACKING_PASSWORD"
    fi
  } > "$folder/env"
}

up() {
  check_programs
  # Unix sockets have short names: Ray's are 62 characters longer than this folder's.
  [ ${#folder} -le 40 ] || fail "$folder is too long a name for Ray's sockets: 40 characters at most"
  mkdir -p "$folder"/{logs,pids,ports,secrets,runs,artifacts}
  chmod 711 "$folder" # PostgreSQL's user must get through
  if with postgres; then start_postgres; fi
  if with s3; then start_s3; fi
  if with mlflow; then start_mlflow; fi
  start_ray
  write_env
  echo "the cluster is up; point programs at it with: . $folder/env"
  status
}

status() {
  local file name pid state missing=0
  [ -d "$folder/pids" ] || fail "no cluster in $folder: local-cluster.sh up $folder"
  for file in "$folder"/pids/*; do
    [ -e "$file" ] || fail "nothing was started in $folder"
    name="${file##*/}"
    read -r pid _ < "$file"
    state=running
    is_alive "$name" || { state="gone (see $folder/logs/$name.log)"; missing=1; }
    printf '%-10s process %-8s %s\n' "$name" "$pid" "$state"
  done
  echo "dashboard  http://127.0.0.1:$(text ports/dashboard)"
  [ ! -e "$folder/ports/mlflow" ] || echo "MLflow     http://127.0.0.1:$(text ports/mlflow)"
  return "$missing"
}

# stop NAME: in order, and after a while at once; then whatever is left of its session.
stop() {
  local pid left=60
  read -r pid _ < "$folder/pids/$1"
  if is_alive "$1"; then
    kill -TERM "$pid"
    while is_alive "$1" && [ $((left -= 1)) -gt 0 ]; do sleep 0.5; done
  fi
  # What it leaves is of its session, whose number is that of its first process.
  ps -o pid= -s "$pid" | xargs -r kill -KILL 2> /dev/null || true
  rm -f "$folder/pids/$1"
  echo "stopped $1"
}

down() {
  local file
  [ -d "$folder/pids" ] || { echo "no cluster in $folder"; return; }
  for file in "$folder"/pids/worker-* "$folder"/pids/{head,mlflow,s3,postgres}; do
    [ ! -e "$file" ] || stop "${file##*/}"
  done
  [ -z "$purge" ] || rm -rf "$folder"
}

case "$task" in
  up) up ;;
  status) status ;;
  down) down ;;
  *) usage ;;
esac
