"""`tltool explain`: where in an image the network sees the class it predicts."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tltool.errors import DataError, ImageError, UsageError
from tltool.explanation.boxes import THRESHOLD, Box, Localisation, find_box, localise
from tltool.explanation.choices import DEFAULT_METHOD
from tltool.explanation.explained import COCO_NAME, CSV_NAME, Explained, Located, write_boxes
from tltool.explanation.explainer import Explainer, choose_class, open_explainer
from tltool.explanation.methods import find_method, maps_of_subject, on_image, subject_for
from tltool.explanation.truth import Truth, read_truth
from tltool.explanation.windows import (
    Window,
    gather,
    output_names,
    patch_of,
    place_window,
    shrink_to_window,
)
from tltool.files import atomic_path, refuse_existing
from tltool.inference.network import Openable, open_network
from tltool.inference.predict_batches import Batch, Images, is_cut, predict_batches
from tltool.progress import progress_bar
from tltool.raster import Scale

logger = logging.getLogger(__name__)

# Format of a raw map -> what writes it.
RAW: dict[str, Callable[[Path, np.ndarray], None]] = {
    "npy": lambda path, heat: np.save(path, heat),
    "tiff": lambda path, heat: Image.fromarray(heat).save(path),
}


@dataclass(frozen=True)
class Explanation:
    """Result of `explain`.

    Attributes
    ----------
    method : str
    layer : str
        Path of the layer whose map was looked at.
    cells : (int, int)
        Cells of that map, down and across.
    images : list of Explained
    unreadable : list of ImageError
        Errors of the images that were left out.
    localisation : Localisation or None
        Fit of the boxes, where true ones are known.
    files : list of Path
        Files of the boxes.
    """

    method: str
    layer: str
    cells: tuple[int, ...]
    images: list[Explained]
    unreadable: list[ImageError]
    localisation: Localisation | None = None
    files: list[Path] = field(default_factory=list)


def explain(
    network: Openable,
    images: Images,
    out: str | Path | None = None,
    *,
    method: str = DEFAULT_METHOD,
    label: str | None = None,
    task: str | None = None,
    layer: str | None = None,
    raw: str | None = None,
    boxes: bool = False,
    box_threshold: float = THRESHOLD,
    truth: str | Path | None = None,
    scale: Scale = None,
    batch_size: int = 32,
    strict: bool = False,
    overwrite: bool = False,
) -> Explanation:
    """Explain predictions: where in images the network sees the classes it predicts.

    Parameters
    ----------
    network : str, Path, Network or keras.Model
        A run folder, a model file, or what `tltool.open` takes or gave.
    images : str, Path, array, PIL image or iterable of them
        Image files, folders of them (of folders too), or patterns; arrays
        (height, width, bands) or (n, height, width, bands). They are read as
        the run reads its patches: of those that `tltool.patches` cut the
        middle, others resized.
    out : str or Path, optional
        Folder for ``<stem>.<method>.png``: the image, and the same under the
        heat. Of images from a folder the stem is the path from there, of
        images in memory ``image-<index>``. None: nothing is written.
    method : str
        ``cam``, ``gradcam``, ``gradcam++``, ``augmented-gradcam``, ``scorecam``
        or ``layercam``.
    label : str, optional
        The class. Default: of each image the most probable one.
    task : str, optional
        The task, where there are several.
    layer : str, optional
        Whose map is looked at, by its path (`list_layers`). Default: the last
        map before the head with 5 cells or more along each side; of ``cam``
        what the head pools.
    raw : 'npy' or 'tiff', optional
        Write the map too: (side, side) float32 in px of the window that the
        network sees, not scaled.
    boxes : bool
        Put a box around the largest connected part of the map above a share of
        its maximum; write all to ``boxes.csv`` and, as COCO has it,
        ``boxes.json``, px of the image.
    box_threshold : float
        Share of the maximum, 0..1.
    truth : str or Path, optional
        With `boxes`: CSV table of the true ones, ``image,xmin,ymin,xmax,ymax``
        and perhaps ``label``, px of the image.
    scale : (float, float) or 'percentiles', optional
        Numbers of arrays that become 0 and 255, where they are not 0..255.
    batch_size : int
        Images at a time.
    strict : bool
        Stop at an unreadable image instead of leaving it out.
    overwrite : bool
        Replace earlier outputs.

    Returns
    -------
    Explanation

    Raises
    ------
    UsageError
        A method, task, class or layer that there is not, or that the head does
        not allow.
    ImageError
        Not one image can be read; where `strict`, the first that cannot.
    ModelError
        No run there, or outputs that are no numbers, naming the image.
    DataError
        A truth file that is none.
    OutputError

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> import tltool
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((16, 16, 3)),
    ...         keras.layers.Conv2D(4, 3, activation="relu"),
    ...         keras.layers.GlobalAveragePooling2D(),
    ...         keras.layers.Dense(2, activation="softmax"),
    ...     ]
    ... )
    >>> image = np.full((16, 16, 3), 90, "uint8")
    >>> done = tltool.explain(model, image, "why", method="gradcam")
    >>> done.images[0].map.shape
    (16, 16)
    """
    find_method(method)
    if raw is not None and raw not in RAW:
        raise UsageError(f"`raw`: expected one of {', '.join(RAW)}; received {raw}")
    if not 0 < box_threshold < 1:
        raise UsageError(
            "`box_threshold`: expected a share of the map's maximum between 0 and 1, received"
            f" {box_threshold:g}"
        )
    if truth is not None and not boxes:
        raise UsageError("`truth`: expected `boxes=True` with it, or `tltool.compare_methods`")
    sources = gather(images)
    stems, folder = output_names(sources), None if out is None else Path(out)
    suffixes = ["png", *([raw] if raw else [])]
    if folder is not None:
        names = [f"{stem}.{method}.{suffix}" for stem in stems for suffix in suffixes]
        for name in [*((COCO_NAME, CSV_NAME) if boxes else ()), *names]:
            refuse_existing(folder / name, overwrite)
    true: dict[Path, list[Truth]] = {}
    if truth is not None:
        true = read_truth(Path(truth), [each for each in sources if isinstance(each, Path)])
        if any(each.is_point for own in true.values() for each in own):
            raise DataError(
                f"{truth}: expected boxes, image,xmin,ymin,xmax,ymax and perhaps label, to compare"
                " boxes with; received points, which `tltool.compare_methods` takes"
            )
    explainer = open_explainer(open_network(network), task, layer)
    explainer = replace(explainer, subject=subject_for(explainer.subject, method))
    subject, classes = explainer.subject, explainer.task.classes
    sidecar, chosen, cut = explainer.network.sidecar, choose_class(explainer.task, label), is_cut()
    made: list[Explained] = []
    unreadable: list[ImageError] = []
    with progress_bar(method, len(sources), "images") as bar:
        for batch in read_all(explainer, sources, batch_size, strict, scale):
            bar.advance(len(batch))
            unreadable += batch.unreadable
            if not batch.names:
                continue
            scores = explainer.checked_scores(batch)
            best = scores.argmax(axis=1)
            shown = best if chosen is None else np.full_like(best, chosen)
            targets = explainer.targets(shown)
            maps = maps_of_subject(subject, batch.prepared, targets, method, batch_size)
            heats = shrink_to_window(on_image(subject, maps), sidecar.window)
            for row, (index, heat) in enumerate(zip(batch.indices, heats, strict=True)):
                found, image = classes[shown[row]], sources[index]
                located = None
                if boxes:
                    own = true.get(image, []) if isinstance(image, Path) else []
                    window, size = place_window(image, sidecar, cut)
                    inside = find_box(heat, box_threshold)
                    located = _locate(window, size, inside, own, found)
                explained = Explained(
                    batch.names[row],
                    found,
                    float(scores[row, shown[row]]),
                    classes[best[row]],
                    float(scores[row, best[row]]),
                    heat,
                    batch.images[row],
                    method,
                    subject.layer,
                    patch_of(sidecar),
                    located=located,
                )
                if folder is not None:
                    explained = _write(explained, folder / f"{stems[index]}.{method}", raw)
                made.append(explained)
    files = write_boxes(folder, made) if boxes and folder is not None else []
    ious = [
        (each.located.iou, each.located.right)
        for each in made
        if each.located and each.located.iou is not None
    ]
    fit = localise(ious)
    return Explanation(method, subject.layer, subject.cells, made, unreadable, fit, files)


def _locate(
    window: Window, size: tuple[int, int], inside: Box | None, true: Sequence[Truth], label: str
) -> Located:
    """Lay a box of the window on the image, beside the true one that it fits best."""
    box, iou, right = window.to_image(inside) if inside else None, None, None
    if true:
        ious = [each.box.iou(box) if box else 0.0 for each in true]
        best = int(np.argmax(ious))
        iou = ious[best]
        right = None if true[best].label is None else true[best].label == label
    return Located(box, inside, [window.from_image(t.box) for t in true], size, iou, right)


def _write(explained: Explained, stem: Path, raw: str | None) -> Explained:
    """Write the picture, and the map where that is asked for."""
    picture, values = stem.with_name(f"{stem.name}.png"), None
    with atomic_path(picture) as partial:
        explained.to_image().save(partial)
    if raw is not None:
        values = stem.with_name(f"{stem.name}.{raw}")
        with atomic_path(values) as partial:
            RAW[raw](partial, np.asarray(explained.map, np.float32))
    return replace(explained, picture=picture, raw=values)


def read_all(
    explainer: Explainer, images: Sequence[Any], batch_size: int, strict: bool, scale: Scale = None
) -> Iterator[Batch]:
    """Predict images batch by batch; unreadable ones are logged at once.

    Raises
    ------
    ImageError
        Where `strict`; or not one can be read.
    """
    readable, last = 0, None
    batches = predict_batches(
        explainer.network, images, batch_size=batch_size, strict=strict, scale=scale
    )
    for batch in batches:
        for last in batch.unreadable:
            logger.warning("left out: %s", last)
        readable += len(batch.names)
        yield batch
    if last is not None and not readable:
        raise last
