"""`tltool heatmap`: a network over images of any size, read, judged and written tile by tile."""

import json
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import Affine

from tltool.data.annotations import find_images
from tltool.errors import UsageError
from tltool.files import atomic_path, refuse_existing, write_text
from tltool.maps.full_resolution import write_full_resolution
from tltool.maps.inference import open_image
from tltool.maps.methods import Mapper, Mode, load_mapper
from tltool.maps.overlay import draw_overlay
from tltool.maps.tiles import Grid
from tltool.progress import progress_bar
from tltool.raster import MapWriter, Raster
from tltool.sidecar import Sidecar

# Longest side of the overlay's photograph, px.
_OVERLAY_SIDE = 2500


@dataclass(frozen=True)
class HeatMap:
    """What `heatmap` wrote for one image.

    Attributes
    ----------
    image, map_path, overlay_path, json_path : Path
    seconds : float
        Wall time of the map, without the overlay.
    megapixels : float
    full_path : Path or None
        The map at the image's resolution, where it was asked for.
    """

    image: Path
    map_path: Path
    overlay_path: Path
    json_path: Path
    seconds: float
    megapixels: float
    full_path: Path | None = None


def map_transform(grid: Grid, transform: Affine) -> Affine:
    """Transform of the map: from (column, row) of cells to where `transform` puts pixels."""
    shift = Affine.translation(float(grid.x.origin), float(grid.y.origin))
    return transform @ shift @ Affine.scale(float(grid.x.pitch), float(grid.y.pitch))


def _write_tiles(mapper: Mapper, raster: Raster, grid: Grid, writer: MapWriter) -> None:
    """Run all tiles; writing happens in a thread of its own, one window behind."""
    total = raster.width * raster.height / 1e6
    area = float(grid.x.pitch * grid.y.pitch) / 1e6
    waiting: Future[None] | None = None
    with ThreadPoolExecutor(1) as pool, progress_bar(raster.path.name, total, "Mpx") as bar:
        for tile, values in mapper.tiles(raster):
            if waiting is not None:
                waiting.result()
            waiting = pool.submit(writer.write, tile.y.cell, tile.x.cell, values)
            bar.advance(values.shape[1] * values.shape[2] * area)
        if waiting is not None:
            waiting.result()


def _write_map(mapper: Mapper, raster: Raster, path: Path) -> float:
    grid = mapper.grid(raster)
    started = time.perf_counter()
    transform = map_transform(grid, raster.transform)
    names = mapper.sidecar.classes
    with MapWriter(path, grid.y.cells, grid.x.cells, names, raster.crs, transform) as writer:
        _write_tiles(mapper, raster, grid, writer)
    return time.perf_counter() - started


def _shrunk_map(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        scale = max(1.0, max(source.shape) / _OVERLAY_SIDE)
        shape = tuple(max(1, round(n / scale)) for n in source.shape)
        return source.read(out_shape=(source.count, *shape), resampling=Resampling.average)


def nothing_here(sidecar: Sidecar) -> list[str]:
    """The outputs that mean "nothing here"; none where the background has no output."""
    # Of a binary task it is the negative; of several tasks outputs are called task.class.
    names = {sidecar.background, *(f"{t.name}.{sidecar.background}" for t in sidecar.tasks)}
    return [name for name in sidecar.classes if name in names]


def _exclusive(sidecar: Sidecar) -> bool:
    if len(sidecar.tasks) > 1:
        return False
    kinds = {task.kind for task in sidecar.tasks}
    return kinds <= {"multi-class"} and len(sidecar.classes) > 1


def _write_overlay(mapper: Mapper, raster: Raster, map_path: Path, path: Path) -> None:
    photograph = raster.thumbnail(_OVERLAY_SIDE)
    grid, scale = mapper.grid(raster), photograph.shape[1] / raster.width
    left, top = float(grid.x.origin), float(grid.y.origin)
    right = left + grid.x.cells * float(grid.x.pitch)
    bottom = top + grid.y.cells * float(grid.y.pitch)
    extent = (left * scale, top * scale, right * scale, bottom * scale)
    sidecar = mapper.sidecar
    picture = draw_overlay(
        photograph,
        _shrunk_map(map_path),
        sidecar.classes,
        nothing_here(sidecar),
        extent,
        title=raster.path.name,
        exclusive=_exclusive(sidecar),
    )
    with atomic_path(path) as partial:
        # Twice as fast as the default for a tenth more bytes.
        picture.save(partial, compress_level=3)


def _facts(mapper: Mapper, raster: Raster, seconds: float) -> dict[str, Any]:
    grid, sidecar = mapper.grid(raster), mapper.sidecar
    megapixels = raster.width * raster.height / 1e6
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
        "seconds": round(seconds, 3),
        "megapixels_per_second": round(megapixels / seconds, 2),
    }


def _outputs(folder: Path, image: Path) -> tuple[Path, Path, Path]:
    stem = image.stem
    return folder / f"{stem}.heatmap.tif", folder / f"{stem}.overlay.png", folder / f"{stem}.json"


def _full_path(folder: Path, image: Path) -> Path:
    return folder / f"{image.stem}.full.tif"


def _check_outputs(
    folder: Path, images: Sequence[Path], overwrite: bool, full_resolution: bool
) -> None:
    stems = [image.stem for image in images]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise UsageError(
            f"two images are called {twice}: their maps would have one name. Map them in two calls"
            " with different output folders"
        )
    for image in images:
        refuse_existing(_outputs(folder, image)[0], overwrite)
        if full_resolution:
            refuse_existing(_full_path(folder, image), overwrite)


def map_image(mapper: Mapper, image: Path, folder: Path, full_resolution: bool = False) -> HeatMap:
    """Write map, overlay and JSON of one image into `folder`; enlarged too where that is wanted."""
    map_path, overlay_path, json_path = _outputs(folder, image)
    with open_image(image, mapper.sidecar) as raster:
        seconds = _write_map(mapper, raster, map_path)
        _write_overlay(mapper, raster, map_path, overlay_path)
        write_text(json_path, json.dumps(_facts(mapper, raster, seconds), indent=2) + "\n")
        megapixels = raster.width * raster.height / 1e6
        full_path = _full_path(folder, image) if full_resolution else None
        if full_path is not None:
            write_full_resolution(map_path, full_path, mapper.grid(raster), raster)
    return HeatMap(image, map_path, overlay_path, json_path, seconds, megapixels, full_path)


def heatmap(
    run: str | Path,
    images: Sequence[str | Path],
    out: str | Path,
    *,
    tile: int | None = None,
    stride: float | None = None,
    shift_and_stitch: bool = False,
    mode: Mode = "fcn",
    full_resolution: bool = False,
    overwrite: bool = False,
) -> list[HeatMap]:
    """Map the class probabilities of large images.

    Parameters
    ----------
    run : str or Path
        A run folder (its classifier is converted where there is no FCN yet),
        or the path of an FCN, or with ``mode="patches"`` of a classifier, with
        its sidecar.
    images : sequence of str or Path
        Image files, or folders of them: JPEG, PNG, TIFF, GeoTIFF of any size.
    out : str or Path
        Folder for ``<stem>.heatmap.tif`` (a float32 band an output of the
        network, named by its class, ``task.class`` where there are several
        tasks, and of a binary task by its positive; NaN is no data; in the
        image's CRS, or in its pixels where it has none),
        ``<stem>.overlay.png`` and ``<stem>.json``.
    tile : int, optional
        Longest side of a tile, px of the enlarged image.
    stride : float, optional
        px of the image between cells. A converted network can have those that
        divide its own, by the à trous rewriting; a sliding classifier any.
        Default: the network's own.
    shift_and_stitch : bool
        Make the denser map by running the network on the image shifted to
        each cell: the reference for `stride`, several times slower.
    mode : 'fcn' or 'patches'
        ``patches`` slides the untouched classifier in batches: slower, always
        faithful, and for classifiers that cannot be converted too.
    full_resolution : bool
        Write ``<stem>.full.tif`` too: the map enlarged bilinearly to a value
        a pixel of the image.
    overwrite : bool
        Replace earlier maps.

    Returns
    -------
    list of HeatMap
        One an image.

    Raises
    ------
    ImageError
        An image cannot be read, is smaller than a patch or has other bands
        than the network takes; names it.
    ConversionError, ModelError, OutputError, UsageError
    """
    paths, folder = find_images(images), Path(out)
    _check_outputs(folder, paths, overwrite, full_resolution)
    for path in paths:
        # Before a conversion that may take long.
        Raster(path).close()
    mapper = load_mapper(run, tile, stride=stride, shift_and_stitch=shift_and_stitch, mode=mode)
    for path in paths:
        with open_image(path, mapper.sidecar) as raster:
            mapper.grid(raster)
    with open_image(paths[0], mapper.sidecar) as raster:
        mapper = mapper.measured(raster)
    return [map_image(mapper, path, folder, full_resolution) for path in paths]
