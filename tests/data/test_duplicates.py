import io

import cv2
import numpy as np
import pytest
from PIL import Image

from tltool.data.duplicates import Pair, near_duplicates, perceptual_hashes

SIDE = 96


def pictures(number, seed=0, side=SIDE, bands=3):
    """Coloured noise with the spectrum of photographs."""
    rng = np.random.default_rng(seed)
    row, column = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    fall = 1 / np.maximum(np.hypot(row, column), 1 / side)
    waves = np.fft.fft2(rng.normal(size=(number, bands, side, side))) * fall
    values = np.fft.ifft2(waves).real
    values = 128 + 40 * values / values.std(axis=(2, 3), keepdims=True)
    return np.clip(values, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def encoded(image, quality):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def halved(image):
    return np.asarray(Image.fromarray(image).resize((SIDE // 2,) * 2))


COPIES = {
    "the same": lambda image: image,
    "JPEG 75": lambda image: encoded(image, 75),
    "JPEG 30": lambda image: encoded(image, 30),
    "half the size": halved,
    "brighter": lambda image: np.clip(image * 1.2, 0, 255).astype(np.uint8),
    "lighter": lambda image: np.clip(image.astype(int) + 25, 0, 255).astype(np.uint8),
    "darker JPEG": lambda image: encoded((image * 0.85).astype(np.uint8), 50),
}


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_changed_copies_are_found(change):
    train, others = pictures(60), pictures(30, seed=1)
    copies = np.stack([change(train[place]) for place in (5, 17, 40)])
    test = np.concatenate([change(others[0])[None], copies, [change(i) for i in others[1:]]])
    found = near_duplicates({"train": train, "valid": pictures(5, seed=2), "test": test})
    assert [(p.split_a, p.index_a, p.split_b, p.index_b) for p in found] == [
        ("train", 5, "test", 1),
        ("train", 17, "test", 2),
        ("train", 40, "test", 3),
    ]
    assert all(0 <= pair.distance <= 10 for pair in found)


@pytest.mark.parametrize("bands", [1, 3, 6])
@pytest.mark.parametrize("side", [12, 32, 50])
def test_any_size_and_number_of_bands(bands, side):
    train = pictures(20, side=side, bands=bands)
    assert near_duplicates({"train": train, "test": train[7:8]}) == [Pair("train", 7, "test", 0, 0)]


def test_copies_inside_a_split_are_nobody_s_leak():
    train = pictures(6)
    assert near_duplicates({"train": np.concatenate([train, train]), "test": pictures(6, 9)}) == []


def test_closest_copy_is_named_once():
    train = pictures(8)
    train[2] = encoded(train[6], 30)
    assert near_duplicates({"train": train, "test": train[6:7]}) == [Pair("train", 6, "test", 0, 0)]


def test_copy_between_valid_and_test_is_found():
    images = pictures(6)
    (pair,) = near_duplicates({"train": images[:2], "valid": images[2:5], "test": images[4:]})
    assert (pair.split_a, pair.index_a, pair.split_b, pair.index_b) == ("valid", 2, "test", 0)


def test_plain_images_are_no_copies():
    rng = np.random.default_rng(0)
    water = rng.normal(90, 2, (40, SIDE, SIDE, 3)).astype(np.uint8)
    assert near_duplicates({"train": water[:20], "test": water[20:]}) == []


def test_sand_is_no_copy():
    rng = np.random.default_rng(0)
    sand = rng.normal(150, 30, (80, SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)
    smooth = np.stack([cv2.GaussianBlur(image, (0, 0), 6) for image in sand]) * 1.0
    smooth = np.clip(150 + 4 * (smooth - 150), 0, 255).astype(np.uint8)
    assert near_duplicates({"train": smooth[:40], "test": smooth[40:]}) == []


@pytest.mark.parametrize("empty", ["train", "test"])
def test_empty_split_has_no_copies(empty):
    images = {"train": pictures(3), "test": pictures(3)}
    images[empty] = images[empty][:0]
    assert near_duplicates(images) == []


def test_hash_is_of_the_shape_not_of_the_brightness():
    squares = pictures(5, side=32).mean(axis=3)
    hashes = perceptual_hashes(squares)
    assert hashes.dtype == np.uint64
    assert len(set(hashes.tolist())) == 5
    np.testing.assert_array_equal(perceptual_hashes(squares * 0.5 + 20), hashes)
    assert set(np.bitwise_count(hashes).tolist()) == {32}


def test_hashes_are_compared_in_blocks(monkeypatch):
    monkeypatch.setattr("tltool.data.duplicates._AT_ONCE", 50)
    train = pictures(20)
    found = near_duplicates({"train": train, "test": train[::-1]})
    assert [(pair.index_a, pair.index_b) for pair in found] == [(19 - i, i) for i in range(20)]


def test_patches_of_one_photograph_are_no_copies(shared):
    folder = shared / "sealion" / "patches"
    images = {
        split: np.stack(
            [np.asarray(Image.open(path)) for path in sorted((folder / split).glob("*/*.png"))]
        )
        for split in ("train", "valid", "test")
    }
    assert near_duplicates(images) == []
    images["test"] = np.stack([encoded(image, 60) for image in images["train"][::3]])
    found = near_duplicates(images)
    assert len(found) >= 0.95 * len(images["test"])
    assert all(pair.index_a == 3 * pair.index_b for pair in found)
