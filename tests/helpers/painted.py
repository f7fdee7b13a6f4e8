"""Images of coloured squares on sand, and a network that knows them by their colour."""

import keras
import numpy as np
from keras import layers
from rasters import write_raster

from tltool.run.sidecar import Sidecar, TaskFacts

PATCH, STRIDE = 16, 4
CLASSES = ["none", "pup", "seal"]
# On centres of cells, so that peaks lie exactly there.
ANIMALS = [(42, 50, "seal"), (102, 50, "pup"), (202, 30, "seal"), (70, 150, "pup")]
COLOURS = {"none": (120, 120, 120), "pup": (0, 255, 0), "seal": (255, 0, 0)}


def paint(path, animals, width=240, height=200, side=PATCH, **place):
    """An image with a square around each (x, y, class); returns its path."""
    pixels = np.full((height, width, 3), COLOURS["none"], np.uint8)
    for x, y, label in animals:
        left, top = int(x) - side // 2, int(y) - side // 2
        part = slice(max(0, top), top + side), slice(max(0, left), left + side)
        pixels[part] = COLOURS[label]
    return write_raster(path, np.moveaxis(pixels, -1, 0), **place)


def colour_model():
    """Logits of a patch: 0 for nothing, and of a class -6 to 6 by the share of its colour."""
    inputs = keras.Input((PATCH, PATCH, 3))
    x = layers.Conv2D(2, STRIDE, strides=STRIDE)(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    outputs = layers.Dense(3, activation="softmax")(x)
    model = keras.Model(inputs, outputs)
    # Green less red and red less green, of which the grey has neither.
    filters = np.zeros((STRIDE, STRIDE, 3, 2), np.float32)
    filters[..., 0, :], filters[..., 1, :] = (-1, 1), (1, -1)
    model.layers[1].set_weights([filters / (255 * STRIDE**2), np.zeros(2)])
    weights = np.zeros((2, 3), np.float32)
    weights[0, 1] = weights[1, 2] = 12
    model.layers[3].set_weights([weights, np.array([0, -6, -6])])
    return model


def painted_run(folder, **facts):
    """A run folder with that network; returns it."""
    folder.mkdir(parents=True)
    colour_model().save(folder / "model.keras")
    sidecar = Sidecar(
        classes=CLASSES,
        tasks=[TaskFacts(classes=CLASSES)],
        background="none",
        patch=PATCH,
        input_side=PATCH,
        **facts,
    )
    sidecar.save(folder / "model.keras")
    return folder


def images_of(paths, sidecar=None):
    """Images to count on, by the network of a sidecar or this one."""
    from tltool.counting.images import Images
    from tltool.run.map_options import MapOptions

    known = Sidecar(classes=CLASSES, background="none", patch=PATCH, input_side=PATCH)
    return Images(paths, sidecar or known, MapOptions())


def write_csv(path, animals, image="a.tif"):
    """A file of points; returns its path."""
    rows = [f"{image},{x},{y},{label}" for x, y, label in animals]
    path.write_text("\n".join(["image,x,y,label", *rows]) + "\n")
    return path
