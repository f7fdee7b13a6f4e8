import numpy as np
import pytest

from tltool.errors import DataError
from tltool.metrics import baselines
from tltool.metrics.baselines import (
    feature_neighbours,
    linear_probe,
    majority,
    pixel_neighbour,
)
from tltool.tasks.kinds import make_task

ZOO = make_task("zoo", ("bird", "none", "seal"))
ALIVE = make_task("alive", ("no", "yes"), "binary")
SEEN = make_task("seen", ("boat", "person"), "multi-label")


def blobs(number, labels, seed=0, spread=0.1):
    """Features that tell the labels: a corner of the plane for each class."""
    rng = np.random.default_rng(seed)
    corners = np.array([(0, 0), (4, 0), (0, 4)])
    return corners[labels] + spread * rng.normal(size=(number, 2))


def flat_images(levels, side=4, bands=3):
    return np.tile(np.uint8(levels)[:, None, None, None], (1, side, side, bands))


def test_labels_are_indices_or_a_column_a_label():
    assert ZOO.decide(ZOO.encode([(2,), (0,)])).tolist() == [2, 0]
    assert ALIVE.decide(ALIVE.encode([(1,), (0,)])).tolist() == [1, 0]
    assert SEEN.decide(SEEN.encode([(0, 1), ()])).tolist() == [[1, 1], [0, 0]]


def test_majority_says_the_commonest_class_of_train():
    found = majority(np.array([0, 2, 2, 1]), 5)
    assert found.answers.tolist() == [2] * 5
    assert found.places.tolist() == list(range(5))
    assert majority(np.array([[1, 0], [1, 0], [0, 1]]), 2).answers.tolist() == [[1, 0]] * 2


def test_pixels_are_compared_by_their_sum_of_differences():
    # By the sum of squares the second image, one pixel far off, would be nearer to neither.
    train = flat_images([0, 40, 200])
    far = train[0].copy()
    far[0, 0] = 255
    found = pixel_neighbour(train, np.array([0, 1, 2]), np.stack([far, flat_images([130])[0]]))
    assert found.answers.tolist() == [0, 2]


def test_large_images_are_shrunk_to_their_means_and_it_is_said():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 100, (2, 64, 64, 4), dtype=np.uint8)
    train = noise + np.uint8([[[[0]]], [[[100]]]])
    found = pixel_neighbour(train, np.array([0, 1]), flat_images([50, 150], 64, 4))
    assert found.answers.tolist() == [0, 1]
    assert "shrunk from 64 to 32 px" in found.note


def test_limits_of_pixels_are_kept_and_said(monkeypatch):
    monkeypatch.setattr(baselines, "PIXEL_LIMITS", (3, 2))
    found = pixel_neighbour(flat_images(range(0, 50, 10)), np.arange(5), flat_images(range(4)))
    assert len(found.answers) == len(found.places) == 2
    assert "to 3 of 5 training images" in found.note
    assert "for 2 of 4 images" in found.note


@pytest.mark.parametrize("method", [feature_neighbours, linear_probe])
def test_features_that_tell_the_class_are_learnt(method):
    labels = np.repeat([0, 1, 2], 10)
    asked = np.array([2, 0, 1, 1])
    found = method(blobs(30, labels), labels, blobs(4, asked, seed=1))
    assert found.answers.tolist() == asked.tolist()


@pytest.mark.parametrize("method", [feature_neighbours, linear_probe])
def test_several_labels_are_learnt_each_for_itself(method):
    # Across is the first label, up the second.
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (40, 2))
    features = 4 * labels + 0.1 * rng.normal(size=(40, 2))
    asked = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    assert method(features, labels, 4.0 * asked).answers.tolist() == asked.tolist()


def test_the_linear_probe_says_whether_its_penalty_was_chosen():
    labels = np.repeat([0, 1], 6)
    features = blobs(12, labels)
    assert "cross-validation" in linear_probe(features, labels, features).note
    rare = np.array([0] * 11 + [1])
    assert "cross-validation" not in linear_probe(features, rare, features).note


def test_a_single_class_or_a_constant_label_is_no_error():
    features = blobs(4, np.zeros(4, int))
    assert linear_probe(features, np.zeros(4, int), features).answers.tolist() == [0] * 4
    labels = np.array([[1, 0], [1, 1], [1, 0], [1, 1]])
    assert linear_probe(features, labels, features).answers[:, 0].tolist() == [1] * 4


def test_the_same_seed_gives_the_same_answers():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 5)), rng.integers(0, 3, 60)
    asked = rng.normal(size=(30, 5))
    both = [linear_probe(features, labels, asked, seed=3).answers.tolist() for _ in range(2)]
    assert both[0] == both[1]


def test_unlabelled_training_images_are_left_out():
    targets = ZOO.encode([(0,), None, (2,), (2,)])
    images = flat_images([0, 90, 200, 210])
    features = np.array([[0.0], [9.0], [20.0], [21.0]])
    found = ZOO.baselines(targets, (images, images[1:2]), (features, features[1:2]))
    names = [baseline.name for baseline in found]
    assert names[0] == "majority class"
    assert len(set(names)) == len(found) == 4
    # The judged image is 90 of 255: nearest among labelled ones is 0.
    assert found[1].answers.tolist() == [0]


def test_no_label_at_all_is_told():
    targets = ZOO.encode([None, None])
    images, features = flat_images([0, 1]), np.zeros((2, 1))
    with pytest.raises(DataError, match="task zoo: no training image is labelled"):
        ZOO.baselines(targets, (images, images), (features, features))
