import csv
import shutil

import numpy as np
import pytest

from tltool.data.dataset import PatchFacts
from tltool.data.patch_folder import CUT_COLUMNS, KnownSplits

BLOCKS = {"train": [None, None, 60.0, None], "valid": [60.0, None, None, 40.0]}


@pytest.fixture
def folder(tmp_path):
    """Patches of a divided image, one for training and one held out."""
    images = {name: tmp_path / f"{name}.tif" for name in ("divided", "trained", "held_out")}
    splits = (
        ("divided", "train"),
        ("divided", "valid"),
        ("trained", "train"),
        ("held_out", "test"),
    )
    data = tmp_path / "data"
    data.mkdir()
    with (data / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(CUT_COLUMNS)
        for name, split in splits:
            writer.writerow(("p.png", split, "seal", images[name].resolve(), 5, 5, 16, 0, 0))
    PatchFacts(16, 0, "none", blocks={str(images["divided"].resolve()): BLOCKS}).save(data)
    return data


def test_places_have_the_split_of_their_block_or_image(folder):
    known, place = KnownSplits.load(folder), folder.parent
    at = np.array([[10.0, 90], [70, 10], [70, 90], [59, 10]])
    assert known.assign(place / "divided.tif", at).tolist() == [0, 1, -1, 0]
    assert known.assign(place / "divided.tif", at, margin=5).tolist() == [0, 1, -1, -1]
    assert known.assign(place / "trained.tif", at).tolist() == [0] * 4
    assert known.assign(place / "held_out.tif", at).tolist() == [2] * 4
    assert known.assign(place / "other.tif", at).tolist() == [-1] * 4


def test_images_that_were_trained_on_at_least_in_part(folder):
    known = KnownSplits.load(folder)
    names = ("divided", "trained", "held_out", "other")
    told = [known.trained_on(folder.parent / f"{name}.tif") for name in names]
    assert told == [True, True, False, False]


def test_of_data_that_are_gone_nothing_is_known(folder):
    shutil.rmtree(folder)
    assert KnownSplits.load(folder) == KnownSplits({}, {})
