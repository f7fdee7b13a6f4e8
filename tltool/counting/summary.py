"""The page that sums a survey up: one HTML file that needs no server and no network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np

from tltool.counting import tables
from tltool.counting.picture import Picture
from tltool.counting.survey import ImageCount, Survey, validation_of
from tltool.pictures.overlay import class_colours
from tltool.pictures.pages import jpeg_uri, render_page
from tltool.raster import Raster

SUMMARY_NAME = "summary.html"

# Longest side of a thumbnail, px, for so many images at most: the page stays small.
_SIDES = ((6, 640), (24, 360), (150, 200), (10**9, 96))
# Images from which on their numbers would hide them.
_CROWDED = 60

# What the intervals are, and what they take for granted, in plain words.
PLAIN = {
    "beta-binomial": (
        "On annotated validation images it is known how many detections were right and how many"
        " animals were missed. The interval says which true numbers go well with the detections"
        " found here, where both rates are known only as well as that many validation animals tell"
        " them. It assumes that these images resemble the validation images: the same network,"
        " threshold and resolution, similar animals and ground, and about as many false detections"
        " for each animal. Where empty ground deceives the network more often than it did there,"
        " the true number may lie outside."
    ),
    "bootstrap": (
        "The validation images were divided into blocks, of which it is known how many animals"
        " were there for each detection. The interval comes from drawing blocks anew, again and"
        " again: it says how far that ratio strays from place to place. It assumes that blocks are"
        " independent of each other and that these images are made of such places; from few blocks"
        " it is a guess."
    ),
}


def thumbnail_side(images: int) -> int:
    """Longest side of thumbnails where there are so many images, px."""
    return next(side for most, side in _SIDES if images <= most)


@dataclass(frozen=True)
class Footprint:
    """Footprint of an image on the page's map.

    Attributes
    ----------
    x, y : float
        Its centre, as shares of the map's width and height.
    width : float
        As a share of the map's width.
    ratio : float
        Width of the image over its height.
    angle : float
        Degrees, clockwise.
    """

    x: float
    y: float
    width: float
    ratio: float
    angle: float


@dataclass(frozen=True)
class SurveyMap:
    """Images placed by their georeference.

    Attributes
    ----------
    places : list of Footprint
    ratio : float
        Width of the map over its height.
    caption : str
        CRS and extent.
    """

    places: list[Footprint]
    ratio: float
    caption: str


def place_images(images: Sequence[ImageCount]) -> SurveyMap | None:
    """Place images on a map; None where they do not all lie in one CRS."""
    found: list[np.ndarray] = []
    known = []
    for each in images:
        with Raster(each.image, scale=(0, 1)) as raster:
            known.append(raster.world_crs)
            width, height = raster.width, raster.height
            corners = raster.to_world(
                np.array([0, width, 0, width]), np.array([0, 0, height, height])
            )
        found.append(np.stack(corners, axis=1))
    if None in known or any(crs != known[0] for crs in known):
        return None
    every = np.array(found)
    low, high = every.min(axis=(0, 1)), every.max(axis=(0, 1))
    # Degrees of longitude are shorter than those of latitude.
    shrink = np.cos(np.deg2rad((low[1] + high[1]) / 2)) if known[0].is_geographic else 1.0
    size = (high - low) * [shrink, 1]
    places = [_footprint(own, size) for own in (every - [low[0], high[1]]) * [shrink, -1]]
    return SurveyMap(places, float(size[0] / size[1]), _caption(known[0], high - low))


def _footprint(corners: np.ndarray, size: np.ndarray) -> Footprint:
    """From top left, top right, bottom left and bottom right, y down from the map's top left."""
    across, down = corners[1] - corners[0], corners[2] - corners[0]
    x, y = corners.mean(axis=0) / size
    width = np.hypot(*across)
    angle = np.rad2deg(np.arctan2(across[1], across[0]))
    ratio = float(width / np.hypot(*down))
    return Footprint(float(x), float(y), float(width / size[0]), ratio, float(angle))


def _caption(crs: Any, extent: np.ndarray) -> str:
    epsg = crs.to_epsg()
    name = f"EPSG:{epsg}" if epsg else "a CRS without a number"
    if not crs.is_projected:
        return f"{name}, north is up"
    metres = extent * crs.linear_units_factor[1]
    unit, (across, down) = ("km", metres / 1000) if metres.max() >= 1000 else ("m", metres)
    return f"{name}; {across:.3g} {unit} from west to east, {down:.3g} {unit} from north to south"


def _rgb(colour: np.ndarray) -> str:
    return "rgb({} {} {})".format(*np.rint(colour).astype(int).tolist())


def _shots(survey: Survey, pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    shots = []
    for each, picture in zip(survey.images, pictures, strict=True):
        number = len(each.detections)
        shots.append(
            {
                "name": each.image.name,
                "number": number,
                "alt": f"{each.image.name}: {number} {'point' if number == 1 else 'points'}",
                "link": quote(picture.path.name),
                "source": jpeg_uri(picture.thumbnail),
            }
        )
    return shots


def _image_rows(survey: Survey) -> list[tuple[Any, ...]]:
    """A row an image: its name, its points of each class, the count of all."""
    rows = []
    for each in survey.images:
        numbers = [count.detections for count in each.counts.values()]
        known = tables.estimate(each.total), tables.interval(each.total)
        rows.append((each.image.name, *numbers, *known))
    return rows


def _validation_table(survey: Survey) -> tables.Table | None:
    parameters = survey.choice.parameters
    rows = []
    for count in survey.totals:
        found = validation_of(parameters, count.label)
        if found is not None:
            shares = map(tables.share, (found.precision, found.recall))
            rows.append((count.label, found.tp + found.fn, found.tp, found.fp, *shares))
    header = ("class", "animals", "found", "false", "precision", "recall")
    return tables.Table(header, rows, (1, 2, 3, 4, 5)) if rows else None


def render_summary(survey: Survey, pictures: Sequence[Picture]) -> str:
    """Make the page.

    Parameters
    ----------
    survey : Survey
    pictures : sequence of Picture
        Of its images.
    """
    labels = [count.label for count in survey.totals]
    colours = class_colours(survey.classes, None)
    return render_page(
        "tltool.counting",
        "summary.html.j2",
        survey=survey,
        total=survey.totals[-1],
        several=len(survey.totals) > 1,
        level=tables.level(survey),
        estimate=tables.estimate,
        interval=tables.interval,
        colours=[_rgb(colour) for colour in colours],
        labels=labels,
        shots=_shots(survey, pictures),
        map=place_images(survey.images),
        crowded=len(pictures) > _CROWDED,
        rows=_image_rows(survey),
        validation=_validation_table(survey),
        scores=[] if survey.score is None else tables.score_tables(survey.score),
        score_lines=[] if survey.score is None else tables.score_lines(survey.score),
        doubts=tables.doubt_lines(survey),
        plain=PLAIN[survey.interval],
        rules=[
            (label, f"{rule.threshold:.3f}", f"{rule.distance:.1f} px")
            for label in survey.classes
            for rule in (survey.choice.parameters.rule_of(label),)
        ],
        known=any(count.interval is not None for count in survey.totals),
    )
