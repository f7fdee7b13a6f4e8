"""`tltool convert`: a classifier to an FCN with its geometry and fidelity beside it."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import keras

from tltool.conversion.agreement import compare
from tltool.conversion.check_image import check_image as open_check_image
from tltool.conversion.fidelity_picture import draw_fidelity
from tltool.errors import ConversionError, UsageError
from tltool.fcn.atrous import choose_stride, possible_strides, to_dense
from tltool.fcn.geometry import Geometry, trace
from tltool.fcn.surgery import check_equal, to_fcn
from tltool.files import atomic_path, refuse_existing
from tltool.inference.foreign import ModelHints
from tltool.inference.image_opening import open_image
from tltool.inference.source import Source, read_source
from tltool.raster import Image, as_zoom
from tltool.run.folder import FCN_NAME, MODEL_NAME
from tltool.run.sidecar import Sidecar, sidecar_path


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
    picture : Path or None
        Where map and classifier differ; None: there was no image to compare on.
    mended, notes : list of str
        Of `tltool.inference.source.Source`.
    """

    path: Path
    sidecar: Sidecar
    geometry: Geometry
    difference: float
    advice: str
    picture: Path | None = None
    mended: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def fcn_sidecar(classifier: Sidecar, geometry: Geometry) -> Sidecar:
    """The sidecar of the FCN that a classifier becomes."""
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
    cell_size = geometry.stride / as_zoom(sidecar.zoom)
    wanted = sidecar.context + geometry.missing_context / as_zoom(sidecar.zoom)
    return math.ceil(math.ceil(wanted / cell_size) * cell_size)


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
        f" --context {exact_context(sidecar, geometry)} make the two equal, and less already helps;"
        " --adapt trains on with them"
    )


def measure(
    fcn: keras.Model,
    classifier: keras.Model,
    sidecar: Sidecar,
    image: tuple[str, Image],
    windows: int,
    picture: Path,
) -> Sidecar:
    """Measure the fidelity on a named image, draw it, and give the sidecar that tells it."""
    name, pixels = image
    compared = compare(fcn, classifier, sidecar, pixels, windows)
    sidecar = sidecar.model_copy(update={"fidelity": {"image": name, **compared.numbers()}})
    drawn = draw_fidelity(compared, pixels, sidecar)
    with atomic_path(picture) as partial:
        drawn.save(partial)
    return sidecar


def _save_classifier(source: Source, folder: Path) -> None:
    if source.lies_at(folder / MODEL_NAME):
        return
    with atomic_path(folder / MODEL_NAME) as partial:
        source.whole.save(partial)
    source.sidecar.save(folder / MODEL_NAME)


def _converted(source: Source, folder: Path) -> tuple[keras.Model, Geometry]:
    try:
        return to_fcn(source.model), trace(source.model)
    except ConversionError as error:
        if not source.foreign:
            raise
        # What was told of it is kept, so that it can be slid as it is.
        _save_classifier(source, folder)
        raise ConversionError(f"{error}. {folder} holds it, ready for that") from error


def _refuse_outputs(source: Source, path: Path, overwrite: bool) -> None:
    if path.parent.suffix in (".keras", ".h5", ".hdf5"):
        raise UsageError(f"-o: expected a folder, received the name of a file, {path.parent}")
    refuse_existing(path, overwrite)
    classifier = path.with_name(MODEL_NAME)
    if not source.lies_at(classifier):
        refuse_existing(classifier, overwrite)
        refuse_existing(sidecar_path(classifier), overwrite)


def convert(
    model: str | Path,
    out: str | Path | None = None,
    *,
    told: ModelHints | None = None,
    architecture: str | Path | None = None,
    check_image: str | Path | None = None,
    windows: int = 1024,
    stride: float | None = None,
    overwrite: bool = False,
) -> Conversion:
    """Convert a classifier to a fully convolutional network and measure its fidelity.

    The outputs of several tasks become one map, side by side as the sidecar's
    ``classes`` have them.

    Parameters
    ----------
    model : str or Path
        A run folder with ``model.keras`` and ``model.json``, or a Keras
        classifier in a file of any Keras (`tltool.open_model`).
    out : str or Path, optional
        Folder for ``fcn.keras``, ``fcn.json`` and ``fcn.fidelity.png``, and of
        a file without tltool's sidecar the classifier as a current
        ``model.keras`` with its ``model.json``. Default: the run folder; for
        such a file ``<stem>-fcn`` in the current directory.
    told : ModelHints, optional
        What a file without tltool's sidecar does not tell: class names, input
        size, range of pixels (`tltool.inference.foreign.ModelHints`).
    architecture : str or Path, optional
        JSON of ``model.to_json()``, for a file that has weights only.
    check_image : str or Path, optional
        A real image to measure the fidelity on. Default: an image that the
        patches of the test split came from; else a mosaic of patches.
    windows : int
        How many windows to compare.
    stride : float, optional
        px of the image between cells, one that divides the network's own: the
        denser network of `tltool.fcn.atrous.to_dense` is written, as
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
        result is not the classifier's at its own size (above 1e-5). No FCN is
        written then; of a file without tltool's sidecar that does not convert
        the classifier is, for ``heatmap --mode patches``.
    UsageError
        A stride that the network cannot have; what was told does not fit the
        model.
    ModelError, ImageError, OutputError
    """
    source = read_source(model, told, architecture)
    folder = source.home if out is None else Path(out)
    path = folder / (FCN_NAME if stride is None else f"fcn-stride{stride:g}.keras")
    _refuse_outputs(source, path, overwrite)
    given = Path(check_image) if check_image is not None else None
    if given is not None:
        open_image(given, source.sidecar).close()
    fcn, geometry = _converted(source, folder)
    sidecar = fcn_sidecar(source.sidecar, geometry)
    if stride is not None:
        fcn, sidecar = _denser(fcn, sidecar, stride)
    difference = check_equal(source.model, fcn)
    picture = None
    with open_check_image(given, source.path.parent, sidecar) as (name, image):
        if image is not None:
            picture = path.with_suffix(".fidelity.png")
            sidecar = measure(fcn, source.model, sidecar, (name, image), windows, picture)
            facts = {**(sidecar.fidelity or {}), "own_size_difference": difference}
            sidecar = sidecar.model_copy(update={"fidelity": facts})
    _save_classifier(source, folder)
    with atomic_path(path) as partial:
        fcn.save(partial)
    sidecar.save(path)
    advice = _advice(sidecar, geometry)
    return Conversion(
        path, sidecar, geometry, difference, advice, picture, source.mended, source.notes
    )
