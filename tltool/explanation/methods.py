"""Class activation maps of images, by any of the methods."""

from collections.abc import Callable

import keras
import numpy as np

from tltool.errors import ModelError, UsageError
from tltool.explanation.cam import at_pool, cam, scorecam
from tltool.explanation.gradients import gradcam, gradcam_plus_plus, layercam
from tltool.explanation.subject import Subject, open_subject
from tltool.explanation.superresolution import augmented_gradcam

Method = Callable[[Subject, np.ndarray, np.ndarray], np.ndarray]

# One table for dispatch and the error's list; the names are also in `names`, for the help.
METHODS: dict[str, Method] = {
    "cam": cam,
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "augmented-gradcam": augmented_gradcam,
    "scorecam": scorecam,
    "layercam": layercam,
}


def find_method(name: str) -> Method:
    """The method called `name`.

    Raises
    ------
    UsageError
        There is none.
    """
    if name not in METHODS:
        raise UsageError(f"`method`: expected one of {', '.join(METHODS)}; received {name}")
    return METHODS[name]


def subject_for(subject: Subject, method: str) -> Subject:
    """The classifier opened where `method` looks at it: CAM at what the head pools.

    Raises
    ------
    UsageError
        No such method, or the head does not allow it.
    """
    find_method(method)
    return at_pool(subject) if method == "cam" else subject


def allowed_methods(subject: Subject) -> tuple[dict[str, Subject], dict[str, str]]:
    """The methods that head and layer allow, each with where it looks; the others with the reason.

    Where no layer was given each method looks where it does by default.
    """
    allowed, refused = {}, {}
    for method in METHODS:
        try:
            allowed[method] = subject_for(subject, method)
        except UsageError as error:
            refused[method] = str(error)
    return allowed, refused


def maps_of_subject(
    subject: Subject, images: np.ndarray, targets: np.ndarray, method: str, batch_size: int
) -> np.ndarray:
    """Maps of `maps_of` for a classifier that is opened already."""
    made, targets = find_method(method), np.asarray(targets)
    outputs = subject.outputs
    if targets.shape != (len(images),) or ((targets < -outputs) | (targets >= outputs)).any():
        raise UsageError(
            f"targets: expected {len(images)} numbers from {-outputs} to {outputs - 1}, for a"
            f" network of {outputs} outputs; received {np.array2string(targets, threshold=6)}"
        )
    parts = []
    for start in range(0, len(images), batch_size):
        stop = start + batch_size
        part = made(subject, np.asarray(images[start:stop], np.float32), targets[start:stop])
        wrong = ~np.isfinite(part).all(axis=(1, 2))
        if wrong.any():
            raise ModelError(
                f"{method}: expected finite numbers from the network, received NaN or infinity for"
                f" image {start + int(wrong.argmax())}. Its weights or its input are broken"
            )
        parts.append(part.astype(np.float32))
    return np.concatenate(parts) if parts else np.zeros((0, *subject.cells), np.float32)


def maps_of(
    model: keras.Model,
    images: np.ndarray,
    targets: np.ndarray,
    method: str = "gradcam",
    layer: str | None = None,
    batch_size: int = 32,
    task: str | int | None = None,
) -> np.ndarray:
    """Maps of where in each image the network sees what speaks for an output.

    Parameters
    ----------
    model : keras.Model
        With one image input, flat or with models as layers; it stays as it is.
    images : (n, height, width, bands) array
        As the network takes them: raw, 0..255, enlarged to its input.
    targets : (n,) int array
        Which output is asked about: k speaks for output k, -1 - k (``~k``)
        against it, as the negative class of a binary task is.
    method : str
        One of `METHODS`.
    layer : str, optional
        Path or name of the layer whose map is looked at. Default: as of
        `tltool.explanation.cell_layout.default_map`; of ``cam`` what the head
        pools.
    batch_size : int
        Images at a time.
    task : str or int, optional
        Which output, where the network has several: its name, or its index.

    Returns
    -------
    (n, rows, columns) float32 array, a number for each cell of the layer's map
    (each pixel of the image for ``augmented-gradcam``); 0 or more, but of
    ``cam``. See `as_heat` for maps of the image's size.

    Raises
    ------
    UsageError
        A method, layer or task that there is not, or that do not go together.
    ModelError
        Outputs that are no numbers, naming the image's index.
    """
    images = np.asarray(images)
    subject = subject_for(open_subject(model, images.shape[1:], layer, task), method)
    return maps_of_subject(subject, images, targets, method, batch_size)


def on_image(subject: Subject, maps: np.ndarray) -> np.ndarray:
    """Maps of cells enlarged to the image, where they are not of its size: (n, height, width)."""
    return maps if maps.shape[1:] == subject.shape[:2] else subject.layout.enlarge(maps)


def as_heat(subject: Subject, maps: np.ndarray) -> np.ndarray:
    """Maps enlarged to the image and scaled to 0..1: (n, height, width)."""
    heat = np.maximum(on_image(subject, maps), 0)
    highest = heat.max(axis=(1, 2), keepdims=True)
    return heat / np.where(highest > 0, highest, 1)
