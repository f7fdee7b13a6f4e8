"""The folder of patches: class folders, and the manifest that says where each came from."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path

from PIL import Image

from tltool.annotations import Point
from tltool.data.dataset import PatchFacts, Rectangle, read_facts
from tltool.errors import DataError
from tltool.raster import Raster

MANIFEST_NAME = "manifest.csv"
CUT_COLUMNS = ("path", "split", "label", "image", "x", "y", "size", "context", "reflected")
# Where the point is from, and how sure what found it was.
MANIFEST_COLUMNS = (*CUT_COLUMNS, "source", "score")

Row = dict[str, str]


def read_patches(folder: Path) -> tuple[PatchFacts, list[Row]]:
    """What `tltool patches` wrote beside its patches: sizes, and the rows of the manifest.

    Returns
    -------
    PatchFacts
    list of dict
        By `MANIFEST_COLUMNS`, by image and from top to bottom.

    Raises
    ------
    DataError
        It is no such folder, or an image is gone that patches were cut from.
    """
    facts, manifest = read_facts(folder), folder / MANIFEST_NAME
    if facts is None or not manifest.is_file():
        raise DataError(
            f"{folder}: expected patches that tltool patches cut (with {MANIFEST_NAME}), which say"
            " where they lie in their image. Cut them with tltool patches"
        )
    with manifest.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        lacking = [name for name in CUT_COLUMNS if name not in (reader.fieldnames or ())]
        if lacking:
            raise DataError(f"{manifest}: expected a column {lacking[0]}, as tltool patches writes")
        rows = sorted(reader, key=lambda row: (row["image"], float(row["y"])))
    gone = next((row["image"] for row in rows if not Path(row["image"]).is_file()), None)
    if gone is not None:
        raise DataError(
            f"{folder}: the image {gone}, which its patches were cut from, is gone. Put it back, or"
            " cut patches anew with tltool patches"
        )
    return facts, rows


@dataclass
class PatchSet:
    """What `patches` wrote.

    Attributes
    ----------
    folder : Path
    counts : dict of split to dict of class to number of patches
    dropped : int
        Points whose window lies in the gap between two splits.
    reflected : int
        Patches that reach over an image's edge.
    split_by : str
        ``image`` or ``block``.
    outside : int
        Points outside the area of interest or in an ignored one.
    """

    folder: Path
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    dropped: int = 0
    reflected: int = 0
    split_by: str = "image"
    outside: int = 0

    def count(self, split: str, label: str, reflected: bool) -> None:
        """Add one patch."""
        of_split = self.counts.setdefault(split, {})
        of_split[label] = of_split.get(label, 0) + 1
        self.reflected += reflected


def _unused(path: Path) -> Path:
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
    return next(p for p in chain((path,), numbered) if not p.exists())


class PatchWriter:
    """Cuts windows and writes them into class folders; remembers where each came from.

    Three bands of 8 bits become PNG. Of other images all bands are kept as
    they are, in GeoTIFFs, so that a training may choose among them.

    Parameters
    ----------
    folder : Path
    facts : PatchFacts
        Sizes of all patches.
    result : PatchSet
        Is told of every patch.
    rows : iterable of dict
        Of the manifest: patches that are in the folder already.
    """

    def __init__(self, folder: Path, facts: PatchFacts, result: PatchSet, rows: Iterable[Row] = ()):
        self._folder, self._facts, self._result = folder, facts, result
        self._rows = [tuple(row.get(name, "") for name in MANIFEST_COLUMNS) for row in rows]
        self._blocks: dict[str, dict[str, Rectangle]] = {}

    def divided(self, raster: Raster, blocks: dict[str, Rectangle]) -> None:
        """Remember how an image is divided."""
        self._blocks[str(raster.path.resolve())] = blocks

    def write(self, raster: Raster, point: Point, split: str) -> None:
        """Cut one patch."""
        facts, side = self._facts, self._facts.patch + 2 * self._facts.context
        left, top = facts.corner(point.x), facts.corner(point.y)
        over = left < 0 or top < 0 or left + side > raster.width or top + side > raster.height
        path = self._save(raster, point, split, (left, top, side, side))
        self._result.count(split, point.label, over)
        place = f"{point.x:.10g}", f"{point.y:.10g}"
        cut = (
            path.relative_to(self._folder).as_posix(),
            split,
            point.label,
            raster.path.resolve(),
            *place,
            facts.patch,
            facts.context,
            int(over),
            point.where,
            "" if point.score is None else f"{point.score:.4g}",
        )
        self._rows.append(tuple(map(str, cut)))

    def _save(
        self, raster: Raster, point: Point, split: str, window: tuple[int, int, int, int]
    ) -> Path:
        folder = self._folder / split / point.label
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{raster.path.stem}_{round(point.x)}_{round(point.y)}"
        path = _unused(folder / f"{name}.{'png' if raster.as_seen else 'tif'}")
        if raster.as_seen:
            Image.fromarray(raster.read(*window)).save(path, compress_level=3)
        else:
            raster.save_window(path, *window)
        return path

    def finish(self, gsd: float | None) -> None:
        """Write the manifest and the facts."""
        with (self._folder / MANIFEST_NAME).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(MANIFEST_COLUMNS)
            writer.writerows(sorted(self._rows))
        blocks = self._blocks or self._facts.blocks
        replace(self._facts, gsd=gsd, blocks=blocks).save(self._folder)


def patch_rows(data: Path) -> list[Row]:
    """Rows of the manifest that `tltool patches` wrote; none where `data` has no such one.

    Parameters
    ----------
    data : Path
        The folder of patches, or the manifest itself.
    """
    manifest = data / MANIFEST_NAME if data.is_dir() else data
    if not manifest.is_file():
        return []
    with manifest.open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file)
        # In other manifests `image` may be the labelled image itself.
        if not {*CUT_COLUMNS} <= {*(reader.fieldnames or ())}:
            return []
        return list(reader)
