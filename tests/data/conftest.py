"""Photographs of noise, and tables of points on them."""

import numpy as np
import pytest
from patch_folders import HEIGHT, WIDTH
from PIL import Image

HEADER = "image,x,y,label\n"


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"photo{number}.png")
    return folder


@pytest.fixture
def csv_of(tmp_path):
    def write(rows, name="points.csv"):
        path = tmp_path / name
        path.write_text(HEADER + "".join(",".join(map(str, row)) + "\n" for row in rows))
        return path

    return write


@pytest.fixture
def scattered(csv_of):
    """Points over all photographs, edges and corners among them."""

    def write(images=4, number=14):
        rng = np.random.default_rng(5)
        rows = [
            (f"photo{image}.png", rng.integers(WIDTH), rng.integers(HEIGHT), "ab"[i % 2])
            for image in range(images)
            for i in range(number)
        ]
        corners = [(0, 0), (WIDTH - 1, 0), (0, HEIGHT - 1), (WIDTH - 1, HEIGHT - 1)]
        return csv_of(rows + [("photo0.png", *corner, "a") for corner in corners])

    return write
