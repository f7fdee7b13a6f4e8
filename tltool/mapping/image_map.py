"""One image's map: predicted tile by tile, written with its pictures and its JSON."""

import hashlib
import json
import logging
import time
import uuid
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from PIL import Image
from rasterio.errors import RasterioError
from rasterio.transform import Affine

from tltool import __version__
from tltool.conversion.agreement import describe_fidelity
from tltool.files import atomic_path, write_text
from tltool.inference.image_opening import ImageSource
from tltool.mapping.mapper import Mapper, file_digest
from tltool.mapping.preview import MAP_SIDE, render_preview, view_extent
from tltool.pictures.drawing import Extent
from tltool.pictures.overlay import draw_overlay
from tltool.pictures.values import draw_value_overlay, value_range
from tltool.progress import progress_bar
from tltool.raster import AnyRaster, MapGeoreference, as_zoom, load_area
from tltool.raster.georeference import move_gcps
from tltool.run.map_options import Output
from tltool.run.sidecar import MapFacts
from tltool.tiling.full_resolution import write_full_resolution
from tltool.tiling.pipeline import find_cover, read_tile
from tltool.tiling.products import Product, choose_product, name_files, open_writer
from tltool.tiling.tiles import Grid, Tile, choose_tile, tile_candidates
from tltool.tiling.unfinished import UnfinishedMap, as_json, forget, remembered

logger = logging.getLogger(__name__)

# Below so many tiles trying several sizes costs more than it gains.
_WORTH_TUNING = 150

# What viewers and gdaladdo write beside an image, without changing its pixels.
_BESIDE = (".aux.xml", ".ovr")

# Options that decide the bytes of the map; others only what is beside it.
_WRITTEN = ("dtype", "format", "cog", "classes", "argmax")

# What the JSON of a map takes from the network's.
_OF_THE_NETWORK = (
    *("classes", "tasks", "background", "patch", "context", "zoom", "receptive_field", "fidelity"),
)

# Longest side of the overlay's photograph, px.
OVERLAY_SIDE = 2500

# Cells along a side that are read at once, and numbers that the small map may have in all.
_SIDE = 1024
_NUMBERS = 1 << 25

# From class, row, column, rows and columns to (rows, columns) float32, NaN: no data.
ReadWindow = Callable[[int, int, int, int, int], np.ndarray]


@dataclass(frozen=True)
class HeatMap:
    """Files that `heatmap` wrote for one image.

    Attributes
    ----------
    image, map_path, overlay_path, json_path : Path
    seconds : float
        Wall time of the map in this process, without the overlay; 0 where an
        interrupted call had finished it.
    megapixels : float
        Size of the image.
    full_path : Path or None
        The map at the image's resolution, where it was asked for.
    preview_path : Path or None
        The page to look into the map, where it was asked for.
    predicted : float
        Megapixels that this process predicted: all but what an interrupted call
        had done and what has no data.
    """

    image: Path
    map_path: Path
    overlay_path: Path
    json_path: Path
    seconds: float
    megapixels: float
    full_path: Path | None = None
    preview_path: Path | None = None
    predicted: float = 0.0


def network_name(model: Path) -> str:
    """Name of a network in a map's JSON: its file's and the start of its digest."""
    return f"{model.name} {file_digest(model)[:16]}"


def image_state(path: Path) -> str:
    """Digest of size and time of change of an image's files; a VRT's sources are among them."""
    try:
        with warnings.catch_warnings(action="ignore"), rasterio.open(path) as source:
            names = [name for name in source.files if not name.endswith(_BESIDE)]
    except RasterioError:
        names = []
    states = []
    for file in sorted({path.resolve(), *map(Path, names)}):
        if file.exists():
            facts = file.stat()
            states.append(f"{file.resolve()} {facts.st_size} {facts.st_mtime_ns}")
    return hashlib.sha256("\n".join(states).encode()).hexdigest()


def map_fingerprint(
    mapper: Mapper, raster: AnyRaster, model: Path | None, output: Output, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Collect all that decides a map's values: where it is the same, so are the values.

    Parameters
    ----------
    mapper : Mapper
    raster : Raster
        Known by its path, and the size and time of change of its files: reading
        it whole would take as long as a map.
    model : Path or None
        FCN or classifier, known by its content; None: no two are the same.
    output : Output
    facts : mapping
        More that decides the values.

    Returns
    -------
    dict that JSON can hold
    """
    engine, sidecar = mapper.engine.name, mapper.sidecar
    if raster.path is None:
        # Nothing tells whether it is the same image again.
        known, state = raster.label, uuid.uuid4().hex
    else:
        known, state = str(raster.path.resolve()), image_state(raster.path)[:16]
    try:
        engine_version = version(engine)
    except PackageNotFoundError:
        engine_version = None
    exclude = {"format", "fidelity", "data", "temperature"}
    written = {f"output {key}": value for key, value in asdict(output).items() if key in _WRITTEN}
    return {
        "journal": 1,
        "model": network_name(model) if model else uuid.uuid4().hex,
        "image": known,
        "image files": state,
        "georeference": f"{raster.crs} {tuple(raster.transform)[:6]}",
        **sidecar.model_dump(exclude=exclude, mode="json"),
        "method": mapper.method,
        "engine": engine,
        "engine version": engine_version,
        "tile": mapper.tile,
        **written,
        "tltool version": __version__,
        **facts,
    }


def map_georeference(grid: Grid, raster: AnyRaster) -> MapGeoreference:
    """Find where the map of an image lies: by a transform, or by the image's control points."""
    x, y = grid.x, grid.y
    to_pixels = Affine.translation(float(x.origin), float(y.origin)) @ Affine.scale(
        float(x.cell_size), float(y.cell_size)
    )
    gcps, crs = raster.gcps
    if not gcps:
        return MapGeoreference(raster.crs, raster.transform @ to_pixels)
    return MapGeoreference(crs, Affine.identity(), move_gcps(gcps, ~to_pixels))


def with_best_tile(
    mapper: Mapper, raster: AnyRaster, grid: Grid, earlier: Mapping[str, Any], fingerprint: Any
) -> Mapper:
    """The mapper with the tile that an interrupted call had, or with the fastest."""
    if mapper.fixed_tile:
        return mapper
    # Of another network it may be too large.
    if earlier and earlier == as_json({**fingerprint, "tile": earlier.get("tile")}):
        return replace(mapper, tile=earlier["tile"])
    if sum(1 for _ in islice(grid.tiles(mapper.tile), _WORTH_TUNING)) < _WORTH_TUNING:
        return mapper
    zoom = as_zoom(mapper.sidecar.zoom)
    candidates = tile_candidates(grid, mapper.tile)
    chosen = choose_tile(
        mapper.engine, grid, candidates, lambda tile: read_tile(raster, tile, zoom), repeats=1
    )
    logger.info("%s: tiles of %d px are fastest", raster.name, chosen.length)
    return replace(mapper, tile=chosen.length)


def shrink_factor(shape: tuple[int, int], classes: int, longest: int) -> int:
    """Cells that become one along each side.

    So many that the longer side has at most `longest`, and that all classes
    together stay within a fixed memory.
    """
    longest = max(1, min(longest, int((_NUMBERS / classes) ** 0.5)))
    return max(1, -(-max(shape) // longest))


def _mean(values: np.ndarray, factor: int) -> np.ndarray:
    """Mean of factor x factor blocks of (rows, columns), of the cells that have data."""
    rows, columns = values.shape
    values = np.pad(values, ((0, -rows % factor), (0, -columns % factor)), constant_values=np.nan)
    blocks = values.reshape(len(values) // factor, factor, -1, factor)
    known = np.isfinite(blocks)
    number = known.sum((1, 3))
    total = np.where(known, blocks, 0).sum((1, 3), dtype=np.float64)
    return np.where(number, total / np.maximum(number, 1), np.nan).astype(np.float32)


def shrink_map(read: ReadWindow, shape: tuple[int, int], classes: int, factor: int) -> np.ndarray:
    """Average a map.

    Parameters
    ----------
    read : callable
        From class, row, column, rows and columns to (rows, columns) float32,
        NaN: no data.
    shape : (int, int)
        Rows and columns of the map.
    classes : int
    factor : int
        Cells that become one along each side; the last ones of fewer where
        they do not divide.

    Returns
    -------
    (classes, rows, columns) float32 array; NaN where no cell has data.
    """
    side = factor * max(1, _SIDE // factor)
    rows, columns = shape
    small = np.empty((classes, -(-rows // factor), -(-columns // factor)), np.float32)
    for k in range(classes):
        for row in range(0, rows, side):
            for column in range(0, columns, side):
                values = read(k, row, column, min(side, rows - row), min(side, columns - column))
                mean = _mean(values, factor)
                top, left = row // factor, column // factor
                small[k, top : top + mean.shape[0], left : left + mean.shape[1]] = mean
    return small


def extent_of(grid: Grid, shape: tuple[int, ...], factor: int) -> Extent:
    """Left, top, right and bottom, px of the image, of a map of `factor` times larger cells."""
    left, top = float(grid.x.origin), float(grid.y.origin)
    across, down = float(grid.x.cell_size) * factor, float(grid.y.cell_size) * factor
    return left, top, left + shape[-1] * across, top + shape[-2] * down


def overlay_of(
    read: ReadWindow,
    shape: tuple[int, int],
    product: Product,
    raster: AnyRaster,
    grid: Grid,
    photograph: np.ndarray,
) -> Image.Image:
    """Draw a map over its photograph, however large both are.

    Parameters
    ----------
    read, shape
        The map, as for `shrink_map`.
    product : Product
    raster : Raster
    grid : Grid
    photograph : (height, width, 3) uint8 array
        The image shrunk.
    """
    factor = shrink_factor(shape, len(product.names), OVERLAY_SIDE)
    small = shrink_map(read, shape, len(product.names), factor)
    scale = photograph.shape[1] / raster.width
    left, top, right, bottom = (scale * edge for edge in extent_of(grid, small.shape, factor))
    extent, title = (left, top, right, bottom), raster.name
    if product.measured:
        return draw_value_overlay(photograph, small, product.names, extent, title)
    return draw_overlay(
        photograph,
        small,
        product.names,
        product.nothing,
        extent,
        title=title,
        exclusive=product.exclusive,
    )


def write_overlay(path: Path, *drawn: Any) -> None:
    """Write the picture that `overlay_of` draws."""
    with atomic_path(path, durable=True) as partial:
        # Twice as fast as the default for a tenth more bytes.
        overlay_of(*drawn).save(partial, compress_level=3)


def write_map(
    mapper: Mapper,
    image: ImageSource,
    folder: Path,
    output: Output | None = None,
    *,
    model: Path | None = None,
    overwrite: bool = True,
    name: str = "image",
) -> HeatMap:
    """Write map, pictures and JSON of one image into `folder`.

    Parameters
    ----------
    mapper : Mapper
    image : Path, array, PIL image or Raster
    folder : Path
    output : Output, optional
    model : Path, optional
        The network's file, whose content tells a later call whether it may go
        on with an interrupted one; None: it may not.
    overwrite : bool
        Replace an earlier map.
    name : str
        Name of an image in memory: its map's files begin with it.
    """
    key = Path(image) if isinstance(image, str | Path) else Path(name)
    output, options, sidecar = output or Output(), mapper.options, mapper.sidecar
    product = choose_product(sidecar, output.dtype, output.classes, output.argmax)
    files = name_files(folder, key, output)
    with mapper.open(image, name) as raster:
        grid = mapper.grid(raster)
        area = load_area(options.aoi, raster) if options.aoi else None
        facts = mapper.facts(raster)
        fingerprint = map_fingerprint(mapper, raster, model, output, facts)
        mapper = with_best_tile(mapper, raster, grid, remembered(files.map), fingerprint)
        fingerprint["tile"] = mapper.tile
        tiles = list(grid.tiles(mapper.tile))
        megapixels = raster.width * raster.height / 1e6
        written = (files.map, files.overlay, files.json)
        made = HeatMap(key, *written, 0.0, megapixels, files.full, files.preview)
        with UnfinishedMap(files.map, tiles, product, fingerprint, files.beside, overwrite) as work:
            if work.ended:
                logger.info("%s: finished by the call that was interrupted; kept", files.map)
                return made
            started = time.perf_counter()
            resumed, without_data, predicted = len(work.done), 0, 0.0
            cell = float(grid.x.cell_size * grid.y.cell_size) / 1e6
            with progress_bar(raster.name, megapixels, "Mpx") as bar:
                bar.advance(sum(tiles[index].cells for index in work.done) * cell)

                def advance(tile: Tile, has_data: bool) -> None:
                    nonlocal without_data, predicted
                    bar.advance(tile.cells * cell)
                    without_data += not has_data
                    predicted += tile.cells * cell * has_data

                work.fill(raster, mapper.predictor(), find_cover(raster, grid, area), advance)
            if not predicted and not work.has_data():
                logger.warning(
                    "%s: the map has no data anywhere: no valid pixel lies where it was to be"
                    " mapped. Check what says which pixels are valid (a value for no data, alpha or"
                    " a mask band), and `aoi`",
                    raster.label,
                )
            work.writing()
            lies = map_georeference(grid, raster)
            with open_writer(files.map, output, grid, product.kind, lies) as writer:
                work.write(writer)
            seconds = time.perf_counter() - started
            # What an interrupted call had done is not in these.
            this_run = {
                "seconds": round(seconds, 3),
                "megapixels": round(predicted, 3),
                "megapixels_per_second": round(predicted / seconds, 2),
                "tiles": len(tiles),
                "tiles_resumed": resumed,
                "tiles_without_data": without_data,
            }
            network = fingerprint["model"] if model else None
            known = map_facts(mapper, raster, grid, network, output, this_run, facts)
            # Once for both pictures: without overviews the whole image is read for it.
            photograph = raster.thumbnail(OVERLAY_SIDE)
            drawn = (work.shown, work.shape, product, raster, grid, photograph)
            write_overlay(files.overlay, *drawn)
            if files.preview is not None:
                factor = shrink_factor(work.shape, len(product.names), MAP_SIDE)
                small = shrink_map(work.shown, work.shape, len(product.names), factor)
                names = product.names
                if product.measured:
                    # The page shows shares; the layer's name says of what.
                    ranges = [value_range(plane) for plane in small]
                    pairs = zip(small, ranges, strict=True)
                    small = np.stack([(plane - a) / (b - a) for plane, (a, b) in pairs])
                    names = tuple(
                        f"{name}, 0 is {a:.4g}, 1 is {b:.4g}"
                        for name, (a, b) in zip(names, ranges, strict=True)
                    )
                page = render_preview(
                    raster.name,
                    photograph,
                    small,
                    names,
                    product.nothing,
                    view_extent(raster, extent_of(grid, small.shape, factor)),
                    factor,
                    product.exclusive,
                    describe_fidelity(sidecar),
                )
                write_text(files.preview, page, durable=True)
            if files.full is not None:
                write_full_resolution(files.map, files.full, grid, raster)
            text = json.dumps(known.model_dump(), indent=2) + "\n"
            write_text(files.json, text, durable=True)
            work.finish()
    if model is None:
        forget(files.map)
    return replace(made, seconds=seconds, predicted=predicted)


def map_facts(
    mapper: Mapper,
    raster: AnyRaster,
    grid: Grid,
    network: str | None,
    output: Output,
    this_run: dict[str, Any],
    facts: Mapping[str, Any],
) -> MapFacts:
    """Put down what made a map; `facts` are those of `Mapper.facts`."""
    known = {name: getattr(mapper.sidecar, name) for name in _OF_THE_NETWORK}
    return MapFacts(
        image=raster.label,
        model=network,
        width=raster.width,
        height=raster.height,
        rows=grid.y.cells,
        columns=grid.x.cells,
        stride=float(grid.x.cell_size),
        offset=grid.x.offset,
        method=mapper.method,
        engine=mapper.engine.name,
        difference_from_tensorflow=mapper.difference,
        gsd=raster.gsd,
        tile=mapper.tile,
        output=asdict(output),
        this_run=this_run,
        **known,
        **facts,
    )
