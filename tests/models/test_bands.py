import numpy as np
import pytest

from tltool.errors import DataError, UsageError, WeightsError
from tltool.recipe import BackboneRecipe
from tltool.runtime import quiet_import

quiet_import("keras")

import keras  # noqa: E402
from keras import layers  # noqa: E402
from small_backbones import small_mobilenet  # noqa: E402

from tltool.fcn.surgery import check_equal, to_fcn  # noqa: E402
from tltool.models.backbones import BACKBONES, build_backbone, preprocessing_weights  # noqa: E402
from tltool.models.network import build_classifier  # noqa: E402

SIDE = 32
MOBILENET = BackboneRecipe(name="MobileNet", alpha=0.25, weights="none")


def grey(bands, side=SIDE):
    values = np.random.default_rng(0).uniform(0, 255, (2, side, side, 1)).astype("float32")
    return np.repeat(values, bands, axis=3)


def built(recipe, bands, normalisation=None, side=SIDE):
    keras.utils.set_random_seed(4)
    return build_backbone(recipe, side, bands, normalisation)


def assert_close(received, expected):
    scale = float(np.abs(expected).max())
    assert scale > 0
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-4 * scale)


def scaled_as(backbone):
    """A normalisation equal to a backbone's own `preprocessing` layer."""
    layer = backbone.get_layer("preprocessing")
    return layers.Rescaling(layer.scale, layer.offset, name="preprocessing")


@pytest.fixture
def toy():
    with small_mobilenet():
        yield


def check_grey(bands):
    # Of MobileNet each band is scaled alike.
    expected = built(MOBILENET, 3)(grey(3))
    backbone = built(MOBILENET, bands)
    assert backbone.input_shape == (None, SIDE, SIDE, bands)
    assert_close(backbone(grey(bands)), expected)


@pytest.mark.slow
@pytest.mark.parametrize("bands", [1, 4, 12])
def test_a_grey_image_gives_mobilenets_features_in_rgb(bands):
    check_grey(bands)


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("bands", [1, 2, 4, 5, 12])
def test_a_grey_image_gives_the_features_it_gives_in_rgb(bands):
    check_grey(bands)


CHEAP = ["VGG16"]
DEAR = [
    *["ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "EfficientNetV2S"],
    *["EfficientNetLite0", "InceptionResNetV2", "InceptionV3", "MobileNetV2", "MobileNetV3Small"],
    "NASNetMobile",
    *["ResNet50", "ResNet50V2", "Xception"],
]


@pytest.mark.parametrize(
    "name", [*CHEAP, *(pytest.param(name, marks=pytest.mark.slow) for name in DEAR)]
)
def test_a_grey_image_gives_the_same_whatever_its_bands(name):
    # Where R, G and B are scaled differently, this needs RGB scaled by their mean.
    side = max(SIDE, BACKBONES[name].minimum)
    recipe = BackboneRecipe(name=name, weights="none")
    wide = built(recipe, 5, side=side)
    rgb = built(recipe, 3, scaled_as(wide), side)
    assert_close(wide(grey(5, side)), rgb(grey(3, side)))
    if name == "VGG16":
        for bands in (1, 12):
            assert_close(built(recipe, bands)(grey(bands)), wide(grey(5)))


@pytest.mark.parametrize(
    ("name", "scale", "offset"),
    [
        ("MobileNet", 1 / 127.5, -1),
        ("VGG16", 1, -(103.939 + 116.779 + 123.68) / 3),
        pytest.param(
            "DenseNet121",
            np.mean([1 / s for s in (0.229, 0.224, 0.225)]) / 255,
            -np.mean([0.485 / 0.229, 0.456 / 0.224, 0.406 / 0.225]),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "EfficientNetV2B0",
            np.mean([1 / s for s in (0.229, 0.224, 0.225)]) / 255,
            -np.mean([0.485 / 0.229, 0.456 / 0.224, 0.406 / 0.225]),
            marks=pytest.mark.slow,
        ),
        pytest.param("MobileNetV3Small", 1 / 127.5, -1, marks=pytest.mark.slow),
    ],
)
def test_every_band_is_scaled_by_the_mean_of_rgb(name, scale, offset):
    layer = build_backbone(BackboneRecipe(name=name, weights="none"), SIDE, 4).layers[1]
    assert layer.name == "preprocessing"
    assert layer.scale == pytest.approx(scale, rel=1e-5)
    assert layer.offset == pytest.approx(offset, rel=1e-5)


@pytest.mark.usefixtures("toy")
def test_the_first_kernel_is_the_mean_over_rgb_and_all_other_weights_stay():
    rgb, wide = built(MOBILENET, 3), built(MOBILENET, 5)
    assert [layer.name for layer in wide.layers] == [layer.name for layer in rgb.layers]
    kernel, widened = (model.get_layer("conv1").get_weights()[0] for model in (rgb, wide))
    assert widened.shape == (*kernel.shape[:2], 5, kernel.shape[3])
    expected = np.repeat(kernel.mean(axis=2, keepdims=True) * 3 / 5, 5, axis=2)
    np.testing.assert_allclose(widened, expected, rtol=1e-5, atol=1e-8)
    for layer in rgb.layers:
        if layer.name not in ("conv1", "preprocessing"):
            received = wide.get_layer(layer.name).get_weights()
            for a, b in zip(layer.get_weights(), received, strict=True):
                np.testing.assert_array_equal(a, b)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("MobileNet", "EfficientNetV2B0")]


@pytest.mark.parametrize("name", ["VGG16", *SLOW])
def test_a_normalisation_takes_the_place_of_the_backbones_own(name):
    # The backbone's own, given from outside, changes nothing.
    recipe = BackboneRecipe(name=name, weights="none")
    kernel, bias = preprocessing_weights({"VGG16": "caffe", "MobileNet": "tf"}.get(name, "torch"))
    layer = layers.Conv2D(3, 1, name="normalisation")
    layer.build((None, None, None, 3))
    layer.set_weights([kernel[None, None], bias])
    image = np.random.default_rng(2).uniform(0, 255, (2, SIDE, SIDE, 3)).astype("float32")
    expected = built(recipe, 3)(image)
    received = built(recipe, 3, layer)
    assert received.layers[1].name == "normalisation"
    assert not any(isinstance(x, layers.Normalization) for x in received.layers)
    assert_close(received(image), expected)


@pytest.mark.usefixtures("toy")
def test_the_first_block_holds_the_normalisation():
    built = build_classifier(
        3, SIDE, backbone=MOBILENET, bands=4, normalisation=layers.Rescaling(2.0, name="twice")
    )
    assert built.blocks[0][:2] == ["twice", "conv1"]
    assert built.model.input_shape == (None, SIDE, SIDE, 4)
    assert built.model.get_layer("twice").scale == 2.0


@pytest.mark.usefixtures("toy")
def test_a_classifier_of_many_bands_converts():
    model = build_classifier(3, SIDE, 32, backbone=MOBILENET, bands=5).model
    fcn = to_fcn(model)
    assert fcn.input_shape == (None, None, None, 5)
    assert check_equal(model, fcn) <= 1e-6


@pytest.mark.usefixtures("toy")
def test_training_goes_on_from_a_network_of_as_many_bands(tmp_path):
    earlier = build_classifier(3, SIDE, backbone=MOBILENET, bands=4).model
    earlier.save(tmp_path / "model.keras")
    recipe = MOBILENET.model_copy(update={"weights": str(tmp_path / "model.keras")})
    later = build_classifier(3, SIDE, backbone=recipe, bands=4).model
    np.testing.assert_array_equal(
        later.get_layer("conv1").get_weights()[0], earlier.get_layer("conv1").get_weights()[0]
    )
    with pytest.raises(WeightsError, match=r"Take the backbone, alpha and number of bands"):
        build_classifier(3, SIDE, backbone=recipe, bands=5)


@pytest.mark.usefixtures("toy")
def test_wrong_bands_and_classes_are_refused():
    with pytest.raises(UsageError, match=r"bands: expected 1 or more; received 0"):
        build_backbone(MOBILENET, SIDE, 0)
    with pytest.raises(DataError, match=r"task label: expected two classes or more"):
        build_classifier(1, SIDE, backbone=MOBILENET)
