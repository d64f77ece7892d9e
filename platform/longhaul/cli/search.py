"""``longhaul search``: runs a search, or those of a suite."""

import click

from longhaul.cli.options import (
    address_option,
    json_option,
    limit_changes,
    log_format_option,
    set_option,
    space_argument,
    storage_option,
    tracking_option,
)


@click.command("search")
@space_argument
@click.option("--name", metavar="N", help="Name of the search.  [default: the space's]")
@click.option("--trials", type=click.IntRange(min=1), help="Number of trials.")
@click.option("--parallel", type=click.IntRange(min=1), help="Trials that run at once.")
@set_option
@storage_option
@tracking_option
@address_option
@log_format_option
@json_option
def search_command(
    space: str,
    name: str | None,
    trials: int | None,
    parallel: int | None,
    changes: tuple[str, ...],
    storage: str,
    tracking_uri: str,
    address: str | None,
    log_format: str,
    as_json: bool,
) -> None:
    """Run a search over SPACE, a file or the name of a shipped space.

    SPACE may be a suite: its searches run one after the other. A search that was interrupted goes
    on where it stopped, a suite too; one that is complete shows its result.

    \b
    longhaul search copying-quickstart
    longhaul search copying-quickstart --name longer --set task.delay=200 --trials 32
    longhaul search suites/copying-small
    """
    from longhaul.cli.searching import open_or_create, run_and_report
    from longhaul.cli.suites import run_suite
    from longhaul.search.data import prepare_data
    from longhaul.search.driver import Place
    from longhaul.spec.search_spec import SearchSpec
    from longhaul.spec.suite import Suite, is_suite
    from longhaul.tracking.connection import check_address

    check_address(tracking_uri)
    place = Place(storage, tracking_uri, address)
    if is_suite(space):
        more = [] if trials is None else [f"budget.trials={trials}"]
        suite = Suite.load(space, [*changes, *more], name)
        run_suite(suite, place, parallel, as_json, log_format)
        return
    spec = SearchSpec.load(space, (*changes, *limit_changes(trials, parallel)), name)
    if address is None:  # a cluster's nodes have data of their own
        prepare_data(spec)
    ledger = open_or_create(spec, storage, address)
    asked = {"trials": trials, "parallel": parallel}
    overrides = {key: value for key, value in asked.items() if value is not None}
    run_and_report(ledger, place, overrides, as_json, spec, log_format)
