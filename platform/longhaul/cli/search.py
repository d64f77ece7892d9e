"""``longhaul search``: runs a search."""

from typing import TYPE_CHECKING

import click

from longhaul.cli.options import (
    address_option,
    json_option,
    set_option,
    space_argument,
    storage_option,
    tracking_option,
)

if TYPE_CHECKING:
    from longhaul.ledger import Ledger
    from longhaul.spec.search_spec import SearchSpec


@click.command("search")
@space_argument
@click.option("--name", metavar="N", help="Name of the search.  [default: the space's]")
@click.option("--trials", type=click.IntRange(min=1), help="Number of trials.")
@click.option("--parallel", type=click.IntRange(min=1), help="Trials that run at once.")
@set_option
@storage_option
@tracking_option
@address_option
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
    as_json: bool,
) -> None:
    """Run a search over SPACE, a file or the name of a shipped space.

    A search that was interrupted goes on where it stopped; one that is complete shows its result.

    \b
    longhaul search copying-quickstart
    longhaul search copying-quickstart --name longer --set task.delay=200 --trials 32
    """
    from longhaul.cli.searching import run_and_report
    from longhaul.search.data import prepare_data
    from longhaul.search.driver import Place
    from longhaul.spec.search_spec import SearchSpec
    from longhaul.tracking.connection import check_address

    check_address(tracking_uri)
    limits = {"search.trials": trials, "search.parallel": parallel}
    given = tuple(f"{path}={value}" for path, value in limits.items() if value is not None)
    spec = SearchSpec.load(space, (*changes, *given), name)
    if address is None:  # a cluster's nodes have data of their own
        prepare_data(spec)
    ledger = _ledger(spec, storage, address)
    overrides = {"trials": spec.search.trials, "parallel": spec.search.parallel}
    run_and_report(ledger, Place(storage, tracking_uri, address), overrides, as_json, spec)


def _ledger(spec: "SearchSpec", storage: str, address: str | None) -> "Ledger":
    """The search's ledger, created where there is none yet.

    Raises:
        RequestError: another search has the name, or a trial fits nowhere.
    """
    from longhaul.errors import RequestError
    from longhaul.ledger import Ledger, UnknownSearchError
    from longhaul.search.driver import local_resources, search_environment
    from longhaul.search.fleet import check_resources
    from longhaul.spec.search_spec import SearchSpec
    from longhaul_trainers.errors import SettingError

    if address is None:
        check_resources(spec, local_resources())
    try:
        ledger = Ledger.open(storage, spec.name)
    except UnknownSearchError:
        try:
            environment = search_environment(spec)
        except SettingError as error:
            raise RequestError(str(error)) from error
        return Ledger.create(storage, spec.name, spec.to_yaml(), environment)
    recorded = SearchSpec.from_text(ledger.spec_text(), f"{spec.name}/spec.yaml", name=spec.name)
    if recorded.sha256 != spec.sha256:
        raise RequestError(
            f"there is another search called {spec.name} in {storage}: "
            f"{_difference(recorded, spec)}; give this one a name of its own: --name {spec.name}-2"
        )
    return ledger


def _difference(recorded: "SearchSpec", wanted: "SearchSpec") -> str:
    """The first line in which two specifications differ."""
    import difflib

    old, new = recorded.to_yaml().splitlines(), wanted.to_yaml().splitlines()
    lines = [line for line in difflib.ndiff(old, new) if line[0] in "-+"]
    was = next((line[1:].strip() for line in lines if line[0] == "-"), "nothing")
    now = next((line[1:].strip() for line in lines if line[0] == "+"), "nothing")
    return f"it has `{was}` where this one has `{now}`"
