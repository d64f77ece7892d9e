"""For every file of infra/, changes that would break it where it is used.

Each is (what is there, what it is changed into, whether Python alone must notice: what is marked so
is noticed on a machine that has none of the programs that check).
"""

from typing import NamedTuple


class Mutation(NamedTuple):
    """One text of a file replaced by another."""

    old: str
    new: str
    quick: bool = False


MUTATIONS: dict[str, list[Mutation]] = {
    "infra/README.md": [Mutation("(compose)", "(composer)", True)],
    "infra/images/Dockerfile": [
        Mutation("RUN useradd", "RUM useradd"),
        Mutation("WORKDIR /sources", "WORKDIR sources"),
        Mutation("USER 10001:10001\nENTRYPOINT", "ENTRYPOINT", True),
        Mutation("COPY trainers trainers", "COPY trainer trainers", True),
    ],
    "infra/images/Dockerfile.dockerignore": [
        Mutation("!platform\n", "", True),
        Mutation("*\n!LICENSE", "!LICENSE", True),
    ],
    "infra/local-cluster.sh": [
        Mutation('is_alive "$1"', "is_alive $1"),
        Mutation("set -euo pipefail", "", True),
    ],
    "infra/ray/start.sh": [
        Mutation('"${RAY_PORT:-6379}" \\', "${RAY_PORT:-6379} \\"),
        Mutation("  worker)\n", "  worker\n", True),
    ],
    "infra/tracking/serve.sh": [
        Mutation("set -euo pipefail", "", True),
        Mutation('cat "$file"', "cat $file"),
    ],
    "infra/tracking/make_bucket.py": [Mutation("def main(", "def main", True)],
    "infra/compose/make-secrets.sh": [Mutation('[ -s "$file" ]', '[ -s "$file" ', False)],
    "infra/compose/compose.yaml": [
        Mutation("restart: unless-stopped", "restarts: unless-stopped"),
        Mutation("${LONGHAUL_USER:?run", "${LONGHAUL_USER:?run}${"),
        Mutation("127.0.0.1:5000:5000", "5000:5000", True),
        Mutation(
            "GF_SECURITY_ADMIN_PASSWORD__FILE: /run/secrets/grafana_password",
            "GF_SECURITY_ADMIN_PASSWORD: admin",
            True,
        ),
        Mutation("target: tracking", "target: tracker", True),
    ],
    "infra/monitoring/prometheus.yml": [
        Mutation("job_name: ray\n", "job_named: ray\n"),
        Mutation("rules.yml", "rule.yml"),
    ],
    "infra/monitoring/rules.yml": [
        Mutation("> 0.92", "> 1.92"),
        Mutation("for: 15m", "for: 15 m"),
        Mutation("ray_node_mem_used /", "ray_node_memory_used /", True),
        Mutation("ray_longhaul_ledger_silent_seconds", "ray_longhaul_silent_seconds", True),
    ],
    "infra/monitoring/rules_test.yml": [
        Mutation("values: 95x30", "values: 5x30"),
        Mutation("      - {eval_time: 30m, alertname: RayDiskFull}\n", "", True),
    ],
    "infra/monitoring/ray_metrics.py": [Mutation("def asked(", "def asked", True)],
    "infra/monitoring/ray-metrics.txt": [
        Mutation("ray_actors\n", "", True),
        Mutation("ray_tasks\n", "ray tasks\n", True),
    ],
    "infra/monitoring/grafana/dashboard.json": [
        Mutation("ray_node_cpu_utilization", "ray_node_cpu_use", True),
        Mutation("rate(ray_longhaul_training_steps_total", "rate(ray_longhaul_steps_total", True),
        Mutation("sum by (State) (ray_tasks{", "sum by (State (ray_tasks{"),
        Mutation('"uid": "longhaul-prometheus"', '"uid": "prometheus"', True),
        Mutation('"panels": [', '"panels": ', True),
    ],
    "infra/monitoring/grafana/datasource.yaml": [Mutation(":9090", ":9091", True)],
    "infra/monitoring/grafana/provisioning.yaml": [
        Mutation("/etc/grafana/dashboards", "/etc/grafana/boards", True)
    ],
    "infra/systemd/longhaul-ray-head.service": [
        Mutation("Restart=always", "Restart=allways"),
        Mutation("ray/start.sh", "ray/begin.sh"),
        Mutation("IPAddressDeny=any\n", ""),
    ],
    "infra/systemd/longhaul-ray-worker.service": [Mutation("KillMode=", "KilMode=")],
    "infra/systemd/longhaul-mlflow.service": [
        Mutation("CapabilityBoundingSet=\n", ""),
        Mutation("After=", "Afterwards="),
    ],
    "infra/systemd/longhaul-backup.service": [Mutation("Type=oneshot", "Type=once")],
    "infra/systemd/longhaul-backup.timer": [Mutation("03:10:00", "27:10:00")],
    "infra/slurm/rehearsal.sh": [
        Mutation('mount --bind "$work/hosts"', "mount --bind $work/hosts")
    ],
    "infra/slurm/search.sbatch": [
        Mutation("#SBATCH --requeue\n", "", True),
        Mutation('cat "$JOB_FOLDER/status"', "cat $JOB_FOLDER/status"),
        Mutation("export -f node driver", "export -f node driver)", True),
    ],
    "infra/ray-up/aws.yaml": [
        Mutation("max_workers: 32\nupscaling", "max_worker: 32\nupscaling"),
        Mutation("head_node_type: head\n", "head_node_type: chief\n"),
        Mutation("MarketType: spot", "MarketType: stock"),
        Mutation('"$RAY_HEAD_IP:6379"', '"$RAY_HEAD_IP:6379'),
    ],
    "infra/ray-up/gcp.yaml": [
        Mutation("preemptible: true", "preemptible: false"),
        Mutation("infra/ray-up/nfs-address\n\nrsync", "infra/ray-up/nfs\n\nrsync"),
    ],
    "infra/backup/backup.py": [Mutation("import hashlib\n", "import hashlib,\n", True)],
    "infra/backup/restore.py": [Mutation('"""Restores a backup', 'X = """Restores', True)],
    "infra/kubernetes/make-secrets.sh": [Mutation("type: Opaque", "typ: Opaque")],
    "infra/kubernetes/base/kustomization.yaml": [
        Mutation("  - network.yaml\n", "  - networks.yaml\n")
    ],
    "infra/kubernetes/base/namespace.yaml": [Mutation("kind: Namespace", "kind: Namespaces")],
    "infra/kubernetes/base/storage.yaml": [Mutation("name: backup", "name: backups")],
    "infra/kubernetes/base/redis.yaml": [
        Mutation("runAsNonRoot: true", "runAsNonRoot: false"),
        Mutation("port: 6379", 'port: "6379"'),
    ],
    "infra/kubernetes/base/raycluster.yaml": [
        Mutation("mode: token", "mode: disabled"),
        Mutation("maxReplicas: 16", "maximumReplicas: 16"),
        Mutation('num-cpus: "0"', "num-cpus: 0"),
        Mutation("image: longhaul:cpu", "images: longhaul:cpu"),
    ],
    "infra/kubernetes/base/postgres.yaml": [
        Mutation("secretName: longhaul-mlflow", "secretName: longhaul-postgres")
    ],
    "infra/kubernetes/base/mlflow.yaml": [
        Mutation("replicas: 2", "replicas: two"),
        Mutation("configMapRef: {name: mlflow}", "configMapRef: {name: mlflows}"),
    ],
    "infra/kubernetes/base/backup.yaml": [
        Mutation("schedule:", "schedules:"),
        Mutation("claimName: backup", "claimName: backups"),
    ],
    "infra/kubernetes/base/network.yaml": [
        Mutation("policyTypes: [Ingress, Egress]", "policyTypes: [Ingress]"),
        Mutation("name: postgres}", "name: postgresql}"),
    ],
    "infra/kubernetes/overlays/cpu/kustomization.yaml": [
        Mutation("workerGroupSpecs/0/maxReplicas", "workerGroupSpec/0/maxReplicas")
    ],
    "infra/kubernetes/overlays/gpu/kustomization.yaml": [
        Mutation("path: workers.yaml", "path: worker.yaml")
    ],
    "infra/kubernetes/overlays/gpu/workers.yaml": [
        Mutation("operator: Exists", "operators: Exists")
    ],
    "infra/kubernetes/overlays/spot/kustomization.yaml": [Mutation("../gpu", "../gpus")],
    "infra/kubernetes/overlays/spot/workers.yaml": [Mutation("value: 25", 'value: "25"')],
    "infra/kubernetes/search/kustomization.yaml": [Mutation("namespace: longhaul\n", "")],
    "infra/kubernetes/search/rayjob.yaml": [
        Mutation("entrypoint: longhaul search", "entrypoint: longhaul submit"),
        Mutation("submissionMode: K8sJobMode", "submissionMode: K8SJobMode"),
        Mutation("name: longhaul-ray,", "name: longhaul-token,"),
    ],
    "infra/constraints/cpu.txt": [
        Mutation("torch==", "torch>=", True),
        Mutation("boto3==", "ray==2.59.0\nboto3==", True),
    ],
    "infra/checks/tools.txt": [Mutation("yamllint==1.38.0", "yamllint", True)],
}
for _name in (
    "0001-two-source-roots",
    "0002-settings-without-pydantic",
    "0003-ledger-is-the-truth",
):
    MUTATIONS[f"infra/decisions/{_name}.md"] = [Mutation("Consequences", "Results", True)]
