"""`tltool.tune_count`: the choice, where it is stored, and what it is made on."""

import csv
import json
import shutil

import pytest
from painted import ANIMALS, paint, write_csv

import tltool
from tltool.counting import tune as tuning
from tltool.data.dataset import PatchFacts
from tltool.data.patch_folder import CUT_COLUMNS
from tltool.errors import DataError, UsageError
from tltool.run.sidecar import load_sidecar


@pytest.fixture
def truth(tmp_path):
    """Of the four animals all but one pup."""
    return write_csv(tmp_path / "truth.csv", ANIMALS[:3])


def test_the_choice_is_stored_in_both_sidecars_and_used(run, image, maps, truth, tmp_path):
    tuned = tltool.tune_count(run, [image], truth, maps=maps, radius=10)
    for name in ("model.keras", "fcn.keras"):
        assert load_sidecar(run / name).detections == tuned.parameters
    assert tuned.files == [run / "model.json", run / "fcn.json"]
    parameters = tuned.parameters
    assert (parameters.goal, parameters.matching_radius) == ("f1", 10)
    assert parameters.view["stride"] == 4
    # Too few of a class for a rule of its own; three of four detections are right.
    assert parameters.classes == {}
    found = parameters.validation_any
    assert (found.tp, found.fp, found.fn) == (3, 1, 0)
    assert (tuned.points, tuned.images, tuned.folds) == (3, 1, 1)
    assert tuned.notes == [tuning.OPTIMISTIC]
    survey = tltool.count(run, [image], tmp_path / "out", maps=maps)
    assert survey.choice.origin == "tuned"
    assert len(survey.points) == 4
    assert survey.totals[-1].interval.estimate == pytest.approx(3)


def test_counts_can_be_the_goal(run, image, maps, truth):
    tuned = tltool.tune_count(run, [image], truth, maps=maps, goal="count")
    assert tuned.parameters.goal == "count"
    found = tuned.parameters.validation_any
    # All four score alike, so none can be cut off: one too many is the least error.
    assert found.tp + found.fp - (found.tp + found.fn) == 1


def test_areas_restrict_what_is_tuned_on(run, image, maps, truth, area):
    tuned = tltool.tune_count(run, [image], truth, maps=maps, aoi=area(0, 0, 240, 100))
    assert (tuned.parameters.validation_any.tp, tuned.parameters.validation_any.fp) == (3, 0)
    with pytest.raises(DataError, match="expected true points inside the area of the images"):
        tltool.tune_count(run, [image], truth, maps=maps, aoi=area(0, 160, 30, 200))


def test_several_images_are_validated_in_folds(run, tmp_path):
    images = [paint(tmp_path / f"{name}.tif", ANIMALS) for name in "abcd"]
    rows = [f"{name}.tif,{x},{y},{label}" for name in "abc" for x, y, label in ANIMALS]
    truth = tmp_path / "truth.csv"
    truth.write_text("\n".join(["image,x,y,label", *rows]))
    tuned = tltool.tune_count(run, images, truth, blocks=100, per_class=False)
    # One of the four has no point.
    assert (tuned.folds, tuned.images, tuned.notes) == (3, 4, [])
    found = tuned.parameters.validation_any
    assert (found.tp, found.fp, found.fn) == (12, 4, 0)
    assert len(found.blocks) > 4
    assert not list(run.glob("*maps*"))


def manifest(folder, rows, blocks=None):
    """What `tltool patches` leaves of a folder: (image, x, y, split) of each patch."""
    folder.mkdir()
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(CUT_COLUMNS)
        for image, x, y, split in rows:
            writer.writerow(("p.png", split, "seal", image.resolve(), x, y, 16, 0, 0))
    PatchFacts(16, 0, "none", blocks=blocks).save(folder)
    return folder


def trained_on(run, data):
    for name in ("model.keras", "fcn.keras"):
        path = run / name
        load_sidecar(path).model_copy(update={"data": {"folder": str(data)}}).save(path)


def test_only_what_was_held_out_is_tuned_on(run, tmp_path, monkeypatch):
    # Animals above are trained on, those below are not.
    animals = [(42 + 40 * k, y, "seal") for y in (42, 142) for k in range(5)]
    image, truth = paint(tmp_path / "a.tif", animals), write_csv(tmp_path / "t.csv", animals)
    rows = [(image, x, y, "train" if y < 100 else "test") for x, y, _ in animals]
    blocks = {"train": [None, None, None, 90], "test": [None, 90, None, None]}
    trained_on(run, manifest(tmp_path / "data", rows, {str(image.resolve()): blocks}))
    monkeypatch.setattr(tuning, "ENOUGH", 5)
    tuned = tltool.tune_count(run, [image], truth)
    assert tuned.points == 5
    assert "1 of 1 images were trained on: of these only the parts" in tuned.notes[0]
    assert "5 of 10 points" in tuned.notes[0]
    monkeypatch.setattr(tuning, "ENOUGH", 6)
    tuned = tltool.tune_count(run, [image], truth)
    assert tuned.points == 10
    assert "only 5 points lie in parts of their valid and test splits" in tuned.notes[0]
    assert "flatter" in tuned.notes[0]


def test_maps_of_one_kind_are_needed(run, image, maps, tmp_path, truth):
    folder = shutil.copytree(maps, tmp_path / "maps")
    shutil.copy(folder / "a.heatmap.tif", folder / "b.heatmap.tif")
    facts = json.loads((folder / "a.json").read_text()) | {"tta": "d4"}
    (folder / "b.json").write_text(json.dumps(facts))
    other = shutil.copy(image, tmp_path / "b.tif")
    with pytest.raises(DataError, match="expected maps that were all made alike"):
        tltool.tune_count(run, [image, other], truth, maps=folder)
    assert load_sidecar(run / "model.keras").detections is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"goal": "recall"}, "`goal`: expected f1 or count; received recall"),
        ({"radius": 0}, "`radius`: expected px above 0, received 0"),
        ({"blocks": -1}, "`blocks`: expected px above 0, received -1"),
    ],
)
def test_tuning_options_that_cannot_be_meant(converted, image, truth, options, message):
    with pytest.raises(UsageError, match=message):
        tltool.tune_count(converted, [image], truth, **options)
