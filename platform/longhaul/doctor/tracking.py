"""MLflow: its interface is really asked, for that answers where ``/health`` only says it lives."""

from collections.abc import Iterator
from typing import Any

from longhaul.doctor.finding import Finding, ok, problem, warning
from longhaul.doctor.storage import mount_of
from longhaul.errors import RequestError
from longhaul.redaction import redact
from longhaul.tracking.connection import check_address, connect, is_server, sqlite_file
from longhaul_trainers.data.folders import is_writable

PART = "tracking"
_OWN = "leave --tracking-uri out for a file beside the storage"


def check_tracking(tracking_uri: str) -> Iterator[Finding]:
    """Asks MLflow for an experiment.

    Args:
        tracking_uri: of a server or a database. A SQLite file that does not exist is not made.
    """
    shown = redact(tracking_uri)
    try:
        check_address(tracking_uri)
    except RequestError as error:
        yield problem(PART, str(error), _OWN)
        return
    database = sqlite_file(tracking_uri)
    if database is not None:
        folder = next(one for one in database.parents if one.exists())
        if not database.exists():
            if is_writable(database.parent):
                yield ok(PART, f"{database} will be made by the first search")
            else:
                yield problem(PART, f"{database.parent} cannot be written to", _OWN)
            return
        mount = mount_of(folder)
        if mount is not None and mount.kind.startswith("nfs"):
            message = f"{database} is a SQLite file on {mount.kind}, where its locks may fail"
            yield warning(PART, message, "track to an MLflow server: --tracking-uri http://...")
    try:
        client = connect(tracking_uri)
        count = len(client.search_experiments(max_results=1000))
    except Exception as error:  # MLflow and what is below it raise all kinds
        yield problem(PART, f"{shown} refuses: {_line(error)}", advice(error, tracking_uri))
        return
    version = f" {_version(tracking_uri)}" if is_server(tracking_uri) else ""
    yield ok(PART, f"MLflow{version} at {shown} answers; {count} experiments there")


def advice(error: BaseException, tracking_uri: str) -> str:
    """What helps against an error of MLflow."""
    text = f"{type(error).__name__} {error}"
    if "401" in text or "Unauthorized" in text or "authenticated" in text:
        return "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
    if "Invalid Host" in text or "DNS rebinding" in text:
        return "start the server with this host, port included, among its --allowed-hosts"
    if "403" in text:
        return "ask the server's administrator for permission to make experiments and runs"
    if is_server(tracking_uri):
        return "start the server, or correct the address; training goes on without it"
    return "move the file away, or name another with --tracking-uri"


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in redact(str(error)).splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    return first if len(first) <= 300 else first[:300] + " ..."


def _version(tracking_uri: str) -> str:
    # imported here: MLflow is there by now; with its own way, for credentials and certificates
    from mlflow.utils import credentials, rest_utils

    request: Any = rest_utils.http_request
    credentials_of: Any = credentials.get_default_host_creds

    try:
        answer = request(credentials_of(tracking_uri), "/version", "GET", timeout=10)
    except Exception:  # it has just answered something more important
        return "(of unknown version)"
    return str(answer.text).strip() if answer.ok else "(of unknown version)"
