import json
import logging
from collections import Counter, defaultdict

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from patch_folders import GEOREFERENCED, HEIGHT, WIDTH, assert_no_pixel_in_two_splits, manifest
from PIL import Image
from rasterio.transform import Affine
from rasters import write_raster

from tltool import patches
from tltool.annotations import Point, write_points
from tltool.data.patch_folder import MANIFEST_COLUMNS
from tltool.data.patches import draw_backgrounds
from tltool.errors import DataError, ImageError, OutputError, UsageError
from tltool.run.sidecar import Sidecar


def listed(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize(("size", "context"), [(8, 0), (9, 4), (16, 16), (33, 3), (48, 0)])
def test_no_pixel_in_two_splits_by_block(photos, scattered, tmp_path, images, size, context):
    made = patches(
        [photos], scattered(images), tmp_path / "out", size=size, context=context, split_by="block"
    )
    rows = manifest(tmp_path / "out")
    assert made.split_by == "block"
    assert_no_pixel_in_two_splits(rows)
    animals = [row for row in rows if row["label"] != "backgrounds"]
    assert len(animals) + made.dropped == images * 14 + 4
    if size + 2 * context < 40:
        assert {row["split"] for row in rows} == {"train", "valid", "test"}


@pytest.mark.parametrize(
    ("size", "context"),
    [(7, 1), *(pytest.param(*sides, marks=pytest.mark.slow) for sides in ((6, 0), (4, 5)))],
)
def test_no_pixel_in_two_splits_where_points_stand_at_every_pixel(
    photos, csv_of, tmp_path, size, context
):
    across = [("photo0.png", x, y, "a") for x in range(WIDTH) for y in (20, 100)]
    down = [("photo0.png", x, y, "a") for y in range(HEIGHT) for x in (30, 130)]
    options = {"size": size, "context": context, "backgrounds": 0}
    patches([photos], csv_of(across + down), tmp_path / "out", **options)
    rows = manifest(tmp_path / "out")
    assert_no_pixel_in_two_splits(rows)
    assert {row["split"] for row in rows} == {"train", "valid", "test"}


def test_no_image_in_two_splits_by_image(photos, scattered, tmp_path):
    made = patches([photos], scattered(), tmp_path / "out", size=16)
    splits = defaultdict(set)
    for row in manifest(tmp_path / "out"):
        splits[row["image"]].add(row["split"])
    assert made.split_by == "image"
    assert made.dropped == 0
    assert all(len(found) == 1 for found in splits.values())
    assert set.union(*splits.values()) == {"train", "valid", "test"}


@pytest.mark.parametrize(("images", "plan"), [(1, "block"), (2, "block"), (3, "image")])
def test_auto_takes_images_where_there_are_enough(photos, scattered, tmp_path, images, plan):
    made = patches([photos], scattered(images), tmp_path / "out", size=8)
    assert made.split_by == plan


@pytest.mark.parametrize(("size", "context"), [(8, 0), (9, 5), (32, 40)])
def test_patch_is_the_image_reflected_at_its_edges(photos, scattered, tmp_path, size, context):
    patches([photos], scattered(), tmp_path / "out", size=size, context=context)
    reach, side = 200, size + 2 * context
    over = Counter()
    for row in manifest(tmp_path / "out"):
        whole = np.asarray(Image.open(row["image"]))
        padded = np.pad(whole, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
        left, top = (round(float(row[axis])) - size // 2 - context for axis in "xy")
        expected = padded[top + reach :, left + reach :][:side, :side]
        np.testing.assert_array_equal(Image.open(tmp_path / "out" / row["path"]), expected)
        inside = left >= 0 and top >= 0 and left + side <= WIDTH and top + side <= HEIGHT
        assert row["reflected"] == str(int(not inside))
        over[inside] += 1
    assert over[True] > 0 or context == 40
    assert over[False] >= 4


def test_manifest_files_and_counts_agree(photos, scattered, tmp_path):
    out = tmp_path / "out"
    made = patches([photos], scattered(), out, size=12, context=2, backgrounds=2.0)
    rows = manifest(out)
    assert tuple(rows[0]) == MANIFEST_COLUMNS
    assert listed(out) == sorted(["manifest.csv", "patches.json", *(row["path"] for row in rows)])
    assert all(row["path"].startswith(f"{row['split']}/{row['label']}/") for row in rows)
    counted = Counter((row["split"], row["label"]) for row in rows)
    told = {(s, label): n for s, counts in made.counts.items() for label, n in counts.items()}
    assert told == counted
    assert made.reflected == sum(row["reflected"] == "1" for row in rows)
    facts = json.loads((out / "patches.json").read_text())
    sizes = {"patch": 12, "context": 2, "background": "backgrounds"}
    assert facts == {**sizes, "gsd": None, "blocks": None}


def test_points_on_one_place_are_cut_once_for_each_class(photos, csv_of, tmp_path):
    rows = [("photo0.png", 50, 60, "a"), ("photo0.png", 50, 60, "b"), ("photo0.png", 50.2, 60, "a")]
    options = {"size": 8, "backgrounds": 0, "split": (1.0, 0.0, 0.0)}
    made = patches([photos], csv_of(rows), tmp_path / "out", **options)
    assert made.counts == {"train": {"a": 1, "b": 1}}


def test_patches_of_points_that_share_a_pixel_have_names_of_their_own(photos, csv_of, tmp_path):
    rows = [("photo0.png", 49.6, 60, "a"), ("photo0.png", 50.4, 60, "a")]
    options = {"size": 8, "backgrounds": 0, "split": (1.0, 0.0, 0.0)}
    patches([photos], csv_of(rows), tmp_path / "out", **options)
    assert len(list((tmp_path / "out").rglob("*.png"))) == 2


def test_drawn_backgrounds_are_not_drawn_twice(csv_of, tmp_path):
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "small.png")
    points = csv_of([("small.png", 2, 2, "a"), ("small.png", 3, 2, "a")])
    made = patches(
        [tmp_path / "small.png"],
        points,
        tmp_path / "out",
        size=4,
        backgrounds=20.0,
        split=(1.0, 0.0, 0.0),
    )
    files = list((tmp_path / "out" / "train" / "backgrounds").iterdir())
    assert len(files) == made.counts["train"]["backgrounds"]


@pytest.mark.parametrize(("ratio", "distance"), [(1.0, None), (2.5, 5), (0.5, 20), (0.0, None)])
def test_backgrounds_stay_away_and_are_as_many_as_asked(
    photos, scattered, tmp_path, ratio, distance
):
    made = patches(
        [photos], scattered(), tmp_path / "out", size=6, backgrounds=ratio, distance=distance
    )
    rows = manifest(tmp_path / "out")
    places = defaultdict(list)
    for row in rows:
        kind = "background" if row["label"] == "backgrounds" else "animal"
        places[row["image"], kind].append((float(row["x"]), float(row["y"])))
    for (image, kind), found in places.items():
        if kind == "background":
            apart = np.abs(np.array(found)[:, None] - np.array(places[image, "animal"]))
            assert apart.max(axis=-1).min() >= (6 if distance is None else distance)
    for counts in made.counts.values():
        animals = counts["a"] + counts["b"]
        assert counts.get("backgrounds", 0) == pytest.approx(ratio * animals, abs=1)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 49), st.integers(0, 39)), max_size=20),
    st.floats(0, 60),
    st.integers(0, 99),
)
def test_drawn_positions_are_inside_and_away(points, distance, seed):
    rng = np.random.default_rng(seed)
    given_points = np.array(points, float).reshape(-1, 2)
    drawn = draw_backgrounds(given_points, (50, 40), 200, distance, rng)
    assert len(drawn) <= 200
    assert ((drawn >= 0) & (drawn < (50, 40))).all()
    if points and len(drawn):
        assert np.abs(drawn[:, None] - given_points).max(axis=-1).min() >= distance


def test_drawn_positions_reach_every_allowed_pixel():
    drawn = draw_backgrounds(np.array([[1.0, 1.0]]), (4, 3), 2000, 2, np.random.default_rng(0))
    assert {tuple(xy) for xy in drawn.tolist()} == {(3, 0), (3, 1), (3, 2)}


def test_too_few_places_for_backgrounds_is_told(photos, scattered, tmp_path, caplog):
    logging.getLogger("tltool").propagate = True
    with caplog.at_level(logging.WARNING, "tltool"):
        made = patches([photos], scattered(), tmp_path / "out", size=8, distance=150)
    assert "backgrounds" not in made.counts["train"]
    assert "photo0.png: only 0 of" in caplog.text
    assert "150 px away" in caplog.text


def test_background_rows_are_used_and_keep_no_distance(photos, csv_of, tmp_path):
    rows = [
        ("photo0.png", 80, 60, "a"),
        ("photo0.png", 84, 60, "sea"),
        ("photo0.png", 20, 20, "sea"),
    ]
    made = patches(
        [photos],
        csv_of(rows),
        tmp_path / "out",
        size=16,
        background="sea",
        backgrounds=0,
        split=(1.0, 0.0, 0.0),
    )
    assert made.counts == {"train": {"a": 1, "sea": 2}}
    assert json.loads((tmp_path / "out" / "patches.json").read_text())["background"] == "sea"


def test_background_rows_do_not_ask_for_more_backgrounds(photos, csv_of, tmp_path):
    rows = [("photo0.png", 80, 60, "a"), ("photo0.png", 20, 20, "backgrounds")]
    made = patches([photos], csv_of(rows), tmp_path / "out", size=8, split=(1.0, 0.0, 0.0))
    assert made.counts == {"train": {"a": 1, "backgrounds": 2}}


@pytest.mark.parametrize("split_by", ["image", "block"])
def test_same_seed_same_patches(photos, scattered, tmp_path, split_by):
    points = scattered()
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        patches([photos], points, tmp_path / name, size=8, seed=seed, split_by=split_by)
    one, two, three = (manifest(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    assert one != three


@pytest.mark.parametrize(("x", "y"), [(WIDTH, 5), (-1, 5), (5, HEIGHT), (5, -0.5), (1234567, 5)])
def test_point_outside_is_named_with_its_line(photos, csv_of, tmp_path, x, y):
    points = csv_of([("photo1.png", 5, 5, "a"), ("photo1.png", x, y, "a")])
    with pytest.raises(
        DataError, match=r"points\.csv, line 3: point .* outside photo1\.png.*160 x"
    ):
        patches([photos], points, tmp_path / "out", size=8)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["points.csv"]


def test_image_smaller_than_the_patch_is_named(photos, csv_of, tmp_path):
    points = csv_of([("photo0.png", 5, 5, "a")])
    with pytest.raises(
        DataError, match=r"photo0\.png is 160 x 120 px, smaller than a patch of 121"
    ):
        patches([photos], points, tmp_path / "out", size=121)
    patches([photos], points, tmp_path / "out", size=120)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_unreadable_image_leaves_nothing(photos, csv_of, tmp_path):
    write_raster(tmp_path / "odd.tif", np.zeros((1, 50, 50), np.float32))
    points = csv_of([("photo0.png", 5, 5, "a"), ("odd.tif", 5, 5, "a")])
    message = r"odd\.tif: expected 8 or 16 bits a band, received float32"
    with pytest.raises(ImageError, match=message):
        patches([photos, tmp_path / "odd.tif"], points, tmp_path / "out", size=8)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["odd.tif", "points.csv"]


def test_run_tells_size_context_and_background(photos, scattered, tmp_path):
    (tmp_path / "run").mkdir()
    classes = ["a", "b", "sea"]
    sidecar = Sidecar(classes=classes, background="sea", patch=20, context=6, input_side=32)
    sidecar.save(tmp_path / "run" / "model.keras")
    patches([photos], scattered(), tmp_path / "out", run=tmp_path / "run")
    rows = manifest(tmp_path / "out")
    assert {(row["size"], row["context"]) for row in rows} == {("20", "6")}
    assert {row["label"] for row in rows} == set(classes)
    patches([photos], scattered(), tmp_path / "bare", run=tmp_path / "run", context=0)
    assert {row["context"] for row in manifest(tmp_path / "bare")} == {"0"}


def test_label_that_the_run_does_not_know_is_named_with_its_line(photos, csv_of, tmp_path):
    sidecar = Sidecar(classes=["a", "sea"], patch=20, input_side=20)
    sidecar.save(tmp_path / "model.keras")
    points = csv_of([("photo0.png", 5, 5, "a"), ("photo0.png", 5, 5, "whale")])
    with pytest.raises(
        DataError, match=r"line 3: label 'whale' is unknown to the run\. Known: a, sea"
    ):
        patches([photos], points, tmp_path / "out", run=tmp_path)


def test_two_images_of_one_name_are_refused(photos, csv_of, tmp_path):
    points = csv_of([("photo0.png", 5, 5, "a")])
    with pytest.raises(DataError, match=r"two images are called photo0\.png"):
        patches([photos, photos / "photo0.png"], points, tmp_path / "out", size=8)


def test_images_of_one_stem_keep_all_their_patches(photos, csv_of, tmp_path):
    for suffix in ("png", "tif"):
        Image.open(photos / "photo0.png").save(tmp_path / f"same.{suffix}")
    points = csv_of([("same.png", 50, 50, "a"), ("same.tif", 50, 50, "a")])
    made = patches(
        [tmp_path], points, tmp_path / "out", size=8, backgrounds=0, split=(1.0, 0.0, 0.0)
    )
    assert made.counts == {"train": {"a": 2}}
    assert len(list((tmp_path / "out").rglob("*.png"))) == 2


def test_existing_output_needs_overwrite(photos, scattered, tmp_path):
    points, out = scattered(), tmp_path / "out"
    patches([photos], points, out, size=8)
    before = listed(out)
    with pytest.raises(OutputError, match=r"exists already.*overwrite=True"):
        patches([photos], points, out, size=10)
    assert listed(out) == before
    patches([photos], points, out, size=10, overwrite=True)
    assert {row["size"] for row in manifest(out)} == {"10"}
    assert len(listed(out)) == len(manifest(out)) + 2


def test_empty_folder_may_be_written(photos, scattered, tmp_path):
    (tmp_path / "out").mkdir()
    patches([photos], scattered(), tmp_path / "out", size=8)
    assert manifest(tmp_path / "out")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_output_of_others_is_never_replaced(photos, scattered, tmp_path, kind, overwrite):
    out, points = tmp_path / "mine", scattered()
    mine = out
    if kind == "folder":
        out.mkdir()
        mine = out / "thesis.txt"
    mine.write_text("years of work")
    with pytest.raises(OutputError):
        patches([photos], points, out, size=8, overwrite=overwrite)
    assert mine.read_text() == "years of work"


def test_by_image_needs_enough_images(photos, scattered, tmp_path):
    with pytest.raises(UsageError, match="expected 3 annotated images or more, received 2"):
        patches([photos], scattered(2), tmp_path / "out", split_by="image")
    made = patches(
        [photos], scattered(2), tmp_path / "out", size=8, split_by="image", split=(0.5, 0.5, 0.0)
    )
    assert set(made.counts) == {"train", "valid"}


@pytest.mark.parametrize("split", [(60, 20, 20), (0.5, 0.2, 0.2), (1.5, -0.5, 0), (0, 0.5, 0.5)])
def test_shares_that_do_not_add_up_are_refused(photos, scattered, tmp_path, split):
    with pytest.raises(UsageError, match="split"):
        patches([photos], scattered(), tmp_path / "out", size=8, split=split)


def test_unknown_way_to_split_is_refused(photos, scattered, tmp_path):
    with pytest.raises(UsageError, match="auto, image, block"):
        patches([photos], scattered(), tmp_path / "out", size=8, split_by="blocks")


def test_ground_sample_distance_travels_where_images_agree(csv_of, tmp_path):
    for name, side in (("one", 0.25), ("two", 0.25), ("three", 0.5)):
        profile = {"width": 40, "height": 40, "count": 3, "dtype": "uint8", "crs": "EPSG:32633"}
        transform = Affine(side, 0, 5e5, 0, -side, 6e6)
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", driver="GTiff", transform=transform, **profile
        ) as file:
            file.write(np.zeros((3, 40, 40), np.uint8))
    for images, gsd in ((("one", "two"), 0.25), (("one", "three"), None)):
        points = csv_of([(f"{name}.tif", 20, 20, "a") for name in images])
        out = tmp_path / "-".join(images)
        paths = [tmp_path / f"{name}.tif" for name in images]
        patches(paths, points, out, size=8, split=(1.0, 0.0, 0.0))
        assert json.loads((out / "patches.json").read_text())["gsd"] == gsd


def test_points_of_a_map_are_cut(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (3, 60, 60), dtype=np.uint8)
    image = write_raster(tmp_path / "a.tif", pixels, ("red", "green", "blue"), **GEOREFERENCED)
    points = [Point("a.tif", 20.25, 31, "seal"), Point("a.tif", 40, 11, "seal")]
    options = {"size": 8, "split": (1.0, 0.0, 0.0), "backgrounds": 0}
    for name in ("points.geojson", "points.gpkg", "points.json", "points.csv"):
        found = write_points(tmp_path / name, points, [image])
        patches([image], found, tmp_path / f"{name} out", **options)
        rows = manifest(tmp_path / f"{name} out")
        assert {(r["x"], r["y"]) for r in rows} == {("20.25", "31"), ("40", "11")}


def test_points_in_memory_are_cut_from_a_single_image(photos, csv_of, tmp_path):
    xy = np.array([(50, 60), (20.5, 30), (120, 100), (90, 20), (40, 110)])
    image = photos / "photo0.png"
    labels = ["seal", "seal", "pup", "seal", "pup"]
    written = csv_of([("photo0.png", *xy[i], labels[i]) for i in range(5)])
    patches(str(image), written, tmp_path / "file", size=8)
    columns = {"x": xy[:, 0], "y": xy[:, 1], "label": labels}
    for name, points in (
        (
            "points",
            [Point("photo0", *place, label) for place, label in zip(xy, labels, strict=True)],
        ),
        ("columns", columns),
        ("array", xy),
    ):
        made = patches(
            image, points, tmp_path / name, size=8, labels=labels if name == "array" else None
        )
        assert made.split_by == "block"
        rows = [{**row, "source": ""} for row in manifest(tmp_path / name)]
        expected = [{**row, "source": ""} for row in manifest(tmp_path / "file")]
        assert rows == expected
    with pytest.raises(DataError, match=r"`points`, row 0: point \(5000, 5\) lies outside photo0"):
        patches(image, [(5000, 5)], tmp_path / "out", labels="seal")
