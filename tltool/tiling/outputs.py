"""What is written for an image, under which names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tltool.errors import UsageError
from tltool.files import refuse_existing
from tltool.raster import MapWriter
from tltool.raster.writing import MapGeoreference, MapKind
from tltool.raster.zarr_writing import ZarrWriter
from tltool.run.map_options import FORMATS, Output
from tltool.tiling.tiles import Grid
from tltool.tiling.unfinished import journal_path


@dataclass(frozen=True)
class MapFiles:
    """The files of one image's map; None: not asked for."""

    map: Path
    overlay: Path
    json: Path
    full: Path | None
    preview: Path | None

    @property
    def beside(self) -> list[Path]:
        """All but the map."""
        return [p for p in (self.overlay, self.full, self.preview, self.json) if p is not None]


def name_files(folder: Path, image: Path, output: Output) -> MapFiles:
    """Where the files of an image's map lie."""
    stem = image.stem
    return MapFiles(
        folder / f"{stem}.heatmap.{FORMATS[output.format]}",
        folder / f"{stem}.overlay.png",
        folder / f"{stem}.json",
        folder / f"{stem}.full.tif" if output.full_resolution else None,
        folder / f"{stem}.preview.html" if output.preview else None,
    )


def check_outputs(folder: Path, images: Sequence[Path], overwrite: bool, output: Output) -> None:
    """Raise where two maps would have one name, or one exists that no unfinished call left."""
    stems = [image.stem for image in images]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise UsageError(
            f"two images are called {twice}: their maps would have one name. Map them in two calls"
            " with different output folders"
        )
    for files in (name_files(folder, image, output) for image in images):
        if not journal_path(files.map).exists():
            refuse_existing(files.map, overwrite)
            if files.full is not None:
                refuse_existing(files.full, overwrite)


def open_writer(
    path: Path, output: Output, grid: Grid, kind: MapKind, georeference: MapGeoreference
) -> MapWriter | ZarrWriter:
    """What writes a map in the format that is asked for."""
    size = grid.y.cells, grid.x.cells
    if output.format == "zarr":
        return ZarrWriter(path, *size, kind, georeference, durable=True)
    return MapWriter(path, *size, kind, georeference, output.cog, durable=True)
