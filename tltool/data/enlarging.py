"""A folder of patches with more patches."""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tltool.annotations import Point
from tltool.data.patch_folder import PatchSet, PatchWriter, read_patches
from tltool.files import atomic_path
from tltool.raster import Raster


@dataclass(frozen=True)
class Addition:
    """A patch to cut.

    Attributes
    ----------
    image : Path
    point : Point
        Its middle and label; where it is from and its score go into the manifest.
    split : str
    """

    image: Path
    point: Point
    split: str


def _link(source: str, target: str) -> None:
    """A second name for a patch, which is never changed; a copy of what is."""
    if Path(source).suffix not in (".csv", ".json"):
        with suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)


def enlarge(data: Path, additions: Sequence[Addition], out: Path) -> PatchSet:
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
        Of the added ones.

    Raises
    ------
    DataError
        `data` does not tell where its patches came from.
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
