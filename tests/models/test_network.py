import numpy as np
import pytest

from tltool.errors import UsageError, WeightsError
from tltool.runtime import quiet_import

quiet_import("keras")

import keras  # noqa: E402

from tltool.models.network import build_classifier  # noqa: E402
from tltool.recipe import BackboneRecipe, HeadRecipe  # noqa: E402

MOBILENET = BackboneRecipe(name="MobileNet", alpha=0.25, weights="none")


def continued(path, **changes):
    return MOBILENET.model_copy(update={"weights": str(path), **changes})


def test_context_is_seen_but_not_pooled():
    model = build_classifier(3, 32, context=64, backbone=MOBILENET).model
    assert model.input_shape == (None, 160, 160, 3)
    assert model.get_layer("context_crop").cropping == ((2, 2), (2, 2))
    assert model.get_layer("head_pool").input.shape[1:3] == (1, 1)


def test_zoom_enlarges_what_the_network_takes():
    assert build_classifier(3, 32, 8, 2, MOBILENET).model.input_shape == (None, 96, 96, 3)
    with pytest.raises(UsageError, match=r"47 px together, which 1.5 does not enlarge to whole"):
        build_classifier(3, 31, 8, 1.5, MOBILENET)


@pytest.mark.parametrize("name", ["gap", "gmp", "fc"])
def test_heads_give_probabilities(name):
    head = HeadRecipe(name=name, units=[5], dropout=0.3)
    model = build_classifier(4, 64, backbone=MOBILENET, head=head).model
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    answers = np.asarray(model(images))
    assert answers.shape == (2, 4)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)
    assert model.get_layer("head_dense_1").units == 5


def test_an_unknown_head_is_refused():
    with pytest.raises(UsageError, match=r"head: expected one of gap, gmp, fc; received mlp"):
        build_classifier(4, 32, backbone=MOBILENET, head=HeadRecipe(name="mlp"))


def test_training_goes_on_from_an_earlier_model(tmp_path):
    earlier = build_classifier(3, 32, backbone=MOBILENET).model
    earlier.save(tmp_path / "model.keras")
    wider = build_classifier(3, 32, 32, backbone=continued(tmp_path / "model.keras")).model
    for layer in earlier.layers:
        for a, b in zip(
            layer.get_weights(), wider.get_layer(layer.name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(a, b)
    # Another number of classes: a new head on the same backbone.
    more = build_classifier(5, 32, backbone=continued(tmp_path / "model.keras")).model
    np.testing.assert_array_equal(more.get_weights()[2], earlier.get_weights()[2])


def test_an_earlier_model_of_another_width_is_refused(tmp_path):
    keras.utils.set_random_seed(0)
    build_classifier(3, 32, backbone=MOBILENET).model.save(tmp_path / "model.keras")
    wrong = continued(tmp_path / "model.keras", alpha=0.5)
    with pytest.raises(WeightsError, match=r"layer conv1 expects weights that it does not have"):
        build_classifier(3, 32, backbone=wrong)
