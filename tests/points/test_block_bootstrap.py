import numpy as np
import pytest
from test_scoring import FIRST, SECOND, scene

from tltool.errors import DataError
from tltool.points.block_bootstrap import bootstrap_interval, count_blocks, resample_blocks
from tltool.points.intervals import count_interval
from tltool.run.detection_parameters import Validation


def uneven_blocks(rng, number, mean=15):
    """Blocks whose recall and false detections differ from place to place."""
    crowd = mean * rng.gamma(2, 0.5, number)
    recall = rng.beta(8, 2, number)
    false = rng.poisson(mean * 0.2 * rng.gamma(2, 0.5, number))
    tp, fn = rng.poisson(crowd * recall), rng.poisson(crowd * (1 - recall))
    return np.stack([tp, false, fn], axis=1)


def test_covers_the_truth_where_rates_vary_between_places():
    rng = np.random.default_rng(0)
    held, narrow = [], []
    for _ in range(300):
        blocks, new = uneven_blocks(rng, 25), uneven_blocks(rng, 4).sum(axis=0)
        found, true = int(new[0] + new[1]), new[0] + new[2]
        given = bootstrap_interval(found, blocks.tolist(), draws=400)
        held.append(given.lower <= true <= given.upper)
        tp, fp, fn = blocks.sum(axis=0).tolist()
        model = count_interval(found, Validation(tp=tp, fp=fp, fn=fn))
        narrow.append(model.lower <= true <= model.upper)
    assert 0.92 <= np.mean(held) <= 0.98
    # Points that err together tell less than so many independent ones.
    assert np.mean(narrow) < 0.85


def test_covers_the_truth_where_blocks_are_alike():
    rng, held = np.random.default_rng(1), []
    for _ in range(300):
        blocks, new = rng.poisson((12, 3, 3), (30, 3)), rng.poisson((60, 15, 15))
        given = bootstrap_interval(int(new[0] + new[1]), blocks.tolist(), draws=400)
        held.append(given.lower <= new[0] + new[2] <= given.upper)
    assert 0.92 <= np.mean(held) <= 0.98


def test_the_same_seed_gives_the_same_interval_and_leaves_numpys_alone():
    blocks = uneven_blocks(np.random.default_rng(3), 12).tolist()
    before = np.random.get_state()[1].tolist()
    one, same, other = (bootstrap_interval(40, blocks, seed=seed) for seed in (5, 5, 6))
    assert one == same
    assert abs(one.upper - other.upper) <= 3
    assert np.random.get_state()[1].tolist() == before


def test_rates_scatter_around_those_of_all_blocks():
    blocks = [(8, 2, 4)] * 10 + [(4, 4, 0)] * 10
    tp, fp, fn = resample_blocks(np.array(blocks), 4000, np.random.default_rng(0)).T
    precision, recall = tp / (tp + fp), tp / (tp + fn)
    assert precision.mean() == pytest.approx(120 / 180, abs=0.01)
    assert recall.mean() == pytest.approx(120 / 160, abs=0.01)
    assert precision.std() == pytest.approx(0.029, abs=0.01)


def test_blocks_that_are_all_alike_leave_no_doubt():
    given = bootstrap_interval(50, [(8, 2, 2)] * 10)
    assert (given.lower, given.estimate, given.upper) == (50, 50, 50)


def test_too_few_blocks_and_no_true_point_are_unknown():
    assert bootstrap_interval(5, [(3, 1, 1)] * 7 + [(0, 0, 0)] * 30) is None
    assert bootstrap_interval(5, [(0, 1, 1)] * 30) is None
    assert bootstrap_interval(5, []) is None
    with pytest.raises(DataError, match="`detections`: expected a number from 0 on, received -2"):
        bootstrap_interval(-2, [(3, 1, 1)] * 9)


def test_images_are_blocks_and_squares_of_them():
    assert count_blocks([FIRST, SECOND, scene()], 10.0) == [(3, 1, 1), (0, 1, 0), (0, 0, 0)]
    # Squares from 0 to 250, 250 to 500 and 500 to 750.
    assert count_blocks([FIRST, SECOND], 10.0, 250) == [(3, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 0)]
    assert count_blocks([scene()], 10.0, 250) == []


def test_a_pair_across_a_border_belongs_where_the_truth_is():
    across = scene([(101, "pup", 0.9)], [(99, "pup")])
    assert count_blocks([across], 5.0, 100) == [(1, 0, 0)]
