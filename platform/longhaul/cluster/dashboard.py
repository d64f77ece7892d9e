"""A cluster's dashboard: the one door through which searches are submitted and looked after."""

import asyncio
import json
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from longhaul.cluster.jobs import Job
from longhaul.cluster.on_head import variables
from longhaul.cluster.token import Token, advice, find_token
from longhaul.cluster.versions import refuse_differences
from longhaul.errors import LonghaulError, RequestError

ANSWER_S = 20.0
"""How long a dashboard may take for its first answer."""
STOP_S = 300
"""Seconds that a stopped driver has to end its trials before Ray kills it."""
_TALKATIVE = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
"""Loggers that tell each step."""
# Ray's client prefers these to the address that it is given.
_LEADING_ELSEWHERE = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


class JobExistsError(LonghaulError):
    """A job of this id was submitted before."""


class Dashboard:
    """What can be asked of a cluster from any machine that reaches its dashboard.

    Args:
        address: such as ``http://HEAD:8265``; without a scheme, http.

    Raises:
        RequestError: the address is none, nothing answers there, or it does not let us in.
    """

    def __init__(self, address: str) -> None:
        self.address = _checked(address)
        self.token: Token | None = find_token()
        self.ray_version = self._reach()
        self._client: Any = None

    def refuse_other_ray(self) -> None:
        """Refuses a cluster whose Ray is another one than this machine's."""
        here = {"ray": version("ray")}
        refuse_differences(
            here, {"ray": self.ray_version}, "this machine", f"the cluster at {self.address}"
        )

    def jobs(self) -> list[Job]:
        """All jobs that were submitted to the cluster, oldest first."""
        found = self._ask(lambda client: client.list_jobs())
        jobs = [Job.of(one) for one in found if one.submission_id]
        return sorted(jobs, key=lambda one: one.submitted_ms)

    def job(self, job_id: str) -> Job:
        """One job as it stands now."""
        return Job.of(self._ask(lambda client: client.get_job_info(job_id)))

    def submit(
        self, job_id: str, entrypoint: str, metadata: Mapping[str, str], folder: Path | str | None
    ) -> None:
        """Begins a job; it goes on whatever becomes of this process.

        Args:
            job_id: a new id.
            entrypoint: the command, for a shell on the head.
            metadata: what `jobs` shall tell.
            folder: uploaded, and the working directory of driver and workers; or what an earlier
                job had uploaded, as its runtime environment names it.

        Raises:
            JobExistsError: the id is taken.
        """
        environment: dict[str, Any] = {
            "env_vars": {
                # To our driver the same as SIGTERM, but its writer to MLflow lets it pass.
                "RAY_JOB_STOP_SIGNAL": "SIGINT",
                "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S),
                **variables(),
            }
        }
        if folder is not None:
            environment["working_dir"] = str(folder)
        try:
            self._ask(
                lambda client: client.submit_job(
                    entrypoint=entrypoint,
                    submission_id=job_id,
                    metadata=dict(metadata),
                    runtime_env=environment,
                )
            )
        except LonghaulError as error:
            if "already exists" in str(error):
                raise JobExistsError(f"job {job_id} exists") from error
            raise

    def stop(self, job_id: str) -> bool:
        """Asks a job's driver to end in order; whether it ran."""
        return bool(self._ask(lambda client: client.stop_job(job_id)))

    def delete(self, job_id: str) -> None:
        """Forgets a job that has ended."""
        self._ask(lambda client: client.delete_job(job_id))

    def log(self, job_id: str) -> str:
        """Everything that a job has said so far."""
        return str(self._ask(lambda client: client.get_job_logs(job_id)))

    def follow(self, job_id: str) -> Iterator[str]:
        """What a job has said and says, until it ends."""
        client = self._connected()
        with asyncio.Runner() as runner, _translated(self):
            lines = client.tail_job_logs(job_id)
            while True:
                try:
                    yield runner.run(anext(lines))
                except StopAsyncIteration:
                    return

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        client = self._connected()
        with _translated(self):
            return question(client)

    def _connected(self) -> Any:
        if self._client is None:
            # imported here: 3 s
            from ray.job_submission import JobSubmissionClient

            for name in _TALKATIVE:
                logging.getLogger(name).setLevel(logging.WARNING)
            headers = {"Authorization": f"Bearer {self.token.text}"} if self.token else None
            with _translated(self), _not_led_elsewhere():
                self._client = JobSubmissionClient(self.address, headers=headers)
        return self._client

    def _reach(self) -> str:
        """Ray's version, asked for without Ray: a wrong address or token is told at once."""
        request = urllib.request.Request(f"{self.address}/api/version")  # noqa: S310 - http(s)
        if self.token is not None:
            request.add_header("Authorization", f"Bearer {self.token.text}")
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310
                return str(json.loads(answer.read())["ray_version"])
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                raise RequestError(advice(self.address, self.token)) from error
            problem = f"it answers {error.code}, as no Ray dashboard does"
        except (OSError, HTTPException) as error:
            problem = str(getattr(error, "reason", None) or error)
        except (ValueError, KeyError, TypeError):
            problem = "what answers there is no Ray dashboard"
        raise RequestError(
            f"no cluster at {self.address}: {problem}; expected the address of a head's dashboard "
            "(its jobs server needs ray[default] there), such as http://HEAD:8265; where the port "
            "is not open, ssh -L 8265:localhost:8265 HEAD brings it to http://localhost:8265"
        )


def _checked(address: str) -> str:
    given = address if "://" in address else f"http://{address}"
    parts = urlsplit(given)
    try:
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        valid = False
    if not valid:
        raise RequestError(
            f"--cluster: found {address!r}; expected the address of a head's dashboard, such as "
            "http://HEAD:8265"
        )
    if parts.username or parts.password:
        raise RequestError(
            "--cluster: found an address with a user or password in it; a cluster lets in whoever "
            "has its token, and that is read from a file (docs/cluster.md)"
        )
    return given.rstrip("/")


@contextmanager
def _translated(dashboard: Dashboard) -> Iterator[None]:
    """What Ray's client raises, as one message."""
    # imported here: 3 s, and its caller has paid for it
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        raise RequestError(advice(dashboard.address, dashboard.token)) from error
    except OSError as error:  # what `requests` raises is one, too
        raise LonghaulError(
            f"the cluster at {dashboard.address} does not answer any more: {error}"
        ) from error
    except RuntimeError as error:
        # "Request failed with status code N: " and perhaps a whole traceback.
        last = (str(error).strip().splitlines() or ["no reason"])[-1]
        raise LonghaulError(f"the cluster at {dashboard.address}: {last}") from error


@contextmanager
def _not_led_elsewhere() -> Iterator[None]:
    hidden = {name: os.environ.pop(name) for name in _LEADING_ELSEWHERE if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
