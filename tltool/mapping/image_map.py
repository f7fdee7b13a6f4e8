"""One image's map: judged tile by tile, written with its pictures and its JSON."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from rasterio.transform import Affine

from tltool.conversion.agreement import describe_fidelity
from tltool.files import write_text
from tltool.mapping.fingerprint import file_digest, map_fingerprint
from tltool.mapping.mapper import Mapper
from tltool.mapping.pictures import OVERLAY_SIDE, write_overlay
from tltool.mapping.preview import write_preview
from tltool.progress import progress_bar
from tltool.raster import AnyRaster, Area, MapGeoreference, as_zoom, load_area
from tltool.raster.georeference import move_gcps
from tltool.tiling.cover import ImageCover
from tltool.tiling.full_resolution import write_full_resolution
from tltool.tiling.journal import Fingerprint, as_json
from tltool.tiling.outputs import MapFiles, Output, name_files, open_writer
from tltool.tiling.pipeline import Cover, read_tile
from tltool.tiling.products import Product, choose_product
from tltool.tiling.tile_choice import choose_tile, tile_candidates
from tltool.tiling.tiles import Grid, Tile
from tltool.tiling.unfinished import UnfinishedMap, forget, remembered

logger = logging.getLogger("tltool")

# Below so many tiles trying several sizes costs more than it gains.
_WORTH_TUNING = 150

_NO_DATA = (
    "%s: the map has no data anywhere: no valid pixel lies where it was to be mapped. Check what"
    " says which pixels are valid (a value for no data, alpha or a mask band), and --aoi"
)


@dataclass(frozen=True)
class HeatMap:
    """What `heatmap` wrote for one image.

    Attributes
    ----------
    image, map_path, overlay_path, json_path : Path
    seconds : float
        Wall time of the map in this process, without the overlay; 0 where an
        interrupted call had finished it.
    megapixels : float
        Of the image.
    full_path : Path or None
        The map at the image's resolution, where it was asked for.
    preview_path : Path or None
        The page to look into the map, where it was asked for.
    judged : float
        Megapixels that this process judged: all but what an interrupted call
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


@dataclass
class _Work:
    """What one process did of a map."""

    tiles: int
    resumed: int = 0
    without_data: int = 0
    judged: float = 0.0
    seconds: float = 0.0


def map_georeference(grid: Grid, raster: AnyRaster) -> MapGeoreference:
    """Where the map of an image lies: by a transform, or by the image's control points."""
    gcps, crs = raster.gcps
    if not gcps:
        return MapGeoreference(raster.crs, map_transform(grid, raster.transform))
    return MapGeoreference(
        crs, Affine.identity(), move_gcps(gcps, ~map_transform(grid, Affine.identity()))
    )


def _cover(raster: AnyRaster, grid: Grid, area: Area | None) -> ImageCover | None:
    return ImageCover(raster, grid, area) if area is not None or raster.has_mask else None


def _tuned(
    mapper: Mapper, raster: AnyRaster, grid: Grid, fingerprint: Fingerprint, path: Path
) -> Mapper:
    """The mapper with the tile that an interrupted call had, or with the fastest."""
    if mapper.fixed_tile:
        return mapper
    earlier = remembered(path)
    # Of another network it may be too large.
    if earlier and earlier == as_json({**fingerprint, "tile": earlier.get("tile")}):
        return replace(mapper, tile=earlier["tile"])
    if sum(1 for _ in islice(grid.tiles(mapper.tile), _WORTH_TUNING)) < _WORTH_TUNING:
        return mapper
    zoom, candidates = as_zoom(mapper.sidecar.zoom), tile_candidates(grid, mapper.tile)
    chosen = choose_tile(
        mapper.engine, grid, candidates, lambda tile: read_tile(raster, tile, zoom), repeats=1
    )
    logger.info("%s: tiles of %d px are fastest", raster.path.name, chosen.length)
    return replace(mapper, tile=chosen.length)


def map_transform(grid: Grid, transform: Affine) -> Affine:
    """Transform of the map: from (column, row) of cells to where `transform` puts pixels."""
    shift = Affine.translation(float(grid.x.origin), float(grid.y.origin))
    return transform @ shift @ Affine.scale(float(grid.x.cell_size), float(grid.y.cell_size))


def _fill(
    work: UnfinishedMap,
    raster: AnyRaster,
    grid: Grid,
    tiles: Sequence[Tile],
    mapper: Mapper,
    cover: Cover | None,
) -> _Work:
    """Predict what is left to do, with a bar."""
    done = _Work(len(tiles), len(work.done))
    total = raster.width * raster.height / 1e6
    area = float(grid.x.cell_size * grid.y.cell_size) / 1e6
    with progress_bar(raster.path.name, total, "Mpx") as bar:
        bar.advance(sum(_cells(tiles[place]) for place in work.done) * area)

        def advance(tile: Tile, judged: bool) -> None:
            bar.advance(_cells(tile) * area)
            done.without_data += not judged
            done.judged += _cells(tile) * area * judged

        work.fill(raster, mapper.predictor(), cover, advance)
    return done


def _cells(tile: Tile) -> int:
    return tile.y.cells * tile.x.cells


def _facts(
    mapper: Mapper, raster: AnyRaster, model: str | None, output: Output, done: _Work
) -> dict[str, Any]:
    grid, sidecar = mapper.grid(raster), mapper.sidecar
    return {
        "format": 1,
        "image": str(raster.path),
        "model": model,
        "width": raster.width,
        "height": raster.height,
        "rows": grid.y.cells,
        "columns": grid.x.cells,
        "classes": sidecar.classes,
        "tasks": [task.model_dump() for task in sidecar.tasks],
        "background": sidecar.background,
        "patch": sidecar.patch,
        "context": sidecar.context,
        "zoom": sidecar.zoom,
        "stride": float(grid.x.cell_size),
        "offset": grid.x.offset,
        "receptive_field": sidecar.receptive_field,
        "fidelity": sidecar.fidelity,
        "method": mapper.method,
        "engine": mapper.engine.name,
        "difference_from_tensorflow": mapper.difference,
        "gsd": raster.gsd,
        "tile": mapper.tile,
        "output": asdict(output),
        # What an interrupted call had done is not in these.
        "this_run": {
            "seconds": round(done.seconds, 3),
            "megapixels": round(done.judged, 3),
            "megapixels_per_second": round(done.judged / done.seconds, 2),
            "tiles": done.tiles,
            "tiles_resumed": done.resumed,
            "tiles_without_data": done.without_data,
        },
    }


def map_image(
    mapper: Mapper,
    image: Path,
    folder: Path,
    output: Output | None = None,
    *,
    model: Path | None = None,
    overwrite: bool = True,
    aoi: Path | None = None,
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
    aoi : Path, optional
        GeoJSON of the areas to map; cells outside are no data.
    """
    output = output or Output()
    facts = mapper.facts() | {"aoi": file_digest(aoi)[:16] if aoi else None}
    product = choose_product(mapper.sidecar, output.dtype, output.classes, output.argmax)
    files = name_files(folder, image, output)
    with mapper.open(image) as raster:
        grid = mapper.grid(raster)
        area = load_area(aoi, raster) if aoi else None
        facts["limits"] = raster.limits
        fingerprint = map_fingerprint(mapper, raster, model, output, facts)
        mapper = _tuned(mapper, raster, grid, fingerprint, files.map)
        fingerprint["tile"] = mapper.tile
        tiles = list(grid.tiles(mapper.tile))
        made = _heat_map(image, files, raster)
        with UnfinishedMap(files.map, tiles, product, fingerprint, files.beside, overwrite) as work:
            if work.ended:
                logger.info("%s: finished by the call that was interrupted; kept", files.map)
                return made
            started = time.perf_counter()
            done = _fill(work, raster, grid, tiles, mapper, _cover(raster, grid, area))
            if not done.judged and not work.has_data():
                logger.warning(_NO_DATA, image)
            work.writing()
            place = map_georeference(grid, raster)
            with open_writer(files.map, output, grid, product.kind, place) as writer:
                work.write(writer)
            done.seconds = time.perf_counter() - started
            network = fingerprint["model"] if model else None
            told = _facts(mapper, raster, network, output, done) | dict(facts)
            fidelity = describe_fidelity(mapper.sidecar)
            _write_beside(work, product, raster, grid, files, told, fidelity)
            work.finish()
    if model is None:
        forget(files.map)
    return replace(made, seconds=done.seconds, judged=done.judged)


def _heat_map(image: Path, files: MapFiles, raster: AnyRaster) -> HeatMap:
    megapixels = raster.width * raster.height / 1e6
    paths = (files.map, files.overlay, files.json)
    return HeatMap(image, *paths, 0.0, megapixels, files.full, files.preview)


def _write_beside(
    work: UnfinishedMap,
    product: Product,
    raster: AnyRaster,
    grid: Grid,
    files: MapFiles,
    facts: Mapping[str, Any],
    fidelity: str,
) -> None:
    """Write what belongs to a map; its JSON last."""
    # Once for both pictures: without overviews the whole image is read for it.
    photograph = raster.thumbnail(OVERLAY_SIDE)
    write_overlay(work, product, raster, grid, photograph, files.overlay)
    if files.preview is not None:
        write_preview(work, product, raster, grid, photograph, fidelity, files.preview)
    if files.full is not None:
        write_full_resolution(files.map, files.full, grid, raster)
    write_text(files.json, json.dumps(facts, indent=2) + "\n", durable=True)
