"""Points in COCO's JSON: keypoints and boxes."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tltool.annotations.point import Point, as_score, make_point
from tltool.errors import DataError

logger = logging.getLogger(__name__)

KEYS = ("images", "annotations", "categories")


def read_coco(document: dict[str, Any], path: Path) -> list[Point]:
    """Points of a document with images, annotations and categories.

    An annotation stands at the mean of its visible keypoints, else at the
    centre of its box. One of a crowd (``iscrowd``) is no single animal and is
    left out, with a warning.

    Parameters
    ----------
    document : dict
    path : Path
        Where it comes from, for messages.

    Raises
    ------
    DataError
        An image or category that is not listed, or neither keypoints nor box.

    References
    ----------
    https://cocodataset.org/#format-data
    """
    images = _by_id(document, "images", "file_name", path)
    names = _by_id(document, "categories", "name", path)
    points, crowds = [], 0
    for number, found in enumerate(_listed(document, "annotations", path)):
        where = f"{path}, annotation {number}"
        if isinstance(found, dict) and found.get("iscrowd"):
            crowds += 1
            continue
        image = _named(found, "image_id", images, where)
        label = _named(found, "category_id", names, where)
        position, score = _position(found, where), as_score(found.get("score"), where)
        points.append(make_point(where, image, position, label, score))
    if crowds:
        logger.warning(
            "%s: %d annotations of crowds are left out: they have no position", path, crowds
        )
    return points


def _listed(document: dict[str, Any], key: str, path: Path) -> list[Any]:
    found = document.get(key)
    if not isinstance(found, list):
        raise DataError(f"{path}: expected a list of {key}, as COCO has it, received {found!r:.60}")
    return found


def _by_id(document: dict[str, Any], key: str, name: str, path: Path) -> dict[Any, str]:
    found = {}
    for number, thing in enumerate(_listed(document, key, path)):
        try:
            found[thing["id"]] = str(thing[name])
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{path}, {key} {number}: expected an id and a {name}, received {thing!r:.60}"
            ) from error
    return found


def _named(annotation: Any, key: str, names: dict[Any, str], where: str) -> str:
    try:
        return names[annotation[key]]
    except (KeyError, TypeError) as error:
        received = annotation.get(key) if isinstance(annotation, dict) else annotation
        raise DataError(
            f"{where}: expected the {key} of a listed one, received {received!r:.60}"
        ) from error


def _position(annotation: dict[str, Any], where: str) -> tuple[float, float]:
    try:
        joints = annotation.get("keypoints") or []
        triples = [joints[i : i + 3] for i in range(0, len(joints), 3)]
        seen = [(float(x), float(y)) for x, y, visible in triples if visible > 0]
        if seen:
            return sum(x for x, _ in seen) / len(seen), sum(y for _, y in seen) / len(seen)
        left, top, width, height = map(float, annotation["bbox"])
    except (KeyError, TypeError, ValueError) as error:
        given = {key: annotation[key] for key in ("keypoints", "bbox") if key in annotation}
        raise DataError(
            f"{where}: expected keypoints (x, y, visibility, ...) of which one is visible, or a"
            f" bbox (x, y, width, height), received {given or sorted(annotation)!r:.80}"
        ) from error
    return left + width / 2, top + height / 2


def write_coco(path: Path, points: Sequence[Point], sizes: Mapping[str, tuple[int, int]]) -> None:
    """Write each point as an annotation with one keypoint.

    Parameters
    ----------
    path : Path
    points : sequence of Point
    sizes : mapping of image name to (width, height), px
        Sizes of the images where known, among them images without points.
    """
    images = list(dict.fromkeys([*sizes, *(point.image for point in points)]))
    labels = sorted({point.label for point in points})
    image_ids = {name: number for number, name in enumerate(images, 1)}
    ids = {name: number for number, name in enumerate(labels, 1)}
    document: dict[str, list[dict[str, Any]]] = {
        "images": [{"id": image_ids[name], "file_name": name} for name in images],
        "categories": [
            {"id": ids[name], "name": name, "keypoints": ["centre"], "skeleton": []}
            for name in labels
        ],
        "annotations": [
            {
                "id": number,
                "image_id": image_ids[point.image],
                "category_id": ids[point.label],
                "iscrowd": 0,
                "keypoints": [point.x, point.y, 2],
                "num_keypoints": 1,
                # Readers of COCO ask for a box and its area; a point has none of either.
                "bbox": [point.x, point.y, 0, 0],
                "area": 0,
                **({} if point.score is None else {"score": point.score}),
            }
            for number, point in enumerate(points, 1)
        ],
    }
    for image in document["images"]:
        if image["file_name"] in sizes:
            image["width"], image["height"] = sizes[image["file_name"]]
    path.write_text(json.dumps(document), encoding="utf-8")
