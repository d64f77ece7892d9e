"""What commands with ``--cluster`` do, through the cluster's dashboard."""

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from longhaul.cli.output import emit, say, warn
from longhaul.errors import LonghaulError, RequestError

if TYPE_CHECKING:
    from longhaul.cluster.dashboard import Dashboard
    from longhaul.cluster.jobs import Job
    from longhaul.cluster.submission import Submitted, Wishes
    from longhaul.spec.search_spec import SearchSpec

TIMES = ("started", "ended", "last_change")


def needed(cluster: str | None) -> str:
    """The address of the cluster.

    Raises:
        RequestError: none was given.
    """
    if cluster is None:
        raise RequestError(
            "which cluster? name its dashboard: --cluster http://HEAD:8265, or LONGHAUL_CLUSTER"
        )
    return cluster


def wishes(
    storage: str | None, tracking: str | None, wheel: str | None, packages: tuple[str, ...]
) -> "Wishes":
    """What was given on the command line beside the space."""
    from longhaul.cluster.package import check_wheels
    from longhaul.cluster.submission import Wishes

    return Wishes(storage, tracking, tuple(check_wheels(wheel, packages)))


def submit_there(
    cluster: str, spec: "SearchSpec", wanted: "Wishes", wait: bool, as_json: bool
) -> None:
    """Submits a search, and waits for the cluster's word unless told not to."""
    from longhaul.cluster.submission import submit_search

    dashboard = _reached(cluster)
    _told(dashboard, submit_search(dashboard, spec, wanted), wait, as_json)


def resume_there(
    cluster: str,
    name: str,
    overrides: dict[str, int | None],
    wanted: "Wishes",
    as_json: bool,
) -> None:
    """Has the cluster go on with a search."""
    from longhaul.cluster.submission import resume_search

    dashboard = _reached(cluster)
    _told(dashboard, resume_search(dashboard, name, overrides, wanted), True, as_json)


def stop_there(cluster: str, name: str) -> dict[str, Any]:
    """Ends a search on a cluster in order.

    Raises:
        RequestError: it does not run there.
    """
    from longhaul.cluster.dashboard import STOP_S, Dashboard

    dashboard = Dashboard(cluster)
    job = job_of(dashboard, name)
    if job.ended:
        raise RequestError(f"search {name!r} does not run: job {job.id} is {job.status.lower()}")
    say(f"asked job {job.id} to end; its trials go on to their next report")
    dashboard.stop(job.id)
    deadline = time.monotonic() + STOP_S + 60
    while not job.ended:
        if time.monotonic() > deadline:
            raise LonghaulError(f"job {job.id} does not end: {job.message}")
        time.sleep(0.5)
        job = dashboard.job(job.id)
    resume = f"longhaul resume {name} --cluster {dashboard.address}"
    return {"name": name, "state": "stopped", "job": job.as_dict(), "resume": resume}


def status_there(cluster: str, name: str, storage: str | None) -> dict[str, Any]:
    """``longhaul status`` as the head of a cluster sees it, with the job that runs the search.

    Where the search has not begun, the job alone, and why.
    """
    from longhaul.cluster.dashboard import Dashboard
    from longhaul.cluster.failure import last_words
    from longhaul.cluster.jobs import current, of_search
    from longhaul.cluster.question import ask

    dashboard = Dashboard(cluster)
    job = current(of_search(dashboard.jobs(), name))
    if job is not None and (job.status == "PENDING" or job.refused):
        state = "refused" if job.refused else "submitted"
        reason = last_words(dashboard, job) if job.refused else job.message
        return {"name": name, "state": state, "reason": reason, "job": job.as_dict()}
    told = ask(dashboard, ["status", name, *_storage(storage)], about=job)
    return _with_times(told) | ({} if job is None else {"job": job.as_dict()})


def list_there(cluster: str, storage: str | None) -> dict[str, Any]:
    """``longhaul list`` as the head of a cluster sees it."""
    from longhaul.cluster.dashboard import Dashboard
    from longhaul.cluster.question import ask

    told = ask(Dashboard(cluster), ["list", *_storage(storage)])
    return told | {"searches": [_with_times(one) for one in told["searches"]]}


def unbegun(told: dict[str, Any]) -> str:
    """The status of a search that has not begun, for people."""
    return f"search {told['name']}: {told['state']}, as job {told['job']['id']}\n{told['reason']}"


def job_of(dashboard: "Dashboard", name: str) -> "Job":
    """The job that tells how a search stands.

    Raises:
        RequestError: none of the cluster's jobs is of this search.
    """
    from longhaul.cluster.jobs import current, of_search
    from longhaul_trainers.errors import nearest

    jobs = dashboard.jobs()
    found = current(of_search(jobs, name))
    if found is None:
        names = sorted({one.search for one in jobs if one.search})
        known = nearest(name, names) if names else "none was submitted"
        raise RequestError(
            f"no search called {name!r} was submitted to the cluster at {dashboard.address}; "
            f"{known}"
        )
    return found


def _reached(cluster: str) -> "Dashboard":
    from longhaul.cluster.dashboard import Dashboard

    dashboard = Dashboard(cluster)
    dashboard.refuse_other_ray()
    token = dashboard.token
    if token is not None and token.exposed:
        warn(f"others on this machine can read your token: chmod 600 {token.origin}")
    return dashboard


def _told(dashboard: "Dashboard", submitted: "Submitted", wait: bool, as_json: bool) -> None:
    """Says what became of a submission, the name first: from here on it needs nobody."""
    from longhaul.cli.searching import columns
    from longhaul.cluster.submission import await_verdict

    name, there = submitted.name, f" --cluster {dashboard.address}"
    following = {
        "watch": f"longhaul logs -f {name}{there}",
        "status": f"longhaul status {name}{there}",
        "stop": f"longhaul stop {name}{there}",
    }
    how = "is running already, as" if submitted.joined else "submitted as"
    if not as_json:
        emit({}, False, lambda: f"search {name} {how} job {submitted.job}")
    told = {"name": name, "job": submitted.job, "joined": submitted.joined}
    taken_up = None
    if wait and not submitted.joined:
        say("waiting for the cluster to look at it; Ctrl-C does not stop the search")
        taken_up = await_verdict(dashboard, submitted.job, time.sleep)
        if taken_up is None:
            warn("the cluster has not begun yet; it may be busy")
    told |= {"begun": submitted.joined or taken_up is not None, "next": following}
    emit(told, as_json, lambda: f"next:\n{columns(following)}")


def _storage(storage: str | None) -> list[str]:
    return [] if storage is None else ["--storage", storage]


def _with_times(told: dict[str, Any]) -> dict[str, Any]:
    """The same with moments in place of their texts."""
    moments = {key: datetime.fromisoformat(told[key]) for key in TIMES if told.get(key)}
    return told | moments
