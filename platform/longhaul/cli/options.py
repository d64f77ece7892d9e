"""Arguments and options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import click

from longhaul.errors import RequestError

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_STORAGE = "./longhaul-runs"


def default_tracking_uri(storage: str) -> str:
    """The address of the MLflow database beside a storage folder.

    Args:
        storage: a folder, or a ``file://`` address of one.

    Returns:
        ``sqlite:///`` and the absolute path of ``mlflow.db`` in the folder that holds ``storage``.

    Raises:
        RequestError: the storage is no local folder, so that nothing can lie beside it.
    """
    if storage.startswith("file://"):
        storage = unquote(urlsplit(storage).path)
    elif "://" in storage:
        raise RequestError(
            f"storage {storage} has no local folder for an MLflow database beside it; "
            "say where to track: --tracking-uri URI"
        )
    return f"sqlite:///{Path(storage).expanduser().resolve().parent / 'mlflow.db'}"


def _or_default_tracking(ctx: click.Context, _: click.Parameter, given: str | None) -> str:
    if given is None and ctx.params.get("cluster"):
        return ""  # the cluster's own
    return given or default_tracking_uri(ctx.params.get("storage", DEFAULT_STORAGE))


# Eager, as --cluster is, so that the default of --tracking-uri can look at it.
_storage = click.option(
    "--storage",
    metavar="URI",
    envvar="LONGHAUL_STORAGE",
    show_envvar=True,
    default=DEFAULT_STORAGE,
    show_default=True,
    is_eager=True,
    help="Folder that holds the searches.",
)
_tracking = click.option(
    "--tracking-uri",
    metavar="URI",
    envvar="MLFLOW_TRACKING_URI",
    show_envvar=True,
    callback=_or_default_tracking,
    help="MLflow server or database.  [default: mlflow.db beside the storage folder]",
)
_json = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on standard output, nothing else."
)
_address = click.option(
    "--address", metavar="ADDR", help="A running Ray cluster.  [default: start Ray here]"
)
_log_format = click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    envvar="LONGHAUL_LOG_FORMAT",
    show_envvar=True,
    help="What goes to standard error: progress for people, or one JSON object a line.",
)
_cluster = click.option(
    "--cluster",
    metavar="URL",
    envvar="LONGHAUL_CLUSTER",
    show_envvar=True,
    is_eager=True,
    help="A running Ray cluster, by its dashboard: http://HEAD:8265.",
)
_wheel = click.option(
    "--wheel", metavar="FILE", help="Longhaul's wheel, for a cluster whose nodes have another."
)
_package = click.option(
    "--package",
    "packages",
    metavar="FILE",
    multiple=True,
    help="A wheel with cells or tasks of your own, for the cluster; can be repeated.",
)
_set = click.option(
    "--set",
    "changes",
    metavar="PATH=VALUE",
    multiple=True,
    help="Change one leaf of the space, for example training.steps=100; can be repeated.",
)
_name = click.argument("name", metavar="NAME")
_space = click.argument("space", metavar="SPACE")


def storage_option(command: Command) -> Command:
    """``--storage URI``: parameter ``storage`` (text)."""
    return _storage(command)


def tracking_option(command: Command) -> Command:
    """``--tracking-uri URI``: parameter ``tracking_uri`` (text, the default filled in)."""
    return _tracking(command)


def json_option(command: Command) -> Command:
    """``--json``: parameter ``as_json`` (bool); hand it to `longhaul.cli.output.emit`."""
    return _json(command)


def address_option(command: Command) -> Command:
    """``--address ADDR``: parameter ``address`` (text or None)."""
    return _address(command)


def log_format_option(command: Command) -> Command:
    """``--log-format text|json``: parameter ``log_format``."""
    return _log_format(command)


def cluster_option(command: Command) -> Command:
    """``--cluster URL``: parameter ``cluster`` (text or None)."""
    return _cluster(command)


def wheel_options(command: Command) -> Command:
    """``--wheel FILE`` and ``--package FILE``: ``wheel`` (text or None), ``packages`` (tuple)."""
    return _wheel(_package(command))


def given(name: str) -> str | None:
    """The value of an option if it was on the command line; that of a variable is this machine's.

    Args:
        name: the parameter.
    """
    context = click.get_current_context()
    if context.get_parameter_source(name) is not click.core.ParameterSource.COMMANDLINE:
        return None
    return str(context.params[name])


def set_option(command: Command) -> Command:
    """``--set PATH=VALUE``: parameter ``changes`` (tuple of the texts as given)."""
    return _set(command)


def name_argument(command: Command) -> Command:
    """``NAME`` of a search: parameter ``name``."""
    return _name(command)


def space_argument(command: Command) -> Command:
    """``SPACE``, a file or the name of a shipped space: parameter ``space``."""
    return _space(command)


def limit_changes(trials: int | None, parallel: int | None) -> tuple[str, ...]:
    """``--trials`` and ``--parallel``, where they are given, as ``--set`` would write them."""
    limits = {"search.trials": trials, "search.parallel": parallel}
    return tuple(f"{path}={value}" for path, value in limits.items() if value is not None)
