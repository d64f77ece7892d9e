"""``longhaul resume``: goes on with a search."""

import click

from longhaul.cli.options import (
    address_option,
    cluster_option,
    given,
    json_option,
    log_format_option,
    name_argument,
    storage_option,
    tracking_option,
    wheel_options,
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
@cluster_option
@wheel_options
@json_option
def resume_command(
    name: str,
    trials: int | None,
    parallel: int | None,
    storage: str,
    tracking_uri: str,
    address: str | None,
    log_format: str,
    cluster: str | None,
    wheel: str | None,
    packages: tuple[str, ...],
    as_json: bool,
) -> None:
    """Go on with search NAME from its ledger, or extend it.

    Finished trials are kept, unfinished ones continue from their checkpoints.

    \b
    longhaul resume copying-quickstart
    longhaul resume copying-quickstart --trials 32
    longhaul resume copying-quickstart --cluster http://HEAD:8265
    """
    from longhaul.cli.searching import run_and_report
    from longhaul.ledger import Ledger
    from longhaul.search.data import prepare_data
    from longhaul.search.driver import Place
    from longhaul.spec.search_spec import SearchSpec

    overrides = {"trials": trials, "parallel": parallel}
    if cluster is not None and address is None:
        from longhaul.cli.on_cluster import resume_there, wishes

        wanted = wishes(given("storage"), given("tracking_uri"), wheel, packages)
        resume_there(cluster, name, overrides, wanted, as_json)
        return
    ledger = Ledger.open(storage, name)
    if address is None:  # a cluster's nodes have data of their own
        prepare_data(SearchSpec.from_text(ledger.spec_text(), f"{name}/spec.yaml", name=name))
    asked = {key: value for key, value in overrides.items() if value is not None}
    place = Place(storage, tracking_uri, address)
    run_and_report(ledger, place, asked, as_json, log_format=log_format)
