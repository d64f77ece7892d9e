"""The way to an MLflow server or database: settings, first initialisation, experiments."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from longhaul.errors import LonghaulError, RequestError
from longhaul.redaction import redact

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

ARTIFACTS_VARIABLE = "LONGHAUL_ARTIFACTS"
"""Variable with further address prefixes, separated by spaces, that artifacts may go to."""

REQUEST_TIMEOUT_S = 20
SQLITE = "sqlite:///"

# Otherwise MLflow's pages take the runs for evaluations of language models.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


class ForeignArtifactsError(LonghaulError):
    """An experiment whose artifacts would be written to a place that nobody configured."""


class ExperimentDeletedError(LonghaulError):
    """The experiment of a task lies in MLflow's waste bin."""


def prepare_environment(request_timeout_s: int = REQUEST_TIMEOUT_S) -> None:
    """Settings that MLflow reads from the environment; to be called before its first import.

    MLflow's own retries (7, for minutes each) are off: waiting is this package's business, so that
    an end of the search is noticed meanwhile.
    """
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(request_timeout_s))
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    # Without it, a file the client is told about could be sent in parts by its own thread pool.
    os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "false")


def check_address(tracking_uri: str) -> None:
    """Refuses addresses that MLflow would take for its file store, or not at all.

    Raises:
        RequestError: neither a server nor a database.
    """
    scheme = urlsplit(tracking_uri).scheme
    known = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
    if scheme.partition("+")[0] not in known:
        raise RequestError(
            f"tracking URI {redact(tracking_uri)}: expected http://HOST:PORT, sqlite:///FILE or a "
            "database that MLflow knows (postgresql://...)"
        )


def is_server(tracking_uri: str) -> bool:
    """Whether the address is one of an MLflow server, rather than of a database."""
    return urlsplit(tracking_uri).scheme in ("http", "https")


def sqlite_file(tracking_uri: str) -> Path | None:
    """The file of a ``sqlite:///`` address, absolute; None for other addresses."""
    if not tracking_uri.startswith(SQLITE):
        return None
    return Path(tracking_uri[len(SQLITE) :].partition("?")[0]).absolute()


def artifact_root(database: Path) -> Path:
    """Where the artifacts of a SQLite database lie: a folder beside it."""
    return database.with_name(f"{database.stem}-artifacts")


def connect(tracking_uri: str) -> "MlflowClient":
    """A client; creates and initialises a SQLite database that does not exist yet.

    Raises:
        RequestError: as `check_address`.
        Exception: whatever MLflow raises when a database cannot be used.
    """
    check_address(tracking_uri)
    prepare_environment()
    from mlflow import MlflowClient  # imported here: 3 to 6 s

    database = sqlite_file(tracking_uri)
    if database is None:
        return MlflowClient(tracking_uri=tracking_uri)
    database.parent.mkdir(parents=True, exist_ok=True)
    # Two processes that create the tables at once would both fail ("duplicate column").
    with locked(database.with_name(f".{database.name}.lock")):
        client = MlflowClient(tracking_uri=tracking_uri)
        client.search_experiments(max_results=1)
    return client


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock that ``path`` stands for; waits for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def open_experiment(client: "MlflowClient", tracking_uri: str, name: str) -> "Experiment":
    """The experiment called ``name``, created if there is none.

    Raises:
        ForeignArtifactsError: its artifacts go to a place that is not the configured one.
        ExperimentDeletedError: somebody deleted it.
        Exception: whatever MLflow raises.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        _create_experiment(client, tracking_uri, name)
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise LonghaulError(f"MLflow created experiment {name!r} but does not find it")
    _refuse_deleted(experiment)
    check_artifact_location(tracking_uri, experiment.artifact_location, f"experiment {name!r}")
    return experiment


def check_experiment(client: "MlflowClient", experiment_id: str) -> None:
    """Sees whether an experiment is still there.

    Raises:
        ExperimentDeletedError: it is not.
        Exception: whatever MLflow raises, also when it does not know the experiment any more.
    """
    _refuse_deleted(client.get_experiment(experiment_id))


def _refuse_deleted(experiment: "Experiment") -> None:
    if experiment.lifecycle_stage != "active":
        raise ExperimentDeletedError(
            f"MLflow's experiment {experiment.name!r} was deleted there; bring it back with "
            f"`mlflow experiments restore -x {experiment.experiment_id}`"
        )


def _create_experiment(client: "MlflowClient", tracking_uri: str, name: str) -> None:
    # A specification from elsewhere may call its task what it likes.
    if name in (".", "..") or "/" in name or "\\" in name:
        raise ForeignArtifactsError(f"a task called {name!r} cannot name a folder of artifacts")
    database = sqlite_file(tracking_uri)
    # Otherwise MLflow takes ./mlruns, wherever the process happens to stand.
    location = str(artifact_root(database) / name) if database is not None else None
    try:
        client.create_experiment(name, artifact_location=location, tags=_EXPERIMENT_TAGS)
    except Exception as error:
        # Another search of the same task was faster, or the answer to an earlier try got lost.
        if getattr(error, "error_code", None) != "RESOURCE_ALREADY_EXISTS":
            raise


def check_artifact_location(tracking_uri: str, location: str, owner: str) -> None:
    """Refuses to write artifacts anywhere but where the configuration says.

    Whoever may create an experiment chooses its ``artifact_location``, and clients write there with
    their own rights: ``file:///etc`` would be this machine's.

    Raises:
        ForeignArtifactsError: naming the location and how to allow it.
    """
    if _is_usual(tracking_uri, location) or _is_allowed(location):
        return
    raise ForeignArtifactsError(
        f"{owner} keeps artifacts at {redact(location)}, which is not where "
        f"{redact(tracking_uri)} is expected to keep them, so nothing is written to it. If the "
        f"place is right, say so: {ARTIFACTS_VARIABLE}={redact(location)}"
    )


def _is_usual(tracking_uri: str, location: str) -> bool:
    parts = urlsplit(location)
    if is_server(tracking_uri):
        # Through the server alone; with a host in it, the client would upload to that host.
        same_host = parts.netloc in ("", urlsplit(tracking_uri).netloc.rpartition("@")[2])
        return parts.scheme == "mlflow-artifacts" and same_host and not _climbs(location)
    database = sqlite_file(tracking_uri)
    return database is not None and _is_within(location, database.parent)


def _is_allowed(location: str) -> bool:
    for prefix in os.environ.get(ARTIFACTS_VARIABLE, "").split():
        root = prefix.rstrip("/")
        if (location == root or location.startswith(root + "/")) and not _climbs(location):
            return True
    return False


def _climbs(location: str) -> bool:
    """Whether any reading of an address, however often it is decoded, has ``..`` in it."""
    while (decoded := unquote(location)) != location:
        location = decoded
    return ".." in location or "\\" in location


def _is_within(location: str, folder: Path) -> bool:
    parts = urlsplit(location)
    if parts.scheme not in ("", "file") or parts.netloc:
        return False
    path = Path(unquote(parts.path) if parts.scheme else location)
    return path.is_absolute() and path.resolve().is_relative_to(folder.resolve())
