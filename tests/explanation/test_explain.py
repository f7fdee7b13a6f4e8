"""`tltool.explain` from files to files, on runs that are made in a moment."""

import csv
import json

import keras
import numpy as np
import pytest
from PIL import Image
from small_runs import ALIVE, PATCH, SEEN, ZOO, padded_run, small_run, write_bands

import tltool
from tltool.errors import DataError, ImageError, ModelError, OutputError, UsageError
from tltool.explanation.explainer import list_layers
from tltool.explanation.methods import maps_of
from tltool.raster import as_zoom, enlarge


def write_images(folder, number=3, side=PATCH, seed=0):
    """PNG files of blobs, and their pixels."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.kron(
        rng.integers(0, 255, (number, side // 4, side // 4, 3), np.uint8),
        np.ones((1, 4, 4, 1), np.uint8),
    )
    paths = [folder / f"{place}.png" for place in range(number)]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    return paths, pixels


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    model = small_run(folder / "run", ZOO)
    return folder / "run", model, *write_images(folder / "images")


def test_the_predicted_class_is_explained(zoo, tmp_path):
    run, model, paths, pixels = zoo
    done = tltool.explain(run, paths, tmp_path, raw="npy", batch_size=2)
    told = model.predict(pixels.astype("float32"), verbose=0)
    assert [each.label for each in done.images] == [ZOO.classes[k] for k in told.argmax(1)]
    np.testing.assert_allclose([e.probability for e in done.images], told.max(1), rtol=1e-4)
    maps = maps_of(model, pixels, told.argmax(1))
    for place, each in enumerate(done.images):
        assert (each.image, each.picture) == (paths[place], tmp_path / f"{place}.gradcam.png")
        stored = np.load(each.raw)
        assert stored.shape == (PATCH, PATCH)
        # 4 x 4 cells of 4 px, the first one's centre at 2 px: beyond it the value stays.
        np.testing.assert_allclose(stored[:2, :2], maps[place, 0, 0], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(stored[-2:, :2], maps[place, 3, 0], rtol=1e-3, atol=1e-5)
        picture = Image.open(each.picture)
        assert picture.mode == "RGB"
        assert picture.width > 2 * 448


def test_a_class_of_choice_and_a_tiff(zoo, tmp_path):
    run, model, paths, pixels = zoo
    done = tltool.explain(run, paths[:1], tmp_path, label="seal", raw="tiff")
    assert done.images[0].label == "seal"
    told = model.predict(pixels[:1].astype("float32"), verbose=0)[0]
    assert done.images[0].probability == pytest.approx(told[2], rel=1e-4)
    assert done.images[0].predicted == ZOO.classes[told.argmax()]
    with Image.open(tmp_path / "0.gradcam.tiff") as image:
        np.testing.assert_array_equal(np.asarray(image), done.images[0].map)


@pytest.mark.parametrize(("label", "sign"), [("yes", 1), ("no", -1)])
def test_both_classes_of_a_binary_task(tmp_path, label, sign):
    model = small_run(tmp_path / "run", ALIVE)
    paths, pixels = write_images(tmp_path / "images")
    done = tltool.explain(tmp_path / "run", paths, tmp_path / "out", label=label, method="cam")
    positive = model.predict(pixels.astype("float32"), verbose=0)[:, 0]
    expected = positive if sign > 0 else 1 - positive
    np.testing.assert_allclose([e.probability for e in done.images], expected, atol=1e-5)
    cams = maps_of(model, pixels, [0, 0, 0], "cam")
    shown = np.stack([each.map for each in done.images])
    np.testing.assert_allclose(shown.mean((1, 2)), sign * cams.mean((1, 2)), atol=1e-4)


def test_tasks_by_name(tmp_path):
    model = small_run(tmp_path / "run", ZOO, ALIVE, SEEN)
    paths, pixels = write_images(tmp_path / "images")
    done = tltool.explain(tmp_path / "run", paths, tmp_path / "out", task="label")
    told = model.predict(pixels.astype("float32"), verbose=0)["label"]
    assert [e.label for e in done.images] == [SEEN.classes[k] for k in told.argmax(1)]
    for task in (None, "zo"):
        with pytest.raises(UsageError, match="`task`: expected one of zoo, alive, label"):
            tltool.explain(tmp_path / "run", paths, tmp_path / "other", task=task)
    with pytest.raises(
        UsageError, match=r"expected one of no, yes; received yess\. Did you mean yes"
    ):
        tltool.explain(tmp_path / "run", paths, tmp_path / "other", task="alive", label="yess")


def test_a_map_is_of_the_window_before_the_enlargement(tmp_path):
    model = padded_run(tmp_path / "run", zoom=2.0)
    paths, pixels = write_images(tmp_path / "images", side=24)
    pool = next(p.path for p in list_layers(tmp_path / "run") if p.kind == "MaxPooling2D")
    done = tltool.explain(tmp_path / "run", paths, tmp_path / "out", layer=pool)
    assert done.layer == pool
    assert done.images[0].map.shape == (24, 24)
    seen = np.stack([enlarge(image, as_zoom(2)) for image in pixels])
    probability = model.predict(seen, verbose=0)[:, 0]
    expected = np.maximum(probability, 1 - probability)
    np.testing.assert_allclose([e.probability for e in done.images], expected, atol=1e-4)


def test_boxes_are_written_in_px_of_the_image(zoo, tmp_path):
    run, _, _, pixels = zoo
    # Wider than the window: its middle square is resized to half.
    wide = np.zeros((32, 48, 3), np.uint8)
    wide[:, 8:40] = np.kron(pixels[0], np.ones((2, 2, 1), np.uint8))
    path = tmp_path / "wide.png"
    Image.fromarray(wide).save(path)
    first = tltool.explain(run, [path], tmp_path / "one", boxes=True, label="bird")
    located = first.images[0].located
    assert located.size == (48, 32)
    inside = located.inside
    expected = (8 + 2 * inside.left, 2 * inside.top, 8 + 2 * inside.right, 2 * inside.bottom)
    box = located.box
    assert (box.left, box.top, box.right, box.bottom) == expected
    coco = json.loads((tmp_path / "one/boxes.json").read_text())
    (annotation,) = coco["annotations"]
    assert annotation["bbox"] == [box.left, box.top, box.right - box.left, box.bottom - box.top]
    assert coco["images"] == [{"id": 1, "file_name": str(path), "width": 48, "height": 32}]
    assert coco["categories"] == [{"id": 1, "name": "bird"}]
    truth = tmp_path / "truth.csv"
    corners = f"{box.left},{box.top},{box.right},{box.bottom}"
    truth.write_text(f"image,xmin,ymin,xmax,ymax,label\nwide.png,{corners},bird\n")
    again = tltool.explain(run, [path], tmp_path / "two", boxes=True, label="bird", truth=truth)
    assert (again.localisation.images, again.localisation.mean_iou) == (1, pytest.approx(1))
    assert (again.localisation.accuracy, again.localisation.accuracy_with_class) == (1, 1)
    (row,) = csv.DictReader((tmp_path / "two/boxes.csv").open())
    assert (float(row["xmin"]), row["label"], float(row["iou"])) == (box.left, "bird", 1)


def test_a_truth_file_of_points_or_of_other_images_is_refused(zoo, tmp_path):
    run, _, paths, _ = zoo
    truth = tmp_path / "truth.csv"
    for text, message in (
        ("image,x,y,label\n0.png,3,4,bird\n", "expected boxes, .* received points"),
        ("image,xmin,ymin,xmax,ymax\nother.png,1,1,2,2\n", "nothing in it lies on 0.png"),
        ("image,xmin,ymin,xmax,ymax\n0.png,5,1,2,2\n", "line 2, column xmin: expected xmin below"),
        ("image,xmin,ymin,xmax,ymax\n0.png,x,1,2,2\n", "expected four numbers for a box"),
        ("image,xmin,ymin\n0.png,1,1\n", "xmax, ymax is missing"),
    ):
        truth.write_text(text)
        with pytest.raises(DataError, match=message):
            tltool.explain(run, paths, tmp_path / "out", boxes=True, truth=truth)


def test_unreadable_images_are_left_out_and_named(zoo, tmp_path, caplog):
    run, _, paths, _ = zoo
    broken, other = tmp_path / "broken.png", tmp_path / "bands.tif"
    broken.write_bytes(b"no image")
    write_bands(other, 5, side=PATCH)
    done = tltool.explain(run, [*paths, broken, other], tmp_path / "out")
    assert len(done.images) == 3
    assert [str(error).split()[0].rstrip(":") for error in done.unreadable] == [
        str(broken),
        str(other),
    ]
    assert "left out" in caplog.text
    assert "expected 3 bands" in caplog.text
    with pytest.raises(ImageError, match=r"broken\.png"):
        tltool.explain(run, [broken], tmp_path / "only")
    with pytest.raises(ImageError, match=r"broken\.png"):
        tltool.explain(run, [*paths, broken], tmp_path / "strict", strict=True)


def test_images_of_one_name_keep_their_folders(zoo, tmp_path):
    run = zoo[0]
    for name in ("a", "b"):
        write_images(tmp_path / "images" / name, 1)
    for number, sources in enumerate(
        ([tmp_path / "images"], [tmp_path / "images/a", tmp_path / "images/b/0.png"])
    ):
        out = tmp_path / f"out{number}"
        tltool.explain(run, sources, out)
        found = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.png"))
        assert found == ["a/0.gradcam.png", "b/0.gradcam.png"]
    with pytest.raises(OutputError, match="exists already"):
        tltool.explain(run, [tmp_path / "images"], tmp_path / "out0")


def test_nan_outputs_name_the_image(tmp_path):
    model = small_run(tmp_path / "run", ZOO)
    for weight in model.weights:
        weight.assign(np.full(weight.shape, np.nan))
    model.save(tmp_path / "run/model.keras")
    paths, _ = write_images(tmp_path / "images")
    with pytest.raises(ModelError, match=r"received NaN .*0\.png"):
        tltool.explain(tmp_path / "run", paths, tmp_path / "out")


def test_choices_that_cannot_be_meant(zoo, tmp_path):
    run, model, paths, _ = zoo
    pool = model.layers[-2].name
    for message, options in (
        ("`method`: expected one of cam", {"method": "saliency"}),
        ("`raw`: expected one of npy, tiff", {"raw": "png"}),
        ("`box_threshold`: expected a share", {"boxes": True, "box_threshold": 20}),
        ("`truth`: expected `boxes=True`", {"truth": "boxes.csv"}),
        ("`layer`: expected the name of a layer", {"layer": "conv_9"}),
        ("expected a layer whose output is a map; .* 8. The last one", {"layer": pool}),
    ):
        with pytest.raises(UsageError, match=message):
            tltool.explain(run, paths, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_model_of_ones_own_that_was_converted(tmp_path):
    keras.utils.set_random_seed(1)
    backbone = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3, 2, "same", activation="relu")]
    )
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            backbone,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.save(tmp_path / "own.keras")
    tltool.convert(tmp_path / "own.keras", tmp_path / "run")
    paths, pixels = write_images(tmp_path / "images", side=32)
    done = tltool.explain(tmp_path / "run", paths, tmp_path / "out", method="cam")
    assert done.cells == (16, 16)
    told = model.predict(pixels.astype("float32"), verbose=0)
    assert [e.label for e in done.images] == [f"class_{k}" for k in told.argmax(1)]


def test_list_layers(zoo, tmp_path):
    found = list_layers(zoo[0])
    assert [layer.kind for layer in found] == ["Rescaling", "Conv2D"]
    assert [layer.path for layer in found] == [each.name for each in zoo[1].layers[1:3]]
    assert [layer.default for layer in found] == [False, True]
    assert (found[1].shape, found[1].cell_size, found[0].cell_size) == ((4, 4, 8), 4, 1)
    padded_run(tmp_path / "run", zoom=2.0)
    (last,) = [layer for layer in list_layers(tmp_path / "run") if layer.default]
    # The padded run sees 48 px of an image enlarged twice.
    assert last.cell_size * last.shape[0] == 24
