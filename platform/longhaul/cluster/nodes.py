"""The nodes of the cluster that this process is connected to: asked what they have and see."""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longhaul.cluster.versions import differences, refuse_differences, versions_here
from longhaul.errors import RequestError
from longhaul.spec.search_spec import SearchSpec

TRAINING_ON = "training on"
"""How the line begins that says so; a machine that submitted the search waits for it."""
ANSWER_S = 60.0
"""Seconds in which a node must answer; starting a process on a busy one takes some."""
SEEN = b"seen"
"""What a node must read in the file that it is asked to look for."""
_SHOWN = 5


@dataclass(frozen=True)
class Node:
    """What one node tells of itself.

    Attributes:
        name: of the machine, with the node's address.
        versions: as `versions_here` tells them; None without Longhaul.
        ahead_s: how far its clock is before ours, but for the time that its answer was on the way.
        storage: why it does not see the storage or cannot write there; None if it can, or was not
            asked.
    """

    name: str
    versions: Mapping[str, str] | None
    ahead_s: float = 0.0
    storage: str | None = None


def check_nodes(spec: SearchSpec) -> str:
    """Looks at every node that a search can train on, before anything is trained.

    A node that does not answer is left out: it is about to be given up by Ray. One that joins later
    must have the versions that Ray's own check lets in.

    Args:
        spec: what one trial occupies tells which nodes will train.

    Returns:
        A line for the user: what there is to train on.

    Raises:
        RequestError: a node has other versions than the driver, or no Longhaul.
    """
    nodes = _training(spec)
    answered, _ = ask_nodes(nodes)
    ours = versions_here()
    without = [one.name for one in answered if one.versions is None]
    if without:
        raise RequestError(
            f"{_listed('node', without)} without longhaul in Ray's Python: install "
            f"longhaul {ours['longhaul'].partition(' ')[0]} there, or submit its wheel to all "
            "nodes: longhaul submit ... --wheel FILE"
        )
    others = {one.name: one.versions for one in answered if differences(ours, one.versions or {})}
    if others:
        theirs = next(iter(others.values())) or {}
        refuse_differences(ours, theirs, "the driver", _listed("node", list(others)))
    cpus, gpus = (sum(one["Resources"].get(kind, 0) for one in nodes) for kind in ("CPU", "GPU"))
    plural = "" if len(nodes) == 1 else "s"
    return f"{TRAINING_ON} {len(nodes)} node{plural}: {cpus:g} CPU, {gpus:g} GPU"


def ask_nodes(
    nodes: Iterable[Mapping[str, Any]], seen: Path | None = None
) -> tuple[list[Node], list[str]]:
    """Asks nodes, all at once, what they have and see.

    Args:
        nodes: those of ``ray.nodes()`` that live.
        seen: a file in the storage that holds `SEEN`; each node reads it, and writes one beside it.

    Returns:
        What the nodes tell, and the names of those that are silent.
    """
    # imported here: Ray is running by now
    import ray
    from ray.exceptions import RayError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    tell = ray.remote(_teller())
    asked: dict[Any, str] = {}
    for one in nodes:
        there = NodeAffinitySchedulingStrategy(one["NodeID"], soft=False)
        options = tell.options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        answer = options.remote(None if seen is None else str(seen))
        asked[answer] = f"{one['NodeManagerHostname']} ({one['NodeManagerAddress']})"
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
        except RayTaskError:
            raise  # it was asked something that it cannot do: our mistake
        except RayError:
            silent.append(asked[done[0]])
            continue
        ahead_s = told["time"] - heard
        found.append(Node(asked[done[0]], told["versions"], ahead_s, told["storage"]))
    return found, silent


def _teller() -> Callable[[str | None], dict[str, Any]]:
    """A function that travels as it is, so that a node without Longhaul can say so."""

    def tell(seen: str | None, content: bytes = SEEN) -> dict[str, Any]:
        versions = storage = None
        try:
            from longhaul.cluster.versions import versions_here

            versions = versions_here()
        except ModuleNotFoundError as error:
            if not str(error.name).startswith("longhaul"):
                raise
        if seen is not None:
            try:
                if Path(seen).read_bytes() != content:
                    storage = "it reads something else there"
                Path(f"{seen}-{os.getpid()}").write_bytes(b"written")
            except OSError as error:
                storage = f"{error.strerror}: {error.filename}"
        return {"versions": versions, "storage": storage, "time": time.time()}

    return tell


def _training(spec: SearchSpec) -> list[dict[str, Any]]:
    # imported here: Ray is running by now
    import ray

    asked = (("CPU", spec.resources.cpus), ("GPU", spec.resources.gpus))
    return [
        one
        for one in ray.nodes()
        if one["Alive"] and all(one["Resources"].get(kind, 0) >= need for kind, need in asked)
    ]


def _listed(what: str, names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"{what}{'' if len(names) == 1 else 's'} {shown}"
