"""Patches cut anew from the images that they came from, with more of their surroundings."""

from dataclasses import replace
from itertools import groupby
from pathlib import Path

from tltool.annotations import Point
from tltool.annotations.point import as_score
from tltool.data.patch_folder import PatchSet, PatchWriter, read_patches
from tltool.data.patches import check_target
from tltool.files import atomic_path
from tltool.progress import progress_bar
from tltool.raster import Raster


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
    facts, rows = read_patches(data)
    wider = replace(facts, context=context)
    result = PatchSet(out)
    with atomic_path(out) as partial, progress_bar("patches", len(rows), "patches") as bar:
        partial.mkdir()
        writer = PatchWriter(partial, wider, result)
        for image, own in groupby(rows, key=lambda row: row["image"]):
            with Raster(image) as raster:
                for row in own:
                    name = raster.path.name
                    place = float(row["x"]), float(row["y"])
                    score = as_score(row.get("score"), row["path"])
                    source = row.get("source") or ""
                    point = Point(name, *place, row["label"], score, source)
                    writer.write(raster, point, row["split"])
                    bar.advance()
        writer.finish(facts.gsd)
    return result
