"""Paint aerial photographs of a sea-lion rookery, with every animal's place known.

A photograph is built in layers: terrain, water, land, stones, animals, camera. Inside this module
a picture is a planar float32 array (3, height, width) in 0..1, and a field is (height, width).
"""

import csv
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from rasterio import Affine
from scipy import ndimage

from tltool.errors import UsageError
from tltool.files import atomic_path

BACKGROUND = "backgrounds"
GEOTIFF = {
    "driver": "GTiff",
    "dtype": "uint8",
    "photometric": "rgb",
    "crs": "EPSG:32605",
    "tiled": True,
    "blockxsize": 256,
    "blockysize": 256,
    "compress": "deflate",
    "predictor": 2,
}
RESOLUTION = 0.05  # metres per pixel
WEST, NORTH = 570_000.0, 6_451_000.0  # metres; upper left corner of a survey's first photograph
GAP = 10.0  # metres between two photographs
SMALLEST = 256  # px; width and height of a photograph
MARGIN = 30.0  # px from an animal's centre to the photograph's edge
NEAREST = 25.0  # px between two animals' centres
LINKS = 20  # circles that make up a body


class Point(NamedTuple):
    """The centre of an animal in px, x to the right and y down, and its class."""

    x: float
    y: float
    label: str


class Kind(NamedTuple):
    """Measures of a class: length and width in px; colours of coat, neck and head as RGB 0..255."""

    length: float
    width: float
    coat: tuple[int, int, int]
    neck: tuple[int, int, int]
    head: tuple[int, int, int]


class Scene(NamedTuple):
    """Shore, sand and light that a photograph's layers share.

    shore is the signed distance to the waterline in px, positive on land; sand is the share of
    beach in 0..1; light is the unit vector (x, y) that points to the sun.
    """

    shore: np.ndarray
    sand: np.ndarray
    light: np.ndarray


class Body(NamedTuple):
    """A shape made of circles: centres (n, 2) as x, y and radii (n,), both in px."""

    centres: np.ndarray
    radii: np.ndarray


KINDS = {
    "adult_males": Kind(52, 26, (86, 62, 48), (166, 136, 106), (122, 94, 72)),
    "subadult_males": Kind(44, 19, (138, 102, 72), (156, 120, 88), (136, 102, 74)),
    "adult_females": Kind(36, 15.5, (220, 190, 150), (234, 210, 176), (220, 190, 152)),
    "juveniles": Kind(26, 12, (160, 142, 120), (174, 156, 132), (152, 134, 112)),
    "pups": Kind(15, 8, (38, 32, 30), (44, 38, 34), (36, 30, 28)),
}
CLASSES: tuple[str, ...] = (*KINDS, BACKGROUND)

ALONG = (0.0, 0.12, 0.3, 0.5, 0.66, 0.78, 0.88, 1.0)  # tail to nose
GIRTH = (0.26, 0.42, 0.78, 0.96, 0.98, 0.72, 0.6, 0.5)  # share of the half width

DEEP, SHALLOW = (30, 66, 80), (92, 132, 122)
ROCK, PALE_ROCK, OLIVE_ROCK = (160, 148, 128), (206, 194, 172), (124, 116, 90)
SAND, PEBBLE, OCHRE = (192, 176, 148), (132, 124, 114), (176, 140, 98)
POOL, MOSS, KELP, FOAM = (78, 78, 72), (98, 112, 58), (52, 40, 32), (240, 244, 244)
STONES = ((90, 74, 62), (134, 112, 90), (198, 182, 154), (156, 148, 134), (76, 72, 68))


def _smoothstep(field: np.ndarray, low: float | np.ndarray, high: float | np.ndarray) -> np.ndarray:
    """Rise smoothly from 0 where field is low to 1 where it is high; same shape as field."""
    t = (field - low) / (high - low)
    np.clip(t, 0.0, 1.0, out=t)
    return t * t * (3.0 - 2.0 * t)


def _mix(
    picture: np.ndarray, colour: np.ndarray | tuple[int, int, int], amount: np.ndarray
) -> None:
    """Lay a colour (RGB 0..255) or picture over a picture in place, by amount in 0..1 per pixel."""
    layers = np.array(colour, np.float32) / 255 if isinstance(colour, tuple) else colour
    for band, layer in zip(picture, layers, strict=True):  # three times as fast as all at once
        band += amount * (layer - band)


def _enlarge(field: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Stretch a field to a shape (height, width) by linear interpolation."""
    for axis, size in enumerate(shape):
        place = np.linspace(0, field.shape[axis] - 1, size, dtype=np.float32)
        low = np.minimum(place.astype(int), field.shape[axis] - 2)
        share = (place - low).astype(np.float32)
        share = share[:, None] if axis == 0 else share
        field = field.take(low, axis) * (1 - share) + field.take(low + 1, axis) * share
    return field


def _canvas(shape: tuple[int, int], colour: tuple[int, int, int]) -> np.ndarray:
    """Return a picture (3, height, width) of one colour (RGB 0..255)."""
    picture = np.empty((3, *shape), np.float32)
    picture[:] = np.array(colour, np.float32)[:, None, None] / 255
    return picture


def _noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    longest: float,
    slope: float = 1.5,
    angle: float = 0.0,
    stretch: float = 1.0,
    step: int = 1,
) -> np.ndarray:
    """Return fractal noise of mean 0 and deviation 1, float32 (height, width).

    Waves longer than longest px are damped; shorter ones fall off with frequency to the power of
    slope. The pattern is stretched along angle (radians). A step above 1 paints it that many times
    smaller and enlarges it, for noise without fine detail.
    """
    height, width = (-(-size // step) for size in shape)
    fy = np.fft.fftfreq(height)[:, None].astype(np.float32)
    fx = np.fft.rfftfreq(width)[None].astype(np.float32)
    cos, sin = math.cos(angle), math.sin(angle)
    power = (stretch * (fx * cos + fy * sin)) ** 2 + (fy * cos - fx * sin) ** 2
    gain = np.sqrt(power) * (power + (step / longest) ** 2) ** (-(slope + 1) / 2)
    spectrum = rng.standard_normal((*gain.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    field = np.fft.irfft2(gain * spectrum, (height, width)).astype(np.float32, copy=False)
    field /= field.std()
    return field if step == 1 else _enlarge(field, shape)


def _lay_out(rng: np.random.Generator, shape: tuple[int, int]) -> Scene:
    """Draw the shoreline, the beaches and the sun's direction of a photograph."""
    y, x = np.mgrid[-1 : 1 : shape[0] // 4 * 1j, -1 : 1 : shape[1] // 4 * 1j]
    turn, sun = rng.uniform(0, 2 * np.pi, 2)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    slant = rng.uniform(0.2, 1.0)
    rise = slant * along - (1.3 - slant) * np.abs(across - rng.uniform(-0.3, 0.3))
    rise += 0.24 * _noise(rng, x.shape, max(x.shape) / 2, 2.6)
    inner = rise[10:-10, 10:-10]
    land = ndimage.binary_fill_holes(rise > np.quantile(inner, rng.uniform(0.36, 0.46)))
    distance = ndimage.distance_transform_edt(land) - ndimage.distance_transform_edt(~land)
    shore = _enlarge(ndimage.gaussian_filter(distance * 4, 2).astype(np.float32), shape)
    patches = _noise(rng, shape, 0.5 * max(shape), 1.9, step=2)
    rough = _noise(rng, shape, 90, 1.6)
    sand = _smoothstep(patches + 0.22 * rough - shore / 500, 0.1, 0.55)
    shore += rough * (2 + 9 * (1 - sand))
    return Scene(shore, sand, np.array([np.cos(sun), np.sin(sun)]))


def _cracks(rng: np.random.Generator, shape: tuple[int, int], angle: float) -> np.ndarray:
    """Return a web of cracks (height, width), 0 to about 1, running along two joint directions."""
    count, steps = max(6, shape[0] * shape[1] // 9000), 900
    heading = angle + rng.choice([0.0, 1.2], (count, 1), p=[0.65, 0.35])
    heading = heading + rng.normal(0, 0.2, (count, 1))
    wobble = ndimage.gaussian_filter1d(rng.normal(0, 2.0, (count, steps)), 6, axis=1)
    walk = np.stack([np.sin(heading + wobble), np.cos(heading + wobble)]).cumsum(axis=2)
    start = rng.uniform(0, 1, (2, count, 1)) * np.array(shape)[:, None, None]
    rows, cols = (walk * 0.8 + start).astype(int)
    length = rng.exponential(200, (count, 1)) + 40
    depth = np.clip((length - np.arange(steps)) / 60, 0, 1) * rng.uniform(0.2, 1, (count, 1)) ** 2
    inside = (rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1]) & (depth > 0)
    web = np.zeros(shape, np.float32)
    np.maximum.at(web, (rows[inside], cols[inside]), depth[inside].astype(np.float32))
    return 2.2 * ndimage.gaussian_filter(web, 0.8)


def _paint_rock(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """Paint bare rock over the whole photograph: layers, cracks, pools and moss."""
    shape = scene.shore.shape
    angle = rng.uniform(0, np.pi)
    rough = _noise(rng, shape, 220, 1.8, step=2)
    strata = _noise(rng, shape, 60, 1.2, angle, 3)
    broad = _noise(rng, shape, 500, 1.6, step=4)
    # Layers that the surface cuts.
    y, x = (axis.astype(np.float32) for axis in np.ogrid[: shape[0], : shape[1]])
    run = rng.uniform(50, 80)
    height = (y * math.cos(angle) - x * math.sin(angle)) / run
    height += _noise(rng, shape, 300, 1.9, angle, 2, step=2)
    layer = np.floor(height)
    rest = height - layer
    tone = rng.random(1024, dtype=np.float32)[layer.astype(np.int32) % 1024]
    ledges = 9 * (_smoothstep(rest, 0, 0.12) - rest) * _smoothstep(broad - rough, -1.0, 1.0)
    web = np.minimum(_cracks(rng, shape, angle), 1)
    pool = _smoothstep(_noise(rng, shape, 110, 2.1, angle, 1.6, step=2) + 0.1 * strata, 1.7, 1.85)
    relief = 4 * np.abs(rough) + 0.12 * strata - 1.2 * web + ledges
    dx = np.diff(relief, axis=1, append=relief[:, -1:])
    dy = np.diff(relief, axis=0, append=relief[-1:])
    slope = -(dx * np.float32(scene.light[0]) + dy * np.float32(scene.light[1]))
    light = np.clip(slope, -1.5, 1.2) * (1 - 0.9 * pool)
    picture = _canvas(shape, ROCK)
    tone = 0.35 * strata + 1.5 * tone
    _mix(picture, PALE_ROCK, _smoothstep(0.6 * broad + tone + 0.5 * np.abs(rough), -0.2, 2.8))
    _mix(picture, OLIVE_ROCK, 0.7 * _smoothstep(0.7 * rough - broad - tone, -1.2, 1.6))
    _mix(picture, OCHRE, 0.5 * _smoothstep(rough + 0.4 * strata - 0.5 * broad, 0.2, 2.2))
    _mix(picture, MOSS, 0.5 * _smoothstep(broad - 0.4 * np.abs(rough) + 0.4 * strata, 1.3, 3.0))
    _mix(picture, POOL, 0.65 * pool)
    picture *= 1 + 0.16 * light - 0.45 * web
    return picture


def _paint_sand(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """Paint sand and pebbles over the whole photograph."""
    shape = scene.shore.shape
    coarse = _smoothstep(_noise(rng, shape, 260, 1.5, step=2), -0.2, 1.2)
    grain = _noise(rng, shape, 7, 1.0)
    ripple = _noise(rng, shape, 60, 1.5, step=2)
    picture = _canvas(shape, SAND)
    _mix(picture, PEBBLE, 0.55 * coarse + 0.3 * coarse * _smoothstep(grain, 0.2, 1.5))
    picture *= 1 + grain * (0.015 + 0.09 * coarse) + 0.03 * ripple
    wrack = _smoothstep(_noise(rng, shape, 40, 1.0, step=2) + 0.9 * ripple, 2.6, 3.2)
    _mix(picture, KELP, 0.8 * wrack)
    return picture


def _paint_water(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """Paint the sea over the whole photograph: depth, swell, wavelets and kelp."""
    shape = scene.shore.shape
    wind = rng.uniform(0, np.pi)
    swell = _noise(rng, shape, 120, 2.0, wind, 4, step=2)
    chop = _noise(rng, shape, 16, 1.6, wind + 0.3, 2.5)
    bed = _noise(rng, shape, 220, 1.7, step=2)
    depth = np.maximum(-scene.shore, 0) * (1 + 0.25 * bed)
    picture = _canvas(shape, DEEP)
    _mix(picture, SHALLOW, np.exp(-depth / rng.uniform(110, 200)))
    _mix(picture, KELP, 0.7 * _smoothstep(bed + 0.2 * chop - depth / 300, 0.6, 2.2))
    picture += 0.012 * swell + 0.014 * chop + 0.05 * _smoothstep(chop + 0.5 * swell, 2.0, 3.5)
    return picture


def _foam(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """Return the cover of surf in 0..1: solid at the waterline, lace and flecks farther out."""
    shape = scene.shore.shape
    reach = 34 * np.exp(0.8 * _noise(rng, shape, 420, 1.6, step=8))
    out = np.maximum(-scene.shore, 0) / reach
    veins = np.abs(_noise(rng, shape, 90, 1.8)) + 0.3 * _noise(rng, shape, 90, 1.5, step=2)
    edge = 0.5 - 0.45 * np.minimum(out, 3)
    surf = _smoothstep(edge - veins, -0.7, 0.45) + 0.3 * np.exp(-1.5 * out)
    return np.minimum(surf, 1) * _smoothstep(-scene.shore, -4, 2) * _smoothstep(out, 3, 0.3)


def _paint_ground(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """Paint land and sea without animals; returns a picture (3, height, width)."""
    shore, sand = scene.shore, scene.sand
    picture = _paint_rock(rng, scene)
    _mix(picture, _paint_sand(rng, scene), sand)
    weed = _noise(rng, shore.shape, 60, 1.3) * 14 + 16 - shore
    _mix(picture, KELP, 0.75 * _smoothstep(weed, 0, 26) * (1 - sand))
    picture *= 1 - 0.3 * _smoothstep(40 - shore, 0, 34)
    _mix(picture, _paint_water(rng, scene), _smoothstep(-shore, -2, 4 + 30 * sand))
    _mix(picture, FOAM, 0.93 * _foam(rng, scene))
    return picture


def _cover(body: Body, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how deep (px, negative outside) each place lies in a body, and in which circle."""
    centres = body.centres.astype(np.float32)
    square = (x - centres[:, :1, None]) ** 2 + (y - centres[:, 1:, None]) ** 2
    depth = body.radii.astype(np.float32)[:, None, None] - np.sqrt(square)
    return depth.max(axis=0), depth.argmax(axis=0)


def _chain(start: np.ndarray, heading: np.ndarray, length: float, radii: np.ndarray) -> Body:
    """String circles along a line that starts at (x, y) px and follows a heading per circle."""
    way = np.stack([np.cos(heading), np.sin(heading)], axis=1) * length / (len(radii) - 1)
    return Body(start + way.cumsum(axis=0) - way[0], radii)


def _torso(rng: np.random.Generator, kind: Kind, place: np.ndarray) -> Body:
    """Return an animal's body from tail to nose, centred on a place (x, y), in a random pose."""
    along = np.linspace(0, 1, LINKS)
    size = np.clip(rng.normal(1, 0.04), 0.92, 1.08)
    girth = ndimage.gaussian_filter1d(np.interp(along, ALONG, GIRTH), 1, mode="nearest")
    radii = size * kind.width / 2 * girth
    bend, neck = rng.normal(0, 0.5), rng.normal(0, 0.6)
    heading = rng.uniform(0, 2 * np.pi) + bend * along + neck * along**4
    body = _chain(np.zeros(2), heading, size * kind.length - radii[0] - radii[-1], radii)
    middle = (body.centres.min(axis=0) + body.centres.max(axis=0)) / 2
    return Body(body.centres - middle + place, radii)


def _flippers(rng: np.random.Generator, body: Body) -> Body:
    """Return the two fore and two hind flippers of a body as one shape."""
    spine = np.diff(body.centres, axis=0)
    heading = np.arctan2(spine[:, 1], spine[:, 0])
    girth, shoulder = body.radii.max(), 2 * LINKS // 3
    fore, hind = girth * np.linspace(0.34, 0.14, 12), girth * np.linspace(0.14, 0.22, 8)
    parts = []
    for side in (-1, 1):
        turn = heading[shoulder] + side * (rng.uniform(1.6, 2.5) + np.linspace(0, 0.6, 12))
        parts.append(_chain(body.centres[shoulder], turn, 1.6 * girth, fore))
        turn = heading[0] + np.pi + np.full(8, side * rng.uniform(0.2, 0.6))
        parts.append(_chain(body.centres[0], turn, 0.6 * girth, hind))
    return Body(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _window(
    picture: np.ndarray, centre: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a view (3, h, w) of a picture around a place, and the pixels' x (w,) and y (h, 1)."""
    left, top = np.maximum(np.floor(centre - reach).astype(int), 0)
    right, bottom = np.ceil(centre + reach).astype(int)
    view = picture[:, top:bottom, left:right]
    y, x = np.ogrid[top : top + view.shape[1], left : left + view.shape[2]]
    return view, x, y


def _paint_animal(
    rng: np.random.Generator, picture: np.ndarray, kind: Kind, body: Body, light: np.ndarray
) -> None:
    """Lay an animal over a picture in place: cast shadow, flippers, then the shaded body."""
    view, x, y = _window(picture, body.centres.mean(axis=0), kind.length * 0.6 + 12)
    # From tail to nose.
    bands = np.array([kind.coat, kind.coat, kind.neck, kind.neck, kind.head], np.float64).T / 255
    along, marks = np.linspace(0, 1, LINKS), (0, 0.45, 0.64, 0.8, 0.93)
    colours = np.stack([np.interp(along, marks, band) for band in bands])
    colours = (colours * rng.normal(1, 0.05) * rng.normal(1, 0.015, (3, 1)))[..., None]
    depth, link = _cover(body, x, y)
    shadow = Body(body.centres - 0.75 * body.radii[:, None] * light, body.radii)
    view *= 1 - 0.6 * _smoothstep(_cover(shadow, x, y)[0], -3.5, 2.0)
    view *= 1 - 0.3 * _smoothstep(depth, -3.5, 2.0)
    limb = _cover(_flippers(rng, body), x, y)[0]
    _mix(view, 0.5 * colours[:, :1], 0.9 * np.clip(limb + 0.5, 0, 1))
    radius = body.radii[link]
    right, down = (x - body.centres[link, 0]) / radius, (y - body.centres[link, 1]) / radius
    up = np.sqrt(np.clip(1 - right**2 - down**2, 0, 1))
    lit = 0.5 * (right * light[0] + down * light[1]) + 0.8 * up
    fur = 1 + 0.12 * ndimage.gaussian_filter(rng.normal(0, 1, lit.shape), 1)
    hue = colours[:, link, 0] * fur
    warmth = np.array([0.85, 1.0, 1.1])[:, None, None]
    _mix(view, hue * np.clip(0.35 + 0.85 * lit, 0.3, 1.25) ** warmth, np.clip(depth + 0.5, 0, 1))


def _paint_boulder(
    rng: np.random.Generator,
    picture: np.ndarray,
    centre: np.ndarray,
    size: float,
    light: np.ndarray,
) -> None:
    """Lay a stone of size px in diameter over a picture in place: a polygon with facets."""
    view, x, y = _window(picture, centre, size + 6)
    count = rng.integers(6, 10)
    turn = (np.arange(count) + rng.uniform(0, 0.8, count)) * 2 * np.pi / count
    normals = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    reach = size / 2 * rng.uniform(0.7, 1.0, count)
    lumps = ndimage.gaussian_filter(rng.normal(0, 1, (y.size, x.size)), 1.5)
    shift = centre - 0.45 * size * light
    for place, strength in ((shift, 0.5), (centre, 0.3)):
        slope = normals[:, :1, None] * (x - place[0]) + normals[:, 1:, None] * (y - place[1])
        depth = (reach[:, None, None] - slope).min(axis=0) + 2 * lumps
        view *= 1 - strength * _smoothstep(depth, -2.5, 2.0)
    facet = (reach[:, None, None] - slope).argmin(axis=0)
    tilt = (normals @ light)[facet] * _smoothstep(depth, 0.3 * size, 0.1 * size)
    colour = np.array(STONES[rng.integers(len(STONES))])[:, None, None] / 255
    tone = (0.85 + 0.35 * tilt + 0.35 * lumps) * rng.normal(1, 0.08)
    _mix(view, colour * tone, np.clip(depth + 0.5, 0, 1))


def _on_land(scene: Scene, centres: np.ndarray, inland: float, margin: float = 0.0) -> bool:
    """Tell whether all centres (n, 2) as x, y lie so many px inland and inside the picture."""
    cols, rows = np.round(centres).astype(int).T
    inside = (centres >= margin) & (centres <= np.subtract(scene.shore.shape[::-1], 1 + margin))
    return bool(inside.all() and (scene.shore[rows, cols] > inland).all())


def _free(body: Body, others: list[Body], gap: float) -> bool:
    """Tell whether a body keeps gap px away from all others."""
    if not others:
        return True
    centres, radii = (np.concatenate(part) for part in zip(*others, strict=True))
    apart = np.hypot(*(body.centres[:, None] - centres).transpose(2, 0, 1))
    return bool((apart > body.radii[:, None] + radii + gap).all())


def _settle(rng: np.random.Generator, scene: Scene, animals: int) -> tuple[list[Point], list[Body]]:
    """Find places on land for as many animals as fit, the classes taking turns."""
    points: list[Point] = []
    bodies: list[Body] = []
    height, width = scene.shore.shape
    for number in range(animals):
        label = CLASSES[number % len(KINDS)]
        for _ in range(40):
            # Mostly beside another animal, sometimes anywhere.
            if points and rng.random() < 0.8:
                mate, turn = points[rng.integers(len(points))], rng.uniform(0, 2 * np.pi)
                away = NEAREST + rng.exponential(25)
                place = np.array([mate.x + away * np.cos(turn), mate.y + away * np.sin(turn)])
            else:
                place = rng.uniform(0, (width, height))
            body = _torso(rng, KINDS[label], place)
            if (
                _on_land(scene, place[None], 12, MARGIN)
                and _on_land(scene, body.centres, 8)
                and all(math.dist(place, point[:2]) >= NEAREST for point in points)
                and _free(body, bodies, 2)
            ):
                points.append(Point(float(place[0]), float(place[1]), label))
                bodies.append(body)
                break
    return points, bodies


def _scatter(
    rng: np.random.Generator, picture: np.ndarray, scene: Scene, bodies: list[Body]
) -> None:
    """Strew stones over the land of a picture in place, clear of the animals' bodies."""
    height, width = scene.shore.shape
    for _ in range(height * width // 22_000):
        size = 7 + min(rng.exponential(12), 45)
        stone = Body(rng.uniform(0, (width, height), (1, 2)), np.array([size / 2]))
        if _on_land(scene, stone.centres, 0) and _free(stone, bodies, 8):
            _paint_boulder(rng, picture, stone.centres[0], size, scene.light)


def _expose(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Take the photograph of a picture: light, haze, blur, noise; (height, width, 3) uint8."""
    shape = picture.shape[1:]
    y, x = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    turn = rng.uniform(0, 2 * np.pi)
    light = 1 + 0.09 * (x * np.cos(turn) + y * np.sin(turn))
    light -= rng.uniform(0.05, 0.09) * (x**2 + y**2)
    light += 0.035 * _noise(rng, shape, max(shape), 2.0, step=8)
    cast = rng.normal(1, 0.025, (3, 1, 1)) * rng.uniform(0.96, 1.08)
    for channel, tint in zip(picture, cast, strict=True):
        channel *= (light * tint).astype(np.float32)
        ndimage.gaussian_filter(channel + 0.055, 0.7, output=channel, truncate=2.5)
        channel += 0.013 * rng.standard_normal(shape, dtype=np.float32)
    return (np.clip(picture.transpose(1, 2, 0), 0, 1) * 255).astype(np.uint8, order="C")


def paint_photograph(
    seed: int, width: int = 2048, height: int = 1536, animals: int = 90
) -> tuple[np.ndarray, list[Point]]:
    """Paint an aerial photograph of a rocky shore on which sea lions lie.

    Parameters
    ----------
    seed : int
        At least 0. The same arguments give the same pixels.
    width, height : int
        px, at least 256 each. The animals keep their size in px.
    animals : int
        As many as fit are painted; the five classes take turns.

    Returns
    -------
    ndarray (height, width, 3) uint8
        RGB, 0..255; row 0 is the upper edge.
    list of Point
        Every animal's centre: px of pixel centres, x to the right, y down, at least 30 px inside
        the photograph and 25 px from each other.

    Raises
    ------
    UsageError
        If the photograph is smaller than 256x256.
    """
    if min(width, height) < SMALLEST:
        raise UsageError(
            f"a photograph has at least {SMALLEST}x{SMALLEST} px, not {width}x{height}. Enlarge it"
        )
    rng = np.random.default_rng(seed)
    scene = _lay_out(rng, (height, width))
    picture = _paint_ground(rng, scene)
    points, bodies = _settle(rng, scene, animals)
    _scatter(rng, picture, scene, bodies)
    for point, body in zip(points, bodies, strict=True):
        _paint_animal(rng, picture, KINDS[point.label], body, scene.light)
    return _expose(rng, picture), points


def paint_survey(
    folder: Path,
    photographs: int = 4,
    width: int = 2048,
    height: int = 1536,
    animals: int = 90,
    seed: int = 7,
) -> tuple[list[Path], Path]:
    """Paint a survey: GeoTIFFs side by side and the CSV of their animals.

    Parameters
    ----------
    folder : Path
        Created where it is missing. Files of the same names are replaced.
    photographs : int
        How many; no two of a survey are alike.
    width, height, animals : int
        Size of each photograph in px and its animals, see `paint_photograph`.
    seed : int
        At least 0. The same arguments give the same survey.

    Returns
    -------
    list of Path
        `survey_01.tif` and so on: RGB uint8, 256x256 px tiles, deflate, EPSG:32605, 0.05 m/px,
        north up, each 10 m east of the one before.
    Path
        `points.csv` with the columns image (file name), x, y (px, one decimal) and label.
    """
    images, rows = [], []
    for number in range(photographs):
        path = folder / f"survey_{number + 1:02d}.tif"
        image, points = paint_photograph(1000 * seed + number, width, height, animals)
        size = dict(zip(("height", "width", "count"), image.shape, strict=True))
        west = WEST + number * (width * RESOLUTION + GAP)
        transform = Affine(RESOLUTION, 0, west, 0, -RESOLUTION, NORTH)
        with (
            atomic_path(path) as partial,
            rasterio.open(partial, "w", transform=transform, **size, **GEOTIFF) as target,
        ):
            target.write(image.transpose(2, 0, 1))
        images.append(path)
        rows += [(path.name, f"{x:.1f}", f"{y:.1f}", label) for x, y, label in points]
    table = folder / "points.csv"
    with atomic_path(table) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("image", "x", "y", "label"), *rows])
    return images, table
