import keras
import numpy as np
import pytest
from networks import varied_images
from small_backbones import small_mobilenet
from small_runs import ALIVE, PATCH, ZOO, small_model

from tltool.models.network import build_classifier
from tltool.recipe import BackboneRecipe, HeadRecipe
from tltool.report.features import backbone_features, penultimate
from tltool.tasks.kinds import make_task

TINY = BackboneRecipe(name="MobileNet", weights="none", alpha=0.25)


@pytest.fixture(autouse=True)
def _quick():
    with small_mobilenet():
        yield


def finished(model, features):
    """The last layer's scores, worked out by hand from its input."""
    kernel, bias = model.layers[-1].get_weights()
    return features @ kernel + bias


def test_features_are_what_the_last_layer_sees():
    model = small_model([ALIVE])
    network = penultimate(model, [ALIVE])["alive"]
    images = varied_images(3, PATCH)
    scores = finished(model, network.predict_on_batch(images))
    expected = model.predict_on_batch(images)
    np.testing.assert_allclose(1 / (1 + np.exp(-scores)), expected, rtol=1e-4)


def test_every_task_has_its_own_features():
    head = HeadRecipe(units=[5])
    model = build_classifier([ALIVE, ZOO], 64, backbone=TINY, head=head).model
    networks = penultimate(model, [ALIVE, ZOO])
    images = varied_images(2, 64)
    told = [networks[name].predict_on_batch(images) for name in ("alive", "zoo")]
    assert [t.shape for t in told] == [(2, 5), (2, 5)]
    # Random features are all but nothing.
    assert not np.allclose(*told, atol=0)


@pytest.mark.parametrize("name", ["gap", "gmp", "fc", "nin", "cam"])
def test_every_head_has_a_vector_an_image(name):
    model = build_classifier(ZOO, 64, backbone=TINY, head=HeadRecipe(name=name)).model
    network = penultimate(model, [ZOO])["zoo"]
    assert len(network.output.shape) == 2


def test_a_nested_model_has_features():
    inner = small_model([ZOO])
    inputs = keras.Input((PATCH, PATCH, 3))
    outer = keras.Model(inputs, inner(inputs))
    images = varied_images(2, PATCH)
    told, expected = (
        penultimate(model, [ZOO])["zoo"].predict_on_batch(images) for model in (outer, inner)
    )
    np.testing.assert_allclose(told, expected, rtol=1e-5)


def test_outputs_side_by_side_share_their_features():
    model = small_model([make_task("label", ("a", "b", "c"), "multi-label")])
    networks = penultimate(model, [ALIVE, make_task("more", ("a", "b"))])
    assert networks["alive"].output.shape == networks["more"].output.shape == (None, 8)


def test_backbone_features_are_the_mean_over_the_patch():
    with_context = build_classifier(3, 32, 32, backbone=TINY)
    network = backbone_features(with_context)
    images = varied_images(2, 96)
    backbone = with_context.backbone_layers[-1]
    cells = keras.Model(with_context.model.inputs[0], backbone.output).predict_on_batch(images)
    assert cells.shape[1:3] == (3, 3)
    np.testing.assert_allclose(network.predict_on_batch(images), cells[:, 1, 1], rtol=1e-5)
