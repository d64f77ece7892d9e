#!/usr/bin/env bash
# MLflow's server with users and passwords, on PostgreSQL.
#     serve.sh serve | health
# MLFLOW_ALLOWED_HOSTS       names that browsers and clients may call it by, with ports: mlflow:5000,localhost:5000
# MLFLOW_ARTIFACTS           where artifacts go: s3://BUCKET or a folder
# PGHOST, PGUSER, PGDATABASE the database  [PGPORT: 5432]; or, for a few users on one machine,
# MLFLOW_DATABASE            another one's address: sqlite:////var/lib/mlflow.db
# SECRETS                    folder with the files below, each readable by this user alone  [/run/secrets]
#     postgres_password          of PGUSER
#     mlflow_secret_key          signs the sessions of browsers
#     mlflow_admin_password      of the first user, "admin", made when the database is empty
#     s3_access_key, s3_secret_key   where artifacts are in S3 (AWS_ENDPOINT_URL: another than Amazon's)
# MLFLOW_HOST, MLFLOW_PORT   where it listens  [127.0.0.1, 5000]
set -euo pipefail

fail() { echo "error: $*" >&2; exit 2; }

secrets="${SECRETS:-/run/secrets}"

# The text of a secret; arguments can be seen by everybody on a machine, so it goes into variables.
secret() {
  local file="$secrets/$1"
  [ -r "$file" ] || fail "$file: it is not there, or $(id -un) may not read it; $2"
  [ -s "$file" ] || fail "$file is empty; $2"
  cat "$file"
}

needed() { [ -n "${!1:-}" ] || fail "$1 is not set: $2"; }

quoted() { python -c 'import sys, urllib.parse; print(urllib.parse.quote(sys.stdin.read(), safe=""))'; }

postgres_address() {
  local password
  needed PGHOST "the host of PostgreSQL"
  needed PGUSER "the user of the database"
  needed PGDATABASE "the name of the database"
  password="$(secret postgres_password "it holds the password of the database's user" | quoted)" || exit
  echo "postgresql+psycopg2://$PGUSER:$password@$PGHOST:${PGPORT:-5432}/$PGDATABASE"
}

serve() {
  needed MLFLOW_ALLOWED_HOSTS "the names that it may be called by, such as mlflow:5000,localhost:5000"
  needed MLFLOW_ARTIFACTS "where artifacts go, s3://BUCKET or a folder"
  local config key address="${MLFLOW_DATABASE:-}"
  [ -n "$address" ] || address="$(postgres_address)"
  MLFLOW_FLASK_SERVER_SECRET_KEY="$(secret mlflow_secret_key "it holds a long random text")"
  MLFLOW_AUTH_ADMIN_PASSWORD="$(secret mlflow_admin_password "it holds 12 characters or more")"
  if [[ "$MLFLOW_ARTIFACTS" == s3://* ]]; then
    key="$(secret s3_access_key "it holds the name of the key to $MLFLOW_ARTIFACTS")"
    export AWS_ACCESS_KEY_ID="$key"
    AWS_SECRET_ACCESS_KEY="$(secret s3_secret_key "it holds the key to $MLFLOW_ARTIFACTS")"
    export AWS_SECRET_ACCESS_KEY
  fi

  umask 077
  config="$(mktemp -d)/auth.ini"
  # ConfigParser reads "%" as the beginning of a reference.
  cat > "$config" <<CONFIG
[mlflow]
default_permission = NO_PERMISSIONS
database_uri = ${address//%/%%}
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
CONFIG

  export MLFLOW_BACKEND_STORE_URI="$address" MLFLOW_AUTH_CONFIG_PATH="$config"
  export MLFLOW_FLASK_SERVER_SECRET_KEY MLFLOW_AUTH_ADMIN_PASSWORD
  export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false
  export MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true
  exec mlflow server --app-name basic-auth \
    --host "${MLFLOW_HOST:-127.0.0.1}" --port "${MLFLOW_PORT:-5000}" \
    --workers "${MLFLOW_WORKERS:-2}" \
    --allowed-hosts "$MLFLOW_ALLOWED_HOSTS" --cors-allowed-origins "http://${MLFLOW_ALLOWED_HOSTS%%,*}" \
    --x-frame-options DENY --artifacts-destination "$MLFLOW_ARTIFACTS"
}

case "${1:-}" in
  serve) serve ;;
  health)
    exec python -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=8)' \
      "http://127.0.0.1:${MLFLOW_PORT:-5000}/health"
    ;;
  *) fail "expected serve or health, not '${1:-}'" ;;
esac
