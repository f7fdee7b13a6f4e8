"""`tltool predict`."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

import tltool
from tltool.cli import options
from tltool.files import atomic_path, refuse_existing

_STANDARD_INPUT = "-"


def _paths(given: tuple[str, ...]) -> Iterable[str]:
    """The paths that are named; those of standard input as they come."""
    return given if _STANDARD_INPUT not in given else _with_standard_input(given)


def _with_standard_input(given: tuple[str, ...]) -> Iterator[str]:
    for name in given:
        if name != _STANDARD_INPUT:
            yield name
            continue
        for line in sys.stdin:
            if line.strip():
                yield line.rstrip("\r\n")


@click.command(short_help="Predict the classes of images, as CSV or JSON lines.")
@options.run
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...|DIR|-")
@options.whole("--top-k", "Most probable classes to write of each image.", "K", shown=1)
@options.views
@options.flag("--calibrated", "Probabilities at the temperature that tltool evaluate stored.")
@options.choice("--format form", "csv|jsonl", "Format of the output [csv; of -o FILE.jsonl jsonl].")
@options.batch_size
@options.seed
@options.strict
@options.overwrite
@options.path("-o --out", "File to write [standard output].")
def predict(
    run: Path,
    images: tuple[str, ...],
    top_k: int,
    form: str | None,
    seed: int | None,
    overwrite: bool,
    out: Path | None,
    **choices: Any,
) -> None:
    """Predict the classes of each IMAGE with the network of RUN.

    IMAGEs are files or folders, which are gone through at any depth; - reads
    paths from standard input, one a line. Patches that `tltool patches` cut are
    cut to what the network sees, every other image is resized to it.
    """
    if out is not None:
        refuse_existing(out, overwrite)
    form = form or ("jsonl" if out is not None and out.suffix == ".jsonl" else "csv")
    # A bar between the lines of a terminal would be in the way of both.
    progress = out is not None or not sys.stdout.isatty()
    predictions = tltool.predict(run, _paths(images), seed=seed or 0, progress=progress, **choices)
    if out is None:
        predictions.write(sys.stdout, form, top_k)
        # A closed pipe is noticed here, not when Python ends.
        sys.stdout.flush()
        return
    with atomic_path(out) as partial, partial.open("w", encoding="utf-8") as file:
        predictions.write(file, form, top_k)
