"""`tltool convert`: a classifier to an FCN with its geometry and fidelity beside it."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

import keras

from tltool.conversion.check_image import open_check_image
from tltool.conversion.fidelity import measure
from tltool.errors import ConversionError, UsageError
from tltool.fcn.atrous import choose_stride, possible_strides, to_dense
from tltool.fcn.geometry import Geometry, trace
from tltool.fcn.surgery import check_equal, to_fcn
from tltool.files import atomic_path, refuse_existing
from tltool.inference.image_opening import ImageSource, open_image
from tltool.inference.network import LoadedNetwork, ModelHints, Openable, fcn_sidecar, open_network
from tltool.raster import as_zoom
from tltool.run.folder import FCN_NAME, MODEL_NAME
from tltool.run.sidecar import Sidecar, sidecar_path


@dataclass(frozen=True)
class Conversion:
    """A converted classifier.

    Attributes
    ----------
    path : Path or None
        File of the FCN, its sidecar beside it; None: nothing was written.
    fcn : keras.Model
    sidecar : Sidecar
    geometry : Geometry
    difference : float
        Difference from the classifier at its own input size, largest of any class.
    advice : str
        What the fidelity means and what would raise it, in one sentence.
    picture : Path or None
        Picture of where map and classifier differ; None: not drawn.
    mended, notes : list of str
        What was changed to read the model, and how it was understood.
    """

    path: Path | None
    fcn: keras.Model = field(repr=False)
    sidecar: Sidecar
    geometry: Geometry
    difference: float
    advice: str
    picture: Path | None = None
    mended: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def exact_context(sidecar: Sidecar, geometry: Geometry) -> int:
    """Compute the context from which on the classifier sees no padding, px: whole strides."""
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
        f" `context={exact_context(sidecar, geometry)}` make the two equal, and less already helps;"
        " `adapt` trains on with them"
    )


def _lies_at(network: LoadedNetwork, path: Path) -> bool:
    """Whether `path` is this classifier, with its sidecar beside it."""
    own = network.path if not network.foreign else None
    return own is not None and path.exists() and path.samefile(own)


def _save_classifier(network: LoadedNetwork, folder: Path) -> None:
    if not _lies_at(network, folder / MODEL_NAME):
        with atomic_path(folder / MODEL_NAME) as partial:
            network.keras.save(partial)
        network.sidecar.save(folder / MODEL_NAME)


def convert(
    model: Openable,
    out: str | Path | None = None,
    *,
    check_image: ImageSource | None = None,
    windows: int = 1024,
    stride: float | None = None,
    overwrite: bool = False,
    **hints: Unpack[ModelHints],
) -> Conversion:
    """Convert a classifier to a fully convolutional network and measure its fidelity.

    The outputs of several tasks become one map, side by side as the sidecar's
    ``classes`` have them.

    Parameters
    ----------
    model : str, Path, Network or keras.Model
        A run folder with ``model.keras`` and ``model.json``, a Keras
        classifier in a file of any Keras, or what `tltool.open` takes or gave.
    out : str or Path, optional
        Folder for ``fcn.keras``, ``fcn.json`` and ``fcn.fidelity.png``, and of
        a model without tltool's sidecar the classifier as a current
        ``model.keras`` with its ``model.json``. Default: the run folder; for a
        file without sidecar ``<stem>-fcn`` in the current directory; of a
        model in memory nothing is written.
    check_image : str, Path, array or PIL image, optional
        A real image to measure the fidelity on. Default: an image that the
        patches of the test split came from; else a mosaic of patches.
    windows : int
        Number of windows to compare.
    stride : float, optional
        px of the image between cells, one that divides the network's own: the
        denser network of `tltool.fcn.atrous.to_dense` is made, and written as
        ``fcn-stride<px>.keras``.
    overwrite : bool
        Replace an earlier ``fcn.keras``.
    **hints
        What a model without tltool's sidecar does not tell: classes,
        background, input_size, zoom, pixels, activation and architecture, as
        of `tltool.open`.

    Returns
    -------
    Conversion

    Raises
    ------
    ConversionError
        Names the layer that cannot be converted, or the difference where the
        result is not the classifier's at its own size (above 1e-5). No FCN is
        written then; of a file without tltool's sidecar that does not convert
        the classifier is, for ``tltool.heatmap(mode='patches')``.
    UsageError
        A stride that the network cannot have; hints that do not fit the model.
    ModelError, ImageError, OutputError

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
    >>> done = tltool.convert(model, "folder")
    >>> done.path.name, done.sidecar.stride
    ('fcn.keras', 1.0)
    >>> keras.models.load_model(done.path).output_shape
    (None, None, None, 2)
    """
    network = open_network(model, **hints)
    folder = None if out is None else Path(out)
    if folder is None and network.path is not None:
        folder = Path(f"{network.path.stem}-fcn") if network.foreign else network.path.parent
    path = None
    if folder is not None:
        if folder.suffix in (".keras", ".h5", ".hdf5"):
            raise UsageError(f"`out`: expected a folder, received the name of a file, {folder}")
        path = folder / (FCN_NAME if stride is None else f"fcn-stride{stride:g}.keras")
        refuse_existing(path, overwrite)
        if not _lies_at(network, folder / MODEL_NAME):
            refuse_existing(folder / MODEL_NAME, overwrite)
            refuse_existing(sidecar_path(folder / MODEL_NAME), overwrite)
    if check_image is not None:
        open_image(check_image, network.sidecar, name="check_image").close()
    try:
        fcn, geometry = to_fcn(network.model), trace(network.model)
    except ConversionError as error:
        if not network.foreign or folder is None:
            raise
        # What was given of it is kept, so that it can be slid as it is.
        _save_classifier(network, folder)
        raise ConversionError(f"{error}. {folder} holds it, ready for that") from error
    sidecar = fcn_sidecar(network.sidecar, geometry)
    if stride is not None:
        zoom, side = as_zoom(sidecar.zoom), sidecar.input_side
        wanted = choose_stride(stride, zoom, possible_strides(fcn, side))
        fcn = to_dense(fcn, side, wanted)
        sidecar = sidecar.model_copy(update={"stride": float(wanted / zoom)})
    difference, picture = check_equal(network.model, fcn), None
    with open_check_image(check_image, network, sidecar) as (name, image):
        if image is not None:
            picture = path.with_suffix(".fidelity.png") if path else None
            sidecar = measure(fcn, network.model, sidecar, (name, image), windows, picture)
            facts = {**(sidecar.fidelity or {}), "own_size_difference": difference}
            sidecar = sidecar.model_copy(update={"fidelity": facts})
    if folder is not None and path is not None:
        _save_classifier(network, folder)
        with atomic_path(path) as partial:
            fcn.save(partial)
        sidecar.save(path)
    advice, mended, notes = _advice(sidecar, geometry), network.mended, network.notes
    return Conversion(path, fcn, sidecar, geometry, difference, advice, picture, mended, notes)
