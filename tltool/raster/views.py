"""Which bands of an open file are read: as a person sees the image, chosen ones, for a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp

from tltool.errors import ImageError
from tltool.raster.bands import RASTER_SUFFIXES, BandView, check_bands, seen_bands, view_of

# A palette of the greys as they are.
_GREY = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)


def in_bands(path: Path) -> bool:
    """Whether a file has bands of its own, of any meaning."""
    return path.suffix.lower() in RASTER_SUFFIXES


def views_of(path: Path, dataset: Any, bands: Sequence[int] | None) -> tuple[BandView, BandView]:
    """Bands that are read of a file, and three of them to look at.

    Raises
    ------
    ImageError
        Where a band is lacking, or bands are chosen of a TIFF that has a palette.
    """
    seen = seen_bands(dataset.colorinterp)
    view = _seen_view(dataset, seen) if bands is None else _chosen_view(path, dataset, seen, bands)
    return view, _picture_view(dataset, seen, bands)


def _seen_view(dataset: Any, seen: Sequence[int]) -> BandView:
    palette = _read_palette(dataset, seen[0])
    return view_of(seen) if palette is None else view_of((1, 2, 3), palette)


def _chosen_view(path: Path, dataset: Any, seen: Sequence[int], bands: Sequence[int]) -> BandView:
    if in_bands(path):
        check_bands(path, bands, dataset.count)
        if ColorInterp.palette in dataset.colorinterp:
            raise ImageError(
                f"{path}: expected bands, received a palette. Expand it first, for example"
                " with gdal_translate -expand rgb"
            )
        return view_of(bands)
    palette = _read_palette(dataset, seen[0])
    deep_grey = dataset.count == 1 and dataset.dtypes[0] == "uint16"
    if palette is None and not deep_grey:
        check_bands(path, bands, dataset.count)
        return view_of(bands)
    # Neither has bands of its own: those of what a person sees.
    check_bands(path, bands, 3)
    return view_of([seen[band - 1] for band in bands] if palette is None else bands, palette)


def _picture_view(dataset: Any, seen: Sequence[int], bands: Sequence[int] | None) -> BandView:
    """Three bands to look at: red, green and blue, or the first three of what is read."""
    if len(seen) == 3:
        return _seen_view(dataset, seen)
    read = list(bands or seen)
    return view_of(read[:3] if len(read) > 2 else read[:1] * 3)


def _read_palette(dataset: Any, band: int) -> np.ndarray | None:
    if dataset.colorinterp[0] != ColorInterp.palette:
        levels = _levels(dataset.tags(band, ns="IMAGE_STRUCTURE").get("NBITS"))
        inverted = dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"
        if not inverted or dataset.dtypes[0] != "uint8":
            return levels
        return 255 - (_GREY if levels is None else levels)
    colours = dataset.colormap(1)
    table = np.zeros((max([255, *colours]) + 1, 3), np.uint8)
    for index, colour in colours.items():
        table[index] = colour[:3]
    return table


def _levels(bits: str | None) -> np.ndarray | None:
    # GDAL gives grey of fewer than eight bits as it is stored, 0..1 for one bit.
    if bits is None or int(bits) >= 8:
        return None
    last = 2 ** int(bits) - 1
    grey = (np.arange(256) % (last + 1) * 255 // last).astype(np.uint8)
    return np.repeat(grey[:, None], 3, axis=1)
