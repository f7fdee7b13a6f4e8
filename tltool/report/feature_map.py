"""Pictures of what a network makes alike: images laid out by their features."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from tltool.pictures.drawing import load_font, typeface_for

# Images that are laid out at most, and shown as thumbnails; the others are dots.
MOST_IMAGES, MOST_THUMBNAILS = 1000, 300
# Components that t-SNE sees, and fewest images that it is run for.
_COMPONENTS, _FEWEST = 50, 6
# Of a picture, px: side, thumbnails from and to, frame in the class's colour, dots.
SIDE, _SMALLEST, _LARGEST, _FRAME, _DOT = 1200, 26, 96, 4, 5
# Share of the picture that thumbnails may cover.
_COVER = 0.3
# Times that a layout is made smaller until its thumbnails have room.
_TRIES = 5
# Of a sheet: text and margin, px; colours.
_EM, _MARGIN = 22, 24
_PAPER, _INK = (255, 255, 255), (28, 32, 38)


@dataclass(frozen=True)
class Layout:
    """Places of images in the plane.

    Attributes
    ----------
    method : str
        ``t-SNE`` or ``PCA``.
    points : (n, 2) float array
    note : str
        What was done, in words.
    """

    method: str
    points: np.ndarray
    note: str


def principal_components(features: np.ndarray, seed: int = 0) -> Layout:
    """The two directions in which features vary most.

    Parameters
    ----------
    features : (n, c) array
    seed : int

    Returns
    -------
    Layout
        The second coordinate is 0 where there is one feature or one image.
    """
    from sklearn.decomposition import PCA

    number = min(2, *features.shape)
    points = np.zeros((len(features), 2))
    if len(features) < 2 or np.ptp(features, axis=0).max() == 0:
        return Layout("PCA", points, "all images have the same features")
    learner = PCA(number, random_state=seed)
    points[:, :number] = learner.fit_transform(features)
    share = float(learner.explained_variance_ratio_.sum())
    return Layout("PCA", points, f"two axes hold {100 * share:.0f} % of the variance")


def neighbourhoods(features: np.ndarray, seed: int = 0) -> Layout | None:
    """t-SNE: images stay near those whose features are near (van der Maaten and Hinton 2008).

    Parameters
    ----------
    features : (n, c) array
        Shrunk to their first 50 principal components.
    seed : int

    Returns
    -------
    Layout, or None for fewer than 6 images or features that are all alike.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    number = len(features)
    if number < _FEWEST or np.ptp(features, axis=0).max() == 0:
        return None
    if min(features.shape) > _COMPONENTS:
        features = PCA(_COMPONENTS, random_state=seed).fit_transform(features)
    # Of n images there are not more than n - 1 neighbours; a third of them at most make sense.
    perplexity = min(30.0, (number - 1) / 3)
    start = principal_components(features, seed).points
    # As scikit-learn scales its own start; that one fails for a single feature.
    start = (1e-4 * start / start[:, 0].std()).astype(np.float32)
    learner = TSNE(2, perplexity=perplexity, init=start, random_state=seed)
    # Its threads wait for each other in every step: where another program runs too, ten times
    # longer than one thread takes.
    with threadpool_limits(1):
        points = learner.fit_transform(features.astype(np.float32))
    return Layout("t-SNE", points.astype(float), f"perplexity {perplexity:.3g}, seed {seed}")


def spread(points: np.ndarray, size: float, rounds: int = 120) -> np.ndarray:
    """Push squares apart until next to none covers another.

    Parameters
    ----------
    points : (n, 2) array
        Their centres, px.
    size : float
        Their side, px.
    rounds : int
        At most.

    Returns
    -------
    (n, 2) float array
    """
    # The same place twice has no direction to part in.
    moved = points + np.random.default_rng(0).uniform(-0.5, 0.5, points.shape)
    for _ in range(rounds):
        apart = moved[:, None] - moved[None]
        missing = size - np.abs(apart)
        covers = np.asarray((missing > 0).all(axis=2))
        np.fill_diagonal(covers, False)
        if not covers.any():
            break
        # Along the axis where the way out is shorter; each of the two goes a part of it.
        shorter = missing.argmin(axis=2)
        for axis in (0, 1):
            push = np.where(covers & (shorter == axis), missing[..., axis], 0)
            step = 0.3 * (push * np.sign(apart[..., axis])).sum(axis=1)
            # In a crowd all push at once: in leaps it would burst.
            moved[:, axis] += step.clip(-size / 4, size / 4)
    return moved


def arrange(
    points: np.ndarray, shown: np.ndarray, size: float, side: float
) -> tuple[np.ndarray, np.ndarray]:
    """Places in a square picture, such that squares around some of them do not cover each other.

    Parameters
    ----------
    points : (n, 2) array
    shown : (m,) int array
        Which of them have a square.
    size, side : float
        Of the squares and the picture, px.

    Returns
    -------
    (n, 2) and (m, 2) float arrays: of all points, and of the squares' centres; px.
    """
    span = room = side - size
    low, high = points.min(axis=0), points.max(axis=0)
    # Around 0, one scale for both axes, `span` px along the longer one.
    unit = (points - (low + high) / 2) / max(float((high - low).max()), 1e-12)
    for _ in range(_TRIES):
        places = unit * span
        centres = spread(places[shown], size)
        every = np.concatenate([places, centres])
        low, high = every.min(axis=0), every.max(axis=0)
        beyond = float((high - low).max()) - room
        if beyond <= 0:
            break
        # Crowds at the edge grow over it: all begin nearer together.
        span = max(0.1 * room, span - 1.05 * beyond)
    shift = side / 2 - (low + high) / 2
    return places + shift, (centres + shift).clip(size / 2, side - size / 2)


def thumbnail_side(number: int, side: int = SIDE) -> int:
    """Side of a thumbnail in a picture of so many, px."""
    return int(np.clip(side * (_COVER / max(1, number)) ** 0.5, _SMALLEST, _LARGEST))


def draw_layout(
    points: np.ndarray,
    images: np.ndarray,
    colours: Sequence[tuple[int, ...]],
    *,
    side: int = SIDE,
    seed: int = 0,
) -> Image.Image:
    """Draw images where they lie.

    Parameters
    ----------
    points : (n, 2) array
        y up.
    images : (n, height, width, 3) uint8 array
    colours : sequence of (r, g, b)
        Of each image's frame, 0..255.
    side : int
        Of the picture, px.
    seed : int
        Of the choice of those that are shown as thumbnails.

    Returns
    -------
    RGBA image on a transparent ground, `side` wide and as high as it takes.
    """
    picture = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    if not len(points):
        return picture
    order = np.random.default_rng(seed).permutation(len(points))
    shown, dots = order[:MOST_THUMBNAILS], order[MOST_THUMBNAILS:]
    size = thumbnail_side(len(shown), side)
    inner = size - 2 * _FRAME
    places, centres = arrange(points * (1, -1), shown, size + 2, side - 4)
    pen = ImageDraw.Draw(picture)
    for k in dots:
        x, y = places[k] + 2
        pen.ellipse((x - _DOT, y - _DOT, x + _DOT, y + _DOT), fill=(*colours[k], 200))
    for k, (x, y) in zip(shown, centres + 2, strict=True):
        shrunk = Image.fromarray(images[k]).resize((inner, inner), Image.Resampling.LANCZOS)
        framed = ImageOps.expand(shrunk, _FRAME, tuple(colours[k]))
        picture.paste(framed, (round(x - size / 2), round(y - size / 2)))
    _, top, _, bottom = picture.getbbox() or (0, 0, side, side)
    # As wide as asked for, so that several are of one scale.
    return picture.crop((0, max(0, top - 2), side, min(side, bottom + 2)))


def draw_sheet(
    layouts: Sequence[tuple[str, Image.Image]], legend: Sequence[tuple[str, tuple[int, ...]]]
) -> Image.Image:
    """Put layouts under each other on white, with what their colours mean.

    Parameters
    ----------
    layouts : sequence of (str, Image)
        Titles, and pictures of `draw_layout`.
    legend : sequence of (str, (r, g, b))

    Returns
    -------
    RGB image
    """
    heading = round(2 * _EM)
    room = sum(picture.height + heading + _MARGIN for _, picture in layouts)
    sheet = Image.new("RGB", (SIDE, room + 2 * _MARGIN + 2 * _EM * (len(legend) + 1)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    # Names beside their colours, in rows.
    x, top, square = _MARGIN, _MARGIN, _EM - 4
    for name, colour in legend:
        font = load_font(_EM, typeface_for(name))
        width = round(square + 10 + font.getlength(name) + 28)
        if x > _MARGIN and x + width > SIDE:
            x, top = _MARGIN, top + round(1.6 * _EM)
        pen.rectangle((x, top, x + square, top + square), fill=colour)
        pen.text((x + square + 10, top + square / 2), name, _INK, font, anchor="lm")
        x += width
    top += round(1.6 * _EM)
    for title, picture in layouts:
        font = load_font(round(1.2 * _EM), typeface_for(title))
        pen.text((_MARGIN, top + heading / 2), title, _INK, font, anchor="lm")
        sheet.paste(picture, (0, top + heading), picture)
        top += heading + picture.height + _MARGIN
    return sheet.crop((0, 0, SIDE, top))
