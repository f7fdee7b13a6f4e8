"""`tltool convert`: a run's classifier to an FCN with its geometry and fidelity beside it."""

import csv
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tltool.data.folders import read_folders
from tltool.data.points import MANIFEST_NAME
from tltool.data.stream import cut_middle, fit_side, read_image
from tltool.errors import DataError, ImageError, ModelError
from tltool.fcn.convert import check_equal, to_fcn
from tltool.fcn.fidelity import measure_fidelity
from tltool.fcn.geometry import Geometry, trace
from tltool.files import atomic_path, refuse_existing
from tltool.models.graph import flatten
from tltool.models.loading import load_network
from tltool.raster import ArrayImage, Image, Raster, as_zoom
from tltool.sidecar import Sidecar, load_sidecar

logger = logging.getLogger("tltool")

MODEL_NAME = "model.keras"
FCN_NAME = "fcn.keras"

# Patches along a side of the mosaic that stands in for a real image.
_MOSAIC = 8


@dataclass(frozen=True)
class Conversion:
    """A converted classifier.

    Attributes
    ----------
    path : Path
        The FCN; its sidecar lies beside it.
    sidecar : Sidecar
    geometry : Geometry
    difference : float
        From the classifier at its own input size, largest of any class.
    advice : str
        What the fidelity means and what would raise it, in one sentence.
    """

    path: Path
    sidecar: Sidecar
    geometry: Geometry
    difference: float
    advice: str


def _source_images(data: Path, split: str) -> list[Path]:
    manifest = data / MANIFEST_NAME
    if not manifest.exists():
        return []
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wanted = [row["image"] for row in rows if row["split"] == split] or [r["image"] for r in rows]
    return [Path(name) for name in dict.fromkeys(wanted) if Path(name).exists()]


def _mosaic(data: Path, window: int) -> ArrayImage:
    dataset = read_folders(data)
    samples = dataset.samples["test"] or dataset.samples["valid"] or dataset.samples["train"]
    order = np.random.default_rng(0).permutation(len(samples))
    adapt = fit_side if dataset.facts is None else cut_middle
    squares = []
    for place in order:
        try:
            squares.append(adapt(read_image(samples[place].path), window))
        except ImageError:
            continue
        if len(squares) == _MOSAIC**2:
            break
    if not squares:
        raise DataError(f"{data}: no image can be read to measure the fidelity on")
    filled = [squares[i % len(squares)] for i in range(_MOSAIC**2)]
    rows = [np.concatenate(filled[i : i + _MOSAIC], 1) for i in range(0, _MOSAIC**2, _MOSAIC)]
    return ArrayImage(np.concatenate(rows, 0))


@contextmanager
def _check_image(given: Path | None, sidecar: Sidecar) -> Iterator[tuple[str, Image | None]]:
    """The image to measure on and its name: the given one, a source of the patches, a mosaic."""
    data = Path(sidecar.data["folder"]) if sidecar.data else None
    sources = [given] if given else _source_images(data, "test") if data else []
    if sources:
        with Raster(sources[0]) as raster:
            yield raster.path.name, raster
    elif data is not None and data.is_dir():
        yield f"a mosaic of patches from {data}", _mosaic(data, sidecar.window)
    else:
        yield "", None


def _fcn_sidecar(classifier: Sidecar, geometry: Geometry) -> Sidecar:
    zoom = as_zoom(classifier.zoom)
    return classifier.model_copy(
        update={
            "stride": float(geometry.stride / zoom),
            "offset": float(classifier.context),
            "receptive_field": math.ceil(geometry.receptive_field / zoom),
            "reach": (geometry.first, geometry.last),
        }
    )


def exact_context(sidecar: Sidecar, geometry: Geometry) -> int:
    """Context from which on the classifier sees no padding, px: a multiple of the stride."""
    pitch = geometry.stride / as_zoom(sidecar.zoom)
    wanted = sidecar.context + geometry.missing_context / as_zoom(sidecar.zoom)
    return math.ceil(math.ceil(wanted / pitch) * pitch)


def _advice(sidecar: Sidecar, geometry: Geometry) -> str:
    if geometry.global_pools:
        return (
            "the backbone pools over its whole input (squeeze-and-excitation); the map pools over a"
            " window of the same size around each cell instead"
        )
    if geometry.missing_context == 0:
        return "the context covers the receptive field, so map and classifier see the same pixels"
    return (
        "at its borders the classifier saw zeros where the map sees the image; patches cut with"
        f" --context {exact_context(sidecar, geometry)} make the two equal, and less already helps"
    )


def _check_outputs(model: keras.Model, sidecar: Sidecar, path: Path) -> None:
    outputs = int(np.prod(model.outputs[0].shape[1:]))
    side = model.inputs[0].shape[1]
    if outputs != len(sidecar.classes) or side != sidecar.input_side:
        raise ModelError(
            f"{path} does not match its sidecar: expected {len(sidecar.classes)} classes and an"
            f" input of {sidecar.input_side} px, received {outputs} and {side}"
        )


def convert(
    run: str | Path,
    *,
    check_image: str | Path | None = None,
    windows: int = 1024,
    overwrite: bool = False,
) -> Conversion:
    """Convert a run's classifier to a fully convolutional network and measure its fidelity.

    Parameters
    ----------
    run : str or Path
        A run folder with ``model.keras`` and ``model.json``; ``fcn.keras``
        and ``fcn.json`` are written there.
    check_image : str or Path, optional
        A real image to measure the fidelity on. Default: an image that the
        patches of the test split came from; else a mosaic of patches.
    windows : int
        How many windows to compare.
    overwrite : bool
        Replace an earlier ``fcn.keras``.

    Returns
    -------
    Conversion

    Raises
    ------
    ConversionError
        Names the layer that cannot be converted, or the difference where the
        result is not the classifier's at its own size (above 1e-5). Nothing is
        written then.
    ModelError, ImageError, OutputError
    """
    folder = Path(run)
    path = folder / FCN_NAME
    refuse_existing(path, overwrite)
    classifier = load_network(folder / MODEL_NAME)
    sidecar = load_sidecar(folder / MODEL_NAME)
    _check_outputs(classifier, sidecar, folder / MODEL_NAME)
    given = Path(check_image) if check_image is not None else None
    if given is not None:
        Raster(given).close()
    fcn = to_fcn(classifier)
    geometry = trace(flatten(classifier))
    difference = check_equal(classifier, fcn)
    sidecar = _fcn_sidecar(sidecar, geometry)
    with _check_image(given, sidecar) as (name, image):
        if image is not None:
            measured = measure_fidelity(fcn, classifier, sidecar, image, windows)
            fidelity = {"image": name, **measured, "own_size_difference": difference}
            sidecar = sidecar.model_copy(update={"fidelity": fidelity})
        else:
            logger.warning("the training patches are gone: pass --check-image for the fidelity")
    with atomic_path(path) as partial:
        fcn.save(partial)
    sidecar.save(path)
    return Conversion(path, sidecar, geometry, difference, _advice(sidecar, geometry))
