"""The picture of a map of numbers in a unit."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from tltool.pictures.drawing import (
    OPACITY,
    PAPER,
    Extent,
    Resampler,
    compose,
    dim,
    hatch,
    outlined,
    prepare_map,
    to_image,
    valid_cells,
)


def value_colours(shares: np.ndarray) -> np.ndarray:
    """Colours of numbers from low to high on a perceptually uniform map (viridis).

    Parameters
    ----------
    shares : (...) array
        0: the lowest number, 1: the highest.

    Returns
    -------
    (..., 3) float32 array of sRGB in 0..255
    """
    from matplotlib import colormaps  # slow to import

    return (255 * colormaps["viridis"](np.asarray(shares, float))[..., :3]).astype(np.float32)


def value_range(plane: np.ndarray) -> tuple[float, float]:
    """Lowest and highest number that a picture tells apart: the 1st and 99th percentile.

    A range of at least a billionth of the numbers' size, so that it can be divided by.
    """
    known = plane[np.isfinite(plane)]
    if not known.size:
        return 0.0, 1.0
    low, high = (float(end) for end in np.percentile(known, (1, 99)))
    return low, max(high, low + 1e-9 * max(1.0, abs(low)))


def draw_value_overlay(
    photograph: np.ndarray,
    values: np.ndarray,
    names: Sequence[str],
    extent: Extent,
    title: str = "",
) -> Image.Image:
    """Draw a map of numbers over its photograph, with a colour bar in the numbers' unit.

    Parameters
    ----------
    photograph : (H, W, 3) uint8 array
    values : (C, rows, cols) float array
        In a unit, NaN where there is no data. Several are drawn one under the other.
    names : sequence of str
    extent, title
        As of `draw_overlay`.

    Returns
    -------
    PIL.Image.Image
        RGB. Colours go from the 1st to the 99th percentile of the map.
    """
    photograph, extent, names, title, style = prepare_map(
        photograph, values, names, None, extent, title
    )
    height, width = photograph.shape[:2]
    resample, sections = Resampler(valid_cells(values), extent, (width, height)), []
    for plane, name in zip(values, names, strict=True):
        low, high = value_range(plane)
        picture = dim(photograph)
        ground = picture[resample.window]
        shares = resample(np.clip((plane - low) / (high - low), 0, 1))
        ground += OPACITY * (value_colours(shares) - ground)
        hatch(ground, resample.hole, max(height, width) // 70)
        main = Image.fromarray(outlined(to_image(picture), resample.window))
        bar = Image.new("RGB", (main.width, 5 * style.em), PAPER)
        long = min(main.width, 24 * style.em)
        ramp = np.tile(value_colours(np.linspace(0, 1, long)), (style.em, 1, 1))
        style.write(bar, 0, 0.8 * style.em, name)
        bar.paste(to_image(ramp), (0, round(1.8 * style.em)))
        ends = [(0, low, "lm"), (long // 2, (low + high) / 2, "mm"), (long, high, "rm")]
        for x, number, anchor in ends:
            style.write(bar, x, 3.6 * style.em, f"{number:.4g}", anchor, faint=True)
        sections += [main, bar]
    return compose(sections[0], sections[1:], title, style)
