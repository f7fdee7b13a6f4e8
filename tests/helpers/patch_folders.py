"""What tests ask of folders of patches."""

import csv
from collections import defaultdict

import numpy as np
from rasterio.transform import Affine

# Of the photographs, px.
WIDTH, HEIGHT = 160, 120

GEOREFERENCED = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 5e5, 0, -0.5, 6e6)}


def manifest(folder):
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def window(row):
    """First and one past the last pixel of a patch with context, clipped to the image."""
    size, context = int(row["size"]), int(row["context"])
    first = np.array([round(float(row[axis])) - size // 2 - context for axis in "xy"])
    return np.maximum(first, 0), np.minimum(first + size + 2 * context, (WIDTH, HEIGHT))


def assert_no_pixel_in_two_splits(rows):
    by_image = defaultdict(list)
    for row in rows:
        by_image[row["image"]].append((row["split"], *window(row)))
    for windows in by_image.values():
        for split, first, last in windows:
            for other, low, high in windows:
                shared = np.all((first < high) & (low < last))
                assert split == other or not shared
