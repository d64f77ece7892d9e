"""The Triton kernels compiled for compute capability 9.0, which needs no device."""

import inspect
import re
import subprocess
from pathlib import Path

import pytest

triton = pytest.importorskip("triton", reason="Triton is not installed (it is for Linux alone)")

INTEGERS = {"steps", "batch", "H", "N", "by_slot", "by_step", "by_sequence"}
INTEGERS |= {"by_row", "by_column", "by_unit"}
PLAIN = {"PHI": 1, "LEAKY": False, "KEEP": False, "LINEAR": False, "BF16": False, "K": 16}
LEAKY = PLAIN | {"LEAKY": True, "KEEP": True, "LINEAR": True}
FEW, MANY = {"ROWS": 4}, {"ROWS": 32}
ROUNDED = {"BF16": True, "ROWS": 16}


def kernel(module, name):
    from longhaul_trainers.scans.fused import elementwise_kernels, elman_kernels

    return getattr({"elman": elman_kernels, "elementwise": elementwise_kernels}[module], name)


def spilled_bytes(function, warps, constants, folder):
    """Compiles the kernel and has the assembler tell what did not fit into registers."""
    from triton.backends import nvidia
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = function.arg_names
    kinds = {name: "i32" if name in INTEGERS else "*fp32" for name in names}
    kinds |= dict.fromkeys(constants, "constexpr")
    aligned = [at for at, name in enumerate(names) if kinds[name] == "*fp32"]
    source = ASTSource(
        function,
        kinds,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(at,): [["tt.divisibility", 16]] for at in aligned},
    )
    options = {"num_warps": warps, "num_stages": 1}
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    code = folder / "kernel.ptx"
    code.write_text(made.asm["ptx"])
    assembler = Path(inspect.getfile(nvidia)).parent / "bin" / "ptxas"
    told = subprocess.run(
        [assembler, "-v", "--gpu-name=sm_90a", code, "-o", folder / "kernel.cubin"],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    return sum(int(found) for found in re.findall(r"(\d+) bytes spill stores", told))


SMALL = [
    ("elman", "backward", 2, LEAKY | ROUNDED | {"H": 16, "N": 16}),
    ("elementwise", "diagonal_forward", 4, {"PHI": 4, "LANES": 128}),
    ("elementwise", "linear", 4, {"PAIR": True, "LANES": 128}),
]
USUAL = [
    ("elementwise", "diagonal_backward", 4, {"PHI": 1, "LANES": 128}),
    *[
        ("elman", direction, warps, variant | tile)
        for direction in ("forward", "backward")
        for variant, warps, tile in [
            (PLAIN | FEW, 1, {"H": 128, "N": 128}),
            (PLAIN | MANY, 8, {"H": 128, "N": 128}),
            (PLAIN | MANY, 16, {"H": 256, "N": 256}),
            (LEAKY | FEW, 1, {"H": 190, "N": 256}),
            (LEAKY | MANY, 16, {"H": 190, "N": 256}),
            (PLAIN | ROUNDED, 8, {"H": 128, "N": 128}),
            (PLAIN | ROUNDED, 16, {"H": 256, "N": 256}),
            (LEAKY | ROUNDED, 8, {"H": 128, "N": 128}),
        ]
    ],
]


@pytest.mark.parametrize(("module", "name", "warps", "constants"), SMALL)
def test_compiles(module, name, warps, constants, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    assert spilled_bytes(kernel(module, name), warps, constants, tmp_path) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name", "warps", "constants"), USUAL)
def test_usual_sizes_fit_into_registers(module, name, warps, constants, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    # A few numbers at the border of a step cost nothing; a matrix in local memory would.
    assert spilled_bytes(kernel(module, name), warps, constants, tmp_path) <= 64
