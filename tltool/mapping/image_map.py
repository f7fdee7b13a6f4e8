"""One image's map: predicted tile by tile, written with its pictures and its JSON."""

import hashlib
import json
import logging
import time
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioError
from rasterio.transform import Affine

from tltool import __version__
from tltool.conversion.agreement import describe_fidelity
from tltool.files import write_text
from tltool.mapping.mapper import Mapper
from tltool.mapping.pictures import OVERLAY_SIDE, write_overlay
from tltool.mapping.preview import write_preview
from tltool.progress import progress_bar
from tltool.raster import AnyRaster, MapGeoreference, as_zoom, load_area
from tltool.raster.georeference import move_gcps
from tltool.run.map_facts import MapFacts
from tltool.run.map_options import Output
from tltool.tiling.cover import find_cover
from tltool.tiling.full_resolution import write_full_resolution
from tltool.tiling.pipeline import read_tile
from tltool.tiling.products import choose_product, name_files, open_writer
from tltool.tiling.tiles import Grid, Tile, choose_tile, tile_candidates
from tltool.tiling.unfinished import UnfinishedMap, as_json, forget, remembered

logger = logging.getLogger(__name__)

# Below so many tiles trying several sizes costs more than it gains.
_WORTH_TUNING = 150

# What viewers and gdaladdo write beside an image, without changing its pixels.
_BESIDE = (".aux.xml", ".ovr")

# Options that decide the bytes of the map; others only what is beside it.
_WRITTEN = ("dtype", "format", "cog", "classes", "argmax")


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
    judged : float
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
    judged: float = 0.0


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    mapper: Mapper,
    raster: AnyRaster,
    model: Path | None,
    output: Output,
    facts: Mapping[str, Any],
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
    assert raster.path is not None  # what has no file is not written here
    try:
        engine_version = version(engine)
    except PackageNotFoundError:
        engine_version = None
    exclude = {"format", "fidelity", "data", "temperature"}
    written = {f"output {key}": value for key, value in asdict(output).items() if key in _WRITTEN}
    return {
        "journal": 1,
        "model": network_name(model) if model else uuid.uuid4().hex,
        "image": str(raster.path.resolve()),
        "image files": image_state(raster.path)[:16],
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


def write_map(
    mapper: Mapper,
    image: Path,
    folder: Path,
    output: Output | None = None,
    *,
    model: Path | None = None,
    overwrite: bool = True,
) -> HeatMap:
    """Write map, pictures and JSON of one image into `folder`.

    Parameters
    ----------
    mapper : Mapper
    image, folder : Path
    output : Output, optional
    model : Path, optional
        The network's file, whose content tells a later call whether it may go
        on with an interrupted one; None: it may not.
    overwrite : bool
        Replace an earlier map.
    """
    output, options, sidecar = output or Output(), mapper.options, mapper.sidecar
    product = choose_product(sidecar, output.dtype, output.classes, output.argmax)
    files = name_files(folder, image, output)
    with mapper.open(image) as raster:
        grid = mapper.grid(raster)
        area = load_area(options.aoi, raster) if options.aoi else None
        facts = mapper.facts() | {
            "aoi": file_digest(options.aoi)[:16] if options.aoi else None,
            "limits": raster.limits,
        }
        fingerprint = map_fingerprint(mapper, raster, model, output, facts)
        mapper = with_best_tile(mapper, raster, grid, remembered(files.map), fingerprint)
        fingerprint["tile"] = mapper.tile
        tiles = list(grid.tiles(mapper.tile))
        megapixels = raster.width * raster.height / 1e6
        made = HeatMap(
            image,
            files.map,
            files.overlay,
            files.json,
            seconds=0.0,
            megapixels=megapixels,
            full_path=files.full,
            preview_path=files.preview,
        )
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
                    image,
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
            write_overlay(work, product, raster, grid, photograph, files.overlay)
            if files.preview is not None:
                fidelity = describe_fidelity(sidecar)
                write_preview(work, product, raster, grid, photograph, fidelity, files.preview)
            if files.full is not None:
                write_full_resolution(files.map, files.full, grid, raster)
            text = json.dumps(known.model_dump(), indent=2) + "\n"
            write_text(files.json, text, durable=True)
            work.finish()
    if model is None:
        forget(files.map)
    return replace(made, seconds=seconds, judged=predicted)


def map_facts(
    mapper: Mapper,
    raster: AnyRaster,
    grid: Grid,
    network: str | None,
    output: Output,
    this_run: dict[str, Any],
    facts: Mapping[str, Any],
) -> MapFacts:
    """Put down what made a map; `facts` are those of `Mapper.facts`, `aoi` and `limits`."""
    sidecar = mapper.sidecar
    return MapFacts(
        image=raster.label,
        model=network,
        width=raster.width,
        height=raster.height,
        rows=grid.y.cells,
        columns=grid.x.cells,
        classes=sidecar.classes,
        tasks=sidecar.tasks,
        background=sidecar.background,
        patch=sidecar.patch,
        context=sidecar.context,
        zoom=sidecar.zoom,
        stride=float(grid.x.cell_size),
        offset=grid.x.offset,
        receptive_field=sidecar.receptive_field,
        fidelity=sidecar.fidelity,
        method=mapper.method,
        engine=mapper.engine.name,
        difference_from_tensorflow=mapper.difference,
        gsd=raster.gsd,
        tile=mapper.tile,
        output=asdict(output),
        this_run=this_run,
        **facts,
    )
