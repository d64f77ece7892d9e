"""``longhaul best``: the configuration that won a search."""

import click

from longhaul.cli.options import json_option, name_argument, storage_option


@click.command("best")
@name_argument
@storage_option
@json_option
def best_command(name: str, storage: str, as_json: bool) -> None:
    """Show the best trial of search NAME: its configuration, its losses, how to train it again.

    Best by the search's objective, which is the lowest validation loss unless its space says
    otherwise, among the trials that ran all their steps.

    \b
    longhaul best copying-quickstart
    """
    from longhaul.cli.output import emit
    from longhaul.cli.show import trial_text
    from longhaul.ledger import Ledger
    from longhaul.queries import best_trial

    best = best_trial(Ledger.open(storage, name))
    emit(best, as_json, lambda: trial_text(best))
