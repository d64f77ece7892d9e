"""Scans and packs on a CUDA device: values, gradients, and equal bits alone and in a pack.

Collected by ``make test-gpu``. The same kernels run in Triton's interpreter in test_fused_scan.py
and test_fused_elementwise.py, on any machine.
"""

import pytest
import torch

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.scans.diagonal import diagonal_scan
from longhaul_trainers.scans.elman import elman_scan
from longhaul_trainers.scans.fused.elman import Leak, fused_elman
from longhaul_trainers.scans.leaky import leaky_scan
from longhaul_trainers.scans.linear import linear_scan, pair_scan
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig

DEVICE = "cuda"
FUSED = ["identity", "leaky_relu", "modrelu", "relu", "tanh"]
# T, P, B, H: usual, unfilled tiles, many rows, wide, and wider than is fused
SHAPES = [(50, 3, 20, 64), (7, 2, 5, 19), (20, 4, 1100, 128), (10, 2, 33, 256), (40, 2, 8, 300)]

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


class Problem:
    """Random tensors of a scan on the CPU; ``run`` scans some of the slots wherever it is told."""

    def __init__(self, scan, shape):
        steps, pack, batch, size = shape
        drawn = torch.Generator().manual_seed(1)

        def normal(*shape):
            return torch.randn(*shape, generator=drawn)

        self.scan, self.size = scan, size
        self.inputs, self.weights = normal(*shape), normal(*shape) / steps
        self.of_slots = {"initial": normal(pack, batch, size)}
        if scan is diagonal_scan:
            self.of_slots["recurrent"] = 0.9 * torch.tanh(normal(pack, size))
        else:
            self.of_slots["recurrent"] = torch.linalg.qr(normal(pack, size, size)).Q
        if scan is leaky_scan:
            self.of_slots["gain"] = torch.sigmoid(normal(pack))
            self.of_slots["keep"] = 1 - self.of_slots["gain"]
            self.of_slots["linear"] = normal(pack, size, size) / (20 * size)

    def phi(self, name, slots, dtype=torch.float32, device=DEVICE):
        kind = NONLINEARITIES.get(name)
        generators = [torch.Generator().manual_seed(p) for p in slots]
        return kind(self.size, [kind.settings_type()] * len(slots), generators).to(device, dtype)

    def run(self, name, slots, dtype=torch.float32, device=DEVICE, **options):
        """Outputs and gradients, each with the slots first, on the CPU."""
        given = {key: tensor[slots] for key, tensor in self.of_slots.items()}
        given["inputs"] = self.inputs[:, slots]
        mine = {key: one.to(device, dtype).requires_grad_() for key, one in given.items()}
        phi = self.phi(name, slots, dtype, device)
        outputs = self.scan(**mine, phi=phi, **options)
        leaves = [*mine.values(), *phi.parameters()]
        weights = self.weights[:, slots].to(device, dtype)
        gradients = torch.autograd.grad(outputs, leaves, weights)
        found = dict(zip([*mine, "phi"], gradients, strict=False)) | {"outputs": outputs}
        for key in ("inputs", "outputs"):
            found[key] = found[key].transpose(0, 1)
        return {key: tensor.detach().cpu() for key, tensor in found.items()}


SCANS = [elman_scan, leaky_scan, diagonal_scan]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scan", SCANS)
def test_equals_float64_on_the_cpu(scan, shape):
    problem = Problem(scan, shape)
    slots = list(range(shape[1]))
    ours = problem.run("tanh", slots)
    exact = problem.run("tanh", slots, torch.float64, "cpu")
    for key, one in ours.items():
        bound = 1e-4 * exact[key].abs().max()
        assert (one.double() - exact[key]).abs().max() < bound, key


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("scan", SCANS)
def test_every_nonlinearity(scan, name):
    problem = Problem(scan, (5, 3, 20, 64))
    ours = problem.run(name, [0, 1, 2])
    exact = problem.run(name, [0, 1, 2], torch.float64, "cpu")
    for key, one in ours.items():
        bound = 1e-4 * exact[key].abs().max()
        assert (one.double() - exact[key]).abs().max() < bound, key


@pytest.mark.parametrize("scan", [elman_scan, leaky_scan])
def test_bfloat16_is_as_coarse_as_on_the_cpu(scan):
    problem = Problem(scan, (20, 2, 20, 128))
    ours = problem.run("tanh", [0, 1], precision="bfloat16")
    wanted = problem.run("tanh", [0, 1], device="cpu", precision="bfloat16")
    exact = problem.run("tanh", [0, 1], torch.float64, "cpu")
    for key, one in ours.items():
        spread = (wanted[key] - exact[key]).abs().max()
        assert (one - wanted[key]).abs().max() <= spread, key
        assert not torch.equal(one, exact[key].float())


@pytest.mark.parametrize("shape", [(50, 16, 20, 64), (7, 16, 5, 19), (20, 16, 300, 128)])
@pytest.mark.parametrize(
    ("scan", "options"),
    [
        (elman_scan, {}),
        (elman_scan, {"precision": "bfloat16"}),
        (leaky_scan, {}),
        (leaky_scan, {"precision": "bfloat16"}),
        (diagonal_scan, {}),
    ],
)
def test_bits_alone_in_a_pack_of_4_and_of_16_in_another_slot(scan, options, shape):
    problem = Problem(scan, shape)
    many = problem.run("modrelu", list(range(16)), **options)
    four = problem.run("modrelu", [3, 9, 0, 12], **options)
    for p, place in ((9, 1), (12, 3)):
        alone = problem.run("modrelu", [p], **options)
        for key, one in alone.items():
            assert torch.equal(one[0], many[key][p]), key
            assert torch.equal(one[0], four[key][place]), key


def test_bits_of_wide_cells_too():
    problem = Problem(elman_scan, (40, 4, 8, 300))
    many = problem.run("tanh", [0, 1, 2, 3])
    alone = problem.run("tanh", [2])
    for key, one in alone.items():
        assert torch.equal(one[0], many[key][2]), key


def test_nan_in_one_slot_leaves_the_others_alone():
    problem = Problem(leaky_scan, (10, 3, 20, 64))
    clean = problem.run("relu", [0, 1, 2])
    problem.of_slots["recurrent"][1, 0, 0] = float("nan")
    dirty = problem.run("relu", [0, 1, 2])
    assert dirty["outputs"][1].isnan().any()
    for key, one in clean.items():
        assert torch.equal(one[[0, 2]], dirty[key][[0, 2]]), key


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("pair", [False, True])
def test_linear_scans(pair, shared):
    steps, pack, batch, units = 30, 4, 20, 70
    drawn = torch.Generator().manual_seed(1)
    over = [pack] if shared else [steps, pack, batch]
    unit, entry = ([2, units], [2, 2, units]) if pair else ([units], [units])
    shapes = [[*over, *entry], [steps, pack, batch, *unit], [pack, batch, *unit]]
    given = [torch.randn(*shape, generator=drawn) / 2 for shape in shapes]
    weights = torch.randn(*shapes[1], generator=drawn)

    def run(slots, dtype, device, order):
        axes = [0 if shared else 1, 1, 0]
        mine = [
            one.index_select(axis, torch.tensor(slots)).to(device, dtype).requires_grad_()
            for one, axis in zip(given, axes, strict=True)
        ]
        outputs = (pair_scan if pair else linear_scan)(*mine, order=order)
        found = torch.autograd.grad(outputs, mine, weights[:, slots].to(device, dtype))
        return [one.detach().cpu().movedim(axis, 0) for one, axis in zip(found, axes, strict=True)]

    slots = list(range(pack))
    ours = run(slots, torch.float32, DEVICE, "fused")
    for one, exact in zip(ours, run(slots, torch.float64, "cpu", "loop"), strict=True):
        torch.testing.assert_close(one.double(), exact, rtol=1e-4, atol=1e-4)
    for one, many in zip(run([2], torch.float32, DEVICE, "fused"), ours, strict=True):
        assert torch.equal(one[0], many[2])


def test_the_fused_scans_are_what_runs():
    problem = Problem(elman_scan, (2, 1, 3, 64))
    phi, states = problem.phi("tanh", [0]), torch.zeros(1, 3, 3, 64, device=DEVICE)
    leak = Leak(torch.ones(1, device=DEVICE), None, None)
    assert fused_elman(phi, states, "float32") is not None
    assert fused_elman(phi, states, "bfloat16", leak) is not None


def trial(cell, seed, precision):
    return TrialConfig.parse(
        {
            "cell": {"name": cell, "hidden_size": 32},
            "task": {"name": "copying", "delay": 20},
            "training": {
                "steps": 25,
                "batch_size": 8,
                "validation_size": 8,
                "precision": precision,
                "optimizer": {"name": "rmsprop", "learning_rate": 1e-3},
            },
            "seed": seed,
        }
    )


def trained(cell, seeds, precision):
    pack = Pack([trial(cell, seed, precision) for seed in seeds], DEVICE)
    for _ in range(25):
        pack.train_step()
    return {name: tensor.cpu() for name, tensor in pack.model.state_dict().items()}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("cell", ["exprnn", "nnrnn", "ornn", "spectral_margin", "lstm", "gru"])
def test_a_trial_learns_the_same_bits_alone_and_in_packs(cell, precision):
    many = trained(cell, list(range(16)), precision)
    four = trained(cell, [7, 1, 11, 3], precision)
    alone = trained(cell, [11], precision)
    for name, one in alone.items():
        assert torch.equal(one[0], many[name][11]), name
        assert torch.equal(one[0], four[name][2]), name
