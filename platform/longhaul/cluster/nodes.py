"""Whether the nodes that will train have what the driver has; before anything is trained."""

from typing import Any

from longhaul.cluster.versions import differences, refuse_differences, versions_here
from longhaul.errors import RequestError
from longhaul.spec.search_spec import SearchSpec

TRAINING_ON = "training on"
"""How the line begins that says so; a machine that submitted the search waits for it."""
PATIENCE_S = 60.0
_SHOWN = 5


def check_nodes(spec: SearchSpec) -> str:
    """Looks at every node of the cluster that this process is connected to.

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
    found = _versions_on(nodes)
    ours = versions_here()
    without = [name for name, versions in found.items() if versions is None]
    if without:
        raise RequestError(
            f"{_listed('node', without)} without longhaul in Ray's Python: install "
            f"longhaul {ours['longhaul'].partition(' ')[0]} there, or submit its wheel to all "
            "nodes: longhaul submit ... --wheel FILE"
        )
    others = {name: one for name, one in found.items() if one and differences(ours, one)}
    if others:
        theirs = next(iter(others.values()))
        refuse_differences(ours, theirs, "the driver", _listed("node", list(others)))
    cpus, gpus = (sum(one["Resources"].get(kind, 0) for one in nodes) for kind in ("CPU", "GPU"))
    plural = "" if len(nodes) == 1 else "s"
    return f"{TRAINING_ON} {len(nodes)} node{plural}: {cpus:g} CPU, {gpus:g} GPU"


def _training(spec: SearchSpec) -> list[dict[str, Any]]:
    # imported here: Ray is running by now
    import ray

    asked = (("CPU", spec.resources.cpus), ("GPU", spec.resources.gpus))
    return [
        one
        for one in ray.nodes()
        if one["Alive"] and all(one["Resources"].get(kind, 0) >= need for kind, need in asked)
    ]


def _versions_on(nodes: list[dict[str, Any]]) -> dict[str, dict[str, str] | None]:
    """By name of a node that answers: its versions, None where there is no Longhaul."""
    import ray
    from ray.exceptions import RayError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    told: dict[Any, str] = {}
    for one in nodes:
        here = NodeAffinitySchedulingStrategy(one["NodeID"], soft=False)
        asked = ray.remote(versions_here).options(
            num_cpus=0, scheduling_strategy=here, max_retries=0
        )
        told[asked.remote()] = f"{one['NodeManagerHostname']} ({one['NodeManagerAddress']})"
    ready, _ = ray.wait(list(told), num_returns=len(told), timeout=PATIENCE_S) if told else ([], [])
    found: dict[str, dict[str, str] | None] = {}
    for answer in ready:
        try:
            found[told[answer]] = ray.get(answer)
        except RayTaskError as error:
            if "No module named 'longhaul" not in str(error):
                raise
            found[told[answer]] = None
        except RayError:
            continue  # the node is going, or gone
    return found


def _listed(what: str, names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"{what}{'' if len(names) == 1 else 's'} {shown}"
