from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tltool.runtime import quiet_import

keras = quiet_import("keras")

from tltool.data.dataset import Sample  # noqa: E402
from tltool.data.stream import Patches  # noqa: E402
from tltool.inference.network import LoadedNetwork  # noqa: E402
from tltool.inference.predict_batches import join, predict_batches  # noqa: E402
from tltool.inference.views import FlipsAndRotations  # noqa: E402
from tltool.raster import enlarge  # noqa: E402
from tltool.run.sidecar import Sidecar  # noqa: E402
from tltool.tasks.kinds import make_task  # noqa: E402
from tltool.training.split_metrics import split_metrics  # noqa: E402

ONE = make_task("label", ("a", "b", "c"))
YES = make_task("yes", ("no", "yes"), "binary")
IMAGES = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)


def patches_of(images=IMAGES, labels=None):
    labels = labels or [((i % 3,),) for i in range(len(images))]
    return Patches(images, [Sample(Path(str(i)), told) for i, told in enumerate(labels)], [])


def loaded(model, *tasks, zoom=1):
    sidecar = Sidecar(classes=["a"], patch=8, zoom=zoom, input_side=int(8 * zoom))
    return LoadedNetwork(None, sidecar, tasks, model)


def predict(asked, images, batch_size, views=None):
    batches = predict_batches(asked, images, batch_size=batch_size, views=[views])
    return join([batch.probabilities[0] for batch in batches])


def predict_averaged(asked, images, batch_size):
    return predict(asked, images, batch_size, FlipsAndRotations())


def network(*tasks, side=8):
    """Probabilities that depend on where in the image something is."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((side, side, 3))
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    outputs = {
        t.name: keras.layers.Dense(t.outputs, "sigmoid" if t.outputs == 1 else "softmax")(flat)
        for t in tasks
    }
    return keras.Model(inputs, outputs if len(tasks) > 1 else outputs[tasks[0].name])


@pytest.mark.parametrize("zoom", [Fraction(1), Fraction(2)])
def test_predictions_are_the_models_in_the_order_of_the_images(zoom):
    model = network(ONE, side=int(8 * zoom))
    found = predict(loaded(model, ONE, zoom=float(zoom)), IMAGES, 3)["label"]
    seen = np.stack([enlarge(pixels, zoom) for pixels in IMAGES]).astype("float32")
    np.testing.assert_allclose(found, model(seen), atol=1e-6)


def test_the_mean_over_flips_does_not_see_flips():
    asked = loaded(network(ONE), ONE)
    expected = predict_averaged(asked, IMAGES, 3)["label"]
    plain = predict(asked, IMAGES, 3)["label"]
    assert np.abs(plain - expected).max() > 1e-3
    np.testing.assert_allclose(expected.sum(1), 1, atol=1e-6)
    for turned in (IMAGES[:, ::-1], np.rot90(IMAGES, 1, (1, 2))):
        found = predict_averaged(asked, turned, 3)["label"]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_each_task_is_judged_where_it_is_labelled():
    tasks = [ONE, YES]
    labels = [((0,), (1,)), ((1,), None), ((2,), (0,)), (None, None), *[((0,), (1,))] * 3]
    model = network(*tasks)
    judged = split_metrics(loaded(model, *tasks), patches_of(labels=labels), 4, True)
    assert {name: judged["tasks"][name]["samples"] for name in ("label", "yes")} == {
        "label": 6,
        "yes": 5,
    }
    assert judged["tasks"]["yes"]["classes"]["no"]["samples"] == 1
    averaged = predict_averaged(loaded(model, *tasks), IMAGES, 4)["label"]
    truth = [(0, 0), (1, 1), (2, 2), (4, 0), (5, 0), (6, 0)]
    right = np.mean([averaged[place].argmax() == label for place, label in truth])
    assert judged["averaged"]["tasks"]["label"]["accuracy"] == pytest.approx(right)
