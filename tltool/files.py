"""Output that appears under its final name only when it is whole."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tltool.errors import OutputError, TltoolError


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise where `path` exists and nothing allowed to replace it."""
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path} exists already. Name another output, or allow replacing it with --overwrite"
        )


def _partial(path: Path) -> Path:
    # The suffix stays: writers choose the format by it.
    return path.with_name(f".partial-{os.getpid()}-{path.name}")


def _remove(path: Path) -> None:
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
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary neighbour of `path`, renamed to it at the end, removed on any failure.

    Works for files and for folders (the caller creates which of the two it
    wants). An `OSError` on the way is raised again as an `OutputError` that
    names `path`.
    """
    partial = _partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        yield partial
        if partial.is_dir() and path.is_dir():
            shutil.rmtree(path)
        os.replace(partial, path)
    except TltoolError:
        raise
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        _remove(partial)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` whole or not at all."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")
