"""The images that points lie on: which files there are, and which of them a name means."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from tltool.annotations.point import Point
from tltool.errors import DataError

logger = logging.getLogger(__name__)


def match_images(
    names: Iterable[str], images: Sequence[Path], source: Path
) -> dict[str, Path | None]:
    """Find the image that each name in a file of points means.

    Parameters
    ----------
    names : iterable of str
        File names or stems, with or without folders; only where several
        images, or several names, end alike do the folders count.
    images : sequence of Path
    source : Path
        Where the names come from, for messages.

    Returns
    -------
    dict of name to Path, None where it means none of the images.

    Raises
    ------
    DataError
        A name may mean two images, or two names one image.
    """
    parts = {name: PurePosixPath(name.replace("\\", "/")).parts or ("",) for name in names}
    # The image's folders by its name, by its stem; the folders before names that end alike.
    by_name, by_stem = defaultdict[str, list[Path]](list), defaultdict[str, list[Path]](list)
    alike = defaultdict[str, set[tuple[str, ...]]](set)
    for path in images:
        by_name[path.name].append(path)
        by_stem[path.stem].append(path)
    for *folders, last in parts.values():
        alike[last].add(tuple(folders))
    found: dict[str, Path | None] = {}
    for name, (*folders, last) in parts.items():
        candidates = by_name.get(last) or by_stem.get(last) or []
        if folders and (len(alike[last]) > 1 or len(candidates) > 1):
            inside = [path.resolve().parent.parts[-len(folders) :] for path in candidates]
            candidates = [
                path for path, own in zip(candidates, inside, strict=True) if list(own) == folders
            ]
        if len(candidates) > 1 and Path(last).suffix:
            raise DataError(
                f"two images are called {name}: points cannot tell them apart. Rename one, or give"
                f" the folders in {source} too"
            )
        if len(candidates) > 1:
            raise DataError(
                f"{source}: {name} is the name of two images. Name them with their suffix"
            )
        found[name] = candidates[0] if candidates else None
    return found


def group_by_image(
    names: Sequence[str], images: Sequence[Path], source: Path
) -> dict[Path, list[int]]:
    """Find the points on each image by the names of the points' images; see `match_images`.

    Returns
    -------
    dict of Path to list of indices of `names`
        Images without points are left out; a warning tells of names that mean no image.

    Raises
    ------
    DataError
        Where points may mean two images, or no point lies on any of them.
    """
    meant = match_images(names, images, source)
    grouped = defaultdict[Path, list[int]](list)
    for index, name in enumerate(names):
        path = meant[name]
        if path is not None:
            grouped[path].append(index)
    if not grouped:
        raise DataError(
            f"{source}: no point lies on {', '.join(p.name for p in images[:3])};"
            f" the file names {', '.join(sorted(meant)[:3])}"
        )
    left_out = len(names) - sum(map(len, grouped.values()))
    if left_out:
        logger.warning("%s: %d points lie on images that were not given", source, left_out)
    return grouped


def points_by_image(
    images: Sequence[Path], points: Sequence[Point], source: Path
) -> dict[Path, list[Point]]:
    """Group points by the given images, by file name or stem.

    Parameters
    ----------
    images : sequence of Path
    points : sequence of Point
    source : Path
        Where the points come from, for messages.

    Returns
    -------
    dict of Path to list of Point
        In the order of `images`; those without points are left out.

    Raises
    ------
    DataError
        Where points may mean two images, or no point lies on any of them.
    """
    grouped = group_by_image([point.image for point in points], images, source)
    return {path: [points[index] for index in grouped[path]] for path in images if path in grouped}
