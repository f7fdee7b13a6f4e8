"""Methods on a network of two filters, solved on paper.

IMAGE is [[1, 2], [3, 4]]; with A^1 = [[0, 1], [2, 3]], A^2 = [[2, 1], [0, 0]],
g^1 = [[1, 0], [2, -1]], g^2 = [[0, 2], [-5, 1]].
"""

import math

import numpy as np
import pytest
from two_filters import IMAGE, two_filters

from tltool.errors import UsageError
from tltool.explanation.choices import DEFAULT_METHOD, METHOD_NAMES
from tltool.explanation.methods import METHODS, maps_of, maps_of_subject
from tltool.explanation.subject import open_subject


@pytest.fixture(scope="module")
def model():
    return two_filters()


def test_the_names_without_keras_are_those_of_the_methods():
    assert list(METHOD_NAMES) == list(METHODS)
    assert DEFAULT_METHOD in METHODS


def test_gradcam(model):
    # a_1 = (1 + 0 + 2 - 1) / 4 = 1/2, a_2 = (0 + 2 - 5 + 1) / 4 = -1/2
    # L = ReLU([[0 - 2, 1 - 1], [2 - 0, 3 - 0]] / 2)
    assert maps_of(model, IMAGE, [0], "gradcam") == pytest.approx(
        np.array([[[0, 0], [1, 1.5]]]), abs=1e-6
    )


def test_against_an_output_all_gradients_turn_round(model):
    # a_1 = -1/2, a_2 = 1/2: what was negative is positive.
    assert maps_of(model, IMAGE, [~0], "gradcam") == pytest.approx(
        np.array([[[1, 0], [0, 0]]]), abs=1e-6
    )


def test_gradcam_plus_plus(model):
    # Where g is not 0, its square cancels: a = 1 / (2 + S g), S the channel's sum, 6 and 3.
    # w_1 = 1/(2 + 6) * 1 + 1/(2 + 12) * 2 = 15/56; the -1 is cut off
    # w_2 = 1/(2 + 6) * 2 + 1/(2 + 3) * 1 = 9/20; the -5 is cut off
    w_1, w_2 = 15 / 56, 9 / 20
    expected = np.array([[[2 * w_2, w_1 + w_2], [2 * w_1, 3 * w_1]]])
    assert maps_of(model, IMAGE, [0], "gradcam++") == pytest.approx(expected, rel=1e-5)


def test_layercam(model):
    # ReLU(g^1) A^1 + ReLU(g^2) A^2 = [[1*0 + 0*2, 0*1 + 2*1], [2*2 + 0*0, 0*3 + 1*0]]
    assert maps_of(model, IMAGE, [0], "layercam") == pytest.approx(
        np.array([[[0, 2], [4, 0]]]), abs=1e-6
    )


def test_scorecam(model):
    # Masks A^1/3 and A^2/2 leave [[0, 2/3], [2, 4]] and [[1, 1], [0, 0]].
    # Of the first, A^1 = [[0, 0], [1, 3]], A^2 = [[3, 7/3], [1, 0]]: 2 - 3 + 14/3 - 5 = -4/3
    # Of the second, A^1 = 0, A^2 = [[2, 2], [3, 3]]: 4 - 15 + 3 = -8
    # Both have the bias 7 more, which the softmax over the two takes out.
    w_1 = 1 / (1 + math.exp(-8 + 4 / 3))
    w_2 = 1 - w_1
    expected = np.array([[[2 * w_2, w_1 + w_2], [2 * w_1, 3 * w_1]]])
    assert maps_of(model, IMAGE, [0], "scorecam") == pytest.approx(expected, rel=1e-5)


def test_a_batch_gives_what_each_image_gives_alone(model):
    images = np.concatenate([IMAGE, IMAGE[:, ::-1], 2 * IMAGE])
    targets = np.array([0, ~0, 1])
    subject = open_subject(model, (2, 2, 1))
    for method in ("gradcam", "gradcam++", "layercam", "scorecam"):
        together = maps_of_subject(subject, images, targets, method, 2)
        alone = [
            maps_of_subject(subject, images[i : i + 1], targets[i : i + 1], method, 2)
            for i in range(3)
        ]
        assert together == pytest.approx(np.concatenate(alone), rel=1e-5)


def test_the_model_stays_as_it_is(model):
    before = model.get_config(), model.predict(IMAGE, verbose=0)
    maps_of(model, IMAGE, [0])
    assert model.get_config() == before[0]
    np.testing.assert_array_equal(model.predict(IMAGE, verbose=0), before[1])


def test_targets_that_no_output_has(model):
    for targets in ([2], [-3], [0, 0]):
        with pytest.raises(UsageError, match="targets: expected 1 numbers from -2 to 1"):
            maps_of(model, IMAGE, targets)
