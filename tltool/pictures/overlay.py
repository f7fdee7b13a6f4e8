"""The picture of a probability map: the classes over the photograph, and each class on its own.

A pixel takes the hue of the strongest class of interest, never a mix: two hues mixed look like a
third class. Where classes do not exclude each other, the colour tells on which side of 0.5 the
strongest lies, and the panels tell what it hides. Small cells are interpolated between their
centres, as the windows of neighbours overlap; that makes no peak which is not in the map. Large
cells stay crisp.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from tltool.pictures.drawing import (
    OPACITY,
    PAPER,
    Background,
    Extent,
    Resampler,
    Style,
    compose,
    dim,
    hatch,
    is_tall,
    names_of,
    outlined,
    prepare_map,
    scaled,
    to_image,
    valid_cells,
)

Entry = tuple[np.ndarray, str, str]  # swatch, share, name

NO_MAP = (232, 234, 237)
MAX_PANELS, MAX_LEGEND = 12, 24
LIGHTNESS, CHROMA = 0.74, 0.12  # OKLCH; about the highest chroma that every hue has in sRGB
# Headings of the legend.
_MOST_PROBABLE = "Most probable class and its share of the cells"
_TRUE = "Share of the cells with a probability of 0.5 or more"
# Degrees, from a beam search in steps of 10 that starts warm: the first n, for every n, are well
# apart to normal, protan and deutan eyes (OKLab distance after Machado's 2009 simulation).
HUES = (60.0, 270.0, 190.0, 10.0, 320.0, 140.0)
# Ottosson's OKLab to cube roots of LMS, and LMS to linear sRGB
LAB_TO_LMS = np.array(
    [[1, 0.39633778, 0.21580376], [1, -0.10556135, -0.06385417], [1, -0.08948418, -1.29148555]]
)
LMS_TO_RGB = np.array(
    [
        [4.07674166, -3.30771159, 0.23096993],
        [-1.26843800, 2.60975740, -0.34131940],
        [-0.00419609, -0.70341861, 1.70761470],
    ]
)


def draw_overlay(
    photograph: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    background: Background,
    extent: Extent,
    title: str = "",
    exclusive: bool = True,
) -> Image.Image:
    """Draw a map over its photograph, with a legend and a panel for each class.

    Parameters
    ----------
    photograph : ndarray, shape (H, W, 3), uint8
        RGB, shrunk to what the picture should show (about 2000 px at most).
    probabilities : ndarray, shape (C, rows, cols), float
        Probability 0..1 of each class in each cell, NaN where there is no data.
        They need not sum to 1.
    classes : sequence of str
        The C names, in the order of `probabilities`.
    background : str, sequence of str or None
        What is "nothing" and stays transparent; None where every class counts.
    extent : tuple of float
        Left, top, right and bottom edge of the map in px of `photograph`. It may reach
        over the photograph (cropped) or not fill it.
    title : str
        One line above the picture; no line where it is empty.
    exclusive : bool
        Whether one class alone is true of a cell. If not, each is shown by itself, as
        true from 0.5 on.

    Returns
    -------
    PIL.Image.Image
        RGB on white. Beneath a wide photograph, beside a tall one: the legend with the
        share of all cells in which each class is the most probable (has 0.5 or more where
        they do not exclude each other), and panels of the 12 classes with the highest
        mean probability.

    Raises
    ------
    ValueError
        If a shape, the background or the extent does not fit the rest.
    """
    photograph, extent, names, title, style = prepare_map(
        photograph, probabilities, classes, background, extent, title
    )
    colours = class_colours(classes, background)
    main = Image.fromarray(tint_photograph(photograph, probabilities, colours, extent, exclusive))
    valid, tone = valid_cells(probabilities), dim(photograph).mean(axis=(0, 1))
    width = round(max(0.6 * main.width, 0.75 * main.height)) if is_tall(main) else main.width
    sums = [plane.sum(where=valid, dtype=np.float64) for plane in probabilities]
    ranked = np.argsort(-np.array(sums), kind="stable").tolist()
    kept = sorted(ranked[:MAX_LEGEND])
    shares = _shares(probabilities, valid, exclusive)
    entries = _entries(names, colours, shares, kept, tone, style, exclusive)
    heading = _MOST_PROBABLE if exclusive else _TRUE
    legend = _draw_legend(entries, len(names) - len(kept), width, style, heading)
    shown = sorted(ranked[:MAX_PANELS])
    grid = _choose_grid(main, len(shown), width, legend.height, style)
    resample = Resampler(valid, scaled(extent, main.size, grid.panel), grid.panel)
    panels = []
    for k in shown:
        picture = np.full((grid.panel[1], grid.panel[0], 3), NO_MAP, np.float32)
        heat = _colour_map()[(resample(probabilities[k]) * 255).round().astype(np.uint8)]
        heat[resample.hole] = 150
        hatch(heat, resample.hole, style.em)
        picture[resample.window] = heat
        panels.append(to_image(picture))
    shown_names = [names[k] for k in shown]
    multiples = _draw_multiples(panels, shown_names, len(names) - len(shown), grid, width, style)
    return compose(main, [legend, multiples], title, style)


# ---------------------------------------------------------------- colours


def class_colours(
    classes: Sequence[str], background: Background, lightness: float = LIGHTNESS
) -> np.ndarray:
    """Choose colours of equal lightness and chroma, a hue for each class but the background.

    Parameters
    ----------
    classes : sequence of str
        The C class names.
    background : str, sequence of str or None
        The classes without a colour.
    lightness : float
        Lightness of OKLCH, 0..1; lines on white need darker colours than areas.

    Returns
    -------
    ndarray, shape (C, 3), float32
        sRGB in 0..255; NaN for the background.
    """
    nothing = names_of(background)
    interest = [k for k, name in enumerate(classes) if name not in nothing]
    count = len(interest)
    even = HUES[0] + np.arange(count) * 360 / max(1, count)
    hues = np.deg2rad(HUES[:count] if count <= len(HUES) else even)
    lab = np.stack([np.full(count, lightness), CHROMA * np.cos(hues), CHROMA * np.sin(hues)], -1)
    linear = ((lab @ LAB_TO_LMS.T) ** 3 @ LMS_TO_RGB.T).clip(0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    colours = np.full((len(classes), 3), np.nan, np.float32)
    colours[interest] = 255 * srgb
    return colours


def opacity(probability: np.ndarray, exclusive: bool = True) -> np.ndarray:
    """Opacity of a class's colour, 0..`OPACITY`: smooth, and almost nothing below 0.2.

    A doubt of a few percent everywhere would tint the whole photograph. Where classes do not
    exclude each other it rises steeper, about 0.5.
    """
    smooth = probability**2 * (3 - 2 * probability)
    return OPACITY * (smooth if exclusive else smooth**2 * (3 - 2 * smooth))


@cache
def _colour_map() -> np.ndarray:
    """Look-up table (256, 3) of a perceptually uniform colour map, 0..255."""
    from matplotlib import colormaps  # slow to import

    return (255 * colormaps["magma"](np.arange(256))[:, :3]).astype(np.float32)


# ---------------------------------------------------------------- the map in pixels


def tint_photograph(
    photograph: np.ndarray,
    probabilities: np.ndarray,
    colours: np.ndarray,
    extent: Extent,
    exclusive: bool = True,
) -> np.ndarray:
    """Lay the classes over the dimmed photograph.

    Parameters
    ----------
    photograph : ndarray, shape (H, W, 3), uint8
        RGB.
    probabilities : ndarray, shape (C, rows, cols), float
        0..1, NaN where there is no data.
    colours : ndarray, shape (C, 3), float32
        sRGB in 0..255, NaN for a class that stays transparent.
    extent : tuple of float
        Left, top, right, bottom of the map in px of `photograph`.
    exclusive : bool
        Whether one class alone is true of a cell, see `opacity`.

    Returns
    -------
    ndarray, shape (H, W, 3), uint8
        RGB; no data is hatched, and a map that ends inside the photograph has an outline.
    """
    height, width = photograph.shape[:2]
    resample = Resampler(valid_cells(probabilities), extent, (width, height))
    strongest = np.zeros(resample.hole.shape, np.float32)
    winner = np.zeros(resample.hole.shape, np.intp)
    for k in np.flatnonzero(np.isfinite(colours[:, 0])):
        plane = resample(probabilities[k])
        winner[plane > strongest] = k
        np.maximum(strongest, plane, out=strongest)
    picture = dim(photograph)
    ground = picture[resample.window]
    ground += opacity(strongest, exclusive)[..., None] * (np.nan_to_num(colours)[winner] - ground)
    hatch(ground, resample.hole, max(height, width) // 70)
    return outlined(to_image(picture), resample.window)


# ---------------------------------------------------------------- numbers


def _shares(probabilities: np.ndarray, valid: np.ndarray, exclusive: bool) -> np.ndarray:
    """Share of all cells that each class has, no data last: (C + 1,)."""
    if not exclusive:
        found = [(plane >= 0.5).mean(where=valid) if valid.any() else 0 for plane in probabilities]
        return np.append(np.array(found) * valid.mean(), (~valid).mean())
    winner = probabilities.argmax(axis=0)
    winner[~valid] = len(probabilities)
    return np.bincount(winner.ravel(), minlength=len(probabilities) + 1) / winner.size


def _percent(share: float) -> str:
    """Never say 0% of a few cells, nor 100% of all but a few."""
    if share in (0, 1):
        return f"{share:.0%}"
    return "<0.1%" if share < 0.001 else ">99.9%" if share > 0.999 else f"{share:.1%}"


# ---------------------------------------------------------------- the page


@dataclass(frozen=True)
class _Grid:
    """Panels in rows and columns; a column may be wider than its panel. All in px."""

    columns: int
    rows: int
    panel: tuple[int, int]
    column: int
    label: int


def _choose_grid(main: Image.Image, count: int, width: int, legend: int, style: Style) -> _Grid:
    """Find the largest panels that fit, counting empty places against them.

    Beneath the main panel they fill its width, beside it what the legend leaves of its height.
    """
    em, label, tall = style.em, round(2.4 * style.em), is_tall(main)
    if tall:
        room = max(main.height - legend - 2 * em, 0.4 * main.height)
    else:
        room = max(0.9 * main.height, 0.4 * main.width)
    candidates = []
    for columns in range(1, min(count, width // (8 * em)) + 1):
        rows = -(-count // columns)
        column = (width + em) // columns - em
        scale = min(0.6, column / main.width)  # as large as the main panel would outdo it
        highest = (room / rows - label) / main.height
        if tall:
            scale = min(scale, highest)
        score = scale * count / (columns * rows) if scale <= highest else 0
        panel = max(1, int(main.width * scale)), max(1, int(main.height * scale))
        candidates.append((score, columns, _Grid(columns, rows, panel, column, label)))
    return max(candidates, key=lambda candidate: candidate[:2])[2]


def _entries(
    names: Sequence[str],
    colours: np.ndarray,
    shares: np.ndarray,
    kept: Sequence[int],
    tone: np.ndarray,
    style: Style,
    exclusive: bool,
) -> list[Entry]:
    """Describe the kept classes, and no data where there is some, for the legend."""
    ground = np.tile(tone, (style.em, 5 * style.em, 1))
    ramp = opacity(np.linspace(0, 1, 5 * style.em), exclusive)[:, None]
    entries = []
    for k in kept:
        drawn = np.isfinite(colours[k, 0])
        heat = ground + ramp * (colours[k] - ground) if drawn else ground
        name = names[k] if drawn else f"{names[k]} (not drawn)"
        entries.append((heat, _percent(shares[k]), name))
    if shares[-1]:
        ruled = ground.copy()
        hatch(ruled, np.ones(ruled.shape[:2], bool), style.em)
        entries.append((ruled, _percent(shares[-1]), "no data"))
    return entries


def _draw_legend(
    entries: Sequence[Entry], left_out: int, width: int, style: Style, heading: str
) -> Image.Image:
    """Draw the entries in columns as wide as the names ask for, read downwards."""
    em, line, head = style.em, round(1.7 * style.em), round(3.4 * style.em)
    longest = max(style.font().getlength(name) for _, _, name in entries)
    rows = -(-len(entries) // max(1, int(width // (longest + 11 * em))))
    column = width // -(-len(entries) // rows)
    more = line if left_out else 0
    section = Image.new("RGB", (width, head + rows * line + more + em), PAPER)
    style.write(section, 0, 0.8 * em, heading)
    style.write(section, 0, head - 0.6 * em, "0", faint=True)
    style.write(section, 5 * em, head - 0.6 * em, "1", "rm", faint=True)
    for i, (swatch, share, name) in enumerate(entries):
        x, y = i // rows * column, head + i % rows * line + line // 2
        section.paste(to_image(swatch), (x, y - em // 2))
        style.write(section, x + 9 * em, y, share, "rm")
        style.write(section, x + 10 * em, y, style.fit(name, column - 10.5 * em))
    if left_out:
        style.write(section, 0, head + (rows + 0.5) * line, _more(left_out), faint=True)
    return section


def _draw_multiples(
    panels: Sequence[Image.Image],
    names: Sequence[str],
    left_out: int,
    grid: _Grid,
    width: int,
    style: Style,
) -> Image.Image:
    """Draw the panels under their names, with one colour bar for all."""
    em, head, cell_size = style.em, 2 * style.em, grid.panel[1] + grid.label
    height = head + grid.rows * cell_size
    section = Image.new("RGB", (width, height + (2 * em if left_out else 0)), PAPER)
    style.write(section, 0, em, "Each class on its own")
    bar = to_image(_colour_map()[None]).resize((8 * em, em))
    section.paste(bar, (width - 9 * em, em - em // 2))
    style.write(section, width, em, "1", "rm", faint=True)
    style.write(section, width - 9.5 * em, em, "probability 0", "rm", faint=True)
    for i, (panel, name) in enumerate(zip(panels, names, strict=True)):
        x, y = i % grid.columns * (grid.column + em), head + i // grid.columns * cell_size
        style.write(section, x, y + 1.4 * em, style.fit(name, grid.column))
        section.paste(panel, (x, y + grid.label))
    if left_out:
        style.write(section, 0, height + 1.2 * em, _more(left_out), faint=True)
    return section


def _more(count: int) -> str:
    return f"and {count} more {'class' if count == 1 else 'classes'} of lower mean probability"
