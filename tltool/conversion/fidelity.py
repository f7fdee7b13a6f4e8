"""`tltool fidelity`: how far any FCN says on an image what its classifier says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import keras

from tltool.conversion.agreement import compare
from tltool.conversion.fidelity_picture import draw_fidelity
from tltool.errors import ModelError
from tltool.fcn.geometry import trace
from tltool.files import atomic_path, refuse_existing
from tltool.inference.image_opening import ImageSource, open_image
from tltool.inference.network import ModelHints, Openable, fcn_sidecar, open_network
from tltool.models.loading import load_network
from tltool.raster import Image
from tltool.run.folder import FCN_NAME, file_of
from tltool.run.sidecar import Sidecar, load_sidecar, sidecar_path


@dataclass(frozen=True)
class Fidelity:
    """A measured fidelity.

    Attributes
    ----------
    numbers : dict
        Numbers as `tltool.measure_fidelity` gives them, and ``image``.
    sidecar : Sidecar
        Sidecar of the FCN, with these numbers.
    picture : Path or None
    """

    numbers: dict[str, Any]
    sidecar: Sidecar
    picture: Path | None


def measure(
    fcn: keras.Model,
    classifier: keras.Model,
    sidecar: Sidecar,
    image: tuple[str, Image],
    windows: int,
    picture: Path | None = None,
) -> Sidecar:
    """Measure the fidelity on a named image, draw it, and give the sidecar with it."""
    name, pixels = image
    compared = compare(fcn, classifier, sidecar, pixels, windows)
    sidecar = sidecar.model_copy(update={"fidelity": {"image": name, **compared.numbers()}})
    if picture is not None:
        drawn = draw_fidelity(compared, pixels, sidecar)
        with atomic_path(picture) as partial:
            drawn.save(partial)
    return sidecar


def fidelity(
    fcn: str | Path | keras.Model,
    model: Openable,
    image: ImageSource,
    out: str | Path | None = None,
    *,
    windows: int = 1024,
    overwrite: bool = False,
    **hints: Unpack[ModelHints],
) -> Fidelity:
    """Compare an FCN's map with its classifier on the same windows of an image.

    Parameters
    ----------
    fcn : str, Path or keras.Model
        An FCN, or the run folder that holds one. Without a sidecar its
        geometry is that of `model`.
    model : str, Path, Network or keras.Model
        The classifier, as `tltool.open` takes it.
    image : str, Path, array or PIL image
    out : str or Path, optional
        Picture of where the two differ. Default: ``<image>.fidelity.png``
        beside the FCN; of one in memory none.
    windows : int
        Number of windows to compare at most.
    overwrite : bool
        Replace an earlier picture.
    **hints
        As of `tltool.convert`.

    Returns
    -------
    Fidelity

    Raises
    ------
    ModelError
        The two do not belong together.
    ImageError, UsageError, OutputError
    """
    path = file_of(Path(fcn), FCN_NAME) if isinstance(fcn, str | Path) else None
    picture = None if out is None else Path(out)
    if picture is None and path is not None:
        stem = Path(image).stem if isinstance(image, str | Path) else "image"
        picture = path.with_name(f"{stem}.fidelity.png")
    if picture is not None:
        refuse_existing(picture, overwrite)
    classifier = open_network(model, **hints)
    converted: keras.Model = fcn if path is None else load_network(path)
    name = "`fcn`" if path is None else str(path)
    if path is not None and sidecar_path(path).exists():
        sidecar = load_sidecar(path)
        sizes = [(s.patch, s.context, s.zoom, s.input_side) for s in (sidecar, classifier.sidecar)]
        if sizes[0] != sizes[1]:
            raise ModelError(
                f"{name} and {classifier.name} do not belong together: expected the same patch,"
                f" context, zoom and input side, received {sizes[0]} and {sizes[1]}"
            )
    else:
        sidecar = fcn_sidecar(classifier.sidecar, trace(classifier.model))
    if converted.inputs[0].shape[1] is not None:
        raise ModelError(
            f"{name}: expected an FCN, which takes images of any size; received a network of"
            f" {converted.inputs[0].shape[1]} px"
        )
    outputs, expected = converted.outputs[0].shape[-1], len(classifier.sidecar.classes)
    if outputs != len(sidecar.classes) or outputs != expected:
        raise ModelError(
            f"{name} has {outputs} outputs, {classifier.name} has {expected}:"
            " expected an FCN and the classifier that it was made from"
        )
    with open_image(image, sidecar) as raster:
        named = (raster.name, raster)
        sidecar = measure(converted, classifier.model, sidecar, named, windows, picture)
    return Fidelity(sidecar.fidelity or {}, sidecar, picture)
