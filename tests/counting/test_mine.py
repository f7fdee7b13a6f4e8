import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from painted import images_of
from PIL import Image
from quick_recipes import HEAD_RECIPE

import tltool
from tltool.annotations import Point
from tltool.cli.main import main
from tltool.counting.images import find_areas
from tltool.counting.mine import Ground, choose_negatives
from tltool.counting.truth import ImageTruth
from tltool.data.patch_folder import Addition, KnownSplits
from tltool.errors import DataError, ModelError, OutputError, UsageError
from tltool.run.sidecar import load_sidecar


@pytest.fixture(scope="module", autouse=True)
def _quick():
    from small_backbones import small_vgg16

    with small_vgg16():
        yield


@pytest.fixture(scope="module")
def trained(survey, tmp_path_factory):
    """Patches of a painted photograph, a run of them, and an area on the photograph."""
    folder = tmp_path_factory.mktemp("mining")
    image, points = survey
    tltool.patches([image], points, folder / "data", size=16, context=8)
    tltool.finetune(folder / "data", folder / "run", tltool.load_recipe(None, HEAD_RECIPE))
    return folder


@pytest.fixture
def work(trained, tmp_path):
    """Copies of both; the run knows its copy of the patches."""
    for name in ("data", "run"):
        shutil.copytree(trained / name, tmp_path / name)
    path = tmp_path / "run" / "model.json"
    told = json.loads(path.read_text())
    told["data"]["folder"] = str(tmp_path / "data")
    path.write_text(json.dumps(told))
    return tmp_path


def rows_of(folder):
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def additions(scores):
    return [
        Addition(Path("a.png"), Point("a.png", k, 0, "backgrounds", score), "train")
        for k, score in enumerate(scores)
    ]


def test_half_are_the_highest_and_the_rest_is_drawn():
    found, places = additions(np.linspace(0.1, 0.9, 100)), additions([None] * 50)

    def choose(number, peaks=found, seed=1):
        return choose_negatives(peaks, places, number, np.random.default_rng(seed))

    chosen = choose(21)
    assert [one.point.x for one in chosen[:11]] == list(range(99, 88, -1))
    assert all(one.point.score is None for one in chosen[11:])
    assert len({one.point.x for one in chosen[11:]}) == 10
    assert choose(21) == chosen
    assert choose(21, seed=2) != chosen
    few = choose(20, peaks=found[:3])
    assert [one.point.score is None for one in few] == [False] * 3 + [True] * 17
    assert len(choose(1000)) == 150


@pytest.mark.slow
def test_false_detections_become_backgrounds_of_the_training(work, survey, capsys):
    image, points = survey
    before = rows_of(work / "data")
    stamp = (work / "run" / "model.keras").stat().st_mtime_ns
    command = ["mine", work / "run", image, points, "-o", work / "data", "--ratio", "1"]
    main([str(word) for word in command])
    told = capsys.readouterr().out
    assert "round 1: F1" in told
    assert "round 2: F1" in told
    new = [row for row in rows_of(work / "data") if ": round 1 of run" in row["source"]]
    animals = [row for row in before if row["split"] == "train" and row["label"] != "backgrounds"]
    assert len(new) == len(animals)
    assert {row["source"][:5] for row in new if not row["score"]} <= {"drawn"}
    assert {row["source"][:5] for row in new if row["score"]} == {"mined"}
    assert len(rows_of(work / "data")) == len(before) + len(new)
    assert {(row["split"], row["label"]) for row in new} == {("train", "backgrounds")}
    # Far from every animal, and inside the training's block with all they show.
    with points.open(newline="") as file:
        true = np.array([(float(row["x"]), float(row["y"])) for row in csv.DictReader(file)])
    places = np.array([(float(row["x"]), float(row["y"])) for row in new])
    assert np.abs(places[:, None] - true).max(axis=2).min() >= 24
    assert (KnownSplits.load(work / "data").assign(image, places, margin=16) == 0).all()
    assert (work / "run" / "model.keras").stat().st_mtime_ns > stamp
    sidecar = load_sidecar(work / "run" / "model.keras")
    assert sidecar.data["counts"]["train"]["backgrounds"] == sum(
        row["split"] == "train" and row["label"] == "backgrounds" for row in rows_of(work / "data")
    )
    assert sidecar.detections.goal == "f1"


def test_negatives_lie_in_the_area_and_the_trainings_block_far_from_animals(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (200, 240, 3), dtype=np.uint8)
    image = tmp_path / "shore.png"
    Image.fromarray(pixels).save(image)
    animals = np.array([(x, y) for x in range(20, 240, 40) for y in (30, 110)], float)
    rows = [f"shore.png,{x:g},{y:g},seal" for x, y in animals]
    (tmp_path / "points.csv").write_text("\n".join(["image,x,y,label", *rows]) + "\n")
    square = [[0, 0], [240, 0], [240, 150], [0, 150], [0, 0]]
    (tmp_path / "aoi.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [square]}))
    tltool.patches([image], tmp_path / "points.csv", tmp_path / "data", size=8, context=2)
    known, areas = (
        KnownSplits.load(tmp_path / "data"),
        find_areas(images_of([image]), tmp_path / "aoi.geojson"),
    )
    truth = {image: ImageTruth(animals, np.full(len(animals), "seal"))}
    ground = Ground(truth, areas, known, 8, 12, 12.0, 50, "backgrounds")
    places = np.stack(np.meshgrid(np.arange(240.0), np.arange(200.0)), -1).reshape(-1, 2)
    allowed = ground.allows(image, places, {})
    inside = places[:, 1] + 4 <= 150
    apart = np.abs(places[:, None] - animals).max(axis=2).min(axis=1) >= 12
    trained = known.assign(image, places, 6) == 0
    # Patches that reach over the image's edge are outside the area, too.
    middle = ((places >= 4) & (places <= [235, 195])).all(axis=1)
    np.testing.assert_array_equal(allowed[middle], (inside & apart & trained)[middle])
    assert allowed.any()
    one = places[allowed][:1]
    again = ground.allows(image, places, {image.resolve(): one})
    near = np.abs(places - one).max(axis=1) < 4
    np.testing.assert_array_equal(again, allowed & ~near)


def test_images_that_nothing_was_cut_from_are_refused(work, survey, tmp_path):
    image, points = survey
    moved = tmp_path / "moved" / image.name
    moved.parent.mkdir()
    shutil.copy(image, moved)
    with pytest.raises(DataError, match=r"and none of its training patches is from there"):
        tltool.mine(work / "run", [moved], points, work / "data")


def test_a_round_without_a_place_to_take_leaves_the_run_as_it_was(work, survey, capsys):
    image, points = survey
    model, before = work / "run" / "model.keras", rows_of(work / "data")
    stamp = model.stat().st_mtime_ns
    command = ["mine", work / "run", image, points, "-o", work / "data", "--distance", "99999"]
    main([str(word) for word in command])
    told = capsys.readouterr()
    assert "run stays as it was: no place" in told.err
    assert "Take less --distance" in told.err
    assert "patches more" not in told.out
    assert "round 2" not in told.out
    assert model.stat().st_mtime_ns == stamp
    assert rows_of(work / "data") == before


def test_a_run_that_cannot_be_trained_again_is_refused(work, survey, tmp_path):
    image, points = survey
    run, data = work / "run", work / "data"
    with pytest.raises(UsageError, match="`ratio`: expected a number above 0, received -1"):
        tltool.mine(run, [image], points, data, ratio=-1)
    (tmp_path / "else").mkdir()
    with pytest.raises(OutputError, match=r"else: expected .*data, the patches that .* trained on"):
        tltool.mine(run, [image], points, tmp_path / "else")
    shutil.move(data, tmp_path / "away")
    with pytest.raises(
        DataError, match=r"expected its patches where it was trained on them, .*dat"
    ):
        tltool.mine(run, [image], points, data)
    (run / "recipe.yaml").unlink()
    with pytest.raises(ModelError, match=r"expected a run that tltool finetune trained.*recipe\.y"):
        tltool.mine(run, [image], points, data)
