"""``longhaul submit``: has a cluster run a search."""

import click

from longhaul.cli.options import (
    cluster_option,
    given,
    json_option,
    limit_changes,
    set_option,
    space_argument,
    storage_option,
    tracking_option,
    wheel_options,
)


@click.command("submit")
@space_argument
@cluster_option
@click.option("--name", metavar="N", help="Name of the search.  [default: the space's]")
@click.option("--trials", type=click.IntRange(min=1), help="Number of trials.")
@click.option("--parallel", type=click.IntRange(min=1), help="Trials that run at once.")
@set_option
@storage_option
@tracking_option
@wheel_options
@click.option("--no-wait", is_flag=True, help="Leave before the cluster has looked at it.")
@json_option
def submit_command(
    space: str,
    cluster: str | None,
    name: str | None,
    trials: int | None,
    parallel: int | None,
    changes: tuple[str, ...],
    storage: str,
    tracking_uri: str,
    wheel: str | None,
    packages: tuple[str, ...],
    no_wait: bool,
    as_json: bool,
) -> None:
    """Have a running Ray cluster search SPACE, a file or the name of a shipped space.

    The space is resolved here; only the result goes to the cluster, where the search goes on
    whatever becomes of this machine. Storage and tracking are the cluster's own, unless they are
    given here. A search that the cluster runs already is joined.

    \b
    longhaul submit copying-quickstart --cluster http://HEAD:8265
    longhaul status copying-quickstart --cluster http://HEAD:8265
    longhaul logs -f copying-quickstart --cluster http://HEAD:8265
    """
    from longhaul.cli.on_cluster import needed, submit_there, wishes
    from longhaul.errors import RequestError
    from longhaul.spec.search_spec import SearchSpec
    from longhaul.spec.suite import is_suite

    address = needed(cluster)
    if is_suite(space):
        raise RequestError(
            f"{space} is a suite, and only its searches can be submitted, one by one; run a whole "
            "suite on a node of the cluster: longhaul search SUITE --address auto"
        )
    spec = SearchSpec.load(space, (*changes, *limit_changes(trials, parallel)), name)
    wanted = wishes(given("storage"), given("tracking_uri"), wheel, packages)
    submit_there(address, spec, wanted, wait=not no_wait, as_json=as_json)
