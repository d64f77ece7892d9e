import pytest
import torch

from longhaul_trainers.catalogue import CELLS
from longhaul_trainers.cells.base import CellSettings
from longhaul_trainers.cells.description import describe_cell
from longhaul_trainers.settings import describe, dump, parse_component, structure

T, P, B, I, H = 5, 3, 4, 3, 6  # noqa: E741

DIAGNOSTICS = {
    "orthogonality_error",
    "spectral_radius",
    "singular_value_min",
    "singular_value_max",
    "departure_from_normality",
}

every_cell = pytest.mark.parametrize("name", CELLS.names())


def settings(name, **values):
    return parse_component(CELLS, {"name": name, "hidden_size": H} | values)


def build(name, seeds=range(P), inputs=I, **values):
    slots = [settings(name, **values)] * len(seeds)
    return CELLS.get(name)(inputs, slots, [torch.Generator().manual_seed(s) for s in seeds])


def inputs_of(pack=P, seed=0, size=I):
    return torch.randn(T, pack, B, size, generator=torch.Generator().manual_seed(seed))


@every_cell
def test_contract(name):
    cell = build(name)
    assert isinstance(settings(name), CellSettings)
    assert (cell.input_size, cell.hidden_size, cell.pack_size) == (I, H, P)
    outputs, state = cell(inputs_of())
    assert outputs.shape == (T, P, B, cell.output_size)
    assert all(one.shape == (P, B, H) for one in state)
    assert torch.equal(state[0], outputs[-1])
    groups = cell.parameter_groups()
    grouped = [id(parameter) for group in groups for parameter in group.parameters]
    assert sorted(grouped) == sorted(id(parameter) for parameter in cell.parameters())
    assert all(parameter.shape[0] == P for parameter in cell.parameters())
    assert all(group.learning_rate_ratio.shape == (P,) for group in groups)
    assert len({group.name for group in groups}) == len(groups)
    assert cell.penalty() is None
    found = cell.diagnostics()
    assert set(found) == (set() if name in ("gru", "lstm") else DIAGNOSTICS)
    assert all(one.shape == (P,) and one.isfinite().all() for one in found.values())
    outputs.square().sum().backward()
    cell.after_step()
    assert all(parameter.grad is not None for parameter in cell.parameters())


@every_cell
def test_settings_survive_dump_and_parse(name):
    default = settings(name)
    assert parse_component(CELLS, dump(default)) == default
    assert dump(default)["name"] == name
    assert structure(default)["hidden_size"] == H
    changed = settings(name, hidden_size=9)
    assert structure(changed) != structure(default)
    assert all(one.rule.help for one in describe(type(default)).values())


@every_cell
@pytest.mark.parametrize(("inputs", "size"), [(1, 1), (10, 2), (3, 7), (2, 64), (10, 33)])
def test_parameter_count_formula(name, inputs, size):
    cell = build(name, [0, 1], inputs, hidden_size=size)
    actual = sum(parameter[0].numel() for parameter in cell.parameters())
    assert type(cell).parameter_count(inputs, settings(name, hidden_size=size)) == actual


def readout(size, outputs):
    return size * outputs + outputs


@pytest.mark.parametrize(
    ("name", "inputs", "size", "outputs", "published"),
    [
        # Kerg et al. 2019 (arXiv:1905.12080), "18.9K" for one-hot copying and the like
        ("exprnn", 10, 176, 9, 18_929),
        ("lstm", 10, 63, 9, 19_224),
        ("exprnn", 1, 722, 10, 268_955),
        ("lstm", 1, 257, 10, 268_832),
        # Helfrich et al. 2018 (arXiv:1707.09520), pixel MNIST: about 16k, 69k, 137k and 1,058k
        ("scornn", 1, 170, 10, 16_415),
        ("scornn", 1, 360, 10, 68_950),
        ("scornn", 1, 512, 10, 136_970),
        ("lstm", 1, 512, 10, 1_057_802),
    ],
)
def test_published_parameter_counts(name, inputs, size, outputs, published):
    counted = CELLS.get(name).parameter_count(inputs, settings(name, hidden_size=size))
    assert counted + readout(size, outputs) == published


@every_cell
def test_carried_state_splits_a_sequence(name):
    cell = build(name).double()
    x = inputs_of().double()
    whole, last = cell(x)
    first, state = cell(x[:2])
    second, end = cell(x[2:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    for one, other in zip(end, last, strict=True):
        torch.testing.assert_close(one, other)


@every_cell
def test_a_slot_is_the_same_trial_alone_and_in_a_pack(name):
    x = inputs_of(4)
    together = build(name, range(4))
    outputs, _ = together(x)
    outputs.square().sum().backward()
    for p in range(4):
        alone = build(name, [p])
        mine, _ = alone(x[:, p : p + 1])
        mine.square().sum().backward()
        assert torch.equal(mine[:, 0], outputs[:, p])
        for one, pack in zip(alone.parameters(), together.parameters(), strict=True):
            assert torch.equal(one[0], pack[p])
            assert torch.equal(one.grad[0], pack.grad[p])


@every_cell
def test_slots_start_differently(name):
    for parameter in build(name).parameters():
        if parameter[0].unique().numel() > 2:
            assert not torch.equal(parameter[0], parameter[1])


@every_cell
def test_nan_in_one_slot_leaves_the_neighbours_alone(name):
    clean, dirty = build(name), build(name)
    with torch.no_grad():
        for parameter in dirty.parameters():
            parameter[1].fill_(float("nan"))
    losses = []
    for cell in (clean, dirty):
        outputs, _ = cell(inputs_of())
        losses.append(outputs.square().sum((0, 2, 3)))
        losses[-1].sum().backward()
    assert losses[1][1].isnan()
    for p in (0, 2):
        assert torch.equal(losses[0][p], losses[1][p])
        for one, other in zip(clean.parameters(), dirty.parameters(), strict=True):
            assert torch.equal(one.grad[p], other.grad[p])
    found = dirty.diagnostics()
    assert all(one.isnan().tolist() == [False, True, False] for one in found.values())


@pytest.mark.parametrize("name", ["exprnn", "scornn"])
@pytest.mark.parametrize("optimizer", [torch.optim.RMSprop, torch.optim.Adam])
def test_stays_orthogonal_over_many_steps(name, optimizer):
    cell = build(name, [0, 1], hidden_size=16)
    steps = optimizer(cell.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(5)
    before = cell.recurrent.matrix().detach()
    for _ in range(200):
        x = torch.randn(4, 2, B, I, generator=generator)
        outputs, _ = cell(x)
        steps.zero_grad()
        (outputs[-1] - x[0, ..., :1]).square().mean().backward()
        steps.step()
        cell.after_step()
    assert (cell.recurrent.matrix() - before).norm() > 1
    assert cell.diagnostics()["orthogonality_error"].max() < 1e-4


@pytest.mark.parametrize("name", ["exprnn", "scornn", "rnn", "irnn"])
def test_recurrent_group_has_the_ratio_and_the_optimiser(name):
    cell = build(name, learning_rate_ratio=0.25, recurrent_optimizer="sgd")
    (recurrent,) = [group for group in cell.parameter_groups() if group.name == "recurrent"]
    assert recurrent.learning_rate_ratio.tolist() == [0.25] * P
    assert recurrent.optimizer == "sgd"
    default = settings(name)
    assert default.learning_rate_ratio == (0.1 if name in ("exprnn", "scornn") else 1.0)
    assert default.recurrent_optimizer is None


def test_published_initial_values():
    exprnn = build("exprnn", [0], inputs=50, hidden_size=200)
    assert exprnn.input_weight.std().item() == pytest.approx((2 / 50) ** 0.5, rel=0.05)
    assert 0 < exprnn.nonlinearity.bias.abs().max() <= 0.01
    assert exprnn.bias is None
    scornn = build("scornn", [0], inputs=50, hidden_size=200)
    assert 0.0099 < scornn.input_weight.abs().max() <= 0.01
    assert (scornn.nonlinearity.bias == 0).all()
    assert (scornn.recurrent.signs == -1).sum() == 100
    irnn = build("irnn", [0], inputs=50, hidden_size=200, identity_scale=0.5)
    assert torch.equal(irnn.recurrent.matrix()[0], 0.5 * torch.eye(200))
    assert irnn.input_weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert (irnn.bias == 0).all()


def test_nonlinearity_is_a_component():
    leaky = {"name": "leaky_relu", "slope": 0.3}
    cell = build("rnn", nonlinearity=leaky)
    assert cell.nonlinearity.slope.flatten().tolist() == pytest.approx([0.3] * P)
    assert "nonlinearity" in structure(settings("rnn", nonlinearity=leaky))
    plain = build("exprnn", nonlinearity="identity")
    outputs, _ = plain(inputs_of())
    doubled, _ = plain(2 * inputs_of())
    torch.testing.assert_close(doubled, 2 * outputs)


def test_as_many_generators_as_slots():
    with pytest.raises(ValueError, match="3 slots but 1 generators"):
        CELLS.get("rnn")(I, [settings("rnn")] * 3, [torch.Generator()])


@every_cell
def test_double_precision_and_state_dict(name):
    cell = build(name).double()
    outputs, _ = cell(inputs_of().double())
    assert outputs.dtype == torch.float64
    copy = build(name, range(10, 10 + P)).double()
    copy.load_state_dict(cell.state_dict())
    assert torch.equal(copy(inputs_of().double())[0], outputs)


@pytest.mark.parametrize("name", sorted(set(CELLS.names()) - {"exprnn"}))
def test_nothing_leaves_the_device(name):
    """The meta device refuses what looks at a value; only the exponential must, at its norm."""
    cell = build(name).to("meta")
    outputs, _ = cell(inputs_of().to("meta"))
    outputs.sum().backward()
    assert outputs.device.type == "meta"


@every_cell
def test_description(name):
    described = describe_cell(name)
    assert described.summary.endswith(".")
    assert described.reference
    assert "h'" in described.equations
    text = described.markdown()
    assert text.startswith(f"## {name}\n")
    assert all(f"| `{key}` |" in text for key in described.settings)
    assert described.equations in text
