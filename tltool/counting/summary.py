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
    places = []
    # Top left, top right and bottom left, y down from the map's top left.
    for corners in (every - [low[0], high[1]]) * [shrink, -1]:
        across, down = corners[1] - corners[0], corners[2] - corners[0]
        middle, width = corners.mean(axis=0) / size, np.hypot(*across)
        angle = np.rad2deg(np.arctan2(across[1], across[0]))
        shape = width / size[0], width / np.hypot(*down), angle
        places.append(Footprint(*map(float, (*middle, *shape))))
    epsg = known[0].to_epsg()
    caption = f"EPSG:{epsg}" if epsg else "a CRS without a number"
    if known[0].is_projected:
        metres = (high - low) * known[0].linear_units_factor[1]
        unit, (x, y) = ("km", metres / 1000) if metres.max() >= 1000 else ("m", metres)
        caption += f"; {x:.3g} {unit} from west to east, {y:.3g} {unit} from north to south"
    else:
        caption += ", north is up"
    return SurveyMap(places, float(size[0] / size[1]), caption)


def render_summary(survey: Survey, pictures: Sequence[Picture]) -> str:
    """Make the page.

    Parameters
    ----------
    survey : Survey
    pictures : sequence of Picture
        Pictures of its images.
    """
    parameters, score = survey.choice.parameters, survey.score
    shots, rows, validation = [], [], list[tuple[Any, ...]]()
    for each, picture in zip(survey.images, pictures, strict=True):
        number, name = len(each.detections), each.image.name
        shot = {"name": name, "number": number, "link": quote(picture.path.name)}
        shot["alt"] = f"{name}: {number} {'point' if number == 1 else 'points'}"
        shots.append(shot | {"source": jpeg_uri(picture.thumbnail)})
        numbers = [count.detections for count in each.counts.values()]
        rows.append((name, *numbers, tables.estimate(each.total), tables.interval(each.total)))
    for count in survey.totals:
        if found := validation_of(parameters, count.label):
            shares = map(tables.share, (found.precision, found.recall))
            validation.append((count.label, found.tp + found.fn, found.tp, found.fp, *shares))
    header = ("class", "animals", "found", "false", "precision", "recall")
    rules = [(label, parameters.rule_of(label)) for label in survey.classes]
    return render_page(
        "tltool.counting",
        "summary.html.j2",
        survey=survey,
        total=survey.totals[-1],
        several=len(survey.totals) > 1,
        level=tables.level(survey),
        estimate=tables.estimate,
        interval=tables.interval,
        colours=[
            "rgb({} {} {})".format(*np.rint(colour).astype(int).tolist())
            for colour in class_colours(survey.classes, None)
        ],
        labels=[count.label for count in survey.totals],
        shots=shots,
        map=place_images(survey.images),
        crowded=len(pictures) > _CROWDED,
        rows=rows,
        validation=tables.Table(header, validation, (1, 2, 3, 4, 5)) if validation else None,
        scores=[] if score is None else tables.score_tables(score),
        score_lines=[] if score is None else tables.score_lines(score),
        doubts=tables.doubt_lines(survey),
        plain=PLAIN[survey.interval],
        rules=[(name, f"{r.threshold:.3f}", f"{r.distance:.1f} px") for name, r in rules],
        known=any(count.interval is not None for count in survey.totals),
    )
