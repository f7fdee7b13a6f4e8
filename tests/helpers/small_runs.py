"""Run folders of networks that are made in a moment, for any tasks and bands."""

import keras
import numpy as np
import rasterio
from keras import layers

from tltool.run.sidecar import Sidecar, TaskFacts, load_sidecar
from tltool.tasks.kinds import make_task

PATCH = 16


def small_model(tasks, bands=3):
    """A random classifier without padding, whose answers differ from place to place."""
    keras.utils.set_random_seed(4)
    inputs = keras.Input((PATCH, PATCH, bands))
    x = layers.Conv2D(8, 4, strides=4, activation="relu")(layers.Rescaling(1 / 128, -1)(inputs))
    features = layers.GlobalAveragePooling2D()(x)
    told = {
        task.name: layers.Dense(
            task.outputs, activation="softmax" if task.kind == "multi-class" else "sigmoid"
        )(features)
        for task in tasks
    }
    model = keras.Model(inputs, told if len(tasks) > 1 else told[tasks[0].name])
    for weight in model.weights:
        weight.assign(4 * weight)
    return model


def small_run(folder, *tasks, bands=3, **facts):
    """A run folder as `tltool finetune` writes it; returns its model."""
    model, several = small_model(tasks, bands), len(tasks) > 1
    folder.mkdir()
    model.save(folder / "model.keras")
    sidecar = Sidecar(
        classes=[f"{t.name}.{n}" if several else n for t in tasks for n in t.output_names],
        tasks=[TaskFacts(name=t.name, kind=t.kind, classes=list(t.classes)) for t in tasks],
        patch=PATCH,
        input_side=PATCH,
        bands=bands,
        **facts,
    )
    sidecar.save(folder / "model.keras")
    return model


def write_bands(path, bands, dtype="uint8", side=40, seed=0):
    """A TIFF without colours, of blobs; returns its (bands, side, side) values."""
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    blobs = rng.integers(0, top, (bands, side // 8, side // 8), dtype, endpoint=True)
    values = np.kron(blobs, np.ones((1, 8, 8), dtype))
    shape = {"count": bands, "height": side, "width": side, "dtype": dtype}
    with rasterio.open(path, "w", driver="GTiff", photometric="MINISBLACK", **shape) as file:
        file.write(values)
    return values


ZOO = make_task("zoo", ("bird", "none", "seal"))
ALIVE = make_task("alive", ("no", "yes"), "binary")
SEEN = make_task("label", ("boat", "person"), "multi-label")


def padded_run(folder, zoom=1.0, context=True):
    """A run whose classifier pads; its answer does not tell where there is context."""
    small_run(folder, ALIVE)
    keras.utils.set_random_seed(5)
    inputs = keras.Input((48, 48, 3))
    x = layers.Rescaling(1 / 128, -1)(inputs)
    for strides in (2, 2, 2):
        x = layers.Conv2D(6, 3, strides=strides, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D(3, strides=1, padding="same")(x)
    x = layers.GlobalAveragePooling2D()(layers.Cropping2D(2)(x) if context else x)
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    model.layers[-1].set_weights([8 * model.layers[-1].get_weights()[0], np.zeros(1)])
    model.save(folder / "model.keras")
    sidecar = load_sidecar(folder / "model.keras")
    side = round(48 / zoom)
    context = side // 3 if context else 0
    facts = {"input_side": 48, "zoom": zoom, "patch": side - 2 * context, "context": context}
    sidecar.model_copy(update=facts).save(folder / "model.keras")
    return model
