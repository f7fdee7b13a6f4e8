"""Points of maps to pixels of images, and back."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.crs import CRS

from tltool.annotations.images import group_by_image, match_images
from tltool.annotations.point import Point, as_score, make_point
from tltool.errors import DataError, UsageError
from tltool.raster import AnyRaster, Raster
from tltool.raster.areas import to_image_pixels, transformed

ImageSource = str | Path | AnyRaster

# Properties that hold the image and the class, in any case.
IMAGE_FIELDS = ("image", "images", "image_path", "image_name", "file_name", "filename")
LABEL_FIELDS = ("label", "labels", "class", "class_name", "species", "category")


# The coordinates are said to be no position on the earth.
PIXELS = "pixels"

_WGS84 = CRS.from_user_input("OGC:CRS84")


@dataclass(frozen=True)
class MapPoint:
    """A point of a map.

    Attributes
    ----------
    x, y : float
        Longitude before latitude.
    crs : str or None
        None: WGS 84, or pixels of an image without a CRS. `PIXELS`: these only.
    where : str
        File and position in it, for messages.
    properties : dict
    """

    x: float
    y: float
    crs: str | None
    where: str
    properties: dict[str, Any] = field(default_factory=dict)


@contextmanager
def opened(image: ImageSource) -> Iterator[AnyRaster]:
    """Open an image for its georeference, not for its pixels."""
    if isinstance(image, str | Path):
        # With a scale numbers of any kind may be opened.
        with Raster(image, scale=(0, 1)) as raster:
            yield raster
    else:
        yield image


def path_of(image: ImageSource) -> Path:
    """The file of an image."""
    return Path(image) if isinstance(image, str | Path) else image.path or Path(image.name)


def to_points(
    found: Sequence[MapPoint],
    path: Path,
    images: Sequence[ImageSource],
    columns: Sequence[str] | None = None,
) -> list[Point]:
    """Turn points of a map into points on images.

    Parameters
    ----------
    found : sequence of MapPoint
    path : Path
        Where they come from, for messages.
    images : sequence of str, Path or Raster
        Points on others are left out, with a warning.
    columns : one or two str, optional
        The property that holds the class, or image and class. None: found by name.

    Raises
    ------
    DataError
        No images, a property that is missing or may be one of several, several
        images and no property that names them, no point on any of the images,
        or coordinates that cannot become pixels.
    UsageError
        Other than one or two `columns`.
    """
    if not images:
        raise DataError(
            f"{path}: expected the images that its points lie on, to know their pixels; received"
            " none"
        )
    image_field, label_field = _fields(found, path, columns)
    paths = [path_of(image) for image in images]
    names = []
    for point in found:
        name = None if image_field is None else point.properties.get(image_field)
        if name is None and len(paths) > 1:
            raise DataError(
                f"{point.where}: expected a property that names the image, such as"
                f" {', '.join(IMAGE_FIELDS[:3])}, where {len(paths)} images are given; received"
                " none. Add it, or give one image"
            )
        names.append(paths[0].name if name is None else str(name))
    groups = group_by_image(names, paths, path) if found else {}
    positions = np.empty((len(found), 2))
    sources = dict(zip(paths, images, strict=True))
    for own, group in groups.items():
        with opened(sources[own]) as raster:
            for crs in {found[index].crs for index in group}:
                alike = [index for index in group if found[index].crs == crs]
                if crs == PIXELS and raster.world_crs is not None:
                    raise DataError(
                        f"{path}: its coordinates have no CRS, {raster.name} is in"
                        f" {raster.world_crs}. Set the layer's CRS to the one it is in"
                    )
                named = None if crs == PIXELS else crs
                there = np.array([(found[index].x, found[index].y) for index in alike])
                positions[alike] = to_image_pixels(there, named, path, raster)
    points = []
    owners = {index: own.name for own, group in groups.items() for index in group}
    for index, name in sorted(owners.items()):
        point, position = found[index], positions[index].tolist()
        score = _find(point.properties, ("score", "scores"))
        sure = as_score(point.properties[score[0]], point.where) if score else None
        label = point.properties.get(label_field)
        points.append(make_point(point.where, name, position, label, sure))
    return points


def _find(properties: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return [name for name in properties if name.lower() in names]


def _fields(
    found: Sequence[MapPoint], path: Path, columns: Sequence[str] | None
) -> tuple[str | None, str]:
    """The properties that hold image and class."""
    there = dict.fromkeys(name for point in found for name in point.properties)
    if columns is None:
        images, labels = _find(there, IMAGE_FIELDS), _find(there, LABEL_FIELDS)
        if len(labels) != 1 and found:
            received = ", ".join(labels or there) or "no properties"
            raise DataError(
                f"{path}: expected one property that holds the class, such as"
                f" {', '.join(LABEL_FIELDS)}; received {received}. Say which with"
                " `columns=['LABEL']`, or with `columns=['IMAGE', 'LABEL']` where another names the"
                " image"
            )
        return images[0] if images else None, labels[0] if labels else ""
    if len(columns) not in (1, 2):
        raise UsageError(
            f"{path}: expected one or two properties to take from a map, LABEL or IMAGE,LABEL;"
            f" received {','.join(columns)}"
        )
    missing = [name for name in columns if name not in there]
    if missing and found:
        raise DataError(
            f"{path}: property {', '.join(missing)} is missing; the file has {', '.join(there)}."
            " Say which to take with `columns=['LABEL']` or `columns=['IMAGE', 'LABEL']`"
        )
    images = [columns[0]] if len(columns) == 2 else _find(there, IMAGE_FIELDS)
    return images[0] if images else None, columns[-1]


def to_map(
    points: Sequence[Point], images: Sequence[ImageSource], path: Path
) -> tuple[np.ndarray, CRS | None]:
    """Coordinates of points on a map.

    Parameters
    ----------
    points : sequence of Point
    images : sequence of str, Path or Raster
        Those they lie on; empty: nothing is known but pixels.
    path : Path
        What is written, for messages.

    Returns
    -------
    (n, 2) float array, CRS or None
        In the CRS of the images; in WGS 84 where they have several; in pixels
        (x to the right, y down) where they have none.

    Raises
    ------
    DataError
        A point on none of the images, or images with and without a CRS.
    """
    positions = np.array([(p.x, p.y) for p in points], float).reshape(-1, 2)
    if not images:
        return positions, None
    paths = [path_of(image) for image in images]
    meant = match_images((point.image for point in points), paths, path)
    lost = next((name for name, found in meant.items() if found is None), None)
    if lost is not None:
        raise DataError(
            f"{path}: expected points on the images given, {', '.join(p.name for p in paths[:3])};"
            f" received one on {lost}"
        )
    numbers = {own: number for number, own in enumerate(paths)}
    owners = np.array([numbers[meant[point.image] or paths[0]] for point in points], int)
    known: list[Any] = []
    for number, image in enumerate(images):
        of_image = owners == number
        with opened(image) as raster:
            known.append(raster.world_crs)
            positions[of_image] = np.stack(raster.to_world(*positions[of_image].T), axis=1)
    if all(crs == known[0] for crs in known):
        return positions, known[0]
    if None in known:
        raise DataError(
            f"{path}: expected images that all have a CRS, or none; received some with and some"
            " without. Write their points to two files"
        )
    for number, crs in enumerate(known):
        own = owners == number
        if own.any():
            positions[own] = np.stack(transformed(crs, _WGS84, *positions[own].T), axis=1)
    return positions, _WGS84
