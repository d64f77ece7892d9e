"""The compiled readout and cross entropy against torch's, and their bits."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from longhaul_trainers.readout import linear_readout, mean_cross_entropy

# slots, steps, batch, units, classes: whole vectors and not, one part of the rows and several
SHAPES = [(1, 5, 3, 7, 2), (3, 20, 40, 64, 9), (2, 3, 5, 33, 70), (1, 40, 20, 16, 1)]
TYPES = [(torch.float64, 1e-12), (torch.float32, 2e-6)]


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def tensors(shape, dtype):
    """States as a scan leaves them, weights, biases, weights of the outputs."""
    pack, steps, batch, size, classes = shape
    drawn = torch.Generator().manual_seed(1)

    def draw(*sizes):
        return torch.randn(*sizes, generator=drawn).to(dtype)

    hidden = draw(pack, steps + 1, batch, size)[:, 1:].transpose(0, 1)
    leaves = [hidden, draw(pack, size, classes), draw(pack, 1, classes)]
    return [one.requires_grad_() for one in leaves], draw(pack, steps, batch, classes)


def assert_near(ours, plain, rtol):
    for one, other in zip(ours, plain, strict=True):
        assert torch.linalg.vector_norm(one - other) <= rtol * torch.linalg.vector_norm(other)


@pytest.mark.parametrize(("dtype", "rtol"), TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_readout_is_a_product_of_each_row(shape, dtype, rtol):
    leaves, weights = tensors(shape, dtype)
    hidden, weight, bias = leaves
    ours = linear_readout(*leaves)
    plain = torch.einsum("spbh,pho->psbo", hidden, weight) + bias[:, None]
    assert_near([ours], [plain], rtol)
    wanted = torch.autograd.grad(plain, leaves, weights)
    assert_near(torch.autograd.grad(ours, leaves, weights), wanted, rtol * 5)


@pytest.mark.parametrize(("dtype", "rtol"), TYPES)
@pytest.mark.parametrize(("rows", "classes"), [(700, 9), (65, 2), (3, 100), (1, 1)])
def test_the_cross_entropy_is_that_of_torch(rows, classes, dtype, rtol):
    drawn = torch.Generator().manual_seed(1)
    logits = (5 * torch.randn(rows, classes, generator=drawn)).to(dtype)
    targets = torch.randint(classes, (rows,), generator=drawn)
    targets[1::3] = -100
    leaf = logits.requires_grad_()
    ours = mean_cross_entropy(leaf, targets, -100)
    plain = cross_entropy(leaf, targets, ignore_index=-100)
    torch.testing.assert_close(ours, plain, rtol=rtol, atol=rtol)
    (gradient,) = torch.autograd.grad(3 * ours, leaf)
    (wanted,) = torch.autograd.grad(3 * plain, leaf)
    torch.testing.assert_close(gradient, wanted, rtol=rtol * 10, atol=rtol)


def test_extreme_logits_cost_what_torch_says():
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e30, 0.0, 1.0]])
    targets = torch.tensor([1, 0])
    expected = cross_entropy(logits, targets)
    torch.testing.assert_close(mean_cross_entropy(logits, targets, -100), expected)
    assert mean_cross_entropy(logits * float("nan"), targets, -100).isnan()
    assert mean_cross_entropy(logits, torch.tensor([-100, -100]), -100).isnan()


@pytest.mark.parametrize("target", [-1, 3])
def test_a_target_that_is_no_class_is_refused(target):
    with pytest.raises(IndexError):
        mean_cross_entropy(torch.zeros(2, 3), torch.tensor([0, target]), -100)


def test_bits_depend_neither_on_threads_nor_on_neighbours(threads):
    leaves, weights = tensors((4, 30, 41, 33, 9), torch.float32)

    def found(slots):
        taken = [leaves[0][:, slots], leaves[1][slots], leaves[2][slots]]
        taken = [one.detach().requires_grad_() for one in taken]
        read = linear_readout(*taken)
        return read, *torch.autograd.grad(read, taken, weights[slots])

    threads(1)
    whole = found(slice(0, 4))
    for count in (1, 2, 3):
        threads(count)
        one = found(slice(2, 3))
        assert torch.equal(one[0], whole[0][2:3])
        assert torch.equal(one[1], whole[1][:, 2:3])
        assert torch.equal(one[2], whole[2][2:3])
        assert torch.equal(one[3], whole[3][2:3])
    logits, targets = leaves[0].detach().reshape(-1, 33), torch.zeros(30 * 4 * 41, dtype=torch.long)
    losses = set()
    for count in (1, 2, 3):
        threads(count)
        losses.add(mean_cross_entropy(logits, targets, -100).item())
    assert len(losses) == 1
