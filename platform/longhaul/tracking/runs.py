"""The MLflow runs of one search: found by their tags, created once, written in batches."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from longhaul.tracking.connection import check_artifact_location
from longhaul.tracking.layout import DELIVERED_TAG, IDENTITY_TAG, TRIAL_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, Run, RunTag

LOG = logging.getLogger(__name__)

PARENT = -1
"""Stands for the parent run where a trial's number is asked for."""

PAGE = 500
# MLflow: 1000 entities a request altogether, of them at most 100 parameters and 100 tags.
METRICS_PER_REQUEST = 800
PARAMS_PER_REQUEST = 100


@dataclass
class KnownRun:
    """What MLflow is known to hold for one run.

    Attributes:
        run_id: MLflow's identifier.
        status: RUNNING, FINISHED, KILLED, FAILED or SCHEDULED.
        tags: as last read or written.
        steps: for each metric, the last training step that was delivered.
        params: how many parameters are there.
        uploaded: checksums of the artifacts that this process has sent, by path.
        deleted: whether it lies in MLflow's waste bin.
    """

    run_id: str
    status: str = "RUNNING"
    tags: dict[str, str] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    params: int = 0
    uploaded: dict[str, int] = field(default_factory=dict)
    deleted: bool = False


class Runs:
    """Creates and finds runs so that each trial has exactly one, whatever the server answers.

    A request to create a run may have been carried out although no answer came. Therefore a run is
    looked up by its tags before it is created a second time, and what was doubtful is looked at
    again at the end (`sweep`).

    Args:
        client: how to reach MLflow.
        tracking_uri: its address, to judge where artifacts may go.
        experiment_id: the experiment of the search's task.
        identity: the value of the tag that all runs of this search carry.
        recreate: whether runs in the waste bin are made anew instead of left alone.
    """

    def __init__(
        self,
        client: "MlflowClient",
        tracking_uri: str,
        experiment_id: str,
        identity: str,
        recreate: bool = False,
    ) -> None:
        self.requests = 0
        """Changes that MLflow has confirmed: whether anything moves."""
        self._client = client
        self._uri = tracking_uri
        self._experiment_id = experiment_id
        self._identity = identity
        self._recreate = recreate
        self._known: dict[int, KnownRun] = {}
        self._doubtful: set[int] = set()
        self._unanswered: set[int] = set()

    def load(self) -> None:
        """Reads all runs of the search, once, at the start."""
        found: dict[int, list[Run]] = {}
        for run in self._search(""):
            found.setdefault(_number(run), []).append(run)
        for number, runs in found.items():
            self._adopt(number, runs)

    def find(self, number: int) -> KnownRun | None:
        """The run of a trial, or of the search itself (`PARENT`), if there is one."""
        return self._known.get(number)

    def forget(self, number: int) -> None:
        """Drops what is known of a run that needs nothing more; it can still be obtained."""
        if self._known.pop(number, None) is not None:
            self._unanswered.add(number)

    def obtain(
        self, number: int, name: str, tags: Mapping[str, str], started: datetime
    ) -> KnownRun:
        """The run of a trial, created if there is none.

        Args:
            number: the trial, or `PARENT`.
            name: shown in the user interface.
            tags: all its tags; the one with the search's identity is added.
            started: when the trial began.
        """
        if number in self._unanswered:
            self._look_up(number)
            self._unanswered.discard(number)
        if number in self._known:
            return self._known[number]
        tags = {**tags, IDENTITY_TAG: self._identity}
        try:
            run = self._client.create_run(
                self._experiment_id, milliseconds(started), tags=tags, run_name=name
            )
        except Exception:
            self._unanswered.add(number)
            self._doubtful.add(number)
            raise
        self.requests += 1
        self._check_artifacts(run)
        self._known[number] = KnownRun(run.info.run_id, tags=dict(tags))
        return self._known[number]

    def log(
        self,
        run: KnownRun,
        metrics: "Sequence[Metric]" = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Sends what is given, in as few requests as MLflow allows; tags go last.

        Args:
            run: where to.
            metrics: in the order of their steps; already delivered ones may be among them.
            params: all of them, or None.
            tags: unchanged ones are left out.
        """
        from mlflow.entities import Param, RunTag

        changed = [RunTag(k, v) for k, v in (tags or {}).items() if run.tags.get(k) != v]
        entries = [Param(k, v) for k, v in (params or {}).items()]
        for start in range(0, len(entries) - PARAMS_PER_REQUEST, PARAMS_PER_REQUEST):
            part = entries[start : start + PARAMS_PER_REQUEST]
            self._send(run, params=part)
        entries = entries[(len(entries) - 1) // PARAMS_PER_REQUEST * PARAMS_PER_REQUEST :]
        batches = [
            metrics[start : start + METRICS_PER_REQUEST]
            for start in range(0, len(metrics), METRICS_PER_REQUEST)
        ] or [metrics]
        for batch in batches[:-1]:
            self._send(run, batch)
        if batches[-1] or entries or changed:
            self._send(run, batches[-1], entries, changed)
        run.tags.update(tags or {})
        run.params = max(run.params, len(params or {}))

    def _send(
        self,
        run: KnownRun,
        metrics: "Sequence[Metric]" = (),
        params: "Sequence[Param]" = (),
        tags: "Sequence[RunTag]" = (),
    ) -> None:
        self._client.log_batch(run.run_id, metrics, params, tags)
        self.requests += 1
        for metric in metrics:
            run.steps[metric.key] = max(metric.step, run.steps.get(metric.key, metric.step))

    def set_status(self, run: KnownRun, status: str, ended: datetime | None = None) -> None:
        """Makes the run's status ``status``; ``ended`` is for those that are final."""
        if ended is None:
            self._client.update_run(run.run_id, status=status)
        else:
            self._client.set_terminated(run.run_id, status, milliseconds(ended))
        self.requests += 1
        run.status = status

    def upload(self, run: KnownRun, folder: str) -> None:
        """Sends all files of a folder as artifacts, except those that were sent just like this.

        One by one, so that after a failure the next try goes on where this one ended.
        """
        root = Path(folder)
        for path in sorted(one for one in root.rglob("*") if one.is_file()):
            relative = path.relative_to(root)
            checksum = crc32(path.read_bytes())
            if run.uploaded.get(str(relative)) == checksum:
                continue
            parent = relative.parent.as_posix()
            self._client.log_artifact(run.run_id, str(path), None if parent == "." else parent)
            run.uploaded[str(relative)] = checksum
            self.requests += 1

    def is_gone(self, number: int) -> bool:
        """Asks MLflow whether a run that refused a request was deleted, and notes it if so."""
        run = self._known[number]
        try:
            run.deleted = self._client.get_run(run.run_id).info.lifecycle_stage == "deleted"
        except Exception as error:
            if getattr(error, "error_code", None) != "RESOURCE_DOES_NOT_EXIST":
                raise
            run.deleted = True
        return run.deleted

    def sweep(self) -> None:
        """Removes second runs that a lost answer left behind."""
        for number in sorted(self._doubtful):
            self._look_up(number)
            self._doubtful.discard(number)

    def _look_up(self, number: int) -> None:
        runs = [run for run in self._search(_trial_filter(number)) if _number(run) == number]
        if runs:
            self._adopt(number, runs)

    def _search(self, condition: str) -> "Iterable[Run]":
        from mlflow.entities import ViewType

        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id],
                f"tags.`{IDENTITY_TAG}` = '{self._identity}'{condition}",
                run_view_type=ViewType.ALL,
                max_results=PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return

    def _adopt(self, number: int, runs: "list[Run]") -> None:
        """Chooses the run of a trial among those found, and deletes the other live ones."""
        live = [run for run in runs if run.info.lifecycle_stage == "active"]
        current = self._known.get(number)
        if not live:
            if not self._recreate and current is None:
                self._known[number] = _known(runs[0])
            return
        # The one that is being written, else the one with the most in it; the identifier decides
        # ties, so that everybody chooses alike.
        live.sort(
            key=lambda run: (
                current is None or run.info.run_id != current.run_id,
                -len(run.data.params),
                -int(run.data.tags.get(DELIVERED_TAG, -1)),
                run.info.run_id,
            )
        )
        for extra in live[1:]:
            LOG.warning("deleting run %s, a second one of the same trial", extra.info.run_id)
            self._client.delete_run(extra.info.run_id)
        if current is None or current.run_id != live[0].info.run_id:
            self._check_artifacts(live[0])
            self._known[number] = _known(live[0])

    def _check_artifacts(self, run: "Run") -> None:
        check_artifact_location(self._uri, run.info.artifact_uri or "", f"run {run.info.run_id}")


def milliseconds(time: datetime) -> int:
    """MLflow's times: milliseconds since 1970, UTC."""
    return int(time.timestamp() * 1000)


def _known(run: "Run") -> KnownRun:
    # Each metric's newest point tells how far it was delivered, even if the process died before it
    # could say so in a tag.
    newest = getattr(run.data, "_metric_objs", ())
    return KnownRun(
        run_id=run.info.run_id,
        status=run.info.status,
        tags=dict(run.data.tags),
        steps={metric.key: metric.step for metric in newest},
        params=len(run.data.params),
        deleted=run.info.lifecycle_stage != "active",
    )


def _number(run: "Run") -> int:
    return int(run.data.tags.get(TRIAL_TAG, PARENT))


def _trial_filter(number: int) -> str:
    return "" if number == PARENT else f" AND tags.`{TRIAL_TAG}` = '{number}'"
