"""The folder of patches: written, read, extended, cut again with more of the surroundings."""

import csv
import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain, count, groupby
from pathlib import Path

import numpy as np
from PIL import Image

from tltool.annotations import Point
from tltool.annotations.point import as_score
from tltool.data.blocks import Blocks
from tltool.data.dataset import PatchFacts, Rectangle, read_facts
from tltool.data.splits import SPLITS
from tltool.errors import DataError, OutputError
from tltool.files import atomic_path, refuse_existing
from tltool.progress import progress_bar
from tltool.raster import Raster
from tltool.run.sidecar import Sidecar

MANIFEST_NAME = "manifest.csv"
CUT_COLUMNS = ("path", "split", "label", "image", "x", "y", "size", "context", "reflected")
# Where the point is from, and how sure what found it was.
MANIFEST_COLUMNS = (*CUT_COLUMNS, "source", "score")

Row = dict[str, str]


def read_patches(folder: Path) -> tuple[PatchFacts, list[Row]]:
    """Read what `tltool.patches` wrote beside its patches: sizes, and the manifest's rows.

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
            f"{folder}: expected patches that `tltool.patches()` cut (with {MANIFEST_NAME}), which"
            " say where they lie in their image. Cut them with `tltool.patches()`"
        )
    with manifest.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if missing := [name for name in CUT_COLUMNS if name not in (reader.fieldnames or ())]:
            raise DataError(
                f"{manifest}: expected a column {missing[0]}, as `tltool.patches()` writes"
            )
        rows = sorted(reader, key=lambda row: (row["image"], float(row["y"])))
    gone = next((row["image"] for row in rows if not Path(row["image"]).is_file()), None)
    if gone is not None:
        raise DataError(
            f"{folder}: the image {gone}, which its patches were cut from, is gone. Put it back, or"
            " cut patches anew with `tltool.patches()`"
        )
    return facts, rows


@dataclass
class PatchSet:
    """Counts of what was written into a folder of patches.

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
        Counts every patch.
    rows : iterable of dict
        Rows of the manifest of the patches that are in the folder already.
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
        folder = self._folder / split / point.label
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{raster.path.stem}_{round(point.x)}_{round(point.y)}"
        stems = chain((name,), (f"{name}-{number}" for number in count(2)))
        paths = (folder / f"{stem}.{'png' if raster.as_seen else 'tif'}" for stem in stems)
        path = next(path for path in paths if not path.exists())
        if raster.as_seen:
            Image.fromarray(raster.read(left, top, side, side)).save(path, compress_level=3)
        else:
            raster.save_window(path, left, top, side, side)
        self._result.count(split, point.label, over)
        cut = (
            path.relative_to(self._folder).as_posix(),
            split,
            point.label,
            raster.path.resolve(),
            f"{point.x:.10g}",
            f"{point.y:.10g}",
            facts.patch,
            facts.context,
            int(over),
            point.where,
            "" if point.score is None else f"{point.score:.4g}",
        )
        self._rows.append(tuple(map(str, cut)))

    def finish(self, gsd: float | None) -> None:
        """Write the manifest and the facts."""
        with (self._folder / MANIFEST_NAME).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(MANIFEST_COLUMNS)
            writer.writerows(sorted(self._rows))
        blocks = self._blocks or self._facts.blocks
        replace(self._facts, gsd=gsd, blocks=blocks).save(self._folder)


def patch_rows(data: Path) -> list[Row]:
    """Read the rows of the manifest that `tltool.patches` wrote; none where there is no such one.

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


def check_target(out: Path, overwrite: bool) -> None:
    """Raise `OutputError` where patches may not be written into `out`."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    refuse_existing(out, overwrite)
    if not (out / MANIFEST_NAME).exists():
        raise OutputError(
            f"{out} was not written by `tltool.patches()` (it has no {MANIFEST_NAME})"
            " and is not replaced. Name another output folder"
        )


@dataclass(frozen=True)
class Addition:
    """A patch to cut.

    Attributes
    ----------
    image : Path
    point : Point
        The patch's middle and label; its origin and score go into the manifest.
    split : str
    """

    image: Path
    point: Point
    split: str


def _link(source: str, target: str) -> None:
    """Give a patch, which is never changed, a second name; copy what is changed."""
    if Path(source).suffix not in (".csv", ".json"):
        with suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)


def extend_patches(data: Path, additions: Sequence[Addition], out: Path) -> PatchSet:
    """Write a folder of patches with more in it.

    Parameters
    ----------
    data : Path
        Folder that `tltool.patches` wrote.
    additions : sequence of Addition
    out : Path
        Folder to write; may be `data`.

    Returns
    -------
    PatchSet
        Counts of the added ones.

    Raises
    ------
    DataError
        `data` does not say where its patches came from.
    ImageError, OutputError
    """
    facts, rows = read_patches(data)
    added = PatchSet(out)
    with atomic_path(out) as partial:
        shutil.copytree(data, partial, copy_function=_link)
        writer = PatchWriter(partial, facts, added, rows)
        ordered = sorted(additions, key=lambda one: (str(one.image), one.point.y))
        for image, own in groupby(ordered, key=lambda one: one.image):
            with Raster(image) as raster:
                for one in own:
                    writer.write(raster, one.point, one.split)
        writer.finish(facts.gsd)
    return added


def cut_again(
    data: str | Path, out: str | Path, context: int, *, overwrite: bool = False
) -> PatchSet:
    """Cut the same patches from the same images, in the same splits, with another context.

    Parameters
    ----------
    data : str or Path
        Folder that `tltool.patches` wrote; the images it cut from must still
        be where they were.
    out : str or Path
        Folder to write, like `data`.
    context : int
        Margin of real image around the patch, px.
    overwrite : bool
        Replace an earlier folder.

    Returns
    -------
    PatchSet

    Raises
    ------
    DataError
        `data` does not say where its patches came from, or an image is gone.
    ImageError, OutputError

    Notes
    -----
    Blocks of one image that were cut apart for a smaller context may now share
    surroundings across splits, never patches.
    """
    data, out = Path(data), Path(out)
    check_target(out, overwrite)
    facts, rows = read_patches(data)
    wider = replace(facts, context=context)
    result = PatchSet(out)
    with atomic_path(out) as partial, progress_bar("patches", len(rows), "patches") as bar:
        partial.mkdir()
        writer = PatchWriter(partial, wider, result)
        for image, own in groupby(rows, key=lambda row: row["image"]):
            with Raster(image) as raster:
                for row in own:
                    x, y, sure = row["x"], row["y"], as_score(row.get("score"), row["path"])
                    where = float(x), float(y), row["label"], sure, row.get("source") or ""
                    writer.write(raster, Point(raster.path.name, *where), row["split"])
                    bar.advance()
        writer.finish(facts.gsd)
    return result


@dataclass(frozen=True)
class KnownSplits:
    """The splits of the images that patches were cut from.

    Attributes
    ----------
    images : dict of Path to int
        Index into `SPLITS` of images that are in one split as a whole.
    blocks : dict of Path to dict of split to rectangle
        Rectangles of the images that were divided.
    """

    images: dict[Path, int]
    blocks: dict[Path, dict[str, Rectangle]]

    @classmethod
    def load(cls, folder: Path) -> "KnownSplits":
        """Read them from what `tltool.patches` wrote; of other data nothing is known.

        Parameters
        ----------
        folder : Path
            The folder of patches, or its manifest.
        """
        rows = patch_rows(folder)
        facts = read_facts(folder if folder.is_dir() else folder.parent) if rows else None
        blocks = {Path(image): own for image, own in ((facts and facts.blocks) or {}).items()}
        splits: dict[Path, set[str]] = {}
        for row in rows:
            splits.setdefault(Path(row["image"]), set()).add(row["split"])
        whole = {image: SPLITS.index(min(own)) for image, own in splits.items() if len(own) == 1}
        return cls({image: k for image, k in whole.items() if image not in blocks}, blocks)

    def trained_on(self, image: Path) -> bool:
        """Whether an image, or a part of it, belongs to the training split."""
        path = image.resolve()
        return path in self.blocks or self.images.get(path) == 0

    def assign(self, image: Path, positions: np.ndarray, margin: float = 0) -> np.ndarray:
        """Find the split of positions on an image.

        Parameters
        ----------
        image : Path
        positions : (n, 2) array of x, y, px
        margin : float
            How far around a position must be in the same split, px.

        Returns
        -------
        (n,) int array
            Indices into `SPLITS`; -1: between two splits, or on an image that
            nothing is known of.
        """
        path = image.resolve()
        if path in self.blocks:
            return Blocks.of_rectangles(self.blocks[path], margin).assign(positions)
        return np.full(len(positions), self.images.get(path, -1))


def known_splits(sidecar: Sidecar) -> KnownSplits:
    """Find the splits of the images that a run's patches were cut from, as far as known."""
    folder = (sidecar.data or {}).get("folder")
    return KnownSplits.load(Path(folder)) if folder else KnownSplits({}, {})
