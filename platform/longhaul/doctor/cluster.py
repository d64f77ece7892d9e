"""A Ray cluster: each of its nodes is asked what it has, what it sees and what time it is."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longhaul.doctor.finding import Finding, ok, problem, warning
from longhaul.doctor.storage import CLOCK, SKEW_S, probe_folder
from longhaul.errors import LonghaulError
from longhaul.ledger import open_storage

PART = "cluster"
PACKAGES = ("longhaul", "ray", "torch", "numpy")
"""What must be of one version everywhere: what nodes send each other, and what curves depend on."""
ANSWER_S = 60.0
"""Seconds in which a node must answer; starting a process on a busy one takes some."""
_KEY = "RAY_AUTH_MODE=token, and its token in RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token"


@dataclass(frozen=True)
class Node:
    """What one node tells of itself.

    Attributes:
        name: its address.
        python: version of the Python that runs trials.
        versions: of `PACKAGES`; None where one is missing.
        ahead_s: how far its clock is before ours, as far as that can be told.
        storage: None if it sees the storage and can write there; otherwise why not.
    """

    name: str
    python: str
    versions: Mapping[str, str | None]
    ahead_s: float
    storage: str | None


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
            probe.write("seen", b"seen")
            seen = probe.local_path("seen")
            nodes, silent = _asked(alive, None if seen is None else str(seen))
    except (LonghaulError, OSError) as error:
        yield problem(
            PART, f"the nodes were not asked, for the storage fails: {error}", "see above"
        )
        return
    for name in silent:
        message = f"node {name} does not answer within {ANSWER_S:.0f} s"
        yield problem(PART, message, "restart Ray on it, or take it out: ray stop")
    yield from compared(nodes, own_facts(), storage)


def compared(nodes: Sequence[Node], here: Node, storage: str) -> Iterator[Finding]:
    """How the nodes differ from this machine and what they cannot do."""
    for one in nodes:
        others = {"python": (one.python, here.python)} | {
            name: (one.versions.get(name), here.versions.get(name)) for name in PACKAGES
        }
        different = [
            f"{name} {theirs or 'missing'} (here: {ours or 'missing'})"
            for name, (theirs, ours) in others.items()
            if theirs != ours
        ]
        if different:
            fix = "install the same wheel and infra/constraints on every node"
            yield problem(PART, f"node {one.name} has {', '.join(different)}", fix)
        if one.storage is not None:
            message = f"node {one.name} cannot use the storage {storage}: {one.storage}"
            yield problem(PART, message, "name a folder that all nodes mount at the same place")
        if abs(one.ahead_s) > SKEW_S:
            message = f"the clock of node {one.name} is {one.ahead_s:+.1f} s off"
            yield warning(CLOCK, f"{message}; times of events will not fit", "run NTP on it")
    same = [one for one in nodes if one.python == here.python and one.versions == here.versions]
    if nodes and len(same) == len(nodes):
        yield ok(PART, f"{len(nodes)} nodes have the versions that are here")
    if nodes and all(one.storage is None for one in nodes):
        yield ok(PART, f"{len(nodes)} nodes write to the storage")


def own_facts() -> Node:
    """This machine, as a node would tell of itself."""
    told = _teller()(None)
    return Node("this machine", told["python"], told["versions"], 0.0, None)


def _asked(alive: Sequence[Mapping[str, Any]], seen: str | None) -> tuple[list[Node], list[str]]:
    """What the nodes tell, and the names of those that do not answer."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    tell = ray.remote(_teller())
    asked: dict[Any, str] = {}
    for one in alive:
        there = NodeAffinitySchedulingStrategy(one["NodeID"], soft=False)
        options = tell.options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        asked[options.remote(seen)] = one["NodeManagerAddress"]
    found: list[Node] = []
    silent: list[str] = []
    waiting = list(asked)
    deadline = time.monotonic() + ANSWER_S
    while waiting:
        done, waiting = ray.wait(waiting, timeout=max(0.0, deadline - time.monotonic()))
        if not done:
            return found, silent + [asked[one] for one in waiting]
        heard = time.time()
        try:
            told = ray.get(done[0])
        except RayError:
            silent.append(asked[done[0]])
            continue
        # It was read before the answer arrived: a clock that is behind by the way there is right.
        ahead = told["time"] - heard
        ahead = ahead if ahead > 0 or ahead < -SKEW_S else 0.0
        storage = None if seen is None else told["storage"]
        found.append(Node(asked[done[0]], told["python"], told["versions"], ahead, storage))
    return found, silent


def _teller() -> Callable[[str | None], dict[str, Any]]:
    """A function that travels as it is, so that a node without Longhaul can say so."""

    def tell(seen: str | None, packages: tuple[str, ...] = PACKAGES) -> dict[str, Any]:
        import platform
        from importlib.metadata import PackageNotFoundError, version

        versions: dict[str, str | None] = {}
        for name in packages:
            try:
                versions[name] = version(name)
            except PackageNotFoundError:
                versions[name] = None
        storage = None
        if seen is not None:
            try:
                if Path(seen).read_bytes() != b"seen":
                    storage = "it reads something else there"
                Path(f"{seen}-{os.getpid()}").write_bytes(b"written")
            except OSError as error:
                storage = f"{error.strerror}: {error.filename}"
        python = platform.python_version()
        return {"python": python, "versions": versions, "storage": storage, "time": time.time()}

    return tell
