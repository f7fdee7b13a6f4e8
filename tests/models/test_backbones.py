import dataclasses
import inspect
from types import SimpleNamespace

import numpy as np
import pytest

from tltool.errors import DownloadError, UsageError, WeightsError
from tltool.recipe import BACKBONE_NAMES, BackboneRecipe
from tltool.runtime import quiet_import

quiet_import("keras")

import keras  # noqa: E402
from keras import applications  # noqa: E402
from small_backbones import small_vgg16  # noqa: E402

from tltool.models.backbones import (  # noqa: E402
    BACKBONES,
    block_layers,
    build_backbone,
    preprocessing_weights,
)

CONSTRUCTORS = sorted(n for n, v in vars(applications).items() if inspect.isfunction(v))


def module_of(name):
    return inspect.getmodule(getattr(applications, name))


def test_every_constructor_of_keras_is_in_the_table():
    lite = {f"EfficientNetLite{i}" for i in range(3)}
    assert sorted(set(BACKBONES) - lite) == CONSTRUCTORS
    assert len(CONSTRUCTORS) == 40
    assert lite < set(BACKBONES)


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_preprocessing_is_the_one_of_the_backbones_module(name):
    image = np.random.default_rng(1).uniform(0, 255, (1, 4, 5, 3)).astype("float32")
    expected = module_of(name).preprocess_input(image.copy())
    mode = BACKBONES[name].mode
    if mode == "inside":
        np.testing.assert_array_equal(expected, image)
        return
    kernel, bias = preprocessing_weights(mode)
    np.testing.assert_allclose(image @ kernel + bias, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        "MobileNet",
        *(
            pytest.param(n, marks=pytest.mark.slow)
            for n in ("DenseNet121", "EfficientNetV2B0", "ResNet50")
        ),
    ],
)
def test_raw_rgb_gives_what_keras_gives_for_preprocessed_input(name, tmp_path):
    original = getattr(applications, name)(include_top=False, weights=None, input_shape=(64, 64, 3))
    path = tmp_path / "original.h5"
    original.save_weights(tmp_path / "original.weights.h5")
    (tmp_path / "original.weights.h5").rename(path)
    image = np.random.default_rng(2).uniform(0, 255, (1, 64, 64, 3)).astype("float32")
    expected = original(module_of(name).preprocess_input(image.copy()), training=False)
    # The legacy order-based format is what keras.applications publishes.
    _save_legacy(original, path)
    received = build_backbone(BackboneRecipe(name=name, weights=str(path)), 64)(image)
    scale = float(np.abs(expected).max())
    assert scale > 0
    np.testing.assert_allclose(received, expected, rtol=0, atol=2e-5 * scale)


def _save_legacy(model, path):
    import h5py

    path.unlink(missing_ok=True)
    with h5py.File(path, "w") as file:
        names = [layer.name for layer in model.layers]
        file.attrs["layer_names"] = [name.encode() for name in names]
        for layer in model.layers:
            group = file.create_group(layer.name)
            weights = {f"{layer.name}/{i}": w.numpy() for i, w in enumerate(layer.weights)}
            group.attrs["weight_names"] = [name.encode() for name in weights]
            for name, value in weights.items():
                group.create_dataset(name, data=value)


def start_of_efficientnet(include_top, weights, input_shape):
    inputs = keras.Input(input_shape)
    x = keras.layers.Normalization()(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, keras.layers.Conv2D(4, 3, strides=2, name="stem_conv")(x))


@pytest.mark.parametrize(
    "constructor",
    [start_of_efficientnet, pytest.param(applications.EfficientNetB0, marks=pytest.mark.slow)],
)
def test_efficientnet_from_a_file_gets_the_scale_that_imagenet_weights_need(
    constructor, tmp_path, monkeypatch
):
    row = dataclasses.replace(BACKBONES["EfficientNetB0"], constructor=constructor)
    monkeypatch.setitem(BACKBONES, "EfficientNetB0", row)
    original = constructor(include_top=False, weights=None, input_shape=(32, 32, 3))
    _save_legacy(original, tmp_path / "w.h5")
    recipe = BackboneRecipe(name="EfficientNetB0", weights=str(tmp_path / "w.h5"))
    scale = build_backbone(recipe, 32).get_layer("imagenet_scale").scale
    np.testing.assert_allclose(scale, 1 / np.sqrt([0.229, 0.224, 0.225]), rtol=1e-6)


def test_weights_of_another_width_are_refused_by_the_first_layer_that_differs(tmp_path):
    original = applications.MobileNet(
        alpha=0.5, include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    _save_legacy(original, tmp_path / "half.h5")
    recipe = BackboneRecipe(name="MobileNet", alpha=0.25, weights=str(tmp_path / "half.h5"))
    with pytest.raises(WeightsError, match=r"layer conv1 expects 3x3x3x8, the file has 3x3x3x16"):
        build_backbone(recipe, 32)


def test_weights_with_too_few_layers_are_refused(tmp_path):
    original = applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    short = keras.Model(original.inputs, original.layers[-5].output)
    _save_legacy(short, tmp_path / "short.h5")
    recipe = BackboneRecipe(name="VGG16", weights=str(tmp_path / "short.h5"))
    with pytest.raises(WeightsError, match=r"expected 13 layers with weights, the file has 10"):
        build_backbone(recipe, 32)


def test_a_file_that_is_no_weights_file_is_refused(tmp_path):
    (tmp_path / "w.h5").write_text("hello")
    recipe = BackboneRecipe(name="MobileNet", weights=str(tmp_path / "w.h5"))
    with pytest.raises(WeightsError, match="expected an HDF5 weights file"):
        build_backbone(recipe, 32)
    recipe = BackboneRecipe(name="MobileNet", weights=str(tmp_path / "none.h5"))
    with pytest.raises(WeightsError, match="does not exist"):
        build_backbone(recipe, 32)


def test_a_failed_download_says_how_to_go_on(monkeypatch):
    def unreachable(*args, **kwargs):
        raise Exception("URL fetch failure: None -- no route")

    module = module_of("MobileNet")
    monkeypatch.setattr(module, "file_utils", SimpleNamespace(get_file=unreachable))
    with pytest.raises(DownloadError, match=r"no route.*`weights=PATH`.*`weights='none'`"):
        build_backbone(BackboneRecipe(name="MobileNet", alpha=0.25), 224)


def test_wrong_usage_is_refused():
    with pytest.raises(UsageError, match=r"InceptionV3 needs an input of 75 px or more"):
        build_backbone(BackboneRecipe(name="InceptionV3", weights="none"), 64)
    with pytest.raises(UsageError, match=r"`alpha`: VGG16 has no width multiplier; MobileNet"):
        build_backbone(BackboneRecipe(name="VGG16", weights="none", alpha=0.5), 64)


def test_an_earlier_layer_ends_the_backbone_with_the_weights_of_the_whole(tmp_path):
    options = {"alpha": 0.25, "include_top": False, "input_shape": (32, 32, 3)}
    whole = applications.MobileNet(weights=None, **options)
    whole.save_weights(tmp_path / "whole.weights.h5")
    recipe = BackboneRecipe(
        name="MobileNet",
        alpha=0.25,
        weights=str(tmp_path / "whole.weights.h5"),
        layer="conv_pw_2_relu",
    )
    early = build_backbone(recipe, 32)
    image = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype("float32")
    expected = keras.Model(whole.inputs, whole.get_layer("conv_pw_2_relu").output)
    prepared = applications.mobilenet.preprocess_input(image.copy())
    np.testing.assert_allclose(early(image), expected(prepared), rtol=1e-4, atol=1e-5)


def test_a_layer_that_ends_no_backbone_is_refused():
    recipe = BackboneRecipe(name="VGG16", weights="none", layer="block2_poll")
    message = r"layer: expected one of .* that has a feature map, such as block2_pool, .*poll"
    with small_vgg16(), pytest.raises(UsageError, match=message):
        build_backbone(recipe, 32)


def test_recipe_and_table_know_the_same_backbones():
    assert set(BACKBONE_NAMES) == set(BACKBONES)


@pytest.mark.parametrize(
    ("name", "number", "first_of_last"),
    [
        ("MobileNet", 13, "conv_dw_13"),
        ("VGG16", 5, "block5_conv1"),
        pytest.param("ResNet50", 16, "conv5_block3_1_conv", marks=pytest.mark.slow),
    ],
)
def test_blocks_follow_the_networks_own_names(name, number, first_of_last):
    backbone = build_backbone(BackboneRecipe(name=name, weights="none"), 32)
    blocks = block_layers(backbone, name)
    assert len(blocks) == number
    assert blocks[-1][0] == first_of_last
    assert [n for block in blocks for n in block] == [x.name for x in backbone.layers[1:]]


@pytest.mark.slow
def test_names_do_not_depend_on_what_was_built_before():
    def names():
        backbone = build_backbone(BackboneRecipe(name="MobileNetV3Small", weights="none"), 32)
        return [layer.name for layer in backbone.layers]

    assert names() == names()


def test_preprocessing_does_not_train():
    backbone = build_backbone(BackboneRecipe(name="MobileNet", weights="none"), 32)
    assert not backbone.get_layer("preprocessing").trainable
