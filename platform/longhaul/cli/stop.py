"""``longhaul stop``: ends a search in order."""

from typing import Any

import click

from longhaul.cli.options import cluster_option, json_option, name_argument, storage_option


@click.command("stop")
@name_argument
@storage_option
@cluster_option
@json_option
def stop_command(name: str, storage: str, cluster: str | None, as_json: bool) -> None:
    """End search NAME in order, as Ctrl-C does: everything is kept, and `resume` goes on.

    \b
    longhaul stop copying-quickstart
    longhaul stop copying-quickstart --cluster http://HEAD:8265
    """
    from longhaul.cli.on_cluster import stop_there
    from longhaul.cli.output import emit

    told = stop_there(cluster, name) if cluster else _stop_here(storage, name)
    emit(told, as_json, lambda: f"search {name}: stopped\nnext:\n  resume  {told['resume']}")


def _stop_here(storage: str, name: str) -> dict[str, Any]:
    """Stops a driver on this machine.

    Raises:
        RequestError: nobody runs the search, or somebody elsewhere.
        LonghaulError: it does not end.
    """
    import os
    import signal
    import time

    from longhaul.cli.options import DEFAULT_STORAGE
    from longhaul.errors import LonghaulError, RequestError
    from longhaul.ledger import Ledger

    ledger = Ledger.open(storage, name)
    lease = ledger.lease()
    if lease is None or lease.owner is None or not ledger.is_owned():
        raise RequestError(f"nobody runs search {name!r}; see longhaul status {name}")
    if lease.owner.examine() is None:
        raise RequestError(
            f"search {name!r} is run by {lease.owner}, not on this machine: stop it there, or name "
            "its cluster: --cluster http://HEAD:8265"
        )
    os.kill(lease.owner.pid, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE_S
    while lease.owner.examine() == "alive":
        if time.monotonic() > deadline:
            raise LonghaulError(
                f"search {name!r} was asked to end {PATIENCE_S:.0f} s ago and still runs; "
                f"`kill {lease.owner.pid}` once more ends it at once, and loses nothing reported"
            )
        time.sleep(0.2)
    place = "" if storage == DEFAULT_STORAGE else f" --storage {storage}"
    return {"name": name, "state": "stopped", "resume": f"longhaul resume {name}{place}"}


PATIENCE_S = 300.0
"""How long a driver may take: its trials go on to their next report, and MLflow gets the rest."""
