import numpy as np
import pytest

from tltool.errors import UsageError, WeightsError
from tltool.runtime import quiet_import
from tltool.tasks.kinds import make_task

quiet_import("keras")

import keras  # noqa: E402
from small_backbones import small_mobilenet, small_vgg16  # noqa: E402

from tltool.models.network import build_classifier  # noqa: E402
from tltool.recipe import BackboneRecipe  # noqa: E402

MOBILENET = BackboneRecipe(name="MobileNet", alpha=0.25, weights="none")


def continued(path, **changes):
    return MOBILENET.model_copy(update={"weights": str(path), **changes})


@pytest.fixture(autouse=True)
def _quick():
    with small_mobilenet():
        yield


def test_context_is_seen_but_not_pooled():
    model = build_classifier(3, 32, context=64, backbone=MOBILENET).model
    assert model.input_shape == (None, 160, 160, 3)
    assert model.get_layer("context_crop").cropping == ((2, 2), (2, 2))
    assert model.get_layer("head_pool").input.shape[1:3] == (1, 1)


def test_features_of_an_earlier_layer_have_finer_cells():
    earlier = BackboneRecipe(name="VGG16", weights="none", layer="block3_pool")
    with small_vgg16():
        classifier = build_classifier(3, 16, context=24, backbone=earlier)
    assert classifier.blocks[-1][-1] == "block3_pool"
    crop = classifier.model.get_layer("context_crop")
    # Cells of 8 px: 8 of them in 64 px, of which the patch has 2.
    assert crop.input.shape[1:3] == (8, 8)
    assert crop.output.shape[1:3] == (2, 2)


def test_zoom_enlarges_what_the_network_takes():
    assert build_classifier(3, 32, 8, 2, MOBILENET).model.input_shape == (None, 96, 96, 3)
    with pytest.raises(UsageError, match=r"47 px together, which 1.5 does not enlarge to whole"):
        build_classifier(3, 31, 8, 1.5, MOBILENET)


def test_a_number_stands_for_a_task_of_as_many_classes():
    classifier = build_classifier(4, 64, backbone=MOBILENET)
    assert classifier.tasks == (make_task("label", ("0", "1", "2", "3")),)
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    answers = np.asarray(classifier.model(images))
    assert answers.shape == (2, 4)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)


def test_several_tasks_share_the_backbone():
    tasks = [make_task("z", ("a", "b", "c")), make_task("ripe", ("no", "yes"), "binary")]
    classifier = build_classifier(tasks, 32, 32, backbone=MOBILENET)
    assert classifier.tasks == tuple(tasks)
    assert {k: v.shape for k, v in classifier.model.output.items()} == {
        "z": (None, 3),
        "ripe": (None, 1),
    }
    alone = build_classifier(tasks[0], 32, 32, backbone=MOBILENET)
    assert classifier.blocks == alone.blocks
    assert isinstance(alone.model.output, keras.KerasTensor)


def test_training_goes_on_with_further_tasks(tmp_path):
    one, two = make_task("z", ("a", "b")), make_task("ripe", ("no", "yes"), "binary")
    earlier = build_classifier([one, two], 32, backbone=MOBILENET).model
    earlier.save(tmp_path / "model.keras")
    three = [two, one, make_task("seen", ("a",), "multi-label")]
    later = build_classifier(three, 32, backbone=continued(tmp_path / "model.keras")).model
    for name in ("conv1", "z_probabilities", "ripe_probabilities"):
        np.testing.assert_array_equal(
            later.get_layer(name).get_weights()[0], earlier.get_layer(name).get_weights()[0]
        )


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
