"""What is found for one image, and the boxes of many as COCO and as a table."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tltool.explanation.boxes import Box
from tltool.explanation.picture import draw_explanation
from tltool.files import atomic_path, write_text
from tltool.pictures.notebook import picture_html


@dataclass(frozen=True)
class Located:
    """The box of a map.

    Attributes
    ----------
    box : Box or None
        px of the image; None: the map has no positive value.
    inside : Box or None
        The same in px of the window that the network sees.
    true : list of Box
        The true ones there.
    size : (int, int)
        Width and height of the image.
    iou : float or None
        Overlap with the true box that fits best; None: there is none.
    right : bool or None
        Whether the class is that box's; None: not known.
    """

    box: Box | None
    inside: Box | None
    true: list[Box]
    size: tuple[int, int]
    iou: float | None
    right: bool | None


@dataclass(frozen=True)
class Explained:
    """The explanation of an image: where the network sees a class in it.

    Attributes
    ----------
    image : Path or str
        Path of the image; of one in memory ``image <index>``.
    label : str
        The class that the map is of.
    probability : float
    predicted : str
        The most probable class.
    predicted_probability : float
    map : (side, side) float32 array
        In px of the window that the network sees, as the method gives it, not
        scaled.
    pixels : (side, side, bands) uint8 array
        What the network sees of the image.
    method, layer : str
    patch : Box or None
        What of the window is predicted; None: all of it.
    picture, raw : Path or None
        Files that were written.
    located : Located or None
        None: boxes were not asked for.
    """

    image: Path | str
    label: str
    probability: float
    predicted: str
    predicted_probability: float
    map: np.ndarray
    pixels: np.ndarray
    method: str
    layer: str
    patch: Box | None = None
    picture: Path | None = None
    raw: Path | None = None
    located: Located | None = None

    def __repr__(self) -> str:
        return (
            f"<Explained {self.image}: {self.label} {self.probability:.2f}, {self.method} at"
            f" {self.layer}>"
        )

    def to_image(self) -> Image.Image:
        """Draw what the network sees beside the same under the heat of the map."""
        heading = f"{self.label} {self.probability:.2f}"
        if self.predicted != self.label:
            heading += f" (most probable: {self.predicted} {self.predicted_probability:.2f})"
        name = self.image.name if isinstance(self.image, Path) else self.image
        heat = np.maximum(self.map, 0)
        highest = heat.max()
        return draw_explanation(
            self.pixels,
            heat / highest if highest > 0 else heat,
            [heading, f"{name}, {self.method}, {self.layer}"],
            patch=self.patch,
            found=self.located.inside if self.located else None,
            true=self.located.true if self.located else (),
        )

    def _repr_html_(self) -> str:
        return picture_html(self.to_image())


COCO_NAME, CSV_NAME = "boxes.json", "boxes.csv"
COLUMNS = ("image", "xmin", "ymin", "xmax", "ymax", "label", "score", "iou")


def write_boxes(folder: Path, found: Sequence[Explained]) -> list[Path]:
    """Write ``boxes.json``, as COCO has it, and ``boxes.csv``; px of the images.

    Parameters
    ----------
    folder : Path
    found : sequence of Explained
        Images with boxes.

    References
    ----------
    https://cocodataset.org/#format-data
    """
    names = sorted({each.label for each in found})
    categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    rows: list[list[Any]] = []
    for number, each in enumerate(found, 1):
        assert each.located is not None
        (width, height), box, iou = each.located.size, each.located.box, each.located.iou
        corners: Sequence[str] = [""] * 4
        images.append(
            {"id": number, "file_name": str(each.image), "width": width, "height": height}
        )
        if box is not None:
            corners = [f"{edge:g}" for edge in (box.left, box.top, box.right, box.bottom)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": names.index(each.label) + 1,
                    "bbox": [box.left, box.top, box.right - box.left, box.bottom - box.top],
                    "area": box.area,
                    "iscrowd": 0,
                    "score": each.probability,
                }
            )
        overlap = "" if iou is None else f"{iou:.6g}"
        rows.append([each.image, *corners, each.label, f"{each.probability:.6g}", overlap])
    coco, table = folder / COCO_NAME, folder / CSV_NAME
    content = {"images": images, "categories": categories, "annotations": annotations}
    write_text(coco, json.dumps(content) + "\n")
    with atomic_path(table) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([COLUMNS, *rows])
    return [coco, table]
