"""Loops recorded as CUDA graphs, with a stand-in that records on a CPU."""

import pytest
import torch

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.scans import elman, lstm, recorded, recorded_elman
from longhaul_trainers.scans.elman import elman_scan
from longhaul_trainers.scans.lstm import lstm_scan
from longhaul_trainers.scans.recorded import Recordings

STEPS = recorded.STEPS
CODED = ["identity", "leaky_relu", "modrelu", "relu", "tanh"]


class StandIn:
    """Records by remembering what to do; a graph would remember the launches and the pointers."""

    def __init__(self):
        self.recorded = self.replayed = 0

    def __call__(self, work, device):
        self.recorded += 1

        def replay():
            self.replayed += 1
            work()

        return replay


@pytest.fixture
def stand_in():
    return StandIn()


@pytest.fixture
def use(monkeypatch, stand_in):
    """Chooses the scan for tensors on the CPU: recorded, or written with torch."""
    made = Recordings(stand_in)

    def choose(which):
        found = made if which == "recorded" else None
        monkeypatch.setattr(elman, "compiled_elman", lambda *_: None)
        for module in (lstm, recorded_elman):
            monkeypatch.setattr(module, "recordings", lambda tensor: found)
        monkeypatch.setattr(lstm, "serves", lambda states: False)
        return made

    return choose


def drawn(*shapes, seed=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator).to(dtype) for shape in shapes]


def run_elman(name, slots, leaves, weights, precision="float32"):
    kind = NONLINEARITIES.get(name)
    generators = [torch.Generator().manual_seed(p) for p in slots]
    phi = kind(leaves[0].shape[-1], [kind.settings_type()] * len(slots), generators)
    W, z, initial = leaves
    mine = [one.clone().requires_grad_() for one in (W[slots], z[:, slots], initial[slots])]
    outputs = elman_scan(*mine, phi.to(W.dtype), precision)
    leaves = [*mine, *phi.parameters()]
    return outputs, *torch.autograd.grad(outputs, leaves, weights[:, slots])


def problem(steps, pack=2, batch=3, size=5, **how):
    shape = (steps, pack, batch, size)
    W, z, initial, weights = drawn((pack, size, size), shape, (pack, batch, size), shape, **how)
    return [W / size**0.5, z, initial], weights


@pytest.mark.parametrize("steps", [1, STEPS, 2 * STEPS + 5])
@pytest.mark.parametrize("name", CODED)
def test_elman(name, steps, use):
    leaves, weights = problem(steps)
    use("torch")
    wanted = run_elman(name, [0, 1], leaves, weights)
    use("recorded")
    for _ in range(2):  # once without a recording, once with
        for one, other in zip(run_elman(name, [0, 1], leaves, weights), wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_elman_in_bfloat16(use):
    leaves, weights = problem(3, dtype=torch.float32)
    use("torch")
    wanted = run_elman("tanh", [0, 1], leaves, weights, "bfloat16")
    use("recorded")
    ours = run_elman("tanh", [0, 1], leaves, weights, "bfloat16")
    for one, other in zip(ours, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_lstm(use):
    steps, pack, batch, size = STEPS + 3, 2, 3, 4
    shapes = [(pack, 4 * size, size), (steps, pack, batch, 4 * size)]
    leaves = drawn(*shapes, (pack, batch, size), (pack, batch, size))
    weights = drawn((steps, pack, batch, size), (pack, batch, size), seed=2)

    def run():
        mine = [one.clone().requires_grad_() for one in leaves]
        outputs = lstm_scan(*mine)
        return *outputs, *torch.autograd.grad(outputs, mine, weights)

    use("torch")
    wanted = run()
    use("recorded")
    for _ in range(2):
        for one, other in zip(run(), wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_bits_do_not_depend_on_the_pack(use):
    leaves, weights = problem(STEPS + 1, pack=4, batch=5, size=7, dtype=torch.float32)
    use("recorded")
    together = run_elman("modrelu", [0, 1, 2, 3], leaves, weights)
    alone = run_elman("modrelu", [2], leaves, weights)
    for which, (one, many) in enumerate(zip(alone, together, strict=True)):
        axis = 1 if which in (0, 2) else 0
        assert torch.equal(one.select(axis, 0), many.select(axis, 2))


def test_a_recording_is_made_once_and_serves_other_numbers(use, stand_in):
    use("recorded")
    for seed in range(3):
        leaves, weights = problem(4 * STEPS, seed=seed)
        ours = run_elman("tanh", [0, 1], leaves, weights)
        use("torch")
        wanted = run_elman("tanh", [0, 1], leaves, weights)
        use("recorded")
        for one, other in zip(ours, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert stand_in.recorded == 2, "forward and backward"
    assert stand_in.replayed == 2 * (3 * 4 - 1), "all parts but the first of either"


def test_two_scans_may_wait_for_their_backward_pass(use):
    made = use("recorded")
    first, weights = problem(3, seed=1)
    second, _ = problem(3, seed=2)
    kind = NONLINEARITIES.get("tanh")
    phi = kind(5, [kind.settings_type()] * 2, [torch.Generator()] * 2)
    mine = [[one.requires_grad_() for one in leaves] for leaves in (first, second)]
    outputs = [elman_scan(*leaves, phi) for leaves in mine]
    both = [torch.autograd.grad(out, of, weights) for out, of in zip(outputs, mine, strict=True)]
    use("torch")
    for leaves, found in zip(mine, both, strict=True):
        wanted = torch.autograd.grad(elman_scan(*leaves, phi), leaves, weights)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert len(made) == 2


def test_only_those_used_last_are_kept(stand_in):
    made = Recordings(stand_in)
    for size in [*range(1, recorded.MOST + 3), 1]:
        ones = torch.ones(1, size)
        made.run("add", lambda read, written: written.add_(read), (ones,), (ones.clone(),))
    assert len(made) == recorded.MOST


def test_slots_are_aligned_alike():
    buffer = recorded._aligned_slots(torch.zeros(3, 5, 7))
    assert buffer.shape == (3, 5, 7)
    assert {slot.data_ptr() % 512 for slot in buffer} == {buffer.data_ptr() % 512}
    assert all(slot.is_contiguous() for slot in buffer)


def test_nothing_is_recorded_on_a_cpu():
    assert recorded.recordings(torch.zeros(1)) is None
