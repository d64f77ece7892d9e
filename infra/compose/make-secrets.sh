#!/usr/bin/env bash
# Makes the secrets of the compose stack: random, in files that nobody else may read.
# A secret that is there stays as it is, so that a second call changes nothing.
#     make-secrets.sh [FOLDER]     [secrets and .env beside this script]
set -euo pipefail
umask 077

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
folder="${1:-$here}"
mkdir -p "$folder/secrets"

random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

# keep FILE TEXT
keep() {
  local file="$folder/secrets/$1"
  [ -s "$file" ] && return
  printf '%s' "$2" > "$file.new" && mv "$file.new" "$file"
  echo "made $file"
}

text() { cat "$folder/secrets/$1"; }

keep ray_token "$(random 32)"
keep postgres_password "$(random 24)"
keep mlflow_secret_key "$(random 32)"
keep mlflow_admin_password "$(random 16)"
keep s3_access_key "$(random 10)"
keep s3_secret_key "$(random 24)"
keep grafana_password "$(random 16)"
keep mlflow_credentials "[mlflow]
mlflow_tracking_username = admin
mlflow_tracking_password = $(text mlflow_admin_password)
"
keep s3_config "{\"identities\": [{\"name\": \"mlflow\", \"actions\": [\"Admin\", \"Read\", \"Write\", \"List\"],
  \"credentials\": [{\"accessKey\": \"$(text s3_access_key)\", \"secretKey\": \"$(text s3_secret_key)\"}]}]}
"
# The containers run as the user who may read the files.
[ -e "$folder/.env" ] ||
  printf 'COMPOSE_PROJECT_NAME=longhaul\nLONGHAUL_USER=%s:%s\n' "$(id -u)" "$(id -g)" > "$folder/.env"
