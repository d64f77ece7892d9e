"""What holds for any space."""

import optuna
from hypothesis import given, settings
from hypothesis import strategies as st

from longhaul.spec.document import Document
from longhaul.spec.hole_reading import read_holes
from longhaul.spec.holes import (
    Choice,
    Hole,
    Int,
    LogInt,
    LogUniform,
    Uniform,
    dump_tree,
    fill,
    fill_recorded,
    holes,
    suggest_from,
)
from longhaul.spec.loading import read_text
from longhaul.spec.search_spec import SearchSpec
from longhaul.spec.writing import to_yaml
from longhaul_trainers.training.settings import TrialConfig

KEYS = st.sampled_from(["alpha", "beta", "gamma", "delta", "name", "epsilon"])
TEXTS = st.text(max_size=12) | st.sampled_from(
    ["yes", "1e-3", "0x1F", "null", "~", "", " ", ".nan", "- a", "a: b", "#", "\u0085", "é", "'"]
)
PLAIN = (
    TEXTS
    | st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)


def ranges(made, low, high, whole=False):
    bound = st.integers(low, high) if whole else st.floats(low, high, allow_subnormal=False)
    pairs = st.lists(bound, min_size=2, max_size=2, unique=True).map(sorted)
    return pairs.map(lambda pair: made(*pair))


NUMERIC = (
    ranges(Uniform, -1e6, 1e6)
    | ranges(LogUniform, 1e-12, 1e6)
    | ranges(Int, -(10**6), 10**6, whole=True)
    | ranges(LogInt, 1, 10**6, whole=True)
)


def unlike(options):
    """Options that differ as the loader and Optuna understand it, where 1 == 1.0 == True."""
    kept = []
    for option in options:
        if option not in kept:
            kept.append(option)
    return Choice(tuple(kept))


def trees(depth: int):
    inner = PLAIN | NUMERIC | st.lists(PLAIN, min_size=1, max_size=5).map(unlike)
    if depth:
        mapping = trees(depth - 1)
        branches = st.lists(mapping, min_size=1, max_size=3).map(unlike)
        inner = inner | mapping | branches
    return st.dictionaries(KEYS, inner, max_size=4)


TREES = trees(3)


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_a_tree_is_read_as_it_was_written(tree):
    written = to_yaml(dump_tree(tree))
    assert read_holes(read_text(written, "f")) == tree


@settings(max_examples=60, deadline=None)
@given(TREES, st.randoms(use_true_random=False))
def test_recorded_parameters_make_the_same_configuration(tree, random):
    params = {}

    def suggest(name: str, hole: Hole):
        if isinstance(hole, Choice):
            params[name] = random.choice(hole.answers)
        elif hole.whole:
            params[name] = random.randint(hole.low, hole.high)
        else:
            params[name] = random.uniform(hole.low, hole.high)
        return params[name]

    config = fill(tree, suggest)
    assert fill_recorded(tree, params) == config
    assert not list(holes(config))
    known = {found.name: found for found in holes(tree)}
    for name, value in params.items():
        found = known[name]
        assert found.hole.contains(value)
        assert all(params[choice] == label for choice, label in found.condition)


@settings(max_examples=25, deadline=None)
@given(TREES)
def test_optuna_answers_inside_every_hole(tree):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    fill(tree, suggest_from(trial))
    known = {found.name: found.hole for found in holes(tree)}
    for name, distribution in trial.distributions.items():
        assert distribution == known[name].distribution()
        assert known[name].contains(trial.params[name])


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_names_of_holes_differ(tree):
    names = [found.name for found in holes(tree)]
    assert len(set(names)) == len(names)


SIZE = st.integers(1, 64) | ranges(Int, 1, 64, whole=True) | ranges(LogInt, 1, 64, whole=True)
COUNT = st.integers(200, 9999) | ranges(LogInt, 200, 9999, whole=True) | st.just(Choice((200, 999)))
RATIO = st.floats(0.01, 1) | ranges(LogUniform, 0.01, 1) | ranges(Uniform, 0.01, 1)
NONLINEARITY = st.sampled_from(
    [
        "relu",
        {"name": "modrelu", "offset": 0.5},
        Choice(("tanh", "identity")),
        Choice(({"name": "relu"}, {"name": "modrelu", "offset": Uniform(0.0, 1.0)})),
    ]
)
FIELDS = {
    "rnn": {"hidden_size": SIZE, "recurrent_gain": RATIO, "nonlinearity": NONLINEARITY},
    "exprnn": {"learning_rate_ratio": RATIO, "hidden_size": SIZE, "nonlinearity": NONLINEARITY},
    "scornn": {"rho": RATIO, "hidden_size": SIZE},
    "lstm": {"forget_bias": RATIO, "hidden_size": SIZE},
    "gru": {"parameters": COUNT},
}
CELLS = st.one_of(
    st.fixed_dictionaries({"name": st.just(name)}, optional=fields)
    for name, fields in FIELDS.items()
)
OPTIMIZERS = st.one_of(
    st.fixed_dictionaries({"name": st.just(name)}, optional={"learning_rate": RATIO})
    for name in ("adam", "rmsprop", "sgd")
)
SPACES = st.fixed_dictionaries(
    {
        "task": st.sampled_from(["copying", {"name": "adding", "length": 20}]),
        "cell": CELLS | st.lists(CELLS, min_size=1, max_size=4).map(unlike),
    },
    optional={
        "description": TEXTS,
        "training": st.fixed_dictionaries(
            {},
            optional={
                "steps": st.integers(1, 1000),
                "batch_size": st.integers(1, 100) | st.just(Choice((10, 20))),
                "clip_norm": st.just(Choice((None, 1.0))) | st.none(),
                "optimizer": OPTIMIZERS | st.lists(OPTIMIZERS, min_size=1, max_size=3).map(unlike),
            },
        ),
        "search": st.fixed_dictionaries(
            {},
            optional={
                "trials": st.integers(1, 99),
                "seed": st.integers(0, 2**63 - 1),
                "sampler": st.sampled_from(["random", {"name": "tpe", "startup_trials": 3}]),
                "scheduler": st.sampled_from(["full", {"name": "asha", "reduction_factor": 2}]),
            },
        ),
    },
)


@settings(max_examples=25, deadline=None)
@given(SPACES)
def test_a_space_is_resolved_once_and_for_all(space):
    spec = SearchSpec.from_document(Document("f.yaml", dump_tree(space), {}), "f")
    written = spec.to_yaml()
    again = SearchSpec.from_text(written, "g.yaml")
    assert again == spec
    assert again.to_yaml() == written
    assert again.sha256 == spec.sha256
    assert [one.name for one in again.holes()] == [one.name for one in spec.holes()]


@settings(max_examples=25, deadline=None)
@given(SPACES, st.integers(0, 2**20))
def test_every_point_of_a_space_is_a_configuration(space, seed):
    spec = SearchSpec.from_document(Document("f.yaml", dump_tree(space), {}), "f")
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    config = spec.trial(suggest_from(trial), 3)
    assert TrialConfig.parse(config).dump() == config
    assert spec.recorded_trial(trial.params, 3) == config
