import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tltool.annotations import Point
from tltool.data.patch_folder import Addition, KnownSplits, extend_patches
from tltool.data.patches import patches
from tltool.data.splits import SPLITS
from tltool.errors import DataError

SIDE = 240


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """A photograph with a lattice of points."""
    folder = tmp_path_factory.mktemp("survey")
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "shore.png")
    rows = [f"shore.png,{x},{y},seal" for x in range(10, SIDE, 20) for y in range(10, SIDE, 40)]
    (folder / "points.csv").write_text("\n".join(["image,x,y,label", *rows]) + "\n")
    return folder


@pytest.fixture
def data(survey, tmp_path):
    patches([survey], survey / "points.csv", tmp_path / "data", size=8, context=2)
    return tmp_path / "data"


def rows_of(folder):
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def bytes_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def mined(survey, x, y, split="train"):
    point = Point("shore.png", x, y, "backgrounds", 0.875, "mined: round 1")
    return Addition(survey / "shore.png", point, split)


def test_a_folder_grows_by_patches_that_say_where_they_are_from(survey, data):
    before = rows_of(data)
    made = extend_patches(data, [mined(survey, 99, 30), mined(survey, 20, 12)], data)
    after = rows_of(data)
    assert made.counts == {"train": {"backgrounds": 2}}
    assert [row for row in after if row["score"] == ""] == before
    new = [row for row in after if row["score"]]
    assert [(row["x"], row["source"], row["score"]) for row in new] == [
        ("20", "mined: round 1", "0.875"),
        ("99", "mined: round 1", "0.875"),
    ]
    whole = np.asarray(Image.open(survey / "shore.png"))
    np.testing.assert_array_equal(Image.open(data / new[0]["path"]), whole[6:18, 14:26])


def test_the_folder_that_is_enlarged_elsewhere_stays_as_it_is(survey, data, tmp_path):
    before = bytes_of(data)
    extend_patches(data, [mined(survey, 99, 30)], tmp_path / "more")
    assert bytes_of(data) == before
    assert len(rows_of(tmp_path / "more")) == len(rows_of(data)) + 1


def test_sources_of_points_and_drawn_backgrounds_are_told(data):
    sources = {row["label"]: row["source"] for row in rows_of(data)}
    assert sources["backgrounds"] == "drawn"
    assert "points.csv" in sources["seal"]


def test_a_folder_of_other_patches_is_refused(tmp_path):
    (tmp_path / "seal").mkdir()
    with pytest.raises(DataError, match=r"expected patches that `tltool.patches\(\)` cut \(with"):
        extend_patches(tmp_path, [], tmp_path / "out")


def test_blocks_of_a_divided_image_are_remembered(survey, data):
    known = KnownSplits.load(data)
    image = survey / "shore.png"
    rows = rows_of(data)
    places = np.array([(float(row["x"]), float(row["y"])) for row in rows])
    told = known.assign(image, np.round(places), margin=6)
    assert [SPLITS[k] for k in told] == [row["split"] for row in rows]
    everywhere = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), -1).reshape(-1, 2)
    found = known.assign(image, everywhere)
    assert set(found) == {0, 1, 2}
    assert -1 in known.assign(image, everywhere, margin=6)
    assert known.trained_on(image)
    assert set(known.assign(survey / "other.png", everywhere)) == {-1}
    assert not KnownSplits.load(survey).trained_on(image)


def test_whole_images_are_of_the_split_of_their_patches(survey, tmp_path):
    for name in ("b", "c"):
        (tmp_path / f"{name}.png").write_bytes((survey / "shore.png").read_bytes())
    (tmp_path / "a.png").write_bytes((survey / "shore.png").read_bytes())
    rows = [f"{name}.png,{x},50,seal" for name in "abc" for x in (30, 90)]
    (tmp_path / "points.csv").write_text("\n".join(["image,x,y,label", *rows]) + "\n")
    patches([tmp_path], tmp_path / "points.csv", tmp_path / "data", size=8, split_by="image")
    known = KnownSplits.load(tmp_path / "data")
    trained = {image for image in "abc" if known.trained_on(tmp_path / f"{image}.png")}
    by_row = {row["image"]: row["split"] for row in rows_of(tmp_path / "data")}
    assert len(by_row) == 3
    assert trained == {Path(i).stem for i, split in by_row.items() if split == "train"}
    for image, split in by_row.items():
        found = known.assign(tmp_path / image, np.array([(1, 1), (200, 9)]), margin=100)
        assert [SPLITS[k] for k in found] == [split, split]
