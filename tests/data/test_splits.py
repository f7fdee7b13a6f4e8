from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tltool.data.splits import split_by_group, split_grouped, stratified_split

TENTHS = [(a / 10, b / 10, (10 - a - b) / 10) for a in range(1, 11) for b in range(11 - a)]
shares = st.sampled_from(TENTHS)
seeds = st.integers(0, 2**31)


@given(st.lists(st.integers(0, 4), max_size=120), shares, seeds)
def test_each_class_has_the_same_shares(labels, fractions, seed):
    splits = stratified_split(labels, fractions, seed)
    assert len(splits) == len(labels)
    counts = Counter(zip(labels, splits.tolist(), strict=True))
    for label, number in Counter(labels).items():
        assert sum(counts[label, split] for split in range(3)) == number
        for split in range(3):
            assert abs(counts[label, split] - fractions[split] * number) <= 1.5
        assert counts[label, 0] >= 1


def test_stratified_split_is_that_of_the_seed():
    labels = [0, 1] * 30
    first, again, other = (stratified_split(labels, (0.6, 0.2, 0.2), s) for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_stratified_split_is_drawn_not_cut_in_order():
    splits = stratified_split([0] * 100, (0.5, 0.5, 0.0), seed=1)
    assert 0 < (splits[:50] == 0).sum() < 50


@given(st.lists(st.integers(1, 500), min_size=1, max_size=30), shares, seeds)
def test_groups_reach_every_split_that_has_a_share(sizes, fractions, seed):
    splits = split_by_group(sizes, fractions, seed)
    wanted = {split for split in range(3) if fractions[split] > 0}
    assert set(splits.tolist()) <= wanted
    if len(sizes) >= len(wanted):
        assert set(splits.tolist()) == wanted


@given(st.integers(20, 60), shares, seeds)
def test_equal_groups_come_to_the_shares(groups, fractions, seed):
    splits = split_by_group([7] * groups, fractions, seed)
    wanted = sum(share > 0 for share in fractions)
    for split, share in enumerate(fractions):
        assert abs((splits == split).sum() - share * groups) <= wanted


def one_hot(labels):
    return np.eye(5, dtype=bool)[labels]


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 4)), min_size=1, max_size=60),
    shares,
    seeds,
)
def test_no_group_is_in_two_splits(samples, fractions, seed):
    groups, labels = zip(*((str(group), label) for group, label in samples), strict=True)
    splits = split_grouped(groups, one_hot(list(labels)), fractions, seed)
    pairs = set(zip(groups, splits.tolist(), strict=True))
    assert len(pairs) == len(set(groups))
    wanted = {split for split in range(3) if fractions[split] > 0}
    assert set(splits.tolist()) <= wanted
    if len(set(groups)) >= len(wanted):
        assert set(splits.tolist()) == wanted


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_dealt_such_that_every_split_has_every_class(seed):
    # Twelve groups of one size; the rare class is in three of them.
    groups = np.repeat(np.arange(12), 10).astype(str)
    labels = np.where(np.isin(groups, ["0", "5", "9"]) & (np.arange(120) % 2 > 0), 1, 0)
    splits = split_grouped(groups, one_hot(labels), (0.6, 0.2, 0.2), seed)
    assert {(int(s), int(label)) for s, label in zip(splits, labels, strict=True)} == {
        (split, label) for split in range(3) for label in (0, 1)
    }
    again = split_grouped(groups, one_hot(labels), (0.6, 0.2, 0.2), seed)
    np.testing.assert_array_equal(splits, again)


def test_many_groups_are_dealt_in_time():
    groups = np.arange(20_000).astype(str)
    splits = split_grouped(groups, one_hot(np.arange(20_000) % 5), (0.6, 0.2, 0.2), 1)
    np.testing.assert_allclose(np.bincount(splits) / 20_000, (0.6, 0.2, 0.2), atol=0.01)


def test_largest_group_goes_to_training():
    assert split_by_group([5, 100, 5], (0.6, 0.2, 0.2), seed=0)[1] == 0


def test_groups_are_dealt_by_the_seed():
    dealt = {tuple(split_by_group([9] * 8, (0.6, 0.2, 0.2), seed)) for seed in (1, 1, 2, 3)}
    assert len(dealt) == 3
