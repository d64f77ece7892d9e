"""Why a job failed, in one message."""

from longhaul.cluster.dashboard import Dashboard
from longhaul.cluster.jobs import Job

_NO_LONGHAUL = ("No module named 'longhaul", "No module named longhaul", "python: not found")


def last_words(dashboard: Dashboard, job: Job) -> str:
    """The last error that the job wrote, or else what Ray says of it."""
    if job.exit_status is None:
        return f"job {job.id} did not start: {' '.join(job.message.split())[:500]}"
    lines = dashboard.log(job.id).splitlines()
    if any(known in line for line in lines for known in _NO_LONGHAUL):
        return (
            f"the head of the cluster at {dashboard.address} has no longhaul in what `python` is "
            "there: put Longhaul's Python first on the PATH with which Ray is started, or submit "
            "a wheel: --wheel FILE"
        )
    errors = [line for line in lines if line.startswith("error: ")]
    if errors:
        return errors[-1].removeprefix("error: ")
    return f"job {job.id} ended with status {job.exit_status}: {(lines or ['no word'])[-1]}"
