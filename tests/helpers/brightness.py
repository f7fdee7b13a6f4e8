"""Images whose brightness is what is to be said of them, in a manifest."""

from pathlib import Path

import numpy as np
from PIL import Image

# A moment's training; from random weights.
RECIPE = {
    "backbone": {"name": "VGG16", "weights": "none", "layer": "block1_pool"},
    "head": {"dropout": 0},
    "augment": [],
    "training": {
        "batch_size": 16,
        "stages": [{"train": "head", "epochs": 1, "learning_rate": 1e-2}],
    },
}


def brightness_manifest(folder: Path, label, number=48, side=32) -> Path:
    """``folder/manifest.csv`` of grey images, labelled by a function of their level, 0..1."""
    rng, rows = np.random.default_rng(0), ["path,label,split"]
    folder.mkdir(parents=True)
    for index in range(number):
        level = rng.uniform(0.1, 0.9)
        pixels = np.clip(rng.normal(255 * level, 6, (side, side, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
        split = ("train", "train", "valid", "test")[index % 4]
        rows.append(f"{index}.png,{label(level, index)},{split}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder / "manifest.csv"


def slope(path: Path, width=120, height=60) -> Path:
    """An image that grows brighter from left to right."""
    levels = np.linspace(25, 230, width).astype(np.uint8)
    Image.fromarray(np.tile(levels[None, :, None], (height, 1, 3))).save(path)
    return path
