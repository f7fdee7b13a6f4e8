from collections import Counter
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tltool.data import splits as module
from tltool.data.splits import (
    Blocks,
    cut_into_blocks,
    split_by_group,
    split_grouped,
    stratified_split,
)

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


@st.composite
def crowds(draw):
    """Points on an image, their labels, a window's side, and shares."""
    width, height = draw(st.integers(20, 400)), draw(st.integers(20, 400))
    number = draw(st.integers(1, 40))
    xs = draw(st.lists(st.integers(0, width - 1), min_size=number, max_size=number))
    ys = draw(st.lists(st.integers(0, height - 1), min_size=number, max_size=number))
    labels = draw(st.lists(st.sampled_from("ab"), min_size=number, max_size=number))
    positions = np.stack([xs, ys], axis=1)
    return (width, height), positions, labels, draw(st.integers(1, 90)), draw(shares)


def cut(positions, labels, size, window, fractions):
    """Blocks at few of the possible places, which is faster."""
    with mock.patch.object(module, "_CUTS", 7):
        return cut_into_blocks(positions, labels, size, -(-window // 2), fractions)


def boxes(centres, window, size):
    """First and last pixel of windows, clipped to the image."""
    first = np.maximum(centres - window // 2, 0)
    last = np.minimum(centres - window // 2 + window, size) - 1
    return first, last


@settings(deadline=None, max_examples=40)
@given(crowds())
def test_windows_of_different_blocks_share_no_pixel(crowd):
    size, positions, labels, window, fractions = crowd
    blocks = cut(positions, labels, size, window, fractions)
    grid = np.stack(np.meshgrid(*(np.arange(0, s, 5) for s in size)), axis=-1).reshape(-1, 2)
    centres = np.concatenate([positions, grid])
    splits = blocks.assign(centres)
    first, last = boxes(centres, window, size)
    for one in range(3):
        for other in range(one):
            a, b = splits == one, splits == other
            apart = (first[a][:, None] > last[b]) | (last[a][:, None] < first[b])
            assert apart.any(axis=-1).all()


@settings(deadline=None, max_examples=40)
@given(crowds())
def test_split_without_a_share_gets_nothing(crowd):
    size, positions, labels, window, fractions = crowd
    blocks = cut(positions, labels, size, window, fractions)
    splits = blocks.assign(positions)
    assert not any((splits == i).any() for i in range(3) if fractions[i] == 0)


@settings(deadline=None, max_examples=30)
@given(crowds())
def test_only_windows_near_a_cut_are_lost(crowd):
    size, positions, labels, window, fractions = crowd
    assume(fractions[0] < 1)
    margin = -(-window // 2)
    blocks = cut(positions, labels, size, window, fractions)
    cuts = [
        set(blocks.bounds[:, axis::2][np.isfinite(blocks.bounds[:, axis::2])]) for axis in (0, 1)
    ]
    for centre, split in zip(positions, blocks.assign(positions), strict=True):
        near = any(abs(centre[axis] - cut) < margin for axis in (0, 1) for cut in cuts[axis])
        assert split >= 0 or near


def test_whole_image_is_training_where_nothing_else_is_wanted():
    positions = np.array([[3, 4], [90, 95], [50, 50]])
    blocks = cut_into_blocks(positions, list("abc"), (100, 100), 16, (1.0, 0.0, 0.0))
    assert blocks.assign(positions).tolist() == [0, 0, 0]


def test_spread_points_come_near_the_shares_and_few_are_lost():
    positions = np.random.default_rng(0).integers(0, 1000, (400, 2))
    blocks = cut_into_blocks(positions, ["a"] * 400, (1000, 1000), 16, (0.6, 0.2, 0.2))
    counts = np.bincount(blocks.assign(positions) + 1, minlength=4)
    assert counts[0] < 40
    np.testing.assert_allclose(counts[1:] / counts[1:].sum(), (0.6, 0.2, 0.2), atol=0.05)


def test_cut_goes_through_a_gap_rather_than_exactly_at_the_shares():
    x = np.concatenate([np.arange(0, 400, 4), np.arange(600, 1000, 4)])
    positions = np.stack([x, np.full_like(x, 30)], axis=1)
    blocks = cut_into_blocks(positions, ["a"] * len(x), (1000, 60), 50, (0.6, 0.4, 0.0))
    assert np.bincount(blocks.assign(positions) + 1).tolist() == [0, 100, 100]


def test_every_split_gets_every_class_where_that_can_be():
    rng = np.random.default_rng(1)
    positions = rng.integers(0, 600, (60, 2))
    labels = ["rare" if i < 6 else "common" for i in range(60)]
    splits = cut_into_blocks(positions, labels, (600, 600), 10, (0.6, 0.2, 0.2)).assign(positions)
    seen = {(split, label) for split, label in zip(splits.tolist(), labels, strict=True)}
    assert {(0, "rare"), (0, "common"), (1, "common"), (2, "common")} <= seen


@pytest.mark.parametrize(
    ("x", "split"), [(0, 0), (39, 0), (40, 0), (41, -1), (59, -1), (60, 1), (99, 1)]
)
def test_window_must_lie_wholly_inside_its_block(x, split):
    inf = np.inf
    bounds = np.array([[-inf, -inf, 50, inf], [50, -inf, inf, inf], [np.nan] * 4])
    assert Blocks(bounds, margin=10).assign(np.array([[x, 7]])).tolist() == [split]
