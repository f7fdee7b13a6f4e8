"""The boxes of maps as COCO and as a table."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tltool.explanation.explained import Explained
from tltool.files import atomic_path, write_text

COCO_NAME, CSV_NAME = "boxes.json", "boxes.csv"
COLUMNS = ("image", "xmin", "ymin", "xmax", "ymax", "label", "score", "iou")


def _coco(found: Sequence[Explained]) -> dict[str, Any]:
    """Images, categories and an annotation for each box; its score is the class's probability."""
    names = sorted({each.class_name for each in found})
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, each in enumerate(found, 1):
        assert each.located is not None
        width, height = each.located.size
        images.append(
            {"id": number, "file_name": str(each.image), "width": width, "height": height}
        )
        box = each.located.box
        if box is not None:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": names.index(each.class_name) + 1,
                    "bbox": [box.left, box.top, box.right - box.left, box.bottom - box.top],
                    "area": box.area,
                    "iscrowd": 0,
                    "score": each.probability,
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    return {"images": images, "categories": categories, "annotations": annotations}


def _row(each: Explained) -> list[Any]:
    assert each.located is not None
    box, iou = each.located.box, each.located.iou
    corners = [f"{c:g}" for c in (box.left, box.top, box.right, box.bottom)] if box else [""] * 4
    told = [each.class_name, f"{each.probability:.6g}", "" if iou is None else f"{iou:.6g}"]
    return [each.image, *corners, *told]


def write_boxes(folder: Path, found: Sequence[Explained]) -> list[Path]:
    """Write ``boxes.json``, as COCO has it, and ``boxes.csv``; px of the images.

    Parameters
    ----------
    folder : Path
    found : sequence of Explained
        With boxes.

    References
    ----------
    https://cocodataset.org/#format-data
    """
    coco, table = folder / COCO_NAME, folder / CSV_NAME
    write_text(coco, json.dumps(_coco(found)) + "\n")
    with atomic_path(table) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_row(each) for each in found)
    return [coco, table]
