"""Small images in class folders and manifests, for runs of `small_runs`."""

from pathlib import Path

import numpy as np
from PIL import Image
from small_runs import PATCH


def picture(path: Path, seed: int, side: int = PATCH) -> Path:
    """An image of blobs."""
    rng = np.random.default_rng(seed)
    blobs, cell = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8), np.arange(side) * 5 // side
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(blobs[cell][:, cell]).save(path)
    return path


def class_folders(folder: Path, seed: int = 0, **numbers: int) -> Path:
    """``folder/<class>/*.png``."""
    for place, (name, number) in enumerate(numbers.items()):
        for i in range(number):
            picture(folder / name / f"{i}.png", 1000 * seed + 100 * place + i)
    return folder


def manifest(folder: Path, columns: str, rows: list[str], seed: int = 0) -> Path:
    """``folder/manifest.csv`` with an image for each row."""
    lines = [f"path,{columns}"]
    for i, row in enumerate(rows):
        picture(folder / f"{i}.png", 1000 * seed + i)
        lines.append(f"{i}.png,{row}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder / "manifest.csv"
