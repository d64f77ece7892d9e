"""The Triton scans, run on a CPU by Triton's interpreter, against those written with torch.

The interpreter computes what the kernels say, in float64 too; how they behave on a device, the
tests marked ``gpu`` in test_on_gpu.py show.
"""

from dataclasses import replace

import pytest
import torch

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.scans.elman import elman_scan
from longhaul_trainers.scans.fused import elman as fused
from longhaul_trainers.scans.fused import library
from longhaul_trainers.scans.leaky import leaky_scan
from longhaul_trainers.scans.native import elman as native

pytest.importorskip("triton", reason="Triton is not installed (it is for Linux alone)")

pytestmark = pytest.mark.usefixtures("interpreted")

FUSED = ["identity", "leaky_relu", "modrelu", "relu", "tanh"]
ROUNDING = {torch.float64: 1e-12, torch.float32: 2e-5}


@pytest.fixture
def use(monkeypatch):
    """Chooses the scan for tensors on the CPU: fused, or written with torch."""

    def choose(which):
        monkeypatch.setattr(native, "serves", lambda states: False)
        monkeypatch.setattr(fused, "serves", lambda states: which == "fused")

    return choose


def nonlinearity(name, slots, size, dtype):
    kind = NONLINEARITIES.get(name)
    generators = [torch.Generator().manual_seed(p) for p in slots]
    return kind(size, [kind.settings_type()] * len(slots), generators).to(dtype)


@pytest.fixture
def tensor_cores(monkeypatch):
    """Rounds and multiplies bfloat16 as a device does.

    Triton's interpreter (3.7) keeps such numbers as integers, truncates instead of rounding, and
    multiplies the integers.
    """
    from triton.language import bfloat16, float32
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    cast, dot = InterpreterBuilder.cast_impl, InterpreterBuilder.create_dot

    def rounded(self, source, kind):
        if kind.scalar != bfloat16:
            return cast(self, source, kind)
        bits = torch.from_numpy(source.data).bfloat16().view(torch.int16).numpy()
        return TensorHandle(bits.view("uint16"), kind.scalar)

    def multiplied(self, *factors_and_total):
        widened = [
            TensorHandle((one.data.astype("uint32") << 16).view("float32"), float32)
            for one in factors_and_total[:2]
        ]
        return dot(self, *widened, *factors_and_total[2:])

    monkeypatch.setattr(InterpreterBuilder, "cast_impl", rounded)
    monkeypatch.setattr(InterpreterBuilder, "create_fp_trunc", rounded)
    monkeypatch.setattr(InterpreterBuilder, "create_dot", multiplied)


class Problem:
    """Random tensors of a scan; ``run`` scans some of the slots."""

    def __init__(self, shape, dtype, *, keep=True, linear=True):
        steps, pack, batch, size = shape
        drawn = torch.Generator().manual_seed(1)

        def normal(*shape):
            return torch.randn(*shape, generator=drawn).to(dtype)

        self.size, self.dtype, self.slots = size, dtype, list(range(pack))
        self.leaves = {
            "recurrent": normal(pack, size, size) / size**0.5,
            "inputs": normal(steps, pack, batch, size),
            "initial": normal(pack, batch, size),
        }
        self.weights = normal(steps, pack, batch, size)
        self.leak = {"gain": normal(pack).abs()}
        if keep:
            self.leak["keep"] = 1 - normal(pack).abs() / 4
        if linear:
            self.leak["linear"] = normal(pack, size, size) / size

    def run(self, name, slots=None, *, leaky=False, precision="float32"):
        """Outputs and gradients by name, each with the slots first."""
        slots = self.slots if slots is None else slots
        given = self.leaves | (self.leak if leaky else {})
        mine = {key: self._of(key, tensor, slots).requires_grad_() for key, tensor in given.items()}
        phi = nonlinearity(name, slots, self.size, self.dtype)
        scan = leaky_scan if leaky else elman_scan
        outputs = scan(**mine, phi=phi, precision=precision)
        leaves = [*mine.values(), *phi.parameters()]
        gradients = torch.autograd.grad(outputs, leaves, self.weights[:, slots])
        found = dict(zip([*mine, "phi"], gradients, strict=False)) | {"outputs": outputs}
        for key in ("inputs", "outputs"):
            found[key] = found[key].transpose(0, 1)
        return found

    @staticmethod
    def _of(key, tensor, slots):
        return (tensor[:, slots] if key == "inputs" else tensor[slots]).clone()


def assert_close(ours, wanted, rtol):
    assert ours.keys() == wanted.keys()
    for key, one in ours.items():
        torch.testing.assert_close(one, wanted[key], rtol=rtol, atol=10 * rtol, msg=key)


# T, P, B, H: rows and units that do not fill a tile, several of either, one of all
@pytest.mark.parametrize("shape", [(2, 2, 5, 3), (1, 1, 1, 1), (2, 1, 33, 2), (2, 1, 2, 19)])
def test_odd_shapes(shape, use):
    problem = Problem(shape, torch.float64)
    for leaky in (False, True):
        use("torch")
        wanted = problem.run("tanh", leaky=leaky)
        use("fused")
        assert_close(problem.run("tanh", leaky=leaky), wanted, ROUNDING[torch.float64])


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("name", FUSED)
def test_every_nonlinearity_plain_and_leaky(name, dtype, use):
    problem = Problem((2, 2, 3, 3), dtype)
    for leaky in (False, True):
        use("torch")
        wanted = problem.run(name, leaky=leaky)
        use("fused")
        assert_close(problem.run(name, leaky=leaky), wanted, ROUNDING[dtype])


@pytest.mark.parametrize(("keep", "linear"), [(False, False), (True, False), (False, True)])
def test_what_a_leak_lacks(keep, linear, use):
    problem = Problem((3, 1, 2, 3), torch.float64, keep=keep, linear=linear)
    use("torch")
    wanted = problem.run("tanh", leaky=True)
    use("fused")
    assert_close(problem.run("tanh", leaky=True), wanted, ROUNDING[torch.float64])


@pytest.mark.parametrize("leaky", [False, True])
def test_factors_rounded_to_bfloat16(leaky, use, tensor_cores):
    problem = Problem((3, 2, 3, 5), torch.float32)
    use("torch")
    exact = problem.run("tanh", leaky=leaky)
    wanted = problem.run("tanh", leaky=leaky, precision="bfloat16")
    use("fused")
    ours = problem.run("tanh", leaky=leaky, precision="bfloat16")
    # A sum's last bit may make a factor round to the other side, by 2^-8 of itself.
    assert_close(ours, wanted, 2e-3)
    assert not torch.equal(ours["outputs"], exact["outputs"])
    torch.testing.assert_close(ours["outputs"][:, 0], wanted["outputs"][:, 0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_bits_do_not_depend_on_the_pack(precision, use, tensor_cores, monkeypatch):
    problem = Problem((2, 4, 5, 3), torch.float32)
    use("fused")
    # Other tiles for a pack than for a trial alone, as on a device that a pack fills.
    monkeypatch.setattr(fused, "_multiprocessors", lambda tensor: 5 / fused.MANY_ROWS + 0.1)
    together = problem.run("modrelu", leaky=True, precision=precision)
    for p in (0, 3):
        alone = problem.run("modrelu", [p], leaky=True, precision=precision)
        for key, one in alone.items():
            assert torch.equal(one[0], together[key][p]), key


def test_nan_in_one_slot_leaves_the_others_alone(use):
    problem = Problem((2, 3, 2, 3), torch.float32)
    use("fused")
    clean = problem.run("relu", leaky=True)
    problem.leaves["recurrent"][1, 0, 0] = float("nan")
    dirty = problem.run("relu", leaky=True)
    assert dirty["outputs"][1].isnan().any()
    for key, one in clean.items():
        assert torch.equal(one[0], dirty[key][0]), key
        assert torch.equal(one[2], dirty[key][2]), key


# Of the branch that is not taken.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_tanh_is_accurate_near_0_and_far_from_it(use):
    z = torch.cat([torch.logspace(-20, 1.5, 200), torch.tensor([0.624999, 0.625, 100.0])])
    z = torch.cat([z, -z, torch.tensor([0.0, float("inf")])]).reshape(1, 1, 1, -1)
    states = torch.zeros(1, 2, 1, z.shape[-1])
    scan = fused.FusedElman(1, torch.zeros(1, z.shape[-1]))
    scan.forward(torch.zeros(1, z.shape[-1], z.shape[-1]), z, states)
    exact = z.double().tanh()
    spacing = torch.finfo(torch.float32).eps * exact.abs().clamp(min=1e-37)
    assert ((states[:, 1].double() - exact[:, 0]).abs() / spacing).max() < 3


def test_which_scans_are_fused(monkeypatch):
    def found(states, precision="float32", leak=None, name="tanh"):
        phi = nonlinearity(name, [0], states.shape[-1], torch.float32)
        return fused.fused_elman(phi, states, precision, leak) is not None

    assert not found(torch.zeros(1, 2, 3, 4)), "on the CPU"
    monkeypatch.setattr(library, "_on_device", lambda tensor: True)
    monkeypatch.setattr(library, "available", lambda: True)
    assert found(torch.zeros(1, 2, 3, 4))
    assert found(torch.zeros(1, 2, 3, 4), "bfloat16")
    assert not found(torch.zeros(1, 2, 3, 4, dtype=torch.float64))
    assert not found(torch.zeros(1, 2, 3, 4), name="prelu")
    assert found(torch.zeros(1, 2, 3, 256))
    assert not found(torch.zeros(1, 2, 3, 257))
    wide = fused.Leak(torch.ones(1), None, torch.zeros(1, 256, 256))
    assert found(torch.zeros(1, 2, 3, 256), leak=wide)
    assert not found(torch.zeros(1, 2, 3, 256), "bfloat16", wide)
    assert found(torch.zeros(1, 2, 3, 256), "bfloat16", replace(wide, linear=None))


def test_where_triton_is_missing_it_is_said_once(monkeypatch, caplog):
    monkeypatch.setattr(library.importlib.util, "find_spec", lambda name: None)
    library.available.cache_clear()
    try:
        assert library.identity() == library.identity() == "torch"
    finally:
        library.available.cache_clear()
    assert caplog.text.count("Triton is not installed") == 1


def test_it_is_switched_off_with_the_compiled_scans(monkeypatch, caplog):
    monkeypatch.setenv(library.VARIABLE, "0")
    library.available.cache_clear()
    try:
        assert library.identity() == "torch"
    finally:
        library.available.cache_clear()
    assert caplog.text == ""
