"""Submitting a search to a cluster, and going on with one."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from longhaul.cluster.dashboard import Dashboard, JobExistsError
from longhaul.cluster.failure import last_words
from longhaul.cluster.jobs import (
    CODE,
    SEARCH,
    SPEC,
    STORAGE,
    TRACKING,
    Job,
    current,
    fresh_id,
    of_search,
)
from longhaul.cluster.nodes import TRAINING_ON
from longhaul.cluster.on_head import command_line
from longhaul.cluster.package import SPEC_FILE, laid_out
from longhaul.errors import LonghaulError, RequestError
from longhaul.redaction import redact

if TYPE_CHECKING:
    from longhaul.spec.search_spec import SearchSpec

PATIENCE_S = 90.0
"""How long `await_verdict` waits: the head starts Python, imports torch and looks at every node."""


@dataclass(frozen=True)
class Wishes:
    """What a user says about a search on a cluster beside its space.

    Attributes:
        storage, tracking: other ones than the cluster's own.
        wheels: files to upload, as `longhaul.cluster.package.check_wheels` gives them.
    """

    storage: str | None = None
    tracking: str | None = None
    wheels: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        storage = self.storage
        if storage is not None and "://" not in storage and not storage.startswith("/"):
            raise RequestError(
                f"--storage: found {storage!r}; expected a folder that all nodes of the cluster "
                "see, beginning with /, or an address such as s3://BUCKET/runs"
            )
        for option, given in (("--storage", storage), ("--tracking-uri", self.tracking)):
            if given is not None and redact(given) != given:
                raise RequestError(
                    f"{option}: {redact(given)} holds a user or password, and a job's command can "
                    "be read by others; give them to the cluster's head as variables or files "
                    "(docs/cluster.md)"
                )

    def options(self) -> list[str]:
        """As words of a command line."""
        storage = ["--storage", self.storage] if self.storage else []
        return storage + (["--tracking-uri", self.tracking] if self.tracking else [])

    def metadata(self) -> dict[str, str]:
        """As a job keeps them."""
        said = {
            STORAGE: self.storage or "",
            TRACKING: self.tracking or "",
            CODE: " ".join(one.name for one in self.wheels),
        }
        return {key: value for key, value in said.items() if value}


@dataclass(frozen=True)
class Submitted:
    """A search that a cluster has.

    Attributes:
        name: the search's.
        job: the job that runs it.
        joined: whether it ran already, so that nothing was submitted.
    """

    name: str
    job: str
    joined: bool


def submit_search(dashboard: Dashboard, spec: "SearchSpec", wishes: Wishes) -> Submitted:
    """Has the cluster run a search; one that it runs already is joined.

    Raises:
        RequestError: the name belongs to another search there.
    """
    words = ["search", SPEC_FILE, *wishes.options(), "--address", "auto"]
    metadata = {SEARCH: spec.name, SPEC: spec.to_yaml(), **wishes.metadata()}
    while True:
        jobs = dashboard.jobs()
        mine = of_search(jobs, spec.name)
        last = current(mine)
        if last is not None and not last.refused:
            _refuse_another(dashboard, last, spec)
            if not last.ended:
                return Submitted(spec.name, last.id, joined=True)
        job_id = fresh_id(jobs, spec.name)
        try:
            with laid_out(metadata[SPEC], wishes.wheels) as folder:
                dashboard.submit(job_id, command_line("run", words), metadata, folder)
        except JobExistsError:
            continue  # somebody was quicker: what they submitted is looked at like any other
        return Submitted(spec.name, job_id, joined=False)


def resume_search(
    dashboard: Dashboard, name: str, overrides: dict[str, int | None], wishes: Wishes
) -> Submitted:
    """Has the cluster go on with a search.

    Raises:
        RequestError: it runs, or needs code that is not given.
    """
    while True:
        jobs = dashboard.jobs()
        last = current(of_search(jobs, name))
        before = {} if last is None else last.metadata
        if last is not None and not last.ended:
            raise RequestError(
                f"search {name!r} is running, as job {last.id}; to change it, stop it first: "
                f"longhaul stop {name} --cluster {dashboard.address}"
            )
        needed = before.get(CODE, "")
        if needed and not wishes.wheels:
            raise RequestError(
                f"search {name!r} was submitted with {needed}, which went with its job; give "
                "it again: --wheel FILE for longhaul itself, --package FILE for others"
            )
        chosen = Wishes(
            wishes.storage or before.get(STORAGE),
            wishes.tracking or before.get(TRACKING),
            wishes.wheels,
        )
        limits = [word for key, n in overrides.items() if n for word in (f"--{key}", str(n))]
        words = ["resume", name, *limits, *chosen.options(), "--address", "auto"]
        kept = {key: before[key] for key in (SPEC,) if key in before}
        metadata = {SEARCH: name, **kept, **chosen.metadata()}
        job_id = fresh_id(jobs, name)
        try:
            with laid_out(None, chosen.wheels) as folder:
                dashboard.submit(job_id, command_line("run", words), metadata, folder)
        except JobExistsError:
            continue
        return Submitted(name, job_id, joined=False)


def await_verdict(dashboard: Dashboard, job_id: str, sleep: Callable[[float], None]) -> Job | None:
    """Waits until the driver has looked at everything that could be wrong.

    Returns:
        The job, running or ended as it should be; None if the cluster was not that far in time.

    Raises:
        LonghaulError: it ended before it began, with what it said.
    """
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        job = dashboard.job(job_id)
        if job.status == "FAILED":
            said = last_words(dashboard, job)
            raise RequestError(said) if job.refused else LonghaulError(said)
        if job.ended:
            return job
        lines = dashboard.log(job_id).splitlines() if job.status == "RUNNING" else []
        if any(line.startswith(TRAINING_ON) for line in lines):
            return job
        sleep(0.5)
    return None


def _refuse_another(dashboard: Dashboard, job: Job, wanted: "SearchSpec") -> None:
    """The name is taken on this cluster by a search over another space."""
    from longhaul.spec.comparison import difference
    from longhaul.spec.search_spec import SearchSpec

    text = job.metadata.get(SPEC)
    if text is None:  # taken up by its name alone: the driver compares it with the ledger
        return
    recorded = SearchSpec.from_text(text, f"job {job.id}", name=wanted.name)
    if recorded.sha256 != wanted.sha256:
        raise RequestError(
            f"there is another search called {wanted.name} on the cluster at "
            f"{dashboard.address}: {difference(recorded, wanted)}; give this one a name of its "
            f"own: --name {wanted.name}-2"
        )
