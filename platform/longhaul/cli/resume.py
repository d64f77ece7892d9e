"""``longhaul resume``: goes on with a search."""

import click

from longhaul.cli.options import (
    address_option,
    json_option,
    log_format_option,
    name_argument,
    storage_option,
    tracking_option,
)


@click.command("resume")
@name_argument
@click.option(
    "--trials", type=click.IntRange(min=1), help="Raise the number of trials to this many in all."
)
@click.option("--parallel", type=click.IntRange(min=1), help="Trials that run at once.")
@storage_option
@tracking_option
@address_option
@log_format_option
@json_option
def resume_command(
    name: str,
    trials: int | None,
    parallel: int | None,
    storage: str,
    tracking_uri: str,
    address: str | None,
    log_format: str,
    as_json: bool,
) -> None:
    """Go on with search NAME from its ledger, or extend it.

    Finished trials are kept, unfinished ones continue from their checkpoints.

    \b
    longhaul resume copying-quickstart
    longhaul resume copying-quickstart --trials 32
    """
    from longhaul.cli.searching import run_and_report
    from longhaul.ledger import Ledger
    from longhaul.search.data import prepare_data
    from longhaul.search.driver import Place
    from longhaul.spec.search_spec import SearchSpec

    ledger = Ledger.open(storage, name)
    if address is None:  # a cluster's nodes have data of their own
        prepare_data(SearchSpec.from_text(ledger.spec_text(), f"{name}/spec.yaml", name=name))
    asked = {"trials": trials, "parallel": parallel}
    overrides = {key: value for key, value in asked.items() if value is not None}
    run_and_report(
        ledger, Place(storage, tracking_uri, address), overrides, as_json, log_format=log_format
    )
