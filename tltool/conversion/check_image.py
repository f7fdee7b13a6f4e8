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
from tltool.inference.image_opening import ImageSource, open_image
from tltool.inference.network import LoadedNetwork
from tltool.raster import ArrayRaster, Image
from tltool.recipe import Recipe
from tltool.run.sidecar import Sidecar

logger = logging.getLogger(__name__)

# Patches along a side of the mosaic that stands in for a real image.
_MOSAIC = 8


@contextmanager
def open_check_image(
    given: ImageSource | None, network: LoadedNetwork, sidecar: Sidecar
) -> Iterator[tuple[str, Image | None]]:
    """Open the image to measure on: the given one, a source of the patches, or a mosaic of them.

    Parameters
    ----------
    given : str, Path, array or PIL image, optional
    network : LoadedNetwork
        The classifier; its recipe tells how its patches are read.
    sidecar : Sidecar
        Sidecar of the FCN; tells where the data lie.

    Yields
    ------
    The name, and None where there is nothing to measure on.
    """
    folder = (sidecar.data or {}).get("folder")
    data = Path(folder) if folder else None
    source = given
    if source is None and data is not None:
        # The images that patches were cut from, where `tltool patches` wrote their manifest.
        rows = patch_rows(data)
        wanted = [row["image"] for row in rows if row["split"] == "test"]
        wanted = wanted or [row["image"] for row in rows]
        source = next((Path(name) for name in wanted if Path(name).is_file()), None)
    if source is not None:
        with open_image(source, sidecar, name="check_image") as raster:
            yield raster.name, raster
    elif data is not None and data.exists():
        try:
            recipe = network.recipe or Recipe(bands=sidecar.band_numbers)
            mosaic = _mosaic(data, recipe, sidecar)
        except (DataError, UsageError) as error:
            logger.warning("no fidelity is measured, pass `check_image` for it: %s", error)
            mosaic = None
        yield f"a mosaic of patches from {data}", mosaic
    else:
        what = "the training patches are gone" if data else "no training data are known"
        logger.warning("%s: pass `check_image` for the fidelity", what)
        yield "", None


def _mosaic(data: Path, recipe: Recipe, sidecar: Sidecar) -> ArrayRaster:
    dataset = read_dataset(data, recipe)
    samples = dataset.samples["test"] or dataset.samples["valid"] or dataset.samples["train"]
    order = np.random.default_rng(0).permutation(len(samples))
    adapt = fit_side if dataset.facts is None else cut_middle
    squares = []
    for index in order:
        try:
            square = adapt(read_image(samples[index].path, recipe.bands), sidecar.window)
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
    return ArrayRaster(np.concatenate(rows, 0))
