"""`tltool fidelity`: how far any FCN says on an image what its classifier says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tltool.conversion.convert import fcn_sidecar, measure
from tltool.errors import ModelError
from tltool.fcn.geometry import trace
from tltool.files import refuse_existing
from tltool.inference.foreign import ModelHints
from tltool.inference.image_opening import open_image
from tltool.inference.source import Source, read_source
from tltool.models.loading import load_network
from tltool.run.folder import FCN_NAME, file_of
from tltool.run.sidecar import Sidecar, load_sidecar, sidecar_path


@dataclass(frozen=True)
class Checked:
    """A measured fidelity.

    Attributes
    ----------
    numbers : dict
        As `tltool.measure_fidelity` gives them, and ``image``.
    sidecar : Sidecar
        Of the FCN, with these numbers.
    picture : Path
    """

    numbers: dict[str, Any]
    sidecar: Sidecar
    picture: Path


def fidelity(
    fcn: str | Path,
    model: str | Path,
    image: str | Path,
    out: str | Path | None = None,
    *,
    told: ModelHints | None = None,
    windows: int = 1024,
    overwrite: bool = False,
) -> Checked:
    """Compare an FCN's map with its classifier on the same windows of an image.

    Parameters
    ----------
    fcn : str or Path
        An FCN, or the run folder that holds one. Without a sidecar its
        geometry is that of `model`.
    model : str or Path
        The classifier: a run folder or a model file, as `tltool.convert` takes.
    image : str or Path
    out : str or Path, optional
        Picture of where the two differ. Default: ``<image>.fidelity.png``
        beside the FCN.
    told : ModelHints, optional
        As `tltool.convert`.
    windows : int
        How many windows to compare at most.
    overwrite : bool
        Replace an earlier picture.

    Returns
    -------
    Checked

    Raises
    ------
    ModelError
        The two do not belong together.
    ImageError, UsageError, OutputError
    """
    path, image = file_of(Path(fcn), FCN_NAME), Path(image)
    picture = path.with_name(f"{image.stem}.fidelity.png") if out is None else Path(out)
    refuse_existing(picture, overwrite)
    source = read_source(model, told)
    network = load_network(path)
    sidecar = _sidecar_of(path, source)
    if network.inputs[0].shape[1] is not None:
        raise ModelError(
            f"{path}: expected an FCN, which takes images of any size; received a network of"
            f" {network.inputs[0].shape[1]} px"
        )
    outputs = network.outputs[0].shape[-1]
    if outputs != len(sidecar.classes) or outputs != len(source.sidecar.classes):
        raise ModelError(
            f"{path} has {outputs} outputs, {source.path} has {len(source.sidecar.classes)}:"
            " expected an FCN and the classifier that it was made from"
        )
    with open_image(image, sidecar) as raster:
        named = (raster.path.name, raster)
        sidecar = measure(network, source.model, sidecar, named, windows, picture)
    return Checked(sidecar.fidelity or {}, sidecar, picture)


def _sidecar_of(path: Path, source: Source) -> Sidecar:
    if not sidecar_path(path).exists():
        return fcn_sidecar(source.sidecar, trace(source.model))
    sidecar = load_sidecar(path)
    sizes = [(s.patch, s.context, s.zoom, s.input_side) for s in (sidecar, source.sidecar)]
    if sizes[0] != sizes[1]:
        raise ModelError(
            f"{path} and {source.path} do not belong together: expected the same patch, context,"
            f" zoom and input side, received {sizes[0]} and {sizes[1]}"
        )
    return sidecar
