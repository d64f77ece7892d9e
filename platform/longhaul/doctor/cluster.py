"""A Ray cluster: each of its nodes is asked what it has, what it sees and what time it is."""

from collections.abc import Iterator, Mapping, Sequence

from longhaul.cluster.nodes import ANSWER_S, SEEN, Node, ask_nodes
from longhaul.cluster.versions import differences, mend, told, versions_here
from longhaul.doctor.finding import Finding, ok, problem, warning
from longhaul.doctor.storage import CLOCK, SKEW_S, probe_folder
from longhaul.errors import LonghaulError
from longhaul.ledger import open_storage

PART = "cluster"
_KEY = "RAY_AUTH_MODE=token, and its token in RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token"


def check_cluster(address: str, storage: str) -> Iterator[Finding]:
    """Connects as a search does, and asks every node.

    Args:
        address: of the cluster, as for ``longhaul search --address``.
        storage: of the searches, which every node must see.
    """
    from longhaul.search.driver import connected_to_ray

    try:
        with connected_to_ray(address):
            yield from _connected(storage)
    except LonghaulError as error:
        fix = f"start the cluster, or correct --address; if it wants a token: {_KEY}"
        yield problem(PART, f"{address}: {str(error).splitlines()[0]}", fix)


def _connected(storage: str) -> Iterator[Finding]:
    # imported here: 3 s
    import ray

    resources = ray.cluster_resources()
    alive = [one for one in ray.nodes() if one["Alive"]]
    shown = f"{resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs"
    yield ok(PART, f"connected, token accepted; {len(alive)} nodes, {shown}")
    try:
        with probe_folder(open_storage(storage)) as probe:
            probe.write("seen", SEEN)
            seen = probe.local_path("seen")
            nodes, silent = ask_nodes(alive, seen)
    except (LonghaulError, OSError) as error:
        yield problem(
            PART, f"the nodes were not asked, for the storage fails: {error}", "see above"
        )
        return
    for name in silent:
        message = f"node {name} does not answer within {ANSWER_S:.0f} s"
        yield problem(PART, message, "restart Ray on it, or take it out: ray stop")
    yield from compared(nodes, versions_here(), None if seen is None else storage)


def compared(
    nodes: Sequence[Node], here: Mapping[str, str], storage: str | None
) -> Iterator[Finding]:
    """How the nodes differ from this machine and what they cannot do.

    Args:
        nodes: what they told.
        here: the versions of this machine.
        storage: what they were asked to write to, if they were.
    """
    for one in nodes:
        yield from _versions(one, here)
        if one.storage is not None:
            message = f"node {one.name} cannot use the storage {storage}: {one.storage}"
            yield problem(PART, message, "name a folder that all nodes mount at the same place")
        if abs(one.ahead_s) > SKEW_S:
            message = f"the clock of node {one.name} is {one.ahead_s:+.1f} s off"
            yield warning(CLOCK, f"{message}; times of events will not fit", "run NTP on it")
    if nodes and all(one.versions == here for one in nodes):
        yield ok(PART, f"{len(nodes)} nodes have the versions that are here")
    if nodes and storage is not None and all(one.storage is None for one in nodes):
        yield ok(PART, f"{len(nodes)} nodes write to the storage")


def _versions(node: Node, here: Mapping[str, str]) -> Iterator[Finding]:
    """A problem is what a search refuses; what it lets in may still change the last bits."""
    if node.versions is None:
        message = f"node {node.name} has no longhaul in Ray's Python"
        yield problem(PART, message, "install the same wheel there, or submit it: --wheel FILE")
    elif refused := differences(here, node.versions):
        yield problem(
            PART, f"this machine and node {node.name} differ: {told(refused)}", mend(refused)
        )
    elif node.versions != here:
        others = {
            name: (ours, node.versions[name])
            for name, ours in here.items()
            if node.versions[name] != ours
        }
        message = f"this machine and node {node.name} differ a little: {told(others)}"
        fix = "nothing, or give both the same: the last bits of curves may depend on it"
        yield warning(PART, message, fix)
