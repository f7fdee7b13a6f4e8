"""What makes a map: an FCN, its denser rewriting, shift-and-stitch, or the sliding classifier."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import keras

from tltool.conversion.agreement import describe_fidelity, measure_fidelity
from tltool.conversion.convert import convert
from tltool.errors import ConversionError, ModelError, UsageError
from tltool.fcn.atrous import choose_stride, possible_strides, to_dense
from tltool.fcn.geometry import trace
from tltool.fcn.single import as_single
from tltool.fcn.surgery import to_fcn
from tltool.inference.image_opening import Reading, check_size, open_image
from tltool.models.loading import load_network
from tltool.raster import AnyRaster, as_zoom
from tltool.run.folder import FCN_NAME, MODEL_NAME, file_of
from tltool.run.sidecar import Sidecar, load_sidecar
from tltool.tiling.engines import (
    AveragedEngine,
    Engine,
    ShiftAndStitchEngine,
    SlidingEngine,
    make_engine,
    resolve_engine,
)
from tltool.tiling.inference import batch_size, pixel_type, tile_length
from tltool.tiling.pipeline import EnginePredictor, TilePredictor, read_tile
from tltool.tiling.scales import ScalesPredictor, check_scales
from tltool.tiling.tile_choice import difference_from_tensorflow, is_reference
from tltool.tiling.tiles import Grid, make_grid

logger = logging.getLogger("tltool")

Mode = Literal["fcn", "patches"]

# Windows that a map's fidelity is measured on where it is not known from the conversion.
_WINDOWS = 256
# Side of the tile on which engines are compared, px: TensorFlow may be slow.
_COMPARED = 1024
# Longest side of a tile that a classifier slides over, px.
_SLIDING_TILE = 1024
# Test-time augmentation: none, or the flips and rotations of a square.
TTA = ("none", "d4")


@dataclass(frozen=True)
class Mapper:
    """A network ready to run over images.

    Attributes
    ----------
    sidecar : Sidecar
        Of the network, with the stride of the map.
    engine : Engine
    tile : int
        Longest side of a tile, px of the enlarged image.
    method : str
        ``fcn``, ``dense``, ``shift-and-stitch`` or ``patches``.
    classifier : Path or None
        What the fidelity is measured against; None: it was measured already.
    reading : Reading
        How images are opened.
    scales : tuple of float
        At which each image is seen; empty: as it is.
    combine : str
        How the answers at several scales become one.
    fixed_tile : bool
        Whether `tile` was asked for, and is not to be chosen by measuring.
    fcn : keras.Model or None
        What the engine runs; None: a sliding classifier.
    difference : float or None
        Largest difference of any probability of the engine from TensorFlow in
        single precision, on a tile of the first image; None: not measured.
    """

    sidecar: Sidecar
    engine: Engine
    tile: int
    method: str = "fcn"
    classifier: Path | None = None
    reading: Reading = field(default_factory=Reading)
    scales: tuple[float, ...] = ()
    combine: str = "mean"
    fixed_tile: bool = False
    fcn: keras.Model | None = None
    difference: float | None = None

    def open(self, path: Path) -> AnyRaster:
        """Open an image as the network wants it; errors as of `open_image`."""
        return open_image(path, self.sidecar, self.reading)

    def predictor(self) -> TilePredictor:
        """What turns tiles into probabilities."""
        if self.scales:
            return ScalesPredictor(self.engine, self.sidecar, self.scales, self.combine)
        return EnginePredictor(self.engine, as_zoom(self.sidecar.zoom))

    def facts(self) -> dict[str, Any]:
        """What decides a map's values beside sidecar, engine, method and tile."""
        return {
            "precision": self.engine.precision,
            "tta": "d4" if isinstance(self.engine, AveragedEngine) else "none",
            "scales": list(self.scales),
            "combine": self.combine if self.scales else None,
            "scale": self.reading.scale,
            "bands_read": self.reading.bands,
            "resample": self.reading.resample,
        }

    def grid(self, raster: AnyRaster) -> Grid:
        """The cells of an image; an `ImageError` where it is smaller than a patch."""
        check_size(raster, self.sidecar)
        return make_grid(self.sidecar, raster.width, raster.height)

    def measured(self, raster: AnyRaster) -> "Mapper":
        """The same with what is not known yet measured on an image: engine and fidelity."""
        return self._with_difference(raster)._with_fidelity(raster)

    def _with_difference(self, raster: AnyRaster) -> "Mapper":
        if self.fcn is None:
            return self
        if is_reference(self.engine):
            return replace(self, difference=0.0)
        tile = next(self.grid(raster).tiles(min(self.tile, _COMPARED)))
        pixels = read_tile(raster, tile, as_zoom(self.sidecar.zoom))
        found = difference_from_tensorflow(self.engine, self.fcn, pixels)
        if found:
            logger.info(
                "%s in %s differs from TensorFlow in f32 by %.1g at most",
                self.engine.name,
                self.engine.precision,
                found,
            )
        return replace(self, difference=found)

    def _with_fidelity(self, raster: AnyRaster) -> "Mapper":
        if self.classifier is None:
            return self
        classifier = load_network(self.classifier)
        found = measure_fidelity(self.engine, classifier, self.sidecar, raster, _WINDOWS)
        sidecar = self.sidecar.model_copy(update={"fidelity": {"image": raster.path.name, **found}})
        logger.info("fidelity: %s", describe_fidelity(sidecar))
        return replace(self, sidecar=sidecar, classifier=None)


def load_mapper(
    run: str | Path,
    tile: int | None = None,
    engine: str = "auto",
    *,
    stride: float | None = None,
    shift_and_stitch: bool = False,
    mode: Mode = "fcn",
    precision: str = "f32",
    tta: str = "none",
    scales: Sequence[float] = (),
    combine: str = "mean",
    reading: Reading | None = None,
) -> Mapper:
    """Load what maps images: the FCN of a run, or its classifier.

    Parameters
    ----------
    run : str or Path
        A run folder (its classifier is converted where there is no FCN yet),
        or the path of an FCN, or with ``mode="patches"`` of a classifier, with
        its sidecar.
    tile : int, optional
        Longest side of a tile, px of the enlarged image; default: from the
        memory that the network's largest layer takes.
    engine : str
        One of `tltool.tiling.engines.ENGINE_CHOICES`; a sliding classifier runs in
        TensorFlow.
    stride : float, optional
        px of the image between cells. Of an FCN one of those that it can have;
        of a sliding classifier any. Default: the network's own; of a
        classifier that cannot be converted its patch.
    shift_and_stitch : bool
        Run the FCN on the image shifted to each cell, in place of à trous.
    mode : str
        ``patches`` slides the untouched classifier.
    precision : str
        One of `tltool.tiling.engines.PRECISIONS`; a sliding classifier's is f32.
    tta : 'none' or 'd4'
        Test-time augmentation: the mean over the eight flips and rotations.
    scales : sequence of float
        See the image resampled to each of these.
    combine : 'mean' or 'max'
        Of the scales' answers.
    reading : Reading, optional

    Raises
    ------
    ConversionError
        A classifier that cannot be converted; names the layer.
    UsageError
        A stride that the network cannot have, a tile that is too small,
        options that exclude each other.
    ModelError
    """
    if shift_and_stitch and (mode == "patches" or stride is None):
        raise UsageError(
            "--shift-and-stitch: expected --stride beside it and no --mode patches; it is the"
            " reference for a denser map of the converted network"
        )
    check_choices(mode, engine, precision, tta, scales, combine)
    if mode == "patches":
        mapper = _load_sliding(Path(run), tile, stride)
    else:
        mapper = _load_fcn(Path(run), tile, stride, shift_and_stitch, (engine, precision))
    if tta == "d4":
        mapper = _averaged(mapper, tile)
    if mode == "fcn" and (tta == "d4" or mapper.engine.precision != "f32"):
        # What the conversion measured is not what this map says.
        mapper = _not_measured(mapper, Path(run))
    if any(scale != 1 for scale in scales):
        # The classifier says nothing of several scales.
        sidecar = mapper.sidecar.model_copy(update={"fidelity": None})
        mapper = replace(mapper, sidecar=sidecar, classifier=None)
    # Memory is that of the largest scale.
    length = mapper.tile if tile else int(mapper.tile / max(1.0, *scales, 1.0))
    return replace(
        mapper,
        tile=length,
        reading=reading or Reading(),
        scales=tuple(scales),
        combine=combine,
        fixed_tile=tile is not None or bool(scales),
    )


def check_choices(
    mode: Mode, engine: str, precision: str, tta: str, scales: Sequence[float], combine: str
) -> None:
    """Raise a `UsageError` where one of these is none of `load_mapper`, before anything is read."""
    if tta not in TTA:
        raise UsageError(f"--tta: expected {' or '.join(TTA)}; received {tta}")
    check_scales(scales, combine)
    resolve_engine(engine, precision)
    if mode == "patches" and (engine == "openvino" or precision != "f32"):
        raise UsageError(
            "--mode patches: expected --engine tensorflow or auto and --precision f32, in which"
            f" the classifier is slid; received {engine} and {precision}"
        )


def _averaged(mapper: Mapper, tile: int | None) -> Mapper:
    """The same, with the mean over flips and rotations."""
    sidecar = mapper.sidecar
    assert sidecar.reach is not None
    first, last = sidecar.reach
    # A turned tile meets its padding on the other side.
    most = max(-first, last - (sidecar.input_side - 1), 0)
    update = {"reach": (-most, sidecar.input_side - 1 + most)}
    sidecar = sidecar.model_copy(update=update)
    length = tile or mapper.tile
    smallest = _smallest_tile(make_grid(sidecar, 1, 1), tile)
    engine = AveragedEngine(mapper.engine)
    return replace(mapper, sidecar=sidecar, engine=engine, tile=max(length, smallest))


def _not_measured(mapper: Mapper, run: Path) -> Mapper:
    sidecar = mapper.sidecar.model_copy(update={"fidelity": None})
    path = file_of(run, FCN_NAME)
    classifier = mapper.classifier or _classifier_beside(path)
    return replace(mapper, sidecar=sidecar, classifier=classifier)


def _load_fcn(
    run: Path,
    tile: int | None,
    stride: float | None,
    shift_and_stitch: bool,
    computing: tuple[str, str],
) -> Mapper:
    path = _converted(run)
    engine, precision = computing
    fcn, sidecar = load_network(path), load_sidecar(path)
    own = make_grid(sidecar, 1, 1).y.stride
    if stride is None:
        return _fcn_mapper(fcn, sidecar, tile, engine, precision)
    zoom, side = as_zoom(sidecar.zoom), sidecar.input_side
    wanted = choose_stride(stride, zoom, possible_strides(fcn, side))
    if wanted == own:
        return _fcn_mapper(fcn, sidecar, tile, engine, precision)
    sidecar = sidecar.model_copy(update={"stride": float(wanted / zoom), "fidelity": None})
    if shift_and_stitch:
        sidecar = sidecar.model_copy(update={"reach": _reach_of_shifts(sidecar, own, wanted)})
        mapper = _fcn_mapper(fcn, sidecar, tile, engine, precision)
        stitching = ShiftAndStitchEngine(mapper.engine, side, own, wanted)
        mapper = replace(mapper, engine=stitching, method="shift-and-stitch")
    else:
        dense = to_dense(fcn, side, wanted)
        mapper = replace(_fcn_mapper(dense, sidecar, tile, engine, precision), method="dense")
    return replace(mapper, classifier=_classifier_beside(path))


def _converted(run: Path) -> Path:
    """The FCN of a run, converting its classifier first where there is none."""
    path = file_of(run, FCN_NAME)
    if run.is_dir() and not path.exists():
        logger.info("%s has no FCN yet: converting its classifier", run)
        done = convert(run)
        logger.info("fidelity: %s", describe_fidelity(done.sidecar))
    return path


def _classifier_beside(fcn: Path) -> Path | None:
    path = fcn.with_name(MODEL_NAME)
    if path.exists():
        return path
    logger.warning("no fidelity is measured: %s, which the map would be compared to, is gone", path)
    return None


def _reach_of_shifts(sidecar: Sidecar, network_stride: int, stride: int) -> tuple[int, int]:
    """What a tile must hold so that no shifted image's padding reaches a kept cell."""
    assert sidecar.reach is not None
    first, last = sidecar.reach
    before = -(-max(0, -first) // network_stride) * network_stride
    missing = max(0, last - sidecar.input_side + 1)
    after = -(-missing // network_stride) * network_stride + network_stride - stride
    return -before, sidecar.input_side - 1 + (after if missing else 0)


def _fcn_mapper(
    fcn: keras.Model, sidecar: Sidecar, tile: int | None, engine: str, precision: str
) -> Mapper:
    grid = make_grid(sidecar, 1, 1)
    smallest = _smallest_tile(grid, tile)
    length = tile or tile_length(fcn, sidecar.input_side, grid.y.stride)
    ready = make_engine(engine, fcn, pixel_type(grid.y.zoom), precision)
    # Tiles that are mostly surroundings would compute everything many times.
    return Mapper(sidecar, ready, length if tile else max(length, 2 * smallest), fcn=fcn)


def _smallest_tile(grid: Grid, tile: int | None) -> int:
    smallest = grid.y.input_length(grid.y.step)
    if tile is not None and tile < smallest:
        raise UsageError(
            f"--tile: expected {smallest} px or more, which one cell and its surroundings need;"
            f" received {tile}"
        )
    return smallest


def _load_sliding(run: Path, tile: int | None, stride: float | None) -> Mapper:
    path = file_of(run, MODEL_NAME)
    classifier, sidecar = load_network(path), load_sidecar(path)
    _check_input(classifier, sidecar, path)
    zoom, side = as_zoom(sidecar.zoom), sidecar.input_side
    tasks = [task.name for task in sidecar.tasks]
    cell_size = _own_stride(classifier, sidecar) if stride is None else _any_stride(stride, zoom)
    sidecar = sidecar.model_copy(
        update={
            "stride": float(cell_size / zoom),
            "offset": float(sidecar.context),
            "receptive_field": sidecar.window,
            "reach": (0, side - 1),
            "fidelity": None,
        }
    )
    smallest = _smallest_tile(make_grid(sidecar, 1, 1), tile)
    dtype, batch = pixel_type(zoom), batch_size(classifier)
    engine = SlidingEngine(classifier, cell_size, tasks, dtype, batch)
    length = tile or max(_SLIDING_TILE, smallest)
    return Mapper(sidecar, engine, length, "patches", path)


def _check_input(classifier: keras.Model, sidecar: Sidecar, path: Path) -> None:
    expected = (sidecar.input_side, sidecar.input_side, sidecar.bands)
    received = tuple(classifier.inputs[0].shape[1:])
    if len(classifier.inputs) > 1 or received != expected:
        raise ModelError(
            f"{path} does not match its sidecar: expected one input of {expected[0]} x"
            f" {expected[1]} px with {expected[2]} bands, received"
            f" {len(classifier.inputs)} of shape {received}"
        )


def _own_stride(classifier: keras.Model, sidecar: Sidecar) -> int:
    """The stride that the converted classifier would have; of one that does not convert a patch."""
    try:
        single = as_single(classifier, [task.name for task in sidecar.tasks])
        to_fcn(single)
        return trace(single).stride
    except ConversionError as error:
        logger.info("%s", error)
        return max(1, int(sidecar.patch * as_zoom(sidecar.zoom)))


def _any_stride(stride: float, zoom: Fraction) -> int:
    enlarged = stride * float(zoom)
    if enlarged < 0.5 or abs(enlarged - round(enlarged)) > 0.0051 * zoom:
        raise UsageError(
            f"--stride: expected a whole number of the enlarged image's px, multiples of"
            f" {float(1 / zoom):.2f} px at zoom {float(zoom):g}; received {stride:g}"
        )
    return round(enlarged)
