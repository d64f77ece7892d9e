"""ListOps: which trees, what they come to, and that no tree is in two sets."""

import random

import numpy as np
import pytest
import torch
from scipy.stats import chi2, ks_2samp

from longhaul_trainers.counter import Stream
from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import parse
from longhaul_trainers.tasks import listops
from longhaul_trainers.tasks.listops import (
    PADDING,
    PUBLISHED_RULES,
    SHARES,
    ListOps,
    ListOpsSettings,
)
from longhaul_trainers.tasks.listops_trees import (
    CLOSE,
    MED,
    MIN,
    Rules,
    different_trees,
    draw_trees,
)

TINY = {"max_depth": 4, "max_arguments": 5, "min_length": 14, "max_length": 40}
ANY = Rules(max_depth=4, max_arguments=6, min_length=0, max_length=10**6)


def make(**settings):
    return ListOps(parse(ListOpsSettings, TINY | settings, "task"))


def nested(codes):
    """A tree as a digit or a list of an operation and its arguments."""
    rest = iter(codes)

    def node(code):
        if code < 10:
            return code
        tree = [code]
        while (following := next(rest)) != CLOSE:
            tree.append(node(following))
        return tree

    tree = node(next(rest))
    assert next(rest, None) is None
    return tree


def nodes(tree):
    """All nodes of a nested tree with their depth, that of the root being 1."""
    if not isinstance(tree, list):
        return [(1, tree)]
    below = [(depth + 1, node) for child in tree[1:] for depth, node in nodes(child)]
    return [(1, tree), *below]


def value(tree):
    if not isinstance(tree, list):
        return tree
    arguments = [value(child) for child in tree[1:]]
    operation = {
        10: min,
        11: max,
        12: lambda values: int(np.median(values)),
        13: lambda values: int(np.sum(values)) % 10,
    }
    return operation[tree[0]](arguments)


def drawn(rules, attempts, block=0):
    trees = draw_trees(Stream("any"), block, rules, attempts=attempts)
    return trees, [nested(trees[i].tolist()) for i in range(len(trees))]


def test_trees_keep_the_published_rules():
    trees, nests = drawn(PUBLISHED_RULES, 1500)
    lengths = np.diff(trees.offsets)
    assert len(trees) > 60
    assert lengths.min() > 500
    assert lengths.max() < 2000
    seen = [one for tree in nests for one in nodes(tree)]
    depths = {depth for depth, _ in seen}
    counts = {len(node) - 1 for _, node in seen if isinstance(node, list)}
    assert max(depths) == 10
    assert not [node for depth, node in seen if depth == 10 and isinstance(node, list)]
    assert counts == set(range(2, 11))


def test_values_are_those_of_the_nested_operations():
    trees, nests = drawn(ANY, 4000)
    assert trees.values.tolist() == [value(tree) for tree in nests]


def test_median_of_an_even_number_of_arguments_is_rounded_down():
    trees, nests = drawn(Rules(2, 4, 3, 8), 4000)
    pairs = {
        (tree[1], tree[2]): value
        for tree, value in zip(nests, trees.values.tolist(), strict=True)
        if tree[0] == MED and len(tree) == 3
    }
    assert len(pairs) > 50
    assert {pair: sum(pair) // 2 for pair in pairs} == pairs
    assert [pair for pair in pairs if sum(pair) % 2]


def test_a_node_is_an_operation_one_time_in_four_not_three():
    _, nests = drawn(ANY, 8000)
    operations = sum(isinstance(tree, list) for tree in nests)
    assert operations == pytest.approx(2000, abs=4 * (8000 * 3 / 16) ** 0.5)


def recursive(generator, depth, rules):
    """A tree drawn as the arena's program draws it, first its arguments, then the operation."""
    if depth == rules.max_depth or generator.random() > 0.25:
        return generator.randrange(10)
    count = generator.randint(2, rules.max_arguments)
    arguments = [recursive(generator, depth + 1, rules) for _ in range(count)]
    return [MIN + generator.randrange(4), *arguments]


def test_trees_are_distributed_as_a_recursive_program_draws_them():
    generator = random.Random(0)
    theirs = [recursive(generator, 1, ANY) for _ in range(8000)]
    _, ours = drawn(ANY, 8000)
    for measure in (lambda tree: len(nodes(tree)), value):
        wanted, found = ([measure(tree) for tree in some] for some in (theirs, ours))
        assert ks_2samp(wanted, found).pvalue > 1e-3
    below = [[node for tree in some for _, node in nodes(tree)] for some in (theirs, ours)]
    kinds = [np.bincount([n[0] if isinstance(n, list) else n for n in some]) for some in below]
    shares = [one / one.sum() for one in kinds]
    assert len(shares[1]) == 14
    assert shares[1] == pytest.approx(shares[0], abs=0.01)


def test_published_answers_have_the_recorded_shares():
    counts = np.zeros(10)
    for block in range(4):
        values = draw_trees(Stream("shares"), block, PUBLISHED_RULES).values
        counts += np.bincount(values, minlength=10)
    wanted = np.array(SHARES) / sum(SHARES) * counts.sum()
    assert ((counts - wanted) ** 2 / wanted).sum() < chi2.ppf(1 - 1e-4, 9)
    assert sum(SHARES) == pytest.approx(1, abs=1e-4)
    assert max(SHARES) == pytest.approx(0.17, abs=0.005)


def test_no_tree_comes_twice_in_all_three_sets():
    small = Rules(max_depth=2, max_arguments=3, min_length=2, max_length=6)
    task = make(max_depth=2, max_arguments=3, min_length=2, max_length=6, training_size=300)
    codes = []
    for batch in (
        task.training_batch(0, 0, 300),
        task.evaluation_set("validation", 2000),
        task.evaluation_set("test", 2000),
    ):
        codes += [tuple(row) for row in batch.inputs.argmax(2).T.tolist()]
    assert len(codes) == len(set(codes)) == 4300
    # Drawn without care, they would.
    loose, _ = drawn(small, 20_000)
    assert len(set(loose.digests())) < len(loose)


def test_a_larger_set_begins_with_the_smaller():
    rules = Rules(3, 4, 5, 30)
    large, small = (different_trees(Stream("any"), size, rules) for size in (900, 300))
    assert [large[i].tolist() for i in range(300)] == [small[i].tolist() for i in range(300)]


def test_more_trees_than_there_are_cannot_be_asked_for():
    with pytest.raises(SettingError, match="different trees of these lengths, not 2000"):
        make(max_depth=2, max_arguments=2, min_length=2, max_length=5).evaluation_set("test", 1)


def test_bounds_without_a_tree_are_refused():
    with pytest.raises(SettingError, match=r"task\.max_length: must be at least min_length \+ 2"):
        make(min_length=40, max_length=41)


def test_padding_is_in_front_and_the_last_step_ends_the_outermost_operation():
    codes = make(training_size=50).training_batch(0, 0, 50).inputs.argmax(2)
    assert len(codes) == 39
    assert (codes[-1] == CLOSE).all()
    padded = codes == PADDING
    assert (padded[:-1] | ~padded[1:]).all()  # never padding after a symbol
    assert padded.any()
    assert (codes[~padded.cumprod(0).bool()] != PADDING).all()


def test_results_are_labelled_as_regenerated():
    for name, protocol in ListOps.protocols.items():
        assert name.startswith("listops-regenerated")
        assert "not the official split" in protocol.defects


def test_a_large_training_set_is_kept_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("LONGHAUL_DATA", raising=False)
    monkeypatch.setattr(listops, "_KEPT_FROM", 0)
    fresh = listops._training_set.__wrapped__
    rules = make().settings.rules
    first = fresh(rules, 40)
    (kept,) = (tmp_path / "longhaul" / "data").iterdir()
    monkeypatch.setattr(listops, "_drawn", None)  # drawing again would fail
    second = fresh(rules, 40)
    assert kept.name.startswith("listops-drawn-")
    assert first.digests() == second.digests()
    assert first.values.tolist() == second.values.tolist()


# Recorded once. A change here means that no earlier result can be compared with a later one.
TEST_SHA256 = "5af330bdddfa487c42e9abd0ac3aa22d2d22e1508148ab513e9a65065b243fdd"


def test_evaluation_set_never_changes():
    task = ListOps(ListOpsSettings())
    batch = task.evaluation_set("test", 3)
    assert torch.equal(batch.inputs.sum(2), torch.ones(1999, 3))
    assert task.evaluation_hash("test", 64) == TEST_SHA256
