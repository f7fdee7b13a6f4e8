from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tltool.errors import DataError
from tltool.points.intervals import (
    CountDistribution,
    corrected_count,
    count_distribution,
    count_interval,
)
from tltool.run.detection_parameters import Validation


def validation(tp, fp=0, fn=0):
    return Validation(tp=tp, fp=fp, fn=fn)


@cache
def ends(detections, tp, fp, fn):
    found = count_interval(detections, validation(tp, fp, fn))
    return None if found is None else (found.lower, found.upper)


def draw(rng, mean, precision, recall, fixed):
    """True number, found and falsely detected of one image."""
    number = round(mean) if fixed else rng.poisson(mean)
    return number, rng.binomial(number, recall), rng.poisson(mean * recall * (1 / precision - 1))


def coverage(precision, recall, animals, mean, fixed, draws, seed=0):
    """Share of draws of validation and new image whose interval holds the truth."""
    rng, held = np.random.default_rng(seed), []
    while len(held) < draws:
        true, tp, fp = draw(rng, animals, precision, recall, fixed)
        number, found, false = draw(rng, mean, precision, recall, fixed)
        given = ends(found + false, tp, fp, true - tp)
        if given is not None:
            held.append(given[0] <= number <= given[1])
    return np.mean(held)


# precision, recall, validation animals, mean of new ones, whether these numbers are fixed
SETTINGS = [
    (0.9, 0.9, 150, 30, False),
    (0.9, 0.6, 30, 150, False),
    (0.7, 0.8, 80, 5, False),
    (0.5, 0.7, 60, 60, False),
    (0.6, 0.5, 200, 15, False),
    (0.9, 0.8, 60, 60, True),
    (0.8, 0.6, 150, 20, True),
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_intervals_cover_the_truth_in_93_to_97_percent(setting):
    assert 0.93 <= coverage(*setting, draws=1200) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("animals", [30, 200])
@pytest.mark.parametrize("mean", [5, 30, 150])
@pytest.mark.parametrize("recall", [0.5, 0.7, 0.9])
@pytest.mark.parametrize("precision", [0.5, 0.7, 0.9])
def test_intervals_cover_the_truth_over_the_whole_range(precision, recall, mean, animals):
    assert 0.93 <= coverage(precision, recall, animals, mean, False, draws=3000) <= 0.97
    # A fixed number varies less than the model says, the more so the lower the precision.
    most = {0.5: 1.0, 0.7: 0.985, 0.9: 0.975}[precision]
    assert 0.93 <= coverage(precision, recall, animals, mean, True, draws=3000) <= most


def test_where_one_number_alone_is_nearly_sure_more_is_covered():
    # Two detections where validation missed 1 of 3,000: no interval of whole numbers holds 95 %.
    assert ends(2, 3000, 0, 1) == (2, 2)
    assert coverage(0.9999, 0.9995, 3000, 2, False, draws=500) > 0.97


def test_distribution_is_the_convolution_of_scipys_distributions():
    found = count_distribution(6, validation(20, 4, 7))
    missed = np.arange(500)
    # Of a negative binomial of shape 6.5, mixed over its share: by numerical integration.
    share = (np.arange(4000) + 0.5) / 4000
    weight = stats.beta.pdf(share, 25, 7.5) / 4000
    negative = stats.nbinom.pmf(missed[:, None], 6.5, share) @ weight
    expected = np.convolve(stats.betabinom.pmf(np.arange(7), 6, 20.5, 4.5), negative)
    mass = np.zeros(len(expected))
    mass[found.first : found.first + len(found.mass)] = found.mass
    np.testing.assert_allclose(mass, expected, atol=1e-6)


def test_distribution_is_that_of_simulated_gamma_means():
    # The model itself: three Poisson means with gamma posteriors, nothing taken for granted.
    rng, size, detections = np.random.default_rng(2), 200_000, 5
    found, false, missed = (rng.gamma(count + 0.5, size=size) for count in (12, 3, 6))
    scale = rng.gamma(detections + 0.5, size=size) / (found + false)
    number = rng.binomial(detections, found / (found + false)) + rng.poisson(scale * missed)
    distribution = count_distribution(detections, validation(12, 3, 6))
    every = np.bincount(number, minlength=200) / size
    mass = np.zeros(len(every))
    stop = min(len(every), distribution.first + len(distribution.mass))
    mass[distribution.first : stop] = distribution.mass[: stop - distribution.first]
    assert np.abs(mass - every).max() < 0.005


def test_interval_by_hand():
    # Half of a number's own mass counts: 0.01, 0.06, 0.5, 0.94, 0.985.
    distribution = CountDistribution(7, np.array([0.02, 0.08, 0.8, 0.08, 0.02]))
    assert distribution.interval(0.95) == (8, 10)
    assert distribution.interval(0.99) == (7, 11)
    assert distribution.interval(0.5) == (9, 9)


def test_estimate_is_corrected_for_false_and_missed_detections():
    found = count_interval(50, validation(30, 10, 20))
    assert found.estimate == pytest.approx(50 * (30 / 40) / (30 / 50))
    assert found.lower < found.estimate < found.upper
    assert (found.detections, found.level) == (50, 0.95)
    assert "assumes" in found.method


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 600), st.integers(1, 400), st.integers(0, 400), st.integers(0, 400))
def test_interval_holds_the_estimate_and_wider_levels_hold_narrower(detections, tp, fp, fn):
    given = validation(tp, fp, fn)
    half, most = (count_interval(detections, given, level) for level in (0.5, 0.95))
    assert 0 <= most.lower <= half.lower <= half.upper <= most.upper
    # The ratio and the middle of the posterior differ by the prior's share.
    assert most.lower - 1 <= corrected_count(detections, given) <= most.upper + 1
    assert count_distribution(detections, given).mass.sum() == pytest.approx(1, abs=1e-4)


def test_more_validation_narrows_the_interval():
    few, many = (ends(100, 8 * k, 2 * k, 2 * k) for k in (1, 100))
    assert few[1] - few[0] > 2 * (many[1] - many[0])


def test_hundred_thousand_detections():
    lower, upper = ends(100_000, 800, 200, 200)
    assert lower < 100_000 < upper
    # Of the ratio 1000 / 1000 both totals vary, less what both share.
    assert upper - lower == pytest.approx(2 * 1.96 * 100_000 * (400 / 1000**2) ** 0.5, rel=0.02)


def test_a_class_that_validation_does_not_show_is_unknown():
    assert count_interval(5, None) is None
    assert count_interval(5, validation(0, 3, 0)) is None
    assert count_interval(5, validation(0, 3, 9)) is None
    assert ends(0, 5, 0, 5)[0] == 0


def test_bad_numbers_are_refused():
    with pytest.raises(DataError, match="`detections`: expected a number from 0 on, received -1"):
        count_interval(-1, validation(3))
    with pytest.raises(DataError, match=r"`level`: expected a probability between 0 and 1, .* 95"):
        count_interval(1, validation(3), 95)
