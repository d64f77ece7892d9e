"""How many trials run at once, and the processes in which they train."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from longhaul.errors import RequestError
from longhaul.spec.holes import fill
from longhaul.spec.search_spec import SearchSpec

LIGHT_BYTES = 200 * 2**20
"""Memory of a trial's process that trains nothing itself, as measured."""
SPARE_THREADS = 4
"""Threads of a host beside those that wait for each trial's news."""


@dataclass(frozen=True)
class Fleet:
    """What is to be started for a search.

    Attributes:
        parallel: trials that run at once, as long as nobody changes that.
        room: trials that find a place at once.
        hosts: processes in whose packs they train; 0: each trains in its own.
        slots: trials that each host takes.
        cpus, gpus: what a host occupies, or a trial where there is none.
        threads, device: what a host computes with.
    """

    parallel: int
    room: int
    hosts: int
    slots: int
    cpus: float
    gpus: float
    threads: int
    device: str

    @property
    def trial_resources(self) -> dict[str, float]:
        """What a trial's own process occupies, for Tune."""
        if self.hosts:
            return {"cpu": 0, "gpu": 0, "memory": LIGHT_BYTES}
        return {"cpu": self.cpus, "gpu": self.gpus}

    def start(self, deadline_s: float | None = None) -> tuple[Any, ...]:
        """Starts the hosts and gives their handles; they end with this process.

        Args:
            deadline_s: how long one step of a pack may take; None: for ever.
        """
        if not self.hosts:
            return ()
        # imported here: Ray is running by now
        import ray

        from longhaul.search.host_actor import PackHostActor

        actor = ray.remote(PackHostActor).options(
            num_cpus=self.cpus,
            num_gpus=self.gpus,
            max_restarts=-1,
            max_concurrency=2 * self.slots + SPARE_THREADS,
        )
        settings = self.device, self.threads, deadline_s
        return tuple(actor.remote(*settings) for _ in range(self.hosts))


def plan(
    spec: SearchSpec, parallel: int | None, remaining: int, threads: int, device: str
) -> Fleet:
    """The fleet for a search, on the cluster that this process is connected to.

    Args:
        spec: its resources count.
        parallel: trials that are to run at once; None: as many as the resources allow.
        remaining: trials that are still to run.
        threads: threads for the arithmetic of a host, or of a trial.
        device: what they compute on.

    Raises:
        RequestError: the resources do not exist.
    """
    # imported here: Ray is running by now
    import ray

    available = ray.cluster_resources()
    check_resources(spec, available)
    asked, places = spec.resources, places_for(spec, available)
    slots = _slots(spec, min(parallel or remaining, remaining))
    if spec.search.order == "number":
        _check_window(spec, parallel, remaining, places * slots)
    wanted = max(1, min(parallel or places * slots, remaining))
    if slots == 1:
        return Fleet(wanted, places, 0, 1, asked.cpus, asked.gpus, threads, device)
    hosts = min(places, -(-wanted // slots))
    room = max(1, int(available.get("memory", 0) // LIGHT_BYTES))
    room = min(hosts * slots, room)
    return Fleet(min(wanted, room), room, hosts, slots, asked.cpus, asked.gpus, threads, device)


def check_resources(spec: SearchSpec, available: Mapping[str, float]) -> None:
    """Refuses a trial that could never be placed.

    Raises:
        RequestError: with what was asked for and what there is.
    """
    asked = {"CPU": spec.resources.cpus, "GPU": spec.resources.gpus}
    for kind, amount in asked.items():
        if amount > available.get(kind, 0):
            raise RequestError(
                f"resources: a trial asks for {amount:g} {kind}, but there are "
                f"{available.get(kind, 0):g}; lower resources.{kind.lower()}s"
            )


def _check_window(spec: SearchSpec, parallel: int | None, remaining: int, room: int) -> None:
    """Trials that wait for each other must run at once, as many as when the search began."""
    window = spec.search.parallel
    if parallel != window:
        raise RequestError(
            f"search.order: number was begun with search.parallel: {window}, which decides what "
            f"is suggested; found {parallel}"
        )
    wanted = min(parallel or 1, remaining)
    if wanted > room:
        raise RequestError(
            f"search.order: number needs {wanted} trials at once, as search.parallel says, but "
            f"there is room for {room}; lower resources.cpus, or search.parallel in a new search"
        )


def local_resources() -> dict[str, float]:
    """CPUs that this process may use, and GPUs."""
    # imported here: 2 s
    import torch

    return {"CPU": len(os.sched_getaffinity(0)), "GPU": torch.cuda.device_count()}


def places_for(spec: SearchSpec, available: Mapping[str, float]) -> int:
    """How many hosts, or trials by themselves, find room at once."""
    asked = (("CPU", spec.resources.cpus), ("GPU", spec.resources.gpus))
    return max(1, min(int(available.get(k, 0) / amount) for k, amount in asked if amount > 0))


def _slots(spec: SearchSpec, limit: int) -> int:
    slots = spec.resources.slots
    if slots != "auto":
        return slots
    if spec.resources.gpus == 0:
        return 1  # on a CPU a pack is a loop over its slots
    # imported here: Ray is running by now
    import ray

    measured = ray.remote(_measured_slots).options(
        num_cpus=spec.resources.cpus, num_gpus=spec.resources.gpus
    )
    share = min(1.0, spec.resources.gpus)
    return int(ray.get(measured.remote(spec.to_yaml(), share, limit)))


def _measured_slots(text: str, share: float, limit: int) -> int:
    """In a process of its own, on the device that a host will have."""
    from longhaul.spec.validation import first_answer
    from longhaul_trainers.training.pack_size import measured_pack_size
    from longhaul_trainers.training.settings import TrialConfig

    tree = SearchSpec.from_text(text, "spec.yaml").tree
    first = TrialConfig.parse(fill(tree, partial(first_answer, {})))
    return measured_pack_size(first, "cuda", share, limit)
