"""Patches cut anew from the images that they came from, with more of their surroundings."""

import csv
import logging
from itertools import groupby
from pathlib import Path

from tltool.data.annotations import Point
from tltool.data.dataset import PatchFacts, read_facts
from tltool.data.patch_writing import MANIFEST_COLUMNS, MANIFEST_NAME, PatchSet, PatchWriter
from tltool.data.points import check_target
from tltool.errors import DataError
from tltool.files import atomic_path
from tltool.progress import progress_bar
from tltool.raster import Raster

logger = logging.getLogger("tltool")

Row = dict[str, str]


def recut(data: str | Path, out: str | Path, context: int, *, overwrite: bool = False) -> PatchSet:
    """Cut the same patches, in the same splits, with another context.

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
        `data` does not tell where its patches came from, or an image is gone.
    ImageError, OutputError

    Notes
    -----
    Blocks of one image that were cut apart for a smaller context may now share
    surroundings across splits, never patches.
    """
    data, out = Path(data), Path(out)
    check_target(out, overwrite)
    facts, rows = _facts_and_rows(data)
    wider = PatchFacts(facts.patch, context, facts.background)
    result = PatchSet(out)
    with atomic_path(out) as partial, progress_bar("patches", len(rows), "patches") as bar:
        partial.mkdir()
        writer = PatchWriter(partial, wider, result)
        for image, own in groupby(rows, key=lambda row: row["image"]):
            with Raster(image) as raster:
                for row in own:
                    name = raster.path.name
                    point = Point(name, float(row["x"]), float(row["y"]), row["label"])
                    writer.write(raster, point, row["split"])
                    bar.advance()
        writer.finish(facts.gsd)
    return result


def _facts_and_rows(data: Path) -> tuple[PatchFacts, list[Row]]:
    facts, manifest = read_facts(data), data / MANIFEST_NAME
    if facts is None or not manifest.is_file():
        raise DataError(
            f"{data}: expected patches that tltool patches cut (with {MANIFEST_NAME}), which say"
            " where they lie in their image. Cut them with tltool patches --context"
        )
    with manifest.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        lacking = [name for name in MANIFEST_COLUMNS if name not in (reader.fieldnames or ())]
        if lacking:
            raise DataError(f"{manifest}: expected a column {lacking[0]}, as tltool patches writes")
        rows = sorted(reader, key=lambda row: (row["image"], float(row["y"])))
    gone = next((row["image"] for row in rows if not Path(row["image"]).is_file()), None)
    if gone is not None:
        raise DataError(
            f"{data}: the image {gone}, which its patches were cut from, is gone. Put it back, or"
            " cut patches anew with tltool patches --context"
        )
    return facts, rows
