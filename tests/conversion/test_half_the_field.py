"""From half the receptive field on, map and classifier agree on a real photograph."""

import pytest

from tltool.conversion.agreement import compare
from tltool.conversion.convert import exact_context, fcn_sidecar
from tltool.fcn.geometry import trace
from tltool.fcn.surgery import to_fcn
from tltool.models.network import build_classifier
from tltool.raster import Raster
from tltool.recipe import BackboneRecipe
from tltool.run.sidecar import Sidecar


def classifier_of(name, context):
    import keras

    keras.utils.set_random_seed(1)
    backbone = BackboneRecipe(
        name=name, weights="none", alpha=0.25 if name == "MobileNet" else None
    )
    model = build_classifier(6, 32, context, backbone=backbone).model
    # Random features are nearly alike everywhere: the head must tell them apart.
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([1000 * (kernel - kernel.mean(0)), bias])
    sidecar = Sidecar(
        classes=[f"class_{i}" for i in range(6)],
        patch=32,
        context=context,
        input_side=32 + 2 * context,
    )
    return model, sidecar


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNet", "VGG16", "ResNet50"])
def test_the_map_says_what_the_classifier_says(name, shared):
    model, sidecar = classifier_of(name, 0)
    context = exact_context(sidecar, trace(model))
    model, sidecar = classifier_of(name, context)
    sidecar = fcn_sidecar(sidecar, trace(model))
    assert context >= (sidecar.receptive_field - 32) // 2 - 32
    with Raster(shared / "sealion" / "images" / "20.jpg") as photograph:
        compared = compare(to_fcn(model), model, sidecar, photograph, windows=96)
    found = compared.numbers()
    assert found["windows"] == 96
    assert len({*compared.expected.argmax(1).tolist()}) > 1
    assert found["argmax_agreement"] >= 0.999
    assert found["max_difference"] <= 1e-4
