import itertools
import math

import numpy as np
import pytest
from surveys import NETWORKS, OBJECTS, network, objects

from tltool.errors import DataError
from tltool.points.checked import checked_total
from tltool.points.sampling import draw_windows, window_probabilities


def test_probabilities_are_mixed_with_uniform_ones():
    np.testing.assert_allclose(
        window_probabilities([0, 1, 3, 0], 0.5), [1 / 8, 1 / 4, 1 / 2, 1 / 8]
    )
    np.testing.assert_allclose(window_probabilities([0, 0, 0, 0]), 1 / 4)
    np.testing.assert_allclose(window_probabilities([0, 1, 3, 0], 1), 1 / 4)


def test_windows_are_drawn_as_often_as_their_probability_says():
    probability = window_probabilities([0, 1, 3, 0])
    draws = draw_windows(probability, 40_000, 3)
    assert draws.sum() == 40_000
    np.testing.assert_allclose(draws / 40_000, probability, atol=0.01)
    np.testing.assert_array_equal(draws, draw_windows(probability, 40_000, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: window_probabilities([]), "`expected`: expected a number for each window"),
        (lambda: window_probabilities([1, -1]), "`expected`: expected finite numbers from 0"),
        (lambda: window_probabilities([1, np.nan]), "`expected`: expected finite numbers"),
        (lambda: window_probabilities([1], 0), "`uniform`: expected a share above 0"),
        (lambda: window_probabilities([1], 1.5), "`uniform`: expected a share above 0"),
        (lambda: draw_windows([1.0], 0), "`number`: expected 1 or more, received 0"),
        (lambda: draw_windows([0.4, 0.4], 3), "`probability`: .*1 in all"),
    ],
)
def test_draws_that_cannot_be_meant_are_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()


def test_the_estimate_is_the_mean_of_weighted_counts():
    # Hansen and Hurwitz by hand: (2 * 3 / 0.5 + 1 / 0.25) / 3.
    result = checked_total([3, 1, np.nan], [0, 0, 0], [0.5, 0.25, 0.25], [2, 1, 0])
    assert result.estimate == pytest.approx((2 * 3 / 0.5 + 1 / 0.25) / 3)
    assert (result.draws, result.occupied, result.seen) == (3, 2, 4)
    assert (result.method, result.lower, result.upper) == ("bound", 4, math.inf)


@pytest.mark.parametrize("control", [True, False])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_estimate_is_unbiased_over_all_possible_draws(control, number):
    counts, expected = np.array([4, 0, 1, 7]), np.array([3, 1, 0, 9])
    q = window_probabilities(expected, 0.4)
    mean = 0.0
    for drawn in itertools.product(range(4), repeat=number):
        draws = np.bincount(drawn, minlength=4)
        result = checked_total(counts, expected, q, draws, control=control)
        mean += np.prod(q[list(drawn)]) * result.estimate
    assert mean == pytest.approx(12, rel=1e-12)


def test_a_region_has_the_draws_that_fell_into_it():
    rng = np.random.default_rng(0)
    counts, expected = rng.poisson(3, 60), rng.poisson(3, 60)
    q, inside = window_probabilities(expected), np.arange(60) < 25
    draws = draw_windows(q, 50)
    part = checked_total(counts, expected, q, draws, inside=inside)
    alone = checked_total(counts[:25], expected[:25], q[:25] / q[:25].sum(), draws[:25])
    assert part == alone
    assert part.draws == draws[:25].sum()
    nothing = checked_total(counts, expected, q, draws, inside=draws == 0, most=9)
    assert math.isnan(nothing.estimate)
    assert (nothing.lower, nothing.upper) == (0, 9 * (draws == 0).sum())


def test_a_perfect_network_leaves_little_to_chance_and_a_useless_one_costs_little():
    rng = np.random.default_rng(1)
    truth = objects(rng, "clustered")
    widths = {}
    for name, expected in [("perfect", truth), ("none", np.ones(len(truth)))]:
        q = window_probabilities(expected)
        result = checked_total(truth, expected, q, draw_windows(q, 60, 2))
        widths[name] = (result.upper - result.lower) / truth.sum()
        assert result.lower <= truth.sum() <= result.upper
    assert widths["perfect"] < widths["none"] / 4


@pytest.mark.parametrize("method", ["bootstrap", "normal"])
def test_more_draws_follow_the_square_root(method):
    rng = np.random.default_rng(4)
    truth = objects(rng, "spread")
    expected = network(rng, truth, "good")
    q = window_probabilities(expected)
    few, many = (
        checked_total(truth, expected, q, draw_windows(q, n, 5), method=method) for n in (60, 240)
    )
    half = (few.upper - few.lower) / 2 / few.estimate
    assert few.more_draws(half * 1.001) == 0
    assert few.more_draws(half / 2) == pytest.approx(180, abs=1)
    assert many.upper - many.lower < 0.7 * (few.upper - few.lower)
    with pytest.raises(DataError, match="`relative`: expected a share above 0"):
        few.more_draws(0)


def test_more_draws_where_few_windows_contain_any():
    q = np.full(100, 0.01)
    counts = np.where(np.arange(100) < 4, 2, 0)
    draws = (np.arange(100) < 20).astype(int)
    result = checked_total(counts, np.ones(100), q, draws, most=10)
    assert (result.method, result.occupied, result.more_draws(0.1)) == ("bound", 4, 30)
    assert checked_total(0 * counts, np.ones(100), q, draws).more_draws(0.1) is None


def test_the_bound_of_an_empty_uniform_sample_is_nearly_the_exact_one():
    # All of n draws are empty with probability (1 - F / (N c)) ** n where F lies in as few windows
    # as can hold it. Half the weight is on that bet, as if at 2.5 %; tested totals are 5 % apart.
    q, draws = np.full(200, 1 / 200), np.repeat([1, 0], [30, 170])
    result = checked_total(np.zeros(200), np.zeros(200), q, draws, most=5)
    exact = 1000 * (1 - 0.05 ** (1 / 30))
    assert exact <= result.upper <= 1000 * (1 - 0.025 ** (1 / 30)) * 1.05
    assert result.lower == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": [1, 2.5, 0]}, "`counts`: expected a whole number"),
        ({"counts": [1, np.nan, 0]}, "`counts`: expected a whole number"),
        ({"counts": [1, -1, 0]}, "`counts`: expected a whole number"),
        ({"counts": [1, 2]}, "expected one a window each"),
        ({"probability": [0.5, 0.5, 0]}, "`probability`: expected each window's above 0"),
        ({"level": 1}, "`level`: expected a probability"),
        ({"most": 1}, "`most`: a window holds 2 objects, more than 1"),
    ],
)
def test_counts_that_cannot_be_meant_are_refused(change, message):
    given = {
        "counts": [1, 2, np.nan],
        "expected": [1, 1, 1],
        "probability": [0.5, 0.25, 0.25],
        "draws": [2, 1, 0],
    }
    checked_total(**given)
    with pytest.raises(DataError, match=message):
        checked_total(**{**given, **change})


def simulated(kind, quality, surveys, draws, mean=1.0, **options):
    """Rows of many surveys: estimate, lower, upper by truth; bound; error of uniform draws."""
    rng, rows = np.random.default_rng(5), []
    for _ in range(surveys):
        truth = objects(rng, kind, mean)
        expected = network(rng, truth, quality)
        q = window_probabilities(expected)
        times = draw_windows(q, draws, int(rng.integers(1 << 31)))
        most = float(max(64, truth.max()))
        result = checked_total(truth, expected, q, times, most=most, **options)
        ends = np.array([result.estimate, result.lower, result.upper]) / truth.sum()
        uniform = truth.std() / truth.mean() / np.sqrt(draws)
        rows.append([*ends, result.method == "bound", uniform])
    return np.array(rows)


def coverage(rows):
    return np.mean((rows[:, 1] <= 1) & (rows[:, 2] >= 1)) if len(rows) else np.nan


def check_coverage(kind, quality, surveys, draws, low, high, **options):
    rows = simulated(kind, quality, surveys, draws, **options)
    bound = rows[:, 3] == 1
    uniform, error = np.sqrt(np.mean(rows[:, 4] ** 2)), rows[:, 0].std()
    print(
        f"{kind}, {quality}, {draws} windows: covered {100 * coverage(rows[~bound]):.1f} %,"
        f" median half width {50 * np.median(rows[~bound, 2] - rows[~bound, 1]):.0f} %,"
        f" error {100 * error:.0f} % (drawn uniformly {100 * uniform:.0f} %, so"
        f" {(uniform / error) ** 2:.1f} times the windows); bound {bound.mean():.2f} of surveys"
    )
    assert low <= coverage(rows[~bound]) <= high
    if bound.any():
        assert coverage(rows[bound]) >= 0.95
    assert abs(rows[:, 0].mean() - 1) < 4 * error / np.sqrt(surveys)


@pytest.mark.parametrize("quality", NETWORKS)
@pytest.mark.parametrize("kind", OBJECTS)
def test_intervals_cover_in_a_few_surveys(kind, quality):
    check_coverage(kind, quality, 60, 30, 0.87, 1)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["bootstrap", "normal"])
@pytest.mark.parametrize("draws", [30, 60])
@pytest.mark.parametrize("quality", NETWORKS)
@pytest.mark.parametrize("kind", OBJECTS)
def test_intervals_cover_in_93_to_97_percent_of_2000_surveys(kind, quality, draws, method):
    low, high = (0.93, 0.975) if method == "bootstrap" else (0.915, 0.98)
    check_coverage(kind, quality, 2000, draws, low, high, method=method)


@pytest.mark.slow
@pytest.mark.parametrize("quality", NETWORKS)
@pytest.mark.parametrize("kind", OBJECTS)
def test_rare_objects_are_covered_in_all_surveys_together(kind, quality):
    rows = simulated(kind, quality, 500, 30, mean=0.1)
    assert coverage(rows) >= 0.93
    assert coverage(rows[rows[:, 3] == 1]) >= 0.95
