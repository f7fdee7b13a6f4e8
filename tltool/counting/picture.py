"""The picture of an image's points: a ring each, in the colours of the heatmap's overlay."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.spatial import cKDTree

from tltool.counting.survey import ImageCount
from tltool.files import atomic_path
from tltool.pictures.drawing import INK, PAPER, Style, enlarge_tiny
from tltool.pictures.overlay import class_colours
from tltool.points.matching import match_points

# Longest side of the photograph, px.
PICTURE_SIDE = 2000

# Radius of a ring, px of the picture: large enough to see, small enough not to hide neighbours.
_SMALLEST, _LARGEST = 5.0, 24.0
# Brightness of the photograph, and of what of it is not counted.
_SHADE, _DARK = 0.76, 0.3
# Stamps are drawn larger by this and shrunk, for smooth edges.
_FINE = 4
_HALO, _UNKNOWN = (12, 14, 18), (200, 204, 210)

FOUND, FALSE, MISSED = "found", "false", "missed"


@dataclass(frozen=True)
class Marks:
    """Marks to draw on a photograph.

    Attributes
    ----------
    xy : (n, 2) array
        px of the photograph.
    label : (n,) int array
        Index of the class among the names; -1: none of them.
    kind : (n,) array of str
        `FOUND`, `FALSE` or `MISSED`.
    """

    xy: np.ndarray
    label: np.ndarray
    kind: np.ndarray


def marks_of(each: ImageCount) -> Marks:
    """Marks of an image's points in its px; with truth those missed too, and which are false."""
    indices = {name: index for index, name in enumerate(each.classes)}
    scene, missed = each.scene, np.zeros(0, np.intp)
    kind = np.full(len(scene.xy), FOUND, "U8")
    if each.radius is not None:
        matched = match_points(scene.xy, scene.truth, each.radius)
        kind[np.setdiff1d(np.arange(len(kind)), matched.detection)] = FALSE
        missed = np.setdiff1d(np.arange(len(scene.truth)), matched.truth)
    labels = [*scene.labels, *scene.truth_labels[missed]]
    return Marks(
        np.concatenate([scene.xy, scene.truth[missed]]),
        np.array([indices.get(str(label), -1) for label in labels], int),
        np.append(kind, np.full(len(missed), MISSED, "U8")),
    )


def ring_radius(xy: np.ndarray, wanted: float) -> float:
    """Radius of the rings of (n, 2) points, px: half of what lies between most neighbours."""
    apart = np.inf
    if len(xy) > 1:
        nearest = cKDTree(xy).query(xy, k=2)[0][:, 1]
        apart = float(np.quantile(nearest, 0.25))
    return float(np.clip(min(wanted, 0.6 * apart), _SMALLEST, _LARGEST))


def draw_stamp(kind: str, colour: Sequence[float], radius: float) -> Image.Image:
    """One mark with a dark line around it, RGBA, that is seen on any ground."""
    line, halo = max(2.0, radius / 4), 1.5
    half = int(np.ceil(1.15 * radius + line + halo)) + 1
    side, middle = 2 * half * _FINE, half * _FINE
    stamp = Image.new("RGBA", (side, side), (*_HALO, 0))
    draw, radius = ImageDraw.Draw(stamp), radius * _FINE
    for stroke, ink in ((line + 2 * halo, _HALO), (line, tuple(map(round, colour)))):
        width = round(stroke * _FINE)
        if kind == MISSED:
            reach = 1.15 * radius
            corners = [(0, -reach), (reach, 0), (0, reach), (-reach, 0), (0, -reach), (reach, 0)]
            path = [(middle + x, middle + y) for x, y in corners]
            draw.line(path, fill=ink, width=width, joint="curve")
            continue
        reach = radius + width / 2
        box = (middle - reach, middle - reach, middle + reach, middle + reach)
        draw.ellipse(box, outline=ink, width=width)
        if kind == FALSE:
            arm = 0.5 * radius
            for down in (-arm, arm):
                ends = (middle - arm, middle - down, middle + arm, middle + down)
                draw.line(ends, fill=ink, width=width)
    return stamp.resize((2 * half, 2 * half), Image.Resampling.LANCZOS)


def draw_points(
    photograph: np.ndarray,
    marks: Marks,
    names: Sequence[str],
    title: str,
    *,
    radius: float,
    hole: np.ndarray | None = None,
    scored: bool = False,
) -> Image.Image:
    """Draw points on a photograph, with a legend below.

    Parameters
    ----------
    photograph : (height, width, 3) uint8 array
    marks : Marks
        In px of the photograph.
    names : sequence of str
        Names of the classes.
    title : str
    radius : float
        Radius of the rings, px of the photograph.
    hole : (height, width) bool array, optional
        Pixels where nothing is counted.
    scored : bool
        Whether the marks tell what is false and missed.

    Returns
    -------
    PIL.Image.Image
        RGB on white.
    """
    colours = class_colours(names, None)
    style = Style.suited(max(photograph.shape), "".join([*names, title]))
    em, swatch = style.em, 0.42 * style.em
    if hole is not None and not hole.any():
        hole = None
    # Half desaturated and darker, as below a heatmap, and darkest in the hole.
    picture = Image.fromarray(photograph)
    picture = Image.blend(picture, picture.convert("L").convert("RGB"), 0.5)
    main = picture.point(lambda value: round(_SHADE * value))
    if hole is not None:
        main.paste(picture.point(lambda value: round(_DARK * value)), mask=Image.fromarray(hole))
    for kind in (MISSED, FALSE, FOUND):
        for label in np.unique(marks.label[marks.kind == kind]):
            stamp = draw_stamp(kind, _UNKNOWN if label < 0 else colours[label].tolist(), radius)
            chosen = (marks.kind == kind) & (marks.label == label)
            for x, y in np.rint(marks.xy[chosen] - stamp.width / 2).astype(int).tolist():
                main.paste(stamp, (x, y), stamp)
    entries, found = [], marks.kind != MISSED
    for index, name in enumerate(names):
        number = int((found & (marks.label == index)).sum())
        entries.append((draw_stamp(FOUND, colours[index].tolist(), swatch), f"{number} {name}"))
    for kind, text in ((FOUND, "matched"), (FALSE, "false"), (MISSED, "missed")):
        if scored:
            number = int((marks.kind == kind).sum())
            entries.append((draw_stamp(kind, _UNKNOWN, swatch), f"{number} {text}"))
    if hole is not None:
        dark = round(255 * _DARK)
        entries.append((Image.new("RGB", (em, em), (dark,) * 3), "not counted"))
    # In columns as wide as the longest, read along the rows.
    longest = max(style.font().getlength(text) for _, text in entries) + 5 * em
    columns = max(1, min(len(entries), int(main.width // longest)))
    column, line = main.width // columns, 2 * em
    legend = Image.new("RGB", (main.width, -(-len(entries) // columns) * line), PAPER)
    for index, (stamp, text) in enumerate(entries):
        x, y = index % columns * column, index // columns * line + em
        corner = (x + em - stamp.width // 2, y - stamp.height // 2)
        legend.paste(stamp, corner, stamp if stamp.mode == "RGBA" else None)
        style.write(legend, x + 2.5 * em, y, style.fit(text, column - 3.5 * em))
    margin, head = 2 * em, round(2.6 * em)
    size = main.width + 2 * margin, main.height + legend.height + head + 3 * margin
    page = Image.new("RGB", size, PAPER)
    heading = style.fit(title, main.width, 1.6)
    ImageDraw.Draw(page).text((margin, margin), heading, INK, style.font(1.6), anchor="lt")
    page.paste(main, (margin, margin + head))
    page.paste(legend, (margin, 2 * margin + head + main.height))
    return page


def draw_count(each: ImageCount, side: int = PICTURE_SIDE) -> tuple[Image.Image, Marks, np.ndarray]:
    """Draw the points of an image.

    Parameters
    ----------
    each : ImageCount
    side : int
        Longest side of the photograph, px.

    Returns
    -------
    picture : PIL.Image.Image
    marks : Marks
        In px of the photograph.
    photograph : (height, width, 3) uint8 array
    """
    with each.map.open_image() as raster:
        photograph = enlarge_tiny(raster.thumbnail(side))
    height, width = photograph.shape[:2]
    scale, marks, coverage = width / each.map.size[0], marks_of(each), each.coverage
    marks = Marks(marks.xy * scale, marks.label, marks.kind)
    hole = np.zeros((height, width), bool)
    grid = (0, 0, coverage.width / width, coverage.height / height, height, width)
    if coverage.aoi is not None:
        hole |= ~coverage.aoi.on_cells(*grid)
    if coverage.ignored is not None:
        hole |= coverage.ignored.on_cells(*grid)
    picture = draw_points(
        photograph,
        marks,
        each.classes,
        f"{each.image.name}: {len(each.detections):,} points",
        radius=ring_radius(marks.xy, scale * each.map.facts.patch / each.map.scale[0] / 2),
        hole=hole,
        scored=each.radius is not None,
    )
    return picture, marks, photograph


@dataclass(frozen=True)
class Picture:
    """The picture of an image's points.

    Attributes
    ----------
    path : Path
        File of the PNG.
    thumbnail : bytes
        The photograph with dots for its points, as JPEG.
    """

    path: Path
    thumbnail: bytes


def write_picture(each: ImageCount, folder: Path, side: int) -> Picture:
    """Draw and write the points of an image.

    Parameters
    ----------
    each : ImageCount
    folder : Path
    side : int
        Longest side of the thumbnail, px.
    """
    picture, marks, photograph = draw_count(each)
    path = folder / f"{each.image.stem}.points.png"
    with atomic_path(path) as partial:
        # Three times as fast as the default for a fifth more bytes.
        picture.save(partial, compress_level=1)
    small, colours = Image.fromarray(photograph), class_colours(each.classes, None)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    scale, draw = small.width / photograph.shape[1], ImageDraw.Draw(small)
    dot, found = max(1.0, side / 160), marks.kind != MISSED
    for (x, y), label in zip(marks.xy[found] * scale, marks.label[found], strict=True):
        ink = tuple(round(value) for value in colours[label].tolist())
        draw.ellipse((x - dot, y - dot, x + dot, y + dot), fill=ink, outline=_HALO)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return Picture(path, buffer.getvalue())
