#!/usr/bin/env bash
# Rehearses search.sbatch on a Slurm of its own: one node, in namespaces that end with this script.
#     sudo infra/slurm/rehearsal.sh      (apt-get install slurmctld slurmd slurm-client munge iproute2)
# A search of four short trials is warned in the middle, as at the end of its time, then taken away, as by
# preemption; each time Slurm starts it again, and at the end nothing is missing and nothing was done twice.
# LONGHAUL_VENV  the environment with longhaul and ray [.venv beside infra/]
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
[ "$(id -u)" = 0 ] || { echo "error: needs root, for namespaces of its own" >&2; exit 2; }
for tool in slurmctld slurmd sbatch munged ip unshare; do
  command -v "$tool" > /dev/null || { echo "error: $tool is not here: apt-get install slurmctld slurmd slurm-client munge iproute2" >&2; exit 3; }
done
export LONGHAUL_VENV="${LONGHAUL_VENV:-$here/../../.venv}"

if [ "${1:-}" != inside ]; then
  exec unshare --net --pid --fork --kill-child --mount --mount-proc --uts -- "$0" inside
fi

# --- inside: no network but its own, no process but its own
work="$(mktemp -d /var/tmp/longhaul-slurm.XXXXXX)"
export SLURM_CONF="$work/slurm.conf" LONGHAUL_STORAGE="$work/runs" MLFLOW_TRACKING_URI="sqlite:///$work/mlflow.db"
finish() {
  local status=$?
  [ "$status" = 0 ] || tail -n 40 "$work"/*.log >&2 || true
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
mkdir -p "$work"/{munge,state,spool,runs} /tmp/ray
chmod 755 "$work" "$work/munge"
mount -t tmpfs tmpfs /tmp/ray
ip link set lo up
ip link add rehearsal type veth peer name nobody
ip address add 198.18.0.1/15 dev rehearsal
ip link set nobody up
ip link set rehearsal up
hostname rehearsal
printf '127.0.0.1 localhost\n198.18.0.1 rehearsal\n' > "$work/hosts"
mount --bind "$work/hosts" /etc/hosts

(umask 077; head -c 128 /dev/urandom > "$work/munge/key")
munged --force --key-file "$work/munge/key" --socket "$work/munge/socket" --pid-file "$work/munge/pid" \
  --log-file "$work/munge/log" --seed-file "$work/munge/seed"
# cred_expire: how long Slurm waits before it starts a job again
cat > "$SLURM_CONF" <<CONF
ClusterName=rehearsal
SlurmctldHost=rehearsal(198.18.0.1)
AuthInfo=socket=$work/munge/socket,cred_expire=15
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait=20
SchedulerParameters=sched_interval=5
SlurmdParameters=config_overrides
NodeName=rehearsal NodeAddr=198.18.0.1 Sockets=$(nproc) CoresPerSocket=1 ThreadsPerCore=1 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
slurmctld -c
slurmd
options=(--output "$work/job.log" --chdir "$work" --export=ALL)
for _ in $(seq 60); do
  sinfo --noheader --format %t 2> /dev/null | grep -q idle && break
  sleep 1
done

# Slurm itself reads the options of the job.
sbatch --test-only "${options[@]}" "$here/search.sbatch" copying-quickstart
job="$(sbatch --parsable "${options[@]}" "$here/search.sbatch" copying-quickstart --name rehearsal --trials 4 \
  --parallel 1 --set cell=lstm --set training.steps=60)"

events() { "$LONGHAUL_VENV/bin/python" - "$LONGHAUL_STORAGE" <<'PYTHON'
import collections, sys
from longhaul.ledger import Ledger, UnknownSearchError
try:
    events = Ledger.open(sys.argv[1], "rehearsal").events()
except UnknownSearchError:
    events = []
ended = collections.Counter(
    one.trial for one in events if str(one.kind.value) in ("finished", "stopped", "diverged", "failed")
)
print(len(ended), max(ended.values(), default=0), sum(one.kind.value == "opened" for one in events))
PYTHON
}

# ended TRIALS: waits until so many are through
ended() {
  local count
  for _ in $(seq 300); do
    read -r count _ < <(events)
    [ "${count:-0}" -ge "$1" ] && return
    sleep 2
  done
  echo "error: no $1 trials were through in time" >&2
  return 1
}

restarts() { scontrol show job "$job" | sed -n 's/.*Restarts=\([0-9]*\).*/\1/p'; }

ended 1
echo "one trial is through: the warning that comes before the end of the time"
scancel --batch --signal=USR1 "$job"
ended 2
[ "$(restarts)" = 1 ] || { echo "error: restarted $(restarts) times, not once" >&2; exit 1; }
echo "two are through, after a restart: the job is taken away"
scontrol requeue "$job"
ended 4
for _ in $(seq 60); do
  state="$(scontrol show job "$job" | sed -n 's/.*JobState=\([A-Z]*\).*/\1/p')"
  [ "$state" = COMPLETED ] && break
  sleep 2
done
[ "$state" = COMPLETED ] || { echo "error: the job is $state" >&2; exit 1; }
[ "$(restarts)" = 2 ] || { echo "error: restarted $(restarts) times, not twice" >&2; exit 1; }
read -r trials most opened < <(events)
[ "$trials $most $opened" = "4 1 3" ] || { echo "error: $trials trials ended, one $most times, in $opened runs" >&2; exit 1; }
[ ! -e "$LONGHAUL_STORAGE/.slurm-$job" ] || { echo "error: the job's token is still there" >&2; exit 1; }
grep -q "queued again after run 0" "$work/job.log"
echo "rehearsed: 4 trials, each once, in 3 runs of one job"
