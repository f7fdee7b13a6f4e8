"""The image that a fidelity is measured on where none is given: where the patches came from."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tltool.data.folders import read_dataset
from tltool.data.images import cut_middle, fit_side, read_image
from tltool.data.patch_folder import patch_rows
from tltool.errors import DataError, ImageError, UsageError
from tltool.inference.image_opening import open_image
from tltool.raster import ArrayImage, Image
from tltool.recipe import Recipe, load_recipe
from tltool.run.folder import RECIPE_NAME
from tltool.run.sidecar import Sidecar

logger = logging.getLogger("tltool")

# Patches along a side of the mosaic that stands in for a real image.
_MOSAIC = 8


@contextmanager
def check_image(
    given: Path | None, run: Path, sidecar: Sidecar
) -> Iterator[tuple[str, Image | None]]:
    """The image to measure on and its name: the given one, a source of the patches, a mosaic.

    Parameters
    ----------
    given : Path or None
    run : Path
        Folder of the classifier; its recipe tells how its patches are read.
    sidecar : Sidecar
        Tells where the data lie.

    Yields
    ------
    The name, and None where there is nothing to measure on.
    """
    data = Path(sidecar.data["folder"]) if sidecar.data else None
    sources = [given] if given else _source_images(data, "test") if data else []
    if sources:
        with open_image(sources[0], sidecar) as raster:
            yield raster.path.name, raster
    elif data is not None and data.exists():
        yield f"a mosaic of patches from {data}", _readable_mosaic(data, run, sidecar)
    else:
        what = "the training patches are gone" if data else "no training data are known"
        logger.warning("%s: pass --check-image for the fidelity", what)
        yield "", None


def _readable_mosaic(data: Path, run: Path, sidecar: Sidecar) -> ArrayImage | None:
    try:
        return _mosaic(data, _recipe_of(run, sidecar), sidecar)
    except (DataError, UsageError) as error:
        logger.warning("no fidelity is measured, pass --check-image for it: %s", error)
        return None


def _source_images(data: Path, split: str) -> list[Path]:
    """The images that patches were cut from, where `tltool patches` wrote their manifest."""
    rows = patch_rows(data)
    wanted = [row["image"] for row in rows if row["split"] == split] or [r["image"] for r in rows]
    return [Path(name) for name in dict.fromkeys(wanted) if Path(name).is_file()]


def _recipe_of(run: Path, sidecar: Sidecar) -> Recipe:
    path = run / RECIPE_NAME
    return load_recipe(path) if path.exists() else Recipe(bands=sidecar.band_numbers)


def _mosaic(data: Path, recipe: Recipe, sidecar: Sidecar) -> ArrayImage:
    dataset = read_dataset(data, recipe)
    samples = dataset.samples["test"] or dataset.samples["valid"] or dataset.samples["train"]
    order = np.random.default_rng(0).permutation(len(samples))
    adapt = fit_side if dataset.facts is None else cut_middle
    squares = []
    for place in order:
        try:
            square = adapt(read_image(samples[place].path, recipe.bands), sidecar.window)
        except ImageError:
            continue
        if square.shape == (sidecar.window, sidecar.window, sidecar.bands):
            squares.append(square)
        if len(squares) == _MOSAIC**2:
            break
    if not squares:
        raise DataError(
            f"{data}: no image can be read that has {sidecar.window} px and {sidecar.bands} bands"
        )
    filled = [squares[i % len(squares)] for i in range(_MOSAIC**2)]
    rows = [np.concatenate(filled[i : i + _MOSAIC], 1) for i in range(0, _MOSAIC**2, _MOSAIC)]
    return ArrayImage(np.concatenate(rows, 0))
