import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tltool.augment.mix import Mixer, cutmix, draw_box, mix_targets, mixup
from tltool.errors import RecipeError

ONE_HOT = np.eye(2, dtype=np.float32)


def batch(number, side=8, bands=1):
    """Images of one level each, their place in the batch."""
    return np.broadcast_to(
        np.arange(number, dtype=np.float32)[:, None, None, None], (number, side, side, bands)
    ).copy()


class Fixed:
    """A generator that draws what it is told."""

    def __init__(self, share, centre=0):
        self.share, self.centre = share, centre

    def beta(self, alpha, other, number):
        return np.full(number, self.share)

    def integers(self, high):
        return self.centre


def test_mixup_of_two_rows_solved_by_hand():
    images, weights = mixup(batch(2), batch(2)[::-1], 0.2, 0, Fixed(0.75))
    assert weights.tolist() == [0.75, 0.75]
    np.testing.assert_allclose(images[:, 0, 0, 0], [0.25, 0.75])
    np.testing.assert_allclose(
        mix_targets(ONE_HOT, ONE_HOT[::-1], weights), [[0.75, 0.25], [0.25, 0.75]]
    )


def test_cutmix_solved_by_hand():
    # A quarter of 8 x 8: 4 x 4 px, of which the corner keeps 2 x 2.
    images, weights = cutmix(batch(2), batch(2)[::-1], 1, 0, Fixed(0.75, centre=0))
    assert images[0].sum() == 4
    assert images[1].sum() == 64 - 4
    np.testing.assert_allclose(weights, 1 - 4 / 64)
    images, weights = cutmix(batch(2), batch(2)[::-1], 1, 0, Fixed(0.75, centre=4))
    np.testing.assert_allclose(weights, 0.75)


def test_cutmix_counts_within_the_judged_patch():
    images, weights = cutmix(batch(2, 12), batch(2, 12)[::-1], 1, 2, Fixed(0.75, centre=4))
    np.testing.assert_allclose(weights, 0.75)
    assert images[0].sum() == 16
    changed = np.argwhere(images[0, ..., 0])
    assert changed.min() >= 2
    assert changed.max() < 10


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 1), st.integers(1, 20), st.integers(1, 20), st.integers(0, 5), st.integers(0))
def test_a_box_lies_in_the_patch(share, height, width, margin, seed):
    size = height + 2 * margin, width + 2 * margin
    box = draw_box(share, size, margin, np.random.default_rng(seed))
    for part, length in zip(box, size, strict=True):
        assert margin <= part.start <= part.stop <= length - margin


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["mixup", "cutmix"]),
    st.integers(1, 9),
    st.integers(0, 2),
    st.floats(0.05, 5),
    st.floats(0, 1),
    st.integers(0, 2**40),
)
def test_targets_tell_the_shares_of_the_pixels(name, number, margin, alpha, p, seed):
    """Image i is a 1 in band i: the mean of the bands over the patch must be the target."""
    side = 9
    images = np.zeros((number, side, side, number), np.float32)
    images[range(number), :, :, range(number)] = 1
    kept = images.copy()
    targets = {"label": np.eye(number, dtype=np.float32), "other": np.ones((number, 1), np.float32)}
    mixer = Mixer([{name: {"alpha": alpha, "p": p}}], margin)
    mixed, found = mixer(images, targets, (seed, 1))
    patch = mixed[:, margin : side - margin, margin : side - margin]
    np.testing.assert_allclose(patch.mean((1, 2)), found["label"], atol=1e-5)
    np.testing.assert_allclose(found["label"].sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(found["other"], 1, atol=1e-6)
    np.testing.assert_array_equal(images, kept)
    again, _ = mixer(images, targets, (seed, 1))
    np.testing.assert_array_equal(again, mixed)


def test_p_is_the_share_of_samples_that_are_mixed():
    images = batch(2000, 1)
    for p in (0, 0.3):
        mixed, _ = Mixer([{"mixup": {"alpha": 1, "p": p}}])(images, {}, (0,))
        assert (mixed != images).mean() == pytest.approx(p, abs=0.04)


def test_samples_have_weights_of_their_own():
    _, targets = Mixer(["cutmix"])(batch(32), {"a": np.eye(32, dtype=np.float32)}, (0,))
    assert len(np.unique(targets["a"].max(1))) > 10


def test_entries_work_one_after_another():
    targets = {"a": np.eye(16, dtype=np.float32)}
    _, found = Mixer([{"mixup": {"alpha": 5}}, "cutmix"])(batch(16), targets, (3,))
    assert ((found["a"] > 0).sum(1) > 2).any()
    np.testing.assert_allclose(found["a"].sum(1), 1, atol=1e-5)


def test_what_is_not_labelled_spreads_where_it_has_weight():
    own = np.array([[1, 0], [-1, -1], [1, 0], [-1, -1]], np.float32)
    other = np.array([[-1, -1], [0, 1], [-1, -1], [0, 1]], np.float32)
    found = mix_targets(own, other, np.array([0.5, 0.5, 1, 0], np.float32))
    np.testing.assert_array_equal(found, [[-1, -1], [-1, -1], [1, 0], [0, 1]])


def test_key_decides():
    mixer, images = Mixer(["mixup"]), batch(8)
    assert (mixer(images, {}, (0, 0, 1))[0] != mixer(images, {}, (0, 0, 2))[0]).any()


def test_with_margin():
    mixer = Mixer(["cutmix"]).with_margin(3)
    assert mixer.margin == 3
    mixed, _ = mixer(batch(9), {}, (0,))
    edge = np.ones((8, 8), bool)
    edge[3:5, 3:5] = False
    np.testing.assert_array_equal(mixed[:, edge], batch(9)[:, edge])
    with pytest.raises(ValueError, match="more than the margin of 3 px on each side"):
        mixer(batch(2, 6), {}, (0,))


def test_other_entries_are_refused():
    with pytest.raises(RecipeError, match=r"augment.0: expected mixup or cutmix, received D4"):
        Mixer(["D4"])
