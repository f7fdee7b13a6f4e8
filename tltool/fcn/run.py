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

from tltool.data.folders import read_dataset
from tltool.data.images import cut_middle, fit_side, read_image
from tltool.data.points import MANIFEST_COLUMNS, MANIFEST_NAME
from tltool.errors import DataError, ImageError, ModelError, UsageError
from tltool.fcn.convert import check_equal, to_fcn
from tltool.fcn.dense import choose_stride, possible_strides, to_dense
from tltool.fcn.fidelity import measure_fidelity
from tltool.fcn.geometry import Geometry, trace
from tltool.fcn.single import as_single
from tltool.files import atomic_path, refuse_existing
from tltool.maps.inference import open_image
from tltool.models.loading import load_network
from tltool.raster import ArrayImage, Image, as_zoom
from tltool.recipe import Recipe, load_recipe
from tltool.sidecar import Sidecar, load_sidecar

logger = logging.getLogger("tltool")

MODEL_NAME = "model.keras"
FCN_NAME = "fcn.keras"
RECIPE_NAME = "recipe.yaml"

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
    """The images that patches were cut from, where `tltool patches` wrote their manifest."""
    manifest = data / MANIFEST_NAME if data.is_dir() else data
    if not manifest.is_file():
        return []
    with manifest.open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file)
        # In other manifests `image` may be the labelled image itself.
        if not {*MANIFEST_COLUMNS} <= {*(reader.fieldnames or ())}:
            return []
        rows = list(reader)
    wanted = [row["image"] for row in rows if row["split"] == split] or [r["image"] for r in rows]
    return [Path(name) for name in dict.fromkeys(wanted) if Path(name).is_file()]


def _recipe_of(run: Path, sidecar: Sidecar) -> Recipe:
    path = run / RECIPE_NAME
    return load_recipe(path) if path.exists() else Recipe(bands=sidecar.band_numbers)


def _mosaic(data: Path, recipe: Recipe, sidecar: Sidecar) -> ArrayImage:
    dataset = read_dataset(data, recipe)
    samples = dataset.samples["test"] or dataset.samples["valid"] or dataset.samples["train"]
    order = np.random.default_rng(0).permutation(len(samples))
    adapt = fit_side if dataset.facts is None else cut_middle
    squares = []
    for place in order:
        try:
            square = adapt(read_image(samples[place].path, recipe.bands), sidecar.window)
        except ImageError:
            continue
        if square.shape == (sidecar.window, sidecar.window, sidecar.bands):
            squares.append(square)
        if len(squares) == _MOSAIC**2:
            break
    if not squares:
        raise DataError(
            f"{data}: no image can be read that has {sidecar.window} px and {sidecar.bands} bands"
        )
    filled = [squares[i % len(squares)] for i in range(_MOSAIC**2)]
    rows = [np.concatenate(filled[i : i + _MOSAIC], 1) for i in range(0, _MOSAIC**2, _MOSAIC)]
    return ArrayImage(np.concatenate(rows, 0))


@contextmanager
def _check_image(
    given: Path | None, run: Path, sidecar: Sidecar
) -> Iterator[tuple[str, Image | None]]:
    """The image to measure on and its name: the given one, a source of the patches, a mosaic."""
    data = Path(sidecar.data["folder"]) if sidecar.data else None
    sources = [given] if given else _source_images(data, "test") if data else []
    if sources:
        with open_image(sources[0], sidecar) as raster:
            yield raster.path.name, raster
    elif data is not None and data.exists():
        yield f"a mosaic of patches from {data}", _readable_mosaic(data, run, sidecar)
    else:
        logger.warning("the training patches are gone: pass --check-image for the fidelity")
        yield "", None


def _readable_mosaic(data: Path, run: Path, sidecar: Sidecar) -> ArrayImage | None:
    try:
        return _mosaic(data, _recipe_of(run, sidecar), sidecar)
    except (DataError, UsageError) as error:
        logger.warning("no fidelity is measured, pass --check-image for it: %s", error)
        return None


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


def _denser(fcn: keras.Model, sidecar: Sidecar, stride: float) -> tuple[keras.Model, Sidecar]:
    zoom, side = as_zoom(sidecar.zoom), sidecar.input_side
    wanted = choose_stride(stride, zoom, possible_strides(fcn, side))
    update = {"stride": float(wanted / zoom)}
    return to_dense(fcn, side, wanted), sidecar.model_copy(update=update)


def exact_context(sidecar: Sidecar, geometry: Geometry) -> int:
    """Context from which on the classifier sees no padding, px: a multiple of the stride."""
    pitch = geometry.stride / as_zoom(sidecar.zoom)
    wanted = sidecar.context + geometry.missing_context / as_zoom(sidecar.zoom)
    return math.ceil(math.ceil(wanted / pitch) * pitch)


def _advice(sidecar: Sidecar, geometry: Geometry) -> str:
    if geometry.global_pools:
        return (
            "the network pools over its whole input (squeeze-and-excitation, samplewise_center);"
            " the map pools over a window of the same size around each cell instead"
        )
    if geometry.missing_context == 0:
        return "the context covers the receptive field, so map and classifier see the same pixels"
    return (
        "at its borders the classifier saw zeros where the map sees the image; patches cut with"
        f" --context {exact_context(sidecar, geometry)} make the two equal, and less already helps"
    )


def _check_outputs(model: keras.Model, sidecar: Sidecar, path: Path) -> None:
    outputs = int(np.prod(model.outputs[0].shape[1:]))
    _, side, *_, bands = model.inputs[0].shape
    expected = (len(sidecar.classes), sidecar.input_side, sidecar.bands)
    if (outputs, side, bands) != expected:
        raise ModelError(
            f"{path} does not match its sidecar: expected {expected[0]} classes and an input of"
            f" {expected[1]} px with {expected[2]} bands, received {outputs}, {side} and {bands}"
        )


def convert(
    run: str | Path,
    *,
    check_image: str | Path | None = None,
    windows: int = 1024,
    stride: float | None = None,
    overwrite: bool = False,
) -> Conversion:
    """Convert a run's classifier to a fully convolutional network and measure its fidelity.

    The outputs of several tasks become one map, side by side as the sidecar's
    ``classes`` have them.

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
    stride : float, optional
        px of the image between cells, one that divides the network's own: the
        denser network of `tltool.fcn.dense.to_dense` is written, as
        ``fcn-stride<px>.keras``.
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
    UsageError
        A stride that the network cannot have.
    ModelError, ImageError, OutputError
    """
    folder = Path(run)
    path = folder / (FCN_NAME if stride is None else f"fcn-stride{stride:g}.keras")
    refuse_existing(path, overwrite)
    loaded = load_network(folder / MODEL_NAME)
    sidecar = load_sidecar(folder / MODEL_NAME)
    classifier = as_single(loaded, [task.name for task in sidecar.tasks])
    _check_outputs(classifier, sidecar, folder / MODEL_NAME)
    given = Path(check_image) if check_image is not None else None
    if given is not None:
        open_image(given, sidecar).close()
    fcn = to_fcn(classifier)
    geometry = trace(classifier)
    sidecar = _fcn_sidecar(sidecar, geometry)
    if stride is not None:
        fcn, sidecar = _denser(fcn, sidecar, stride)
    difference = check_equal(classifier, fcn)
    with _check_image(given, folder, sidecar) as (name, image):
        if image is not None:
            measured = measure_fidelity(fcn, classifier, sidecar, image, windows)
            fidelity = {"image": name, **measured, "own_size_difference": difference}
            sidecar = sidecar.model_copy(update={"fidelity": fidelity})
    with atomic_path(path) as partial:
        fcn.save(partial)
    sidecar.save(path)
    return Conversion(path, sidecar, geometry, difference, _advice(sidecar, geometry))
