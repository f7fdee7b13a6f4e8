"""Claim: Grad-CAM over a folder is at least as fast as tf-keras-vis on the same model and images.

Both get the same batches in memory, the score before the softmax, and the same layer; both enlarge
the maps to the images. tltool's time includes opening the model, which it does once a folder;
without that stands beside it. The second peer is what keras.io's example of Grad-CAM does: an image
at a time, with tf.GradientTape.

tf-keras-vis (MIT; pip install 'tltool[bench]') is imported here alone. Where it does not run on the
installed Keras, its error is printed and the second peer judges the claim.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import (
    PATCH,
    find_source,
    interleave,
    median_ratio,
    medians,
    options,
    print_claim,
    print_table,
    scratch,
    seconds_of,
    spread,
)
from tltool.runtime import quiet_import

keras = quiet_import("keras")

CLASSES = 6
BATCH = 32
OURS, OPENED, LIBRARY, LOOP = "tltool", "tltool, opened", "tf-keras-vis", "an image at a time"

Measure = Callable[[], Any]


def _model(weights: str) -> Any:
    import tltool
    from tltool.recipe import BackboneRecipe

    recipe = BackboneRecipe(name="MobileNet", alpha=0.25, weights=weights)
    keras.utils.set_random_seed(1)
    return tltool.build_classifier(CLASSES, PATCH, zoom=2, backbone=recipe).model


def _images(photograph: Path, number: int) -> np.ndarray:
    """Windows of the photograph, enlarged twice as the model sees them."""
    from fractions import Fraction

    from tltool.raster import Raster, enlarge

    rng = np.random.default_rng(0)
    with Raster(photograph) as raster:
        corners = rng.integers(0, (raster.width - PATCH, raster.height - PATCH), (number, 2))
        windows = [raster.read(int(x), int(y), PATCH, PATCH) for x, y in corners]
    return np.stack([enlarge(window, Fraction(2)) for window in windows]).astype(np.float32)


def _ours(model: Any, images: np.ndarray, targets: np.ndarray) -> Measure:
    from tltool.explanation.methods import as_heat, maps_of_subject, subject_for
    from tltool.explanation.subject import open_subject

    def heat() -> np.ndarray:
        opened = open_subject(model, images.shape[1:], "conv_pw_13_relu")
        subject = subject_for(opened, "gradcam")
        return as_heat(subject, maps_of_subject(subject, images, targets, "gradcam", BATCH))

    return heat


def _opened(model: Any, images: np.ndarray, targets: np.ndarray) -> Measure:
    from tltool.explanation.methods import as_heat, maps_of_subject
    from tltool.explanation.subject import open_subject

    subject = open_subject(model, images.shape[1:], "conv_pw_13_relu")
    return lambda: as_heat(subject, maps_of_subject(subject, images, targets, "gradcam", BATCH))


def _library(model: Any, images: np.ndarray, targets: np.ndarray) -> Measure:
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    gradcam = Gradcam(model, model_modifier=ReplaceToLinear(), clone=True)

    def run() -> list[Any]:
        made = []
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            score = CategoricalScore(targets[part].tolist())
            made.append(gradcam(score, images[part], penultimate_layer="conv_pw_13_relu"))
        return made

    return run


def _loop(model: Any, images: np.ndarray, targets: np.ndarray) -> Measure:
    """keras.io/examples/vision/grad_cam: a model to the layer and the output, a tape an image."""
    import tensorflow as tf
    from PIL import Image

    layer = model.get_layer("conv_pw_13_relu")
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    copy.layers[-1].activation = None
    network = keras.Model(copy.inputs[0], [copy.get_layer(layer.name).output, copy.output])
    side = images.shape[1:3]

    def run() -> list[Any]:
        made = []
        for image, target in zip(images, targets, strict=True):
            with tf.GradientTape() as tape:
                features, scores = network(image[None])
                score = scores[:, int(target)]
            weights = tf.reduce_mean(tape.gradient(score, features), axis=(0, 1, 2))
            heat = tf.maximum(features[0] @ weights[:, None], 0)[..., 0].numpy()
            made.append(np.asarray(Image.fromarray(heat).resize(side)))
        return made

    return run


def _timed(name: str, run: Measure, number: int) -> Callable[[], dict[str, float]]:
    """Seconds an image."""
    return lambda: {name: seconds_of(run) / number}


def main() -> None:
    """Measure and print."""
    quick = options(__doc__).quick
    with scratch() as folder:
        source = find_source(Path(folder))
        model = _model(source.weights)
        images = _images(source.photograph, 128 if quick else 512)
    targets = np.arange(len(images)) % CLASSES
    measures = []
    for name, make in ((OURS, _ours), (OPENED, _opened), (LIBRARY, _library), (LOOP, _loop)):
        # The loop is many times slower, and an image costs it what another does.
        number = BATCH // 2 if name == LOOP else len(images)
        try:
            run = make(model, images[:number], targets[:number])
            run()
        except Exception as error:
            if name != LIBRARY:
                raise
            print(f"{name} does not run on Keras {keras.__version__}: {error!r:.200}")
            continue
        measures.append(_timed(name, run, number))
    taken = interleave(measures, 3 if quick else 5)
    typical = medians(taken)
    rows = [
        (name, f"{1 / typical[name]:.0f}", spread([1000 * each for each in taken[name]]))
        for name in taken
    ]
    print_table(("Grad-CAM of 192 px, MobileNet 0.25", "images/s", "ms an image"), rows)
    peer = LIBRARY if LIBRARY in typical else LOOP
    ratio = median_ratio(taken, peer, OURS)
    print_claim(f"at least as fast as {peer}", f"{ratio:.2f} x", ratio >= 1)


if __name__ == "__main__":
    main()
