import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.special import eval_legendre

from longhaul_trainers.cells.lmu import LMU, LMUSettings
from longhaul_trainers.cells.memory_polynomial import (
    legendre_window,
    scaled_legendre,
    zero_order_hold,
)


def test_the_window_matrices_are_those_of_the_paper():
    A, B = legendre_window(3)
    assert A.tolist() == [[-1, -1, -1], [3, -3, -3], [-5, 5, -5]]
    assert B.tolist() == [1, -3, 5]


def test_the_scaled_matrices_are_those_of_the_paper():
    A, B = scaled_legendre(3)
    root = np.sqrt([1, 3, 5])
    expected = [[1, 0, 0], [root[1], 2, 0], [root[2], root[1] * root[2], 3]]
    np.testing.assert_allclose(A, expected)
    np.testing.assert_allclose(B, root)


def test_zero_order_hold_is_exact_for_a_constant_input():
    A, B = legendre_window(6)
    step = 1 / 40
    stepped, forced = zero_order_hold(A, B, step)
    np.testing.assert_allclose(stepped, expm(step * A.numpy()), rtol=1e-10)
    start = np.linspace(-1, 1, 6)
    flow = solve_ivp(
        lambda _, m: A.numpy() @ m + 0.7 * B.numpy(), (0, step), start, rtol=1e-11, atol=1e-12
    )
    np.testing.assert_allclose(stepped.numpy() @ start + 0.7 * forced.numpy(), flow.y[:, -1])


def memory_of(signal, **values):
    """The memory after a signal, by a cell that writes its input and reads nothing."""
    settings = LMUSettings(hidden_size=2, **values)
    cell = LMU(1, [settings], [torch.Generator()]).double()
    with torch.no_grad():
        cell.encoder.zero_()
        cell.encoder[..., 0] = 1
    _, state = cell(torch.tensor(signal).view(-1, 1, 1, 1))
    return state[1][0, 0].detach().numpy()


def test_the_window_holds_the_last_theta_steps_of_a_signal():
    theta, order = 400, 12
    t = np.arange(1500)
    memory = memory_of(np.sin(0.02 * t), memory_order=order, theta=float(theta))
    for delay in (0.1, 0.5, 0.9):
        held = sum(memory[i] * eval_legendre(i, 2 * delay - 1) for i in range(order))
        assert held == pytest.approx(np.sin(0.02 * (t[-1] - delay * theta)), abs=0.03)


def test_the_scaled_memory_holds_the_whole_past():
    order, steps = 12, 2000
    t = np.arange(steps)
    memory = memory_of(np.sin(0.006 * t), memory_order=order, measure="legs")
    for place in (0.1, 0.5, 0.9):
        held = sum(
            memory[i] * np.sqrt(2 * i + 1) * eval_legendre(i, 2 * place - 1) for i in range(order)
        )
        assert held == pytest.approx(np.sin(0.006 * place * steps), abs=0.03)


def test_slots_of_a_pack_have_windows_of_their_own():
    settings = LMUSettings(hidden_size=2, memory_order=3)
    slots = [settings.with_changes(theta=theta) for theta in (10.0, 100.0)]
    cell = LMU(1, slots, [torch.Generator(), torch.Generator()])
    for matrix, theta in zip(cell.memory_matrix, (10, 100), strict=True):
        expected = expm(legendre_window(3)[0].numpy() / theta)
        np.testing.assert_allclose(matrix, expected, rtol=1e-5)


def test_licence_and_patent_are_told():
    assert "proprietary licence" in (LMU.__doc__ or "")
    assert "patent" in (LMU.__doc__ or "")
