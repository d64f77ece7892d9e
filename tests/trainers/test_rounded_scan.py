"""The compiled scan in bfloat16: each of its steps against the equations in float64."""

import os
import subprocess
import sys

import pytest
import torch

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.scans import elman
from longhaul_trainers.scans.native import library
from longhaul_trainers.scans.native.rounded_elman import (
    compiled_rounded_elman,
    rounded_weight_gradient,
)

needs_compiler = pytest.mark.skipif(library.library() is None, reason="no C++ compiler here")
COMPILED = ["identity", "leaky_relu", "modrelu", "relu", "tanh"]
SHAPES = [
    (6, 1, 4, 5),
    (5, 3, 7, 64),
    (3, 2, 13, 70),
    (4, 1, 1, 1),
    (2, 1, 70, 130),
    (9, 1, 33, 48),
]


def nonlinearity(name, pack, size):
    kind = NONLINEARITIES.get(name)
    generators = [torch.Generator().manual_seed(p) for p in range(pack)]
    return kind(size, [kind.settings_type()] * pack, generators)


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def scanned(name, shape, slots=None):
    """States with the first one, gradients by z with that by it, and the gradient by W."""
    steps, pack, batch, size = shape
    slots = list(range(pack)) if slots is None else slots
    phi = nonlinearity(name, pack, size)
    W = torch.cat([normal(1, size, size, seed=1000 + p) for p in slots]) / size**0.5
    z = torch.cat([normal(steps, 1, batch, size, seed=2000 + p) for p in slots], 1)
    h0 = torch.cat([normal(1, batch, size, seed=3000 + p) for p in slots])
    weights = torch.cat([normal(steps, 1, batch, size, seed=4000 + p) for p in slots], 1)
    leaves = [leaf.requires_grad_() for leaf in (W, z, h0)]
    outputs = elman.elman_scan(*leaves, phi, "bfloat16")
    by_W, by_z, by_h0 = torch.autograd.grad(outputs, leaves, weights)
    states = torch.cat([h0[None], outputs]).detach()
    return W.detach(), z.detach(), weights, states, torch.cat([by_h0[None], by_z]), by_W


def rounded(values):
    return values.bfloat16().double()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", COMPILED)
def test_every_step_is_that_of_the_equations(name, shape):
    """Step by step: one rounding that falls otherwise moves all that follows by 2^-8."""
    W, z, weights, states, gradients, by_W = scanned(name, shape)
    phi = nonlinearity(name, shape[1], shape[-1]).double()
    near = {"rtol": 2e-5, "atol": 1e-5}
    before = torch.einsum("pij,tpbj->tpbi", rounded(W), rounded(states[:-1])) + z
    expected = torch.stack([phi(step) for step in before]).detach()
    torch.testing.assert_close(states[1:].double(), expected, **near)
    back = torch.einsum("pij,tpbi->tpbj", rounded(W), rounded(gradients[1:]))
    torch.testing.assert_close(gradients[0].double(), back[0], **near)
    by_state = weights.double()
    by_state[:-1] += back[1:]
    slope = _slopes(phi, states[1:].double())
    torch.testing.assert_close(gradients[1:].double(), by_state * slope, **near)
    summed = torch.einsum("tpbi,tpbj->pij", rounded(gradients[1:]), rounded(states[:-1]))
    torch.testing.assert_close(by_W.double(), summed, rtol=2e-5, atol=1e-4)


def _slopes(phi, after):
    """phi'(z), as the scan tells it from its outputs; phi's own tests hold it to its equation."""
    kept = after.transpose(0, 1).contiguous()
    ones = torch.ones_like(kept)
    pullback = phi.pullback(kept)
    for step in range(len(after)):
        pullback.step(step, ones[:, step])
    return ones.transpose(0, 1)


@pytest.mark.parametrize(("outputs", "skipped"), [(5, 1), (64, 0), (100, 1), (33, 0)])
@pytest.mark.parametrize(("steps", "batch", "size"), [(3, 2, 5), (40, 13, 48), (9, 57, 70)])
def test_weight_gradients_add_up_rounded_factors(outputs, skipped, steps, batch, size):
    states = normal(2, steps + 1, batch, size, seed=1)
    gradients = normal(2, steps + skipped, batch, outputs, seed=2)
    summed = rounded_weight_gradient(gradients, states)
    by_z, read = rounded(gradients[:, skipped:]), rounded(states[:, :-1])
    expected = torch.einsum("ptbi,ptbj->pij", by_z, read)
    torch.testing.assert_close(summed.double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("shape", [(7, 1, 6, 37), (5, 1, 50, 64)])
def test_bits_depend_neither_on_threads_nor_on_neighbours(shape):
    steps, _, batch, size = shape
    alone = scanned("tanh", shape, [2])
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        for slots in ([2], [0, 1, 2, 3], [*range(3, 16), 2, 0, 1]):
            found = scanned("tanh", (steps, len(slots), batch, size), slots)
            p = slots.index(2)
            for one, many in zip(alone[3:5], found[3:5], strict=True):
                assert torch.equal(one[:, 0], many[:, p])
            assert torch.equal(alone[5][0], found[5][p])


@needs_compiler
def test_a_nan_stays_in_its_sequence():
    phi = nonlinearity("tanh", 1, 40)
    compiled = compiled_rounded_elman(phi, torch.zeros(3, 1, 20, 40))
    W, z = normal(1, 40, 40, seed=1) / 6, normal(1, 3, 20, 40, seed=2)
    clean, dirty = torch.zeros(1, 4, 20, 40), torch.zeros(1, 4, 20, 40)
    compiled.forward(W, z, clean)
    z[0, 0, 5, 7] = float("nan")
    compiled.forward(W, z, dirty)
    assert dirty[0, 1, 5].isnan().sum() == 1
    assert dirty[0, 2:, 5].isnan().all()
    others = [row for row in range(20) if row != 5]
    assert torch.equal(clean[:, :, others], dirty[:, :, others])


@needs_compiler
def test_the_compiled_scan_is_what_runs(monkeypatch):
    phi = nonlinearity("relu", 1, 4)
    assert compiled_rounded_elman(phi, torch.zeros(2, 1, 3, 4)) is not None
    assert compiled_rounded_elman(phi, torch.zeros(2, 1, 3, 4).double()) is None
    assert compiled_rounded_elman(phi, torch.zeros(2, 1, 3, 4, device="meta")) is None
    assert compiled_rounded_elman(nonlinearity("prelu", 1, 4), torch.zeros(2, 1, 3, 4)) is None
    called = []
    monkeypatch.setattr(elman, "rounded_elman_scan", lambda *given: called.append(given))
    tensors = torch.zeros(1, 4, 4), torch.zeros(2, 1, 3, 4), torch.zeros(1, 3, 4)
    elman.elman_scan(*tensors, phi)
    assert called == []
    elman.elman_scan(*tensors, phi, "bfloat16")
    assert len(called) == 1


def repeated(chosen, **environment):
    """Tests of this file once more, in a process with another environment."""
    program = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen]
    given = os.environ | environment
    return subprocess.run([*program, __file__], env=given, capture_output=True, text=True)


def test_written_with_torch_it_is_the_same():
    done = repeated("equations and modrelu or rounded_factors", LONGHAUL_COMPILED_SCANS="0")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow  # compiles all scans once more
@needs_compiler
@pytest.mark.timeout(900)
def test_without_tile_registers_it_is_the_same(tmp_path):
    if not library.has_tiles():
        pytest.skip("no tile registers here, so that the other tests have shown it")
    plain = tmp_path / "plain"
    plain.write_text(
        f'#!/bin/sh\ncase "$*" in *--version*) echo plain; exit 0;; esac\n'
        f'exec {library._compiler()} "$@" -mno-amx-bf16\n'
    )
    plain.chmod(0o755)
    chosen = "equations and modrelu or rounded_factors or neighbours"
    done = repeated(chosen, CXX=str(plain), XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0, done.stdout
