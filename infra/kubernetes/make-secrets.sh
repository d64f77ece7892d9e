#!/usr/bin/env bash
# Prints the secrets of the Kubernetes stack, random ones, as objects to be applied:
#     S3_ACCESS_KEY=... S3_SECRET_KEY=... infra/kubernetes/make-secrets.sh | kubectl create -f -
# `create` refuses to overwrite those that are there. Nothing is written to a file.
set -euo pipefail

fail() { echo "error: $*" >&2; exit 2; }

[ -n "${S3_ACCESS_KEY:-}" ] || fail "S3_ACCESS_KEY is not set: the name of the key to MLflow's bucket"
[ -n "${S3_SECRET_KEY:-}" ] || fail "S3_SECRET_KEY is not set: the key to MLflow's bucket"

random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

encoded() { printf %s "$1" | base64 | tr -d '\n'; }

# secret NAME [KEY TEXT]...
secret() {
  printf -- '---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: longhaul}\ntype: Opaque\ndata:\n' "$1"
  shift
  while [ $# -gt 0 ]; do
    printf '  %s: %s\n' "$1" "$(encoded "$2")"
    shift 2
  done
}

secret longhaul-ray auth_token "$(random 32)"
secret longhaul-redis password "$(random 24)"
secret longhaul-mlflow \
  postgres_password "$(random 24)" \
  mlflow_secret_key "$(random 32)" \
  mlflow_admin_password "$(random 16)" \
  s3_access_key "$S3_ACCESS_KEY" \
  s3_secret_key "$S3_SECRET_KEY"
