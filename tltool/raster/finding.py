"""Image files by names, folders and patterns."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tltool.errors import ImageError
from tltool.raster.image import IMAGE_SUFFIXES


def list_images(folder: Path) -> list[Path]:
    """List all images directly inside `folder`, sorted by name."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())


def walk_images(folder: Path) -> Iterator[Path]:
    """Walk all images in `folder` and in folders inside it, each folder sorted by name."""
    for parent, folders, _ in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from list_images(Path(parent))


def find_images(sources: Sequence[str | Path]) -> list[Path]:
    """Image files named, and those in the folders named.

    Raises
    ------
    ImageError
        Where a source does not exist or a folder holds no image.
    """
    found: list[Path] = []
    for source in map(Path, sources):
        if source.is_dir():
            inside = list_images(source)
            if not inside:
                raise ImageError(f"{source}: expected images in the folder, found none")
            found += inside
        elif source.exists():
            found.append(source)
        else:
            raise ImageError(f"{source} does not exist")
    return found


def expand_patterns(sources: Sequence[str | Path]) -> list[str | Path]:
    """Images that match the patterns which the shell left as they are, and all other sources.

    Raises
    ------
    ImageError
        Where a pattern matches no image.
    """
    found: list[str | Path] = []
    for source in sources:
        if Path(source).exists() or not glob.has_magic(str(source)):
            found.append(source)
            continue
        matching = [Path(name) for name in sorted(glob.glob(str(source), recursive=True))]
        images = [path for path in matching if path.suffix.lower() in IMAGE_SUFFIXES]
        if not images:
            raise ImageError(
                f"{source}: expected a pattern that images match ({', '.join(IMAGE_SUFFIXES)}),"
                f" found {len(matching)} other files"
            )
        found += images
    return found


def images_of(sources: Sequence[str | Path]) -> list[Path]:
    """Image files by names, folders and patterns: each once, whatever it is named by.

    Raises
    ------
    ImageError
        A source does not exist, or holds or matches no image.
    """
    images: dict[Path, Path] = {}
    for image in find_images(expand_patterns(sources)):
        images.setdefault(image.resolve(), image)
    return list(images.values())
