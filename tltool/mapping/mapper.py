"""What makes a map: an FCN, its denser rewriting, shift-and-stitch, or the sliding classifier."""

import hashlib
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras

from tltool.conversion.agreement import describe_fidelity, measure_fidelity
from tltool.conversion.convert import convert
from tltool.errors import ConversionError, ModelError, UsageError
from tltool.fcn.atrous import choose_stride, possible_strides, to_dense
from tltool.fcn.geometry import trace
from tltool.fcn.single import as_single
from tltool.fcn.surgery import to_fcn
from tltool.inference.image_opening import ImageSource, check_size, open_image
from tltool.inference.network import LoadedNetwork, Openable, open_network
from tltool.models.loading import load_network
from tltool.raster import AnyRaster, as_zoom
from tltool.run.folder import FCN_NAME, MODEL_NAME
from tltool.run.map_options import MapOptions
from tltool.run.sidecar import Sidecar, load_sidecar
from tltool.tiling.engines import (
    AveragedEngine,
    Engine,
    ShiftAndStitchEngine,
    SlidingEngine,
    difference_from_tensorflow,
    is_reference,
    make_engine,
)
from tltool.tiling.pipeline import EnginePredictor, TilePredictor, read_tile
from tltool.tiling.scales import ScalesPredictor
from tltool.tiling.tiles import Grid, batch_size, make_grid, pixel_type, tile_length

logger = logging.getLogger(__name__)

# Windows that a map's fidelity is measured on where it is not known from the conversion.
_WINDOWS = 256
# Side of the tile on which engines are compared, px: TensorFlow may be slow.
_COMPARED = 1024
# Longest side of a tile that a classifier slides over, px.
_SLIDING_TILE = 1024


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_as(image: ImageSource, sidecar: Sidecar, options: MapOptions, name: str) -> AnyRaster:
    """Open an image as a network wants it, with the options of a map."""
    how: dict[str, Any] = {"bands": options.bands, "resample": options.resample}
    return open_image(image, sidecar, scale=options.scale, name=name, **how)


@dataclass(frozen=True)
class Mapper:
    """A network ready to run over images.

    Attributes
    ----------
    sidecar : Sidecar
        What is known of the network, with the stride of the map.
    engine : Engine
    tile : int
        Longest side of a tile, px of the enlarged image.
    method : str
        ``fcn``, ``dense``, ``shift-and-stitch`` or ``patches``.
    classifier : Path, keras.Model or None
        What the fidelity is measured against; None: it was measured already.
    options : MapOptions
    fixed_tile : bool
        Whether `tile` was asked for, and is not to be chosen by measuring.
    fcn : keras.Model or None
        What the engine runs; None: a sliding classifier.
    difference : float or None
        Largest difference of any probability of the engine from TensorFlow in
        single precision, on a tile of the first image; None: not measured.
    file : Path or None
        The network's file; None: it is in memory alone.
    """

    sidecar: Sidecar
    engine: Engine
    tile: int
    method: str = "fcn"
    classifier: Path | keras.Model | None = None
    options: MapOptions = field(default_factory=MapOptions)
    fixed_tile: bool = False
    fcn: keras.Model | None = None
    difference: float | None = None
    file: Path | None = None

    def open(self, image: ImageSource, name: str = "image") -> AnyRaster:
        """Open an image as the network wants it; errors as those of `open_image`."""
        return open_as(image, self.sidecar, self.options, name)

    def predictor(self) -> TilePredictor:
        """Give what turns tiles into probabilities."""
        if self.options.scales:
            return ScalesPredictor(
                self.engine, self.sidecar, self.options.scales, self.options.combine
            )
        return EnginePredictor(self.engine, as_zoom(self.sidecar.zoom))

    def facts(self, raster: AnyRaster) -> dict[str, Any]:
        """Collect what decides an image's values beside sidecar, engine, method and tile."""
        options = self.options
        return {
            "precision": self.engine.precision,
            "tta": options.tta,
            "scales": list(options.scales),
            "combine": options.combine if options.scales else None,
            "scale": options.scale,
            "bands_read": options.bands,
            "resample": options.resample,
            "aoi": file_digest(options.aoi)[:16] if options.aoi else None,
            "limits": raster.limits,
        }

    def grid(self, raster: AnyRaster) -> Grid:
        """Lay the cells over an image; an `ImageError` where it is smaller than a patch."""
        check_size(raster, self.sidecar)
        return make_grid(self.sidecar, raster.width, raster.height)

    def measured(self, raster: AnyRaster) -> "Mapper":
        """Measure on an image what is not known yet: the engine's difference and the fidelity."""
        mapper = self
        if self.fcn is not None and is_reference(self.engine):
            mapper = replace(mapper, difference=0.0)
        elif self.fcn is not None:
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
            mapper = replace(mapper, difference=found)
        if self.classifier is None:
            return mapper
        classifier = self.classifier
        if isinstance(classifier, Path):
            classifier = load_network(classifier)
        fidelity = measure_fidelity(self.engine, classifier, self.sidecar, raster, _WINDOWS)
        fidelity = {"image": raster.name, **fidelity}
        sidecar = self.sidecar.model_copy(update={"fidelity": fidelity})
        logger.info("fidelity: %s", describe_fidelity(sidecar))
        return replace(mapper, sidecar=sidecar, classifier=None)


def network_file(run: Path, options: MapOptions) -> Path:
    """File of the network that maps: one of a run folder's, or `run` itself where it is none."""
    name = MODEL_NAME if options.mode == "patches" else FCN_NAME
    return run / name if run.is_dir() else run


def load_mapper(network: Openable, options: MapOptions | None = None, **keywords: Any) -> Mapper:
    """Load what maps images: the FCN of a run, or its classifier.

    Parameters
    ----------
    network : str, Path, keras.Model or LoadedNetwork
        A run folder (its classifier is converted where there is no FCN yet),
        or the path of an FCN, or with ``mode="patches"`` of a classifier, with
        its sidecar; or a classifier in memory.
    options : MapOptions, optional
    **keywords
        Single options, over these.

    Raises
    ------
    ConversionError
        A classifier that cannot be converted; names the layer.
    UsageError
        A stride that the network cannot have, a tile that is too small,
        options that exclude each other.
    ModelError
    """
    options = MapOptions.of(options, **keywords)
    tile = options.tile
    opened = Path(network) if isinstance(network, str | Path) else open_network(network)
    mapper = (_load_sliding if options.mode == "patches" else _load_fcn)(opened, options)
    if options.tta == "d4":
        sidecar = mapper.sidecar
        assert sidecar.reach is not None
        first, last = sidecar.reach
        # A turned tile meets its padding on the other side.
        most = max(-first, last - (sidecar.input_side - 1), 0)
        reach = (-most, sidecar.input_side - 1 + most)
        sidecar = sidecar.model_copy(update={"reach": reach})
        length = max(mapper.tile, _smallest_tile(make_grid(sidecar, 1, 1), tile))
        engine = AveragedEngine(mapper.engine)
        mapper = replace(mapper, sidecar=sidecar, engine=engine, tile=length)
    sidecar, classifier = mapper.sidecar, mapper.classifier
    if options.mode == "fcn" and (options.tta == "d4" or mapper.engine.precision != "f32"):
        # What the conversion measured is not what this map says.
        sidecar = sidecar.model_copy(update={"fidelity": None})
        classifier = classifier or _classifier_of(opened, options)
    if any(scale != 1 for scale in options.scales):
        # The classifier says nothing of several scales.
        sidecar, classifier = sidecar.model_copy(update={"fidelity": None}), None
    return replace(
        mapper,
        sidecar=sidecar,
        classifier=classifier,
        # Memory is that of the largest scale.
        tile=mapper.tile if tile else int(mapper.tile / max(1.0, *options.scales, 1.0)),
        options=options,
        fixed_tile=tile is not None or bool(options.scales),
    )


def _load_fcn(network: Path | LoadedNetwork, options: MapOptions) -> Mapper:
    file: Path | None
    if isinstance(network, Path):
        file = network_file(network, options)
        if network.is_dir() and not file.exists():
            logger.info("%s has no FCN yet: converting its classifier", network)
            logger.info("fidelity: %s", describe_fidelity(convert(network).sidecar))
        fcn, sidecar = load_network(file), load_sidecar(file)
    else:
        file = None
        fcn, sidecar = network.fcn, network.fcn_sidecar
    own = make_grid(sidecar, 1, 1).y.stride
    zoom, side, wanted = as_zoom(sidecar.zoom), sidecar.input_side, own
    if options.stride is not None:
        wanted = choose_stride(options.stride, zoom, possible_strides(fcn, side))
    method, classifier = "fcn", None
    if wanted != own:
        method = "shift-and-stitch" if options.shift_and_stitch else "dense"
        update: dict[str, Any] = {"stride": float(wanted / zoom), "fidelity": None}
        if options.shift_and_stitch:
            assert sidecar.reach is not None
            first, last = sidecar.reach
            # So much that no shifted image's padding reaches a kept cell.
            before = -(-max(0, -first) // own) * own
            missing = max(0, last - side + 1)
            after = -(-missing // own) * own + own - wanted if missing else 0
            update["reach"] = (-before, side - 1 + after)
        else:
            fcn = to_dense(fcn, side, wanted)
        sidecar = sidecar.model_copy(update=update)
        classifier = _classifier_of(network, options)
    grid = make_grid(sidecar, 1, 1)
    smallest = _smallest_tile(grid, options.tile)
    # Tiles that are mostly surroundings would compute everything many times.
    length = options.tile or max(tile_length(fcn, side, grid.y.stride), 2 * smallest)
    engine = make_engine(options.engine, fcn, pixel_type(grid.y.zoom), options.precision)
    if method == "shift-and-stitch":
        engine = ShiftAndStitchEngine(engine, side, own, wanted)
    return Mapper(sidecar, engine, length, method, classifier, fcn=fcn, file=file)


def _classifier_of(network: Path | LoadedNetwork, options: MapOptions) -> Path | keras.Model | None:
    """What a map that was made otherwise than the conversion measured is compared to."""
    if isinstance(network, LoadedNetwork):
        return network.model
    path = network_file(network, options).with_name(MODEL_NAME)
    if path.exists():
        return path
    logger.warning("no fidelity is measured: %s, which the map would be compared to, is gone", path)
    return None


def _smallest_tile(grid: Grid, tile: int | None) -> int:
    smallest = grid.y.input_length(grid.y.step)
    if tile is not None and tile < smallest:
        raise UsageError(
            f"`tile`: expected {smallest} px or more, which one cell and its surroundings need;"
            f" received {tile}"
        )
    return smallest


def _load_sliding(network: Path | LoadedNetwork, options: MapOptions) -> Mapper:
    file = None
    if isinstance(network, Path):
        file = network_file(network, options)
        classifier, sidecar, name = load_network(file), load_sidecar(file), str(file)
    else:
        classifier, sidecar, name = network.keras, network.sidecar, network.name
    zoom, side = as_zoom(sidecar.zoom), sidecar.input_side
    expected = (side, side, sidecar.bands)
    received = tuple(classifier.inputs[0].shape[1:])
    if len(classifier.inputs) > 1 or received != expected:
        raise ModelError(
            f"{name} does not match its sidecar: expected one input of {side} x {side} px with"
            f" {sidecar.bands} bands, received {len(classifier.inputs)} of shape {received}"
        )
    tasks = [task.name for task in sidecar.tasks]
    if options.stride is None:
        cell_size = _own_stride(classifier, sidecar)
    else:
        cell_size = round(options.stride * zoom)
        wrong = abs(float(options.stride * zoom) - cell_size) > 0.0051 * zoom
        if wrong or options.stride * zoom < 0.5:
            raise UsageError(
                f"`stride`: expected a whole number of the enlarged image's px, multiples of"
                f" {float(1 / zoom):.2f} px at zoom {float(zoom):g}; received {options.stride:g}"
            )
    update = {
        "stride": float(cell_size / zoom),
        "offset": float(sidecar.context),
        "receptive_field": sidecar.window,
        "reach": (0, side - 1),
        "fidelity": None,
    }
    sidecar = sidecar.model_copy(update=update)
    smallest = _smallest_tile(make_grid(sidecar, 1, 1), options.tile)
    engine = SlidingEngine(classifier, cell_size, tasks, pixel_type(zoom), batch_size(classifier))
    length = options.tile or max(_SLIDING_TILE, smallest)
    return Mapper(sidecar, engine, length, "patches", file or classifier, file=file)


def _own_stride(classifier: keras.Model, sidecar: Sidecar) -> int:
    """The stride that the converted classifier would have; a patch where it does not convert."""
    try:
        single = as_single(classifier, [task.name for task in sidecar.tasks])
        to_fcn(single)
        return trace(single).stride
    except ConversionError as error:
        logger.info("%s", error)
        return max(1, int(sidecar.patch * as_zoom(sidecar.zoom)))
