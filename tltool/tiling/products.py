"""What of the network's probabilities a map holds, and in which numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from tltool.errors import UsageError
from tltool.files import refuse_existing
from tltool.pictures.overlay import class_colours
from tltool.raster import MapWriter
from tltool.raster.writing import CLASS_CODES, ENCODINGS, Encoding, Legend, MapGeoreference, MapKind
from tltool.raster.zarr_writing import ZarrWriter
from tltool.run.map_options import FORMATS, Output
from tltool.run.sidecar import Sidecar
from tltool.tasks.kinds import kind_of, tasks_of
from tltool.tasks.task import Task
from tltool.tiling.tiles import Grid
from tltool.tiling.unfinished import journal_path

# Of classes without a colour: of a class map's legend "nothing here".
_GREY = (128, 128, 128)


def nothing_here(sidecar: Sidecar) -> list[str]:
    """The outputs that mean "nothing here"; none where the background has no output."""
    # Of a binary task it is the negative; of several tasks outputs are called task.class.
    names = {sidecar.background, *(f"{t.name}.{sidecar.background}" for t in sidecar.tasks)}
    return [name for name in sidecar.classes if name in names]


@dataclass(frozen=True)
class Product:
    """Selection and encoding of a network's outputs in a map.

    Attributes
    ----------
    outputs : int
        Outputs of the network.
    names : tuple of str
        Classes that the map shows: of its bands, or of a class map's numbers.
    chosen : tuple of int
        The output of each band; empty: a class map.
    encoding : Encoding
    exclusive : bool
        Whether one class alone is true of a cell.
    nothing : tuple of str
        Those of the names that mean "nothing here".
    task : Task or None
        Of a class map: what decides which class a cell has.
    measured : bool
        Whether the bands are numbers in a unit, not probabilities.
    """

    outputs: int
    names: tuple[str, ...]
    chosen: tuple[int, ...]
    encoding: Encoding
    exclusive: bool
    nothing: tuple[str, ...] = ()
    task: Task | None = None
    measured: bool = False

    @property
    def bands(self) -> int:
        """Bands of the map."""
        return len(self.chosen) or 1

    @cached_property
    def colours(self) -> np.ndarray:
        """RGB in 0..255 of each name; NaN where it means "nothing here"."""
        return class_colours(self.names, self.nothing)

    @cached_property
    def kind(self) -> MapKind:
        """Description of its bands in the map's file."""
        if self.chosen:
            return MapKind(self.names, self.encoding)
        rows = np.where(np.isnan(self.colours), _GREY, self.colours).round().astype(int).tolist()
        colours = tuple((red, green, blue) for red, green, blue in rows)
        return MapKind(("class",), self.encoding, Legend(self.names, colours))

    def stored(self, values: np.ndarray) -> np.ndarray:
        """Convert (outputs, rows, columns), NaN: no data, to the stored (bands, rows, columns)."""
        if self.task is None:
            everything = self.chosen == tuple(range(len(values)))
            return self.encoding.encode(values if everything else values[list(self.chosen)])
        empty = np.isnan(values).any(0, keepdims=True)
        best = self.task.best(values)
        return np.where(empty, self.encoding.nodata, best).astype(self.encoding.dtype)

    def shown(self, stored: np.ndarray, name: int) -> np.ndarray:
        """Float32 probabilities of one of the names from what is stored; of a class map 1 and 0.

        Parameters
        ----------
        stored : (rows, columns) array
            The band of this name, or the only one.
        name : int
            Index of the name.
        """
        if self.chosen:
            return self.encoding.decode(stored)
        hot = (stored == name).astype(np.float32)
        hot[stored == self.encoding.nodata] = np.nan
        return hot


def choose_product(
    sidecar: Sidecar,
    dtype: str | None = None,
    classes: Sequence[str] | None = None,
    argmax: bool = False,
) -> Product:
    """Decide what a map holds.

    Parameters
    ----------
    sidecar : Sidecar
        Sidecar of the network.
    dtype : str, optional
        ``float32``, ``uint8`` or ``uint16``. Default: float32; of a class map
        the smallest that has a number for each class.
    classes : sequence of str, optional
        Write only these, in the order of the network.
    argmax : bool
        One band with the number of the most probable class.

    Raises
    ------
    UsageError
    """
    if argmax:
        return _class_map(sidecar, dtype, classes)
    dtype = dtype or "float32"
    if dtype not in ENCODINGS:
        raise UsageError(f"`dtype`: expected one of {', '.join(ENCODINGS)}; received {dtype}")
    wanted = sidecar.classes if classes is None else list(classes)
    unknown = [name for name in wanted if name not in sidecar.classes]
    if unknown or not wanted:
        raise UsageError(
            f"`classes`: expected some of {', '.join(sidecar.classes)};"
            f" received {', '.join(unknown) or 'none'}"
        )
    chosen = tuple(k for k, name in enumerate(sidecar.classes) if name in wanted)
    names = tuple(sidecar.classes[k] for k in chosen)
    whole = len(chosen) == len(sidecar.classes)
    nothing = tuple(name for name in nothing_here(sidecar) if name in names)
    plain = "multi-class" if len(sidecar.classes) > 1 else "binary"
    kinds = [kind_of(task.kind) for task in sidecar.tasks] or [kind_of(plain)]
    exclusive = whole and len(kinds) == 1 and kinds[0].exclusive and len(names) > 1
    measured = not all(kind.probabilistic for kind in kinds)
    if measured and not ENCODINGS[dtype].is_float:
        raise UsageError(
            f"`dtype`: expected float32 for a map of numbers in a unit, which {dtype} cannot hold;"
            f" received {dtype}"
        )
    return Product(
        len(sidecar.classes), names, chosen, ENCODINGS[dtype], exclusive, nothing, measured=measured
    )


def _class_map(sidecar: Sidecar, dtype: str | None, classes: Sequence[str] | None) -> Product:
    if classes is not None:
        raise UsageError("`argmax`: expected all classes to compare, received `classes` beside it")
    tasks = tasks_of(sidecar)
    kinds = [task.kind for task in tasks]
    if len(tasks) > 1 or not tasks[0].exclusive:
        raise UsageError(
            "`argmax`: expected one task whose classes exclude each other, received"
            f" {len(kinds)} of kind {', '.join(kinds)}. Leave `argmax` out"
        )
    names = tasks[0].classes
    room = {key: code for key, code in CLASS_CODES.items() if len(names) <= code.nodata}
    dtype = dtype or next(iter(room))
    if dtype not in room:
        raise UsageError(
            f"`dtype`: expected {' or '.join(room)} for the numbers of {len(names)} classes,"
            f" received {dtype}"
        )
    nothing = tuple(name for name in names if name == sidecar.background)
    outputs = len(sidecar.classes)
    return Product(outputs, names, (), CLASS_CODES[dtype], True, nothing, tasks[0])


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
        """Files beside the map."""
        return [p for p in (self.overlay, self.full, self.preview, self.json) if p is not None]


def name_files(folder: Path, image: Path, output: Output) -> MapFiles:
    """Name the files of an image's map."""
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
    """Open a writer of a map in the format that is asked for."""
    size = grid.y.cells, grid.x.cells
    if output.format == "zarr":
        return ZarrWriter(path, *size, kind, georeference, durable=True)
    return MapWriter(path, *size, kind, georeference, output.cog, durable=True)
