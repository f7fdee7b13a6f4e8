"""The images that points lie on: which files there are, and which of them a name means."""

import logging
from collections.abc import Callable, Iterable, Sequence
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
    names = dict.fromkeys(names)
    by_name, by_stem = _grouped(images, lambda path: path.name), _grouped(images, lambda p: p.stem)
    # The folders before names that end alike.
    alike: dict[str, set[tuple[str, ...]]] = {}
    for name in names:
        alike.setdefault(_parts(name)[-1], set()).add(_parts(name)[:-1])
    found: dict[str, Path | None] = {}
    for name in names:
        *folders, last = _parts(name)
        candidates = by_name.get(last) or by_stem.get(last) or []
        if len(alike[last]) > 1 or len(candidates) > 1:
            candidates = [path for path in candidates if _ends_with(path, tuple(folders))]
        if len(candidates) > 1:
            raise _ambiguous(name, last, source)
        found[name] = candidates[0] if candidates else None
    return found


def _parts(name: str) -> tuple[str, ...]:
    return PurePosixPath(name.replace("\\", "/")).parts or ("",)


def _grouped(images: Sequence[Path], key: Callable[[Path], str]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for path in images:
        groups.setdefault(key(path), []).append(path)
    return groups


def _ends_with(path: Path, folders: tuple[str, ...]) -> bool:
    return not folders or path.resolve().parent.parts[-len(folders) :] == folders


def _ambiguous(name: str, last: str, source: Path) -> DataError:
    if Path(last).suffix:
        return DataError(
            f"two images are called {name}: points cannot tell them apart. Rename one, or give the"
            f" folders in {source} too"
        )
    return DataError(f"{source}: {name} is the name of two images. Name them with their suffix")


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
    meant = match_images((point.image for point in points), images, source)
    grouped: dict[Path, list[Point]] = {path: [] for path in images}
    left_out = 0
    for point in points:
        path = meant[point.image]
        if path is None:
            left_out += 1
        else:
            grouped[path].append(point)
    grouped = {path: own for path, own in grouped.items() if own}
    if not grouped:
        raise none_on(images, meant, source)
    if left_out:
        warn_left_out(left_out, source)
    return grouped


def warn_left_out(number: int, source: Path) -> None:
    """Say how many points lie on images that nobody named."""
    logger.warning("%s: %d points lie on images that were not given", source, number)


def none_on(images: Sequence[Path], names: Iterable[str], source: Path) -> DataError:
    """The error where no point lies on any of the images."""
    return DataError(
        f"{source}: no point lies on {', '.join(p.name for p in images[:3])};"
        f" the file names {', '.join(sorted(names)[:3])}"
    )
