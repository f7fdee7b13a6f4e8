"""Image files found by name, and output that appears under its name only when it is whole."""

import contextlib
import errno
import glob
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from tltool.errors import ImageError, OutputError, TltoolError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".jp2", ".vrt")


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise where `path` exists and nothing allowed to replace it."""
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path} exists already. Name another output, or allow replacing it with"
            " `overwrite=True`"
        )


def partial_path(path: Path, durable: bool = False) -> Path:
    """The temporary neighbour of `path`: of this process alone, or the same for every process."""
    # The suffix stays: writers choose the format by it.
    owner = "" if durable else f"{os.getpid()}-"
    return path.with_name(f".partial-{owner}{path.name}")


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or all in a folder, is on the disk: a power cut cannot take it back."""
    for inside in (p for p in path.rglob("*") if p.is_file()) if path.is_dir() else (path,):
        with inside.open("rb+") as file:
            os.fsync(file.fileno())


def remove(path: Path) -> None:
    """Remove a file or folder, where there is one."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        # NotADirectoryError: the parent is a file, so there is nothing to remove.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def output_error(path: Path, error: BaseException) -> OutputError:
    """Say in one line why `path` could not be written."""
    # Rasterio says "See previous exception": that one has the reason.
    cause = error.__cause__ or error
    reason = getattr(cause, "strerror", None) or str(cause)
    if getattr(cause, "errno", None) == errno.ENOSPC or "No space left" in str(cause):
        reason = "no space left on the device. Free some, or name another output folder"
    return OutputError(f"{path} could not be written: {reason}")


@contextlib.contextmanager
def atomic_path(path: Path, durable: bool = False) -> Iterator[Path]:
    """Give a temporary neighbour of `path`, renamed to it at the end, removed on any failure.

    Works for files and for folders (the caller creates which of the two it
    wants). An `OSError` on the way is raised again as an `OutputError` that
    names `path`.

    Parameters
    ----------
    path : Path
    durable : bool
        The temporary name is the same in every process, so that the next run
        replaces what a killed one left (the caller sees to it that two never
        write at once), and a file is on the disk before it is renamed.
    """
    partial = partial_path(path, durable)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(partial)
        yield partial
        if partial.is_dir() and path.is_dir():
            shutil.rmtree(path)
        if durable:
            flush_to_disk(partial)
        os.replace(partial, path)
    except TltoolError:
        raise
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        remove(partial)


def write_text(path: Path, text: str, durable: bool = False) -> None:
    """Write `text` to `path` whole or not at all; `durable` as of `atomic_path`."""
    with atomic_path(path, durable) as partial:
        partial.write_text(text, encoding="utf-8")


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
