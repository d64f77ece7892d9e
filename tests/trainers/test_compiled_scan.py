"""The compiled Elman scan against the one written with torch, and what happens without it."""

import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.scans import lstm
from longhaul_trainers.scans.elman import elman_scan
from longhaul_trainers.scans.native import elman, library

needs_compiler = pytest.mark.skipif(library.library() is None, reason="no C++ compiler here")
COMPILED = ["identity", "leaky_relu", "modrelu", "relu", "tanh"]
SHAPES = [(6, 1, 4, 5), (5, 3, 7, 64), (3, 2, 13, 70), (4, 1, 1, 1), (2, 1, 20, 130), (9, 1, 6, 33)]


def run(name, shape, dtype, *, compiled, monkeypatch):
    """The outputs and all gradients."""
    steps, pack, batch, size = shape
    monkeypatch.setattr(elman, "serves", library.serves if compiled else lambda states: False)
    kind = NONLINEARITIES.get(name)
    drawn = torch.Generator().manual_seed(1)
    generators = [torch.Generator().manual_seed(p) for p in range(pack)]
    phi = kind(size, [kind.settings_type()] * pack, generators)
    leaves = [
        torch.randn(pack, size, size, generator=drawn) / size**0.5,
        torch.randn(steps, pack, batch, size, generator=drawn),
        torch.randn(pack, batch, size, generator=drawn),
    ]
    weights = torch.randn(steps, pack, batch, size, generator=drawn).to(dtype)
    leaves = [leaf.to(dtype).requires_grad_() for leaf in leaves]
    outputs = elman_scan(*leaves, phi.to(dtype))
    return outputs, *torch.autograd.grad(outputs, [*leaves, *phi.parameters()], weights)


@needs_compiler
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-11), (torch.float32, 2e-5)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", COMPILED)
def test_equals_the_scan_written_with_torch(name, shape, dtype, rtol, monkeypatch):
    ours = run(name, shape, dtype, compiled=True, monkeypatch=monkeypatch)
    plain = run(name, shape, dtype, compiled=False, monkeypatch=monkeypatch)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=rtol * 10)


@needs_compiler
@pytest.mark.parametrize("size", [64, 70, 190])
def test_a_batch_of_which_one_step_is_all_that_is_kept(size, monkeypatch):
    # the gradients of a step must not overwrite those of the step after it, which they are made of
    shape = (4, 1, 600, size)
    ours = run("tanh", shape, torch.float64, compiled=True, monkeypatch=monkeypatch)
    plain = run("tanh", shape, torch.float64, compiled=False, monkeypatch=monkeypatch)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-10)


@needs_compiler
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="on x86 alone")
@pytest.mark.parametrize("pack", [1, 3])
def test_gradients_that_vanish_become_0_and_not_subnormal(pack):
    """Each operation with a subnormal number takes tens of times as long as with another."""
    steps, size, least = 100, 32, torch.finfo(torch.float32).tiny
    kind = NONLINEARITIES.get("identity")
    phi = kind(size, [kind.settings_type()] * pack, [torch.Generator()] * pack)
    inputs = torch.zeros(steps, pack, 20, size, requires_grad=True)
    factor = 0.25 * torch.eye(size).expand(pack, -1, -1)
    elman_scan(factor, inputs, torch.zeros(pack, 20, size), phi)[-1].sum().backward()
    exact = 0.25 ** torch.arange(steps - 1, -1, -1, dtype=torch.float64)
    expected = torch.where(exact < least, 0.0, exact).float()[:, None, None, None]
    assert torch.equal(inputs.grad, expected.expand_as(inputs))
    assert 0 < (exact < least).sum() < steps
    # the thread that called goes on with them
    assert (torch.full((1000,), 1e-39) * 0.5 > 0).all()


def run_lstm(shape, dtype, *, compiled, monkeypatch):
    steps, pack, batch, size = shape
    monkeypatch.setattr(lstm, "serves", library.serves if compiled else lambda states: False)
    drawn = torch.Generator().manual_seed(1)
    shapes = [(pack, 4 * size, size), (steps, pack, batch, 4 * size)]
    leaves = [
        torch.randn(one, generator=drawn).to(dtype).requires_grad_()
        for one in [*shapes, (pack, batch, size), (pack, batch, size)]
    ]
    hidden, cell = lstm.lstm_scan(*leaves)
    weights = [torch.randn(one.shape, generator=drawn).to(dtype) for one in (hidden, cell)]
    return hidden, cell, *torch.autograd.grad([hidden, cell], leaves, weights)


@needs_compiler
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
@pytest.mark.parametrize("shape", SHAPES)
def test_lstm_equals_the_scan_written_with_torch(shape, dtype, rtol, monkeypatch):
    ours = run_lstm(shape, dtype, compiled=True, monkeypatch=monkeypatch)
    plain = run_lstm(shape, dtype, compiled=False, monkeypatch=monkeypatch)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=rtol * 10)


@needs_compiler
def test_a_mistaken_call_is_refused():
    states = torch.zeros(1, 2, 3, 4)
    with pytest.raises(ValueError, match="contiguous"):
        library.call("elman_forward", states, 0, torch.zeros(1, 4), torch.zeros(1, 4, 8)[..., ::2])


@needs_compiler
def test_the_compiled_scan_is_what_runs():
    kind = NONLINEARITIES.get("tanh")
    phi = kind(4, [kind.settings_type()], [torch.Generator()])
    assert elman.compiled_elman(phi, torch.zeros(1, 2, 3, 4)) is not None
    assert elman.compiled_elman(phi, torch.zeros(1, 2, 3, 4, device="meta")) is None
    assert elman.compiled_elman(phi, torch.zeros(1, 2, 3, 4, dtype=torch.bfloat16)) is None
    assert len(library.identity().removesuffix("-tiles")) == 16


@needs_compiler
def test_tanh_is_within_three_roundings(monkeypatch):
    points = torch.cat([torch.logspace(-30, 0, 2_000), torch.linspace(-12, 12, 20_001)])
    special = torch.tensor([0.0, float("inf"), -float("inf"), 0.625, -0.625, 88.0])
    z = torch.cat([special, points])
    z = z[: len(z) // 32 * 32].view(1, 1, -1, 32)
    kind = NONLINEARITIES.get("tanh")
    size = z.shape[-1]
    phi = kind(size, [kind.settings_type()], [torch.Generator()])
    states = torch.zeros(1, 2, z.shape[2], size)
    elman.compiled_elman(phi, states).forward(torch.zeros(1, size, size), z, states)
    exact = z.double().tanh().flatten()
    spacing = torch.finfo(torch.float32).eps * exact.abs().clamp(min=1e-37)
    assert ((states[0, 1].flatten().double() - exact).abs() / spacing).max() < 3
    z = torch.tensor([[[[float("nan"), 1.0]]]])
    small = torch.zeros(1, 2, 1, 2)
    phi = kind(2, [kind.settings_type()], [torch.Generator()])
    elman.compiled_elman(phi, small).forward(torch.zeros(1, 2, 2), z, small)
    assert small[0, 1, 0, 0].isnan()
    assert small[0, 1, 0, 1] == pytest.approx(0.7615942)


@needs_compiler
def test_bits_do_not_depend_on_threads_or_neighbours(monkeypatch):
    shape = (7, 5, 6, 37)
    one = run("modrelu", shape, torch.float32, compiled=True, monkeypatch=monkeypatch)
    torch.set_num_threads(3)
    three = run("modrelu", shape, torch.float32, compiled=True, monkeypatch=monkeypatch)
    assert torch.equal(one[0], three[0])
    assert torch.equal(one[2], three[2])


PROGRAM = """
import sys
from pathlib import Path
import torch
from longhaul_trainers.scans.native import library
library.FOLDER = Path(sys.argv[1])
from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.scans.elman import elman_scan
kind = NONLINEARITIES.get("relu")
phi = kind(2, [kind.settings_type()], [torch.Generator()])
for _ in range(2):
    h = elman_scan(torch.eye(2)[None], torch.ones(3, 1, 1, 2), torch.zeros(1, 1, 2), phi)
print(h.flatten().tolist(), library.identity())
"""


def elsewhere(cache, sources=library.FOLDER, **environment):
    """The same scan twice in another process, with a cache of its own."""
    given = os.environ | {"XDG_CACHE_HOME": str(cache), "CXX": ""} | environment
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(sources)],
        env=given,
        capture_output=True,
        text=True,
        check=True,
    )
    values, _, identity = done.stdout.strip().rpartition(" ")
    assert values == "[1.0, 1.0, 2.0, 2.0, 3.0, 3.0]"
    return identity, done.stderr


def test_without_a_compiler_the_same_is_done_with_torch_and_said_once(tmp_path):
    identity, said = elsewhere(tmp_path, PATH=str(tmp_path))
    assert identity == "torch"
    assert said.count("compiled scans are not available") == 1
    assert "no C++ compiler" in said


def test_a_compiler_that_fails_is_quoted(tmp_path):
    broken = tmp_path / "broken"
    broken.write_text(
        '#!/bin/sh\ncase "$*" in *--version*) exit 0;; esac\necho no luck >&2\nexit 1\n'
    )
    broken.chmod(0o755)
    identity, said = elsewhere(tmp_path, CXX=str(broken))
    assert identity == "torch"
    assert "no luck" in said


def test_a_cache_folder_that_cannot_be_made_is_told(tmp_path):
    taken = tmp_path / "file"
    taken.write_text("")
    identity, said = elsewhere(taken)
    assert identity == "torch"
    assert said.count("compiled scans are not available") == 1
    assert "XDG_CACHE_HOME" in said


@needs_compiler
def test_a_full_disk_is_told(tmp_path):
    """The compiler itself finds it full: nothing half written is left to be loaded later."""
    full = tmp_path / "full"
    full.write_text(
        '#!/bin/sh\ncase "$*" in *--version*) exit 0;; esac\n'
        'while [ $# -gt 0 ]; do [ "$1" = -o ] && echo half > "$2"; shift; done\n'
        "echo No space left on device >&2\nexit 1\n"
    )
    full.chmod(0o755)
    identity, said = elsewhere(tmp_path, CXX=str(full))
    assert identity == "torch"
    assert said.count("No space left on device") == 1
    assert [one.name for one in (tmp_path / "longhaul").iterdir()] == ["lock"]


def test_a_user_without_a_home_trains_with_torch(monkeypatch, caplog):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(library.Path, "home", homeless)
    assert library.library.__wrapped__() is None
    assert "home directory" in caplog.text or "no C++ compiler" in caplog.text


def test_it_can_be_switched_off(tmp_path):
    identity, said = elsewhere(tmp_path, LONGHAUL_COMPILED_SCANS="0")
    assert identity == "torch"
    assert said == ""
    assert list(tmp_path.iterdir()) == []


@needs_compiler
def test_workers_that_start_together_compile_once_and_say_so(tmp_path):
    real = library._compiler()
    counting = tmp_path / "counting"
    counting.write_text(
        f'#!/bin/sh\ncase "$*" in *-shared*) echo >> {tmp_path}/count;; esac\nexec {real} "$@"\n'
    )
    counting.chmod(0o755)
    few = tmp_path / "sources"  # all of them would take long
    few.mkdir()
    names = ("elman.cpp", "rounded_elman.cpp", "tiles.cpp")
    wanted = [library.FOLDER / name for name in names]
    for source in (*wanted, *library.FOLDER.glob("*.hpp")):
        shutil.copy(source, few)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: elsewhere(tmp_path, few, CXX=str(counting)), range(3)))
    assert len({identity for identity, _ in found}) == 1
    (told,) = [said for _, said in found if said]
    assert told.startswith("compiling the scans for this processor")
    assert told.count("\n") == 1
    assert (tmp_path / "count").read_text() == "\n"


@needs_compiler
def test_nothing_is_loaded_from_a_folder_that_others_may_write(tmp_path):
    folder = tmp_path / "longhaul"
    folder.mkdir()
    folder.chmod(0o777)
    identity, said = elsewhere(tmp_path)
    assert identity == "torch"
    assert "may be written by others" in said
