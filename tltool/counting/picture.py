"""The picture of an image's points: a ring each, in the colours of the heatmap's overlay."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.spatial import cKDTree

from tltool.counting.survey import ImageCount
from tltool.data.coverage import Coverage
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
    """What is drawn on a photograph.

    Attributes
    ----------
    xy : (n, 2) array
        px of the photograph.
    label : (n,) int array
        Place of the class among the names; -1: none of them.
    kind : (n,) array of str
        `FOUND`, `FALSE` or `MISSED`.
    """

    xy: np.ndarray
    label: np.ndarray
    kind: np.ndarray


def marks_of(each: ImageCount, names: Sequence[str], radius: float | None) -> Marks:
    """Points to draw, in px of the image; with truth those missed too, and which are false.

    Parameters
    ----------
    each : ImageCount
    names : sequence of str
        Of the classes.
    radius : float or None
        Within which a detection stands for a true point, whatever its label;
        None: there is no truth.
    """
    places = {name: place for place, name in enumerate(names)}
    scene = each.scene
    told = [places[str(label)] for label in scene.labels]
    kind = np.full(len(told), FOUND, "U8")
    if radius is None:
        return Marks(scene.xy, np.array(told, int), kind)
    matched, missed = match_points(scene.xy, scene.truth, radius), np.ones(len(scene.truth), bool)
    kind[:], missed[matched.truth] = FALSE, False
    kind[matched.detection] = FOUND
    true = [places.get(str(label), -1) for label in scene.truth_labels[missed]]
    return Marks(
        np.concatenate([scene.xy, scene.truth[missed]]),
        np.array([*told, *true], int),
        np.append(kind, np.full(len(true), MISSED, "U8")),
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
    draw = ImageDraw.Draw(stamp)
    ink = tuple(round(value) for value in colour)
    for width, paint in ((line + 2 * halo, _HALO), (line, ink)):
        _draw_mark(draw, kind, middle, radius * _FINE, round(width * _FINE), paint)
    return stamp.resize((2 * half, 2 * half), Image.Resampling.LANCZOS)


def _draw_mark(
    draw: ImageDraw.ImageDraw,
    kind: str,
    middle: float,
    radius: float,
    width: int,
    ink: tuple[int, ...],
) -> None:
    if kind == MISSED:
        reach = 1.15 * radius
        corners = [(0, -reach), (reach, 0), (0, reach), (-reach, 0), (0, -reach), (reach, 0)]
        path = [(middle + x, middle + y) for x, y in corners]
        draw.line(path, fill=ink, width=width, joint="curve")
        return
    reach = radius + width / 2
    box = (middle - reach, middle - reach, middle + reach, middle + reach)
    draw.ellipse(box, outline=ink, width=width)
    if kind == FALSE:
        arm = 0.5 * radius
        for down in (-arm, arm):
            ends = (middle - arm, middle - down, middle + arm, middle + down)
            draw.line(ends, fill=ink, width=width)


def _stamp_all(picture: Image.Image, marks: Marks, colours: np.ndarray, radius: float) -> None:
    for kind in (MISSED, FALSE, FOUND):
        for label in np.unique(marks.label[marks.kind == kind]):
            stamp = draw_stamp(kind, _colour(colours, label), radius)
            chosen = (marks.kind == kind) & (marks.label == label)
            for x, y in np.rint(marks.xy[chosen] - stamp.width / 2).astype(int).tolist():
                picture.paste(stamp, (x, y), stamp)


def _colour(colours: np.ndarray, label: int) -> Sequence[float]:
    return _UNKNOWN if label < 0 else colours[label].tolist()


def _hole(coverage: Coverage, size: tuple[int, int]) -> np.ndarray:
    """Which px of a picture of (width, height) lie where nothing is counted."""
    width, height = size
    grid = (0, 0, coverage.width / width, coverage.height / height, height, width)
    hole = np.zeros((height, width), bool)
    if coverage.aoi is not None:
        hole |= ~coverage.aoi.on_cells(*grid)
    if coverage.ignored is not None:
        hole |= coverage.ignored.on_cells(*grid)
    return hole


def _shade(photograph: np.ndarray, hole: np.ndarray | None) -> Image.Image:
    """The photograph half desaturated and darker, as below a heatmap, and darkest in the hole."""
    picture = Image.fromarray(photograph)
    picture = Image.blend(picture, picture.convert("L").convert("RGB"), 0.5)
    shaded = picture.point(lambda value: round(_SHADE * value))
    if hole is not None:
        shaded.paste(picture.point(lambda value: round(_DARK * value)), mask=Image.fromarray(hole))
    return shaded


@dataclass(frozen=True)
class _Entry:
    """A line of the legend."""

    swatch: Image.Image
    text: str


def _entries(
    marks: Marks, names: Sequence[str], colours: np.ndarray, outside: bool, judged: bool, em: int
) -> list[_Entry]:
    radius = 0.42 * em
    told = marks.kind != MISSED
    entries = []
    for place, name in enumerate(names):
        number = int((told & (marks.label == place)).sum())
        swatch = draw_stamp(FOUND, colours[place].tolist(), radius)
        entries.append(_Entry(swatch, f"{number} {name}"))
    if judged:
        texts = {FOUND: "matched", FALSE: "false", MISSED: "missed"}
        for kind, text in texts.items():
            number = int((marks.kind == kind).sum())
            entries.append(_Entry(draw_stamp(kind, _UNKNOWN, radius), f"{number} {text}"))
    if outside:
        dark = round(255 * _DARK)
        entries.append(_Entry(Image.new("RGB", (em, em), (dark,) * 3), "not counted"))
    return entries


def _draw_legend(entries: Sequence[_Entry], width: int, style: Style) -> Image.Image:
    """Entries in columns as wide as the longest, read along the rows."""
    em = style.em
    longest = max(style.font().getlength(entry.text) for entry in entries) + 5 * em
    columns = max(1, min(len(entries), int(width // longest)))
    rows, line = -(-len(entries) // columns), 2 * em
    section = Image.new("RGB", (width, rows * line), PAPER)
    for place, entry in enumerate(entries):
        x, y = place % columns * (width // columns), place // columns * line + em
        corner = (x + em - entry.swatch.width // 2, y - entry.swatch.height // 2)
        mask = entry.swatch if entry.swatch.mode == "RGBA" else None
        section.paste(entry.swatch, corner, mask)
        text = style.fit(entry.text, width // columns - 3.5 * em)
        style.write(section, x + 2.5 * em, y, text)
    return section


def draw_points(
    photograph: np.ndarray,
    marks: Marks,
    names: Sequence[str],
    title: str,
    *,
    radius: float,
    hole: np.ndarray | None = None,
    judged: bool = False,
) -> Image.Image:
    """Draw points on a photograph, with a legend below.

    Parameters
    ----------
    photograph : (height, width, 3) uint8 array
    marks : Marks
        In px of the photograph.
    names : sequence of str
        Of the classes.
    title : str
    radius : float
        Of the rings, px of the photograph.
    hole : (height, width) bool array, optional
        Where nothing is counted.
    judged : bool
        Whether the marks tell what is false and missed.

    Returns
    -------
    PIL.Image.Image
        RGB on white.
    """
    colours = class_colours(names, None)
    style = Style.suited(max(photograph.shape), "".join([*names, title]))
    outside = hole is not None and bool(hole.any())
    main = _shade(photograph, hole if outside else None)
    _stamp_all(main, marks, colours, radius)
    entries = _entries(marks, names, colours, outside, judged, style.em)
    legend = _draw_legend(entries, main.width, style)
    margin, head = 2 * style.em, round(2.6 * style.em)
    size = main.width + 2 * margin, main.height + legend.height + head + 3 * margin
    page = Image.new("RGB", size, PAPER)
    heading = style.fit(title, main.width, 1.6)
    ImageDraw.Draw(page).text((margin, margin), heading, INK, style.font(1.6), anchor="lt")
    page.paste(main, (margin, margin + head))
    page.paste(legend, (margin, 2 * margin + head + main.height))
    return page


def picture_path(folder: Path, image: Path) -> Path:
    """Where the picture of an image's points lies."""
    return folder / f"{image.stem}.points.png"


@dataclass(frozen=True)
class Picture:
    """The picture of an image's points.

    Attributes
    ----------
    path : Path
        Of the PNG.
    thumbnail : bytes
        The photograph with dots for its points, as JPEG.
    """

    path: Path
    thumbnail: bytes


def _thumbnail(photograph: np.ndarray, marks: Marks, colours: np.ndarray, side: int) -> bytes:
    small = Image.fromarray(photograph)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    scale, draw = small.width / photograph.shape[1], ImageDraw.Draw(small)
    dot = max(1.0, side / 160)
    told = marks.kind != MISSED
    for (x, y), label in zip(marks.xy[told] * scale, marks.label[told], strict=True):
        ink = tuple(round(value) for value in colours[label].tolist())
        draw.ellipse((x - dot, y - dot, x + dot, y + dot), fill=ink, outline=_HALO)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def write_picture(
    each: ImageCount, names: Sequence[str], folder: Path, radius: float | None, side: int
) -> Picture:
    """Draw and write the points of an image.

    Parameters
    ----------
    each, names, radius
        As of `marks_of`.
    folder : Path
    side : int
        Longest of the thumbnail, px.
    """
    with each.map.open_image() as raster:
        photograph = enlarge_tiny(raster.thumbnail(PICTURE_SIDE))
    scale = photograph.shape[1] / each.map.size[0]
    marks = marks_of(each, names, radius)
    marks = Marks(marks.xy * scale, marks.label, marks.kind)
    coverage = each.coverage
    limited = coverage.aoi is not None or coverage.ignored is not None
    picture = draw_points(
        photograph,
        marks,
        names,
        f"{each.image.name}: {len(each.points):,} points",
        radius=ring_radius(marks.xy, scale * each.map.facts.patch / each.map.scale[0] / 2),
        hole=_hole(coverage, photograph.shape[1::-1]) if limited else None,
        judged=radius is not None,
    )
    path = picture_path(folder, each.image)
    with atomic_path(path) as partial:
        # Three times as fast as the default for a fifth more bytes.
        picture.save(partial, compress_level=1)
    return Picture(path, _thumbnail(photograph, marks, class_colours(names, None), side))
