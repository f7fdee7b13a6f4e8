from collections import Counter
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tltool.data import blocks as module
from tltool.data.blocks import Blocks, cut_into_blocks

TENTHS = [(a / 10, b / 10, (10 - a - b) / 10) for a in range(1, 11) for b in range(11 - a)]
shares = st.sampled_from(TENTHS)


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


def test_part_of_an_image_is_cut_inside_it():
    # Points in a stripe that lies between two cuts of the whole image.
    x = np.linspace(2_100, 2_190, 60)
    positions = np.stack([x, np.full_like(x, 50)], axis=1)
    options = (["a"] * 60, (10_000, 100), 2, (0.6, 0.2, 0.2))
    whole = cut_into_blocks(positions, *options).assign(positions)
    assert len(np.unique(whole)) == 1
    part = cut_into_blocks(
        positions, ["a"] * 60, (100, 100), 2, (0.6, 0.2, 0.2), origin=(2_100, 0)
    ).assign(positions)
    counts = np.bincount(part + 1, minlength=4)
    assert counts[0] <= 6
    np.testing.assert_allclose(counts[1:] / counts[1:].sum(), (0.6, 0.2, 0.2), atol=0.06)


@settings(deadline=None, max_examples=40)
@given(crowds())
def test_no_layout_is_better_than_the_one_chosen(crowd):
    """All layouts, weighed one by one as the docstring says."""
    size, positions, labels, window, fractions = crowd
    margin, kinds = -(-window // 2), sorted(set(labels))

    def cost(bounds):
        splits = Blocks(np.array(bounds, float), margin).assign(positions)
        pairs = Counter(zip(splits.tolist(), labels, strict=True))
        counts = [[pairs[split, kind] for kind in kinds] for split in range(3)]
        sizes = np.sum(counts, axis=1)
        lost = 1 - sizes.sum() / len(labels)
        far = np.abs(sizes / max(1, sizes.sum()) - fractions).sum()
        empty = [sum(n == 0 for n in row) for row in counts]
        absent = [(share > 0) * n for share, n in zip(fractions, empty, strict=True)]
        unwanted = any(n for n, share in zip(sizes, fractions, strict=True) if share == 0)
        return 2 * lost + far + absent[0] + 0.1 * absent[1] + 0.1 * absent[2] + unwanted

    places = [np.arange(1, 4) * (side / 4) for side in size]
    with mock.patch.object(module, "_CUTS", 4):
        chosen = cut_into_blocks(positions, labels, size, margin, fractions)
    assert cost(chosen.bounds) <= min(map(cost, every_layout(places))) + 1e-9


def every_layout(places):
    inf, nothing = np.inf, [np.nan] * 4
    whole = [-inf, -inf, inf, inf]

    def halves(box, axis, cut):
        low, high = list(box), list(box)
        low[2 + axis] = high[axis] = cut
        return low, high

    yield [whole, nothing, nothing]
    for axis, other in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        for cut in places[axis]:
            for train, rest in (halves(whole, axis, cut), halves(whole, axis, cut)[::-1]):
                parts = [
                    halves(rest, other, c)
                    for c in places[other]
                    if rest[other] < c < rest[2 + other]
                ]
                for one, two in [*parts, (rest, nothing)]:
                    yield [train, one, two]
                    yield [train, two, one]
