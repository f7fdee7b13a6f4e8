"""An image opened as a network wants it: its bands, its range of numbers, its scale."""

import logging
from collections.abc import Sequence
from pathlib import Path

from tltool.errors import ImageError, UsageError
from tltool.raster import AnyRaster, Raster, ResampledRaster, Scale
from tltool.run.sidecar import Sidecar

logger = logging.getLogger(__name__)

# A ground sample distance nearer to the network's than this is the network's.
_ALIKE = 0.02
# From here on animals have another size than those it was trained on.
_FOREIGN = 0.1


def open_image(
    path: str | Path,
    sidecar: Sidecar,
    *,
    scale: Scale = None,
    bands: Sequence[int] | None = None,
    resample: bool = False,
) -> AnyRaster:
    """Open an image, to read the bands of it that a network takes.

    Parameters
    ----------
    path : str or Path
    sidecar : Sidecar
        What is known of the network.
    scale : (float, float) or 'percentiles', optional
        As for `tltool.raster.Raster`.
    bands : sequence of int, optional
        From 1, in place of those that the sidecar names.
    resample : bool
        Resample to the ground sample distance of the training.

    Raises
    ------
    ImageError
        Where it has another number of bands, naming both; to be resampled, and
        its ground sample distance is not known.
    UsageError
        To be resampled, and that of the training is not known.
    """
    raster = Raster(path, bands or sidecar.band_numbers, scale)
    try:
        _check_bands(raster, sidecar)
        factor = _resampling(raster, sidecar) if resample else 1.0
        return raster if factor == 1 else ResampledRaster(raster, factor)
    except BaseException:
        raster.close()
        raise


def _check_bands(raster: Raster, sidecar: Sidecar) -> None:
    if raster.bands != sidecar.bands:
        raise ImageError(
            f"{raster.path}: expected {sidecar.bands} bands, which the network was trained on;"
            f" received {raster.bands}. Take an image like those of the training, or name the bands"
            " that are meant with `bands`"
        )


def check_size(raster: AnyRaster, sidecar: Sidecar) -> None:
    """Raise an `ImageError` where an image is smaller than a patch."""
    if min(raster.width, raster.height) < sidecar.patch:
        raise ImageError(
            f"{raster.path} is {raster.width} x {raster.height} px: expected at least the"
            f" {sidecar.patch} px of a patch along both sides"
        )


def _resampling(raster: Raster, sidecar: Sidecar) -> float:
    if sidecar.gsd is None:
        raise UsageError(
            "`resample`: the network's JSON file does not know the ground sample distance it was"
            " trained at. Write it there as gsd, in metres per pixel, or use `scales`"
        )
    if raster.gsd is None:
        raise ImageError(
            f"{raster.path}: `resample` needs its ground sample distance, and it has no projected"
            " coordinate system that would tell it. Use `scales`"
        )
    factor = raster.gsd / sidecar.gsd
    return 1.0 if abs(factor - 1) < _ALIKE else factor


def warn_of_distance(raster: AnyRaster, sidecar: Sidecar) -> None:
    """Warn where an image was taken at another ground sample distance than the training's."""
    if raster.gsd is None or sidecar.gsd is None:
        return
    if abs(raster.gsd / sidecar.gsd - 1) > _FOREIGN:
        logger.warning(
            "%s has %.3g m per pixel, the network was trained at %.3g m: what it knows has another"
            " size here. `resample` makes them alike",
            raster.path.name,
            raster.gsd,
            sidecar.gsd,
        )
