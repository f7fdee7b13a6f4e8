import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from quick_recipes import HEAD_RECIPE

import tltool
from tltool.cli.main import main
from tltool.counting.mining import choose_negatives
from tltool.data.annotations import Point
from tltool.data.enlarging import Addition
from tltool.data.known_splits import KnownSplits
from tltool.errors import DataError, ModelError, OutputError, UsageError
from tltool.sidecar import load_sidecar


@pytest.fixture(scope="module")
def trained(survey, tmp_path_factory):
    """Patches of a painted photograph, a run of them, and an area on the photograph."""
    folder = tmp_path_factory.mktemp("mining")
    image, points = survey
    tltool.patches([image], points, folder / "data", size=16, context=8)
    # Scratch pixels: a network that sees little, for animals that are plain to see.
    recipe = tltool.load_recipe(
        None, {**HEAD_RECIPE, "backbone": {"name": "VGG16", "weights": "none"}}
    )
    tltool.finetune(folder / "data", folder / "run", recipe)
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


def test_nothing_is_mined_outside_the_area(work, survey, tmp_path):
    image, points = survey
    # The painted photographs are in metres: pixels are said of a copy without coordinates.
    plain, told = tmp_path / "plain.png", tmp_path / "points.csv"
    with Image.open(image) as opened:
        opened.convert("RGB").save(plain)
    told.write_text(points.read_text().replace(image.name, plain.name))
    square = [[0, 0], [640, 0], [640, 250], [0, 250], [0, 0]]
    area = {"type": "Polygon", "coordinates": [square]}
    (tmp_path / "aoi.geojson").write_text(json.dumps(area))
    tltool.patches([plain], told, tmp_path / "own", size=16, context=8)
    recipe = tltool.load_recipe(None, HEAD_RECIPE)
    tltool.finetune(tmp_path / "own", tmp_path / "other", recipe)
    mined = tltool.mine(
        tmp_path / "other",
        [plain],
        told,
        tmp_path / "new",
        ratio=1,
        aoi=tmp_path / "aoi.geojson",
    )
    new = [row for row in rows_of(tmp_path / "new") if ": round 1 of other" in row["source"]]
    assert mined.data == tmp_path / "new"
    assert len(new) == mined.rounds[0].mined + mined.rounds[0].drawn > 0
    assert all(float(row["y"]) + 8 <= 250 for row in new)
    assert not any(": round" in row["source"] for row in rows_of(tmp_path / "own"))


def test_a_run_that_cannot_be_trained_again_is_refused(work, survey, tmp_path):
    image, points = survey
    run, data = work / "run", work / "data"
    with pytest.raises(UsageError, match="--ratio: expected a number above 0, received -1"):
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
