"""Numbers of drawn samples are those of the repeated images; intervals hold what they should."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_answers import told

from tltool.metrics.bootstrap import (
    Draws,
    draw_measures,
    interval,
    number_groups,
)
from tltool.metrics.calibration import calibration
from tltool.metrics.measures import measures
from tltool.metrics.paths import find
from tltool.tasks.kinds import make_task


def repeated(case, times):
    """The answers of images that are there several times."""
    rows = np.repeat(np.arange(len(case)), times)
    return replace(case, truth=case.truth[rows], scores=case.scores[rows])


class Given(Draws):
    """Weights that are told."""

    def weights(self, width):
        yield self.groups[None].astype(np.int32)


@settings(deadline=None, max_examples=20)
@given(told(), st.data())
def test_a_drawn_sample_has_the_numbers_of_its_images(case, data):
    length = len(case)
    times = np.array(data.draw(st.lists(st.integers(0, 3), min_size=length, max_size=length)))
    times[0] = max(times[0], 1)
    drawn = draw_measures(case, Given(times, 1, 0), 2.0, 3)
    sample = repeated(case, times)
    expected = {**measures(sample, 2.0, 3), "ece": calibration(sample)[0]}
    assert set(drawn) >= {"accuracy", "macro.f1", "micro.roc_auc", "classes.c0.recall", "ece"}
    for path, values in drawn.items():
        number = find(expected, path)
        assert values.shape == (1,)
        if number is None:
            assert np.isnan(values[0]), path
        else:
            assert values[0] == pytest.approx(number, abs=2e-6), path


def test_the_same_seed_draws_the_same_samples_however_they_are_batched():
    draws = Draws(np.arange(50), 30, 7)
    whole = np.concatenate(list(draws.weights(1)))
    single = list(draws.weights(10_000_000))
    assert whole.shape == (30, 50)
    assert len(single) == 30
    np.testing.assert_array_equal(whole, np.concatenate(single))
    assert (whole.sum(axis=1) == 50).all()
    other = np.concatenate(list(Draws(np.arange(50), 30, 8).weights(1)))
    assert (other != whole).any()


def test_images_of_a_group_are_drawn_together():
    groups = number_groups(["a", "a", "", "b", "", "b"], 6)
    assert len(set(groups.tolist())) == 4
    (weights,) = Draws(groups, 200, 0).weights(1)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
    np.testing.assert_array_equal(weights[:, 3], weights[:, 5])
    assert (weights[:, 2] != weights[:, 4]).any()
    assert len(number_groups([], 3)) == 3


def test_an_interval_of_a_share_is_the_binomials():
    task = make_task("label", ("a", "b"))
    truth = np.eye(2)[[0] * 60 + [1] * 40]
    case = task.answers(np.tile([0.9, 0.1], (100, 1)), truth)
    draws = Draws(np.arange(100), 4000, 1)
    low, high = interval(draw_measures(case, draws, 2.0, 3)["accuracy"], draws)
    # Binomial(100, 0.6): 2.5 and 97.5 % at 50 and 69 or 70.
    assert low == pytest.approx(0.50, abs=0.011)
    assert high == pytest.approx(0.695, abs=0.011)


def test_groups_make_an_interval_longer():
    rng = np.random.default_rng(0)
    # All images of a group are right, or all are wrong.
    right = np.repeat(rng.random(20) < 0.5, 10)
    task = make_task("label", ("a", "b"))
    scores = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
    case = task.answers(scores, np.tile([1.0, 0.0], (200, 1)))

    def length(groups):
        draws = Draws(groups, 2000, 0)
        low, high = interval(draw_measures(case, draws, 2.0, 3)["accuracy"], draws)
        return high - low

    alone, together = length(np.arange(200)), length(np.repeat(np.arange(20), 10))
    assert together == pytest.approx(alone * np.sqrt(10), rel=0.15)


def test_no_interval_from_one_group_nor_of_what_is_mostly_undefined():
    values = np.array([0.5, 0.6, np.nan, 0.7])
    assert interval(values, Draws(np.zeros(9, int), 4, 0)) is None
    many = Draws(np.arange(9), 4, 0)
    assert interval(values, many) == pytest.approx([0.505, 0.695])
    assert interval(np.array([0.5, np.nan, np.nan]), many) is None
