"""Asking the head of a cluster what a command would say there.

The ledger is the truth about a search, and the head sees it whoever runs the search, whether its
driver lives, and after it has ended. So a question is a short job there, forgotten once answered.
"""

import contextlib
import secrets
import time
from collections.abc import Callable
from typing import Any

from longhaul.cluster.dashboard import Dashboard
from longhaul.cluster.failure import last_words
from longhaul.cluster.jobs import CODE, STORAGE, Job
from longhaul.cluster.on_head import Answer, command_line
from longhaul.errors import LonghaulError

PATIENCE_S = 120.0


def ask(
    dashboard: Dashboard,
    words: list[str],
    about: Job | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """What ``longhaul WORDS --json`` says on the head of a cluster.

    Args:
        dashboard: of the cluster.
        words: a command that reads the ledger.
        about: the job of the search in question, whose storage and code it shares.
        sleep: waits so many seconds.

    Raises:
        RequestError: the command says so.
        LonghaulError: no answer came.
    """
    metadata = {} if about is None else about.metadata
    if STORAGE in metadata and "--storage" not in words:
        words = [*words, "--storage", metadata[STORAGE]]
    folder = about.folder if about is not None and CODE in metadata else None
    job_id = f"longhaul-question-{secrets.token_hex(6)}"
    command = command_line("answer", [*words, "--json"])
    dashboard.submit(job_id, command, {"longhaul.question": words[0]}, folder)
    deadline = time.monotonic() + PATIENCE_S
    job = dashboard.job(job_id)
    try:
        while not job.ended:
            if time.monotonic() > deadline:
                raise LonghaulError(
                    f"the cluster at {dashboard.address} did not answer in {PATIENCE_S:.0f} s: "
                    f"{job.message}"
                )
            sleep(0.2)
            job = dashboard.job(job_id)
        answer = Answer.find(dashboard.log(job_id))
        if answer is None:
            raise LonghaulError(last_words(dashboard, job))
    finally:
        with contextlib.suppress(LonghaulError):
            if job.ended:
                dashboard.delete(job_id)
            else:
                dashboard.stop(job_id)
    return answer.value()
