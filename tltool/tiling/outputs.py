"""What is written for an image, under which names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tltool.errors import UsageError
from tltool.files import refuse_existing
from tltool.raster import MapWriter
from tltool.raster.encoding import MapKind
from tltool.raster.writing import MapGeoreference
from tltool.raster.zarr_writing import ZarrWriter, check_zarr
from tltool.tiling.tiles import Grid
from tltool.tiling.unfinished import journal_path

Format = Literal["geotiff", "zarr"]
FORMATS: dict[str, str] = {"geotiff": "tif", "zarr": "zarr"}


@dataclass(frozen=True)
class Output:
    """How maps are written; see `tltool.heatmap`."""

    dtype: str | None = None
    format: Format = "geotiff"
    cog: bool = False
    classes: tuple[str, ...] | None = None
    argmax: bool = False
    full_resolution: bool = False
    preview: bool = False

    def check(self) -> None:
        """Raise a `UsageError` where options exclude each other or a package is missing."""
        if self.format not in FORMATS:
            raise UsageError(
                f"--format: expected one of {', '.join(FORMATS)}; received {self.format}"
            )
        if self.format == "zarr":
            excluded = {"--cog": self.cog, "--full-resolution": self.full_resolution}
            for option in (name for name, wanted in excluded.items() if wanted):
                raise UsageError(f"{option}: expected --format geotiff, received --format zarr")
            check_zarr()
        if self.argmax and self.full_resolution:
            raise UsageError(
                "--full-resolution: expected probabilities to interpolate, received --argmax"
            )


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
