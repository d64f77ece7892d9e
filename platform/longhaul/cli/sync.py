"""``longhaul sync``: delivers to MLflow what it lacks of a search."""

from typing import TYPE_CHECKING

import click

from longhaul.cli.options import json_option, name_argument, storage_option, tracking_option

if TYPE_CHECKING:
    from longhaul.tracking.lag import Lag
    from longhaul.tracking.replay import Counts


@click.command("sync")
@name_argument
@click.option("--recreate", is_flag=True, help="Also make runs anew that were deleted in MLflow.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up when nothing could be delivered for so long.",
)
@storage_option
@tracking_option
@json_option
def sync_command(
    name: str, recreate: bool, timeout_s: float, storage: str, tracking_uri: str, as_json: bool
) -> None:
    """Deliver to MLflow what it lacks of search NAME; what is there is not sent again.

    Exits with 1 if something could not be delivered.

    \b
    longhaul sync copying-quickstart
    """
    from longhaul.cli.output import emit, progress_console
    from longhaul.ledger import Ledger
    from longhaul.tracking.connection import check_address, connect
    from longhaul.tracking.follow import deliver_once
    from longhaul.tracking.lock import tracking_lock
    from longhaul.tracking.replay import Replay

    check_address(tracking_uri)
    ledger = Ledger.open(storage, name)
    with tracking_lock(ledger), progress_console().status("opening MLflow ...") as view:

        def say(lag: "Lag", counts: "Counts") -> None:
            trouble = f" ({lag.error})" if lag.error else ""
            view.update(f"{lag.trials} trials to go, {counts.points:,} points sent{trouble}")

        replay = Replay(
            ledger, lambda: connect(tracking_uri), tracking_uri, thorough=True, recreate=recreate
        )
        lag = deliver_once(ledger, replay, timeout_s, say)
        lag.write(ledger.storage)
    result = {"search": name, "delivered": lag.delivered, "sent": replay.counts, "lacking": lag}
    emit(result, as_json, lambda: _text(name, lag, replay.counts))
    if not lag.delivered:
        raise click.exceptions.Exit(1)


def _text(name: str, lag: "Lag", counts: "Counts") -> str:
    lines = [
        f"search {name}: {counts.created} runs created, {counts.points:,} points sent, "
        f"{counts.ended} trials ended"
    ]
    if lag.delivered:
        lines.append("MLflow has everything.")
    if lag.skipped:
        lines.append(
            f"{lag.skipped} runs were deleted in MLflow and are left alone; "
            f"`longhaul sync {name} --recreate` makes them anew."
        )
    lines += [f"trial {n} was refused: {why}" for n, why in sorted(lag.undeliverable.items())]
    if lag.trials or lag.error:
        lines.append(f"MLflow lacks {lag.trials} trials: {lag.error}")
        lines.append("The ledger has everything; the command can be repeated at any time.")
    return "\n".join(lines)
