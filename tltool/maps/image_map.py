"""One image's map: judged tile by tile, written with its pictures and its JSON."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rasterio.transform import Affine

from tltool.fcn.fidelity import describe_fidelity
from tltool.files import write_text
from tltool.maps.fingerprint import map_fingerprint
from tltool.maps.full_resolution import write_full_resolution
from tltool.maps.inference import open_image
from tltool.maps.methods import Mapper
from tltool.maps.outputs import MapFiles, Output, name_files, open_writer
from tltool.maps.pictures import OVERLAY_SIDE, write_overlay
from tltool.maps.pipeline import Cover, EngineJudge, Judge
from tltool.maps.preview import write_preview
from tltool.maps.products import Product, choose_product
from tltool.maps.tiles import Grid, Tile
from tltool.maps.unfinished import UnfinishedMap, forget
from tltool.progress import progress_bar
from tltool.raster import Raster, as_zoom

logger = logging.getLogger("tltool")

CoverOf = Callable[[Raster, Grid], Cover | None]


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


def map_transform(grid: Grid, transform: Affine) -> Affine:
    """Transform of the map: from (column, row) of cells to where `transform` puts pixels."""
    shift = Affine.translation(float(grid.x.origin), float(grid.y.origin))
    return transform @ shift @ Affine.scale(float(grid.x.pitch), float(grid.y.pitch))


def _fill(
    work: UnfinishedMap,
    raster: Raster,
    grid: Grid,
    tiles: Sequence[Tile],
    judge: Judge,
    cover: Cover | None,
) -> _Work:
    """Judge what is left to judge, with a bar."""
    done = _Work(len(tiles), len(work.done))
    total = raster.width * raster.height / 1e6
    area = float(grid.x.pitch * grid.y.pitch) / 1e6
    with progress_bar(raster.path.name, total, "Mpx") as bar:
        bar.advance(sum(_cells(tiles[place]) for place in work.done) * area)

        def advance(tile: Tile, judged: bool) -> None:
            bar.advance(_cells(tile) * area)
            done.without_data += not judged
            done.judged += _cells(tile) * area * judged

        work.fill(raster, judge, cover, advance)
    return done


def _cells(tile: Tile) -> int:
    return tile.y.cells * tile.x.cells


def _facts(mapper: Mapper, raster: Raster, output: Output, done: _Work) -> dict[str, Any]:
    grid, sidecar = mapper.grid(raster), mapper.sidecar
    return {
        "format": 1,
        "image": str(raster.path),
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
        "stride": float(grid.x.pitch),
        "offset": grid.x.offset,
        "receptive_field": sidecar.receptive_field,
        "fidelity": sidecar.fidelity,
        "method": mapper.method,
        "engine": mapper.engine.name,
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
    judge: Judge | None = None,
    cover_of: CoverOf | None = None,
    facts: Mapping[str, Any] | None = None,
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
    judge : Judge, optional
        What turns tiles into probabilities; default: one run of the engine.
    cover_of : callable, optional
        From the image and its cells to where it has data; default: everywhere.
    facts : mapping, optional
        More that decides the map's values, of which the mapper knows nothing:
        for the journal and the JSON.
    """
    output, facts = output or Output(), facts or {}
    product = choose_product(mapper.sidecar, output.dtype, output.classes, output.argmax)
    files = name_files(folder, image, output)
    judge = judge or EngineJudge(mapper.engine, as_zoom(mapper.sidecar.zoom))
    with open_image(image, mapper.sidecar) as raster:
        grid = mapper.grid(raster)
        tiles = list(grid.tiles(mapper.tile))
        fingerprint = map_fingerprint(mapper, raster, model, output, facts)
        made = _heat_map(image, files, raster)
        with UnfinishedMap(files.map, tiles, product, fingerprint, files.beside, overwrite) as work:
            if work.ended:
                logger.info("%s: finished by the call that was interrupted; kept", files.map)
                return made
            started = time.perf_counter()
            cover = cover_of(raster, grid) if cover_of else None
            done = _fill(work, raster, grid, tiles, judge, cover)
            work.writing()
            transform = map_transform(grid, raster.transform)
            with open_writer(
                files.map, output, grid, product.kind, raster.crs, transform
            ) as writer:
                work.write(writer)
            done.seconds = time.perf_counter() - started
            told = _facts(mapper, raster, output, done) | dict(facts)
            fidelity = describe_fidelity(mapper.sidecar)
            _write_beside(work, product, raster, grid, files, told, fidelity)
            work.finish()
    if model is None:
        forget(files.map)
    return replace(made, seconds=done.seconds, judged=done.judged)


def _heat_map(image: Path, files: MapFiles, raster: Raster) -> HeatMap:
    megapixels = raster.width * raster.height / 1e6
    paths = (files.map, files.overlay, files.json)
    return HeatMap(image, *paths, 0.0, megapixels, files.full, files.preview)


def _write_beside(
    work: UnfinishedMap,
    product: Product,
    raster: Raster,
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
