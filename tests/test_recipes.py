"""Every installed recipe runs, through the command line."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from tltool.cli.main import main
from tltool.recipe import load_recipe, recipe_names

LABELS = ("ant", "bee", "cat")
# Recipes that want a manifest, and its label columns.
COLUMNS = {"multi-label": ("label",), "multi-task": ("kind", "size")}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three class folders with ten images each."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for place, name in enumerate(LABELS):
        (folder / name).mkdir()
        for number in range(10):
            pixels = rng.integers(60 * place, 60 * place + 120, (32, 32, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def write_manifest(images, path, columns):
    rows = []
    for file in sorted(images.glob("*/*.png")):
        first, second = file.parent.name, ("small", "big")[int(file.stem) % 2]
        both = f"{first}|{second}" if int(file.stem) % 3 else "none"
        told = [both] if len(columns) == 1 else [first, "" if file.stem == "3" else second]
        rows.append([file, *told])
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("path", *columns), *rows])
    return path


@pytest.fixture
def one_batch(keras, monkeypatch):
    """Let an epoch be one step, and spend no time on compiling it."""
    import tensorflow as tf

    from tltool.data.stream import Batches
    from tltool.training.features import CachedBatches

    for kind in (Batches, CachedBatches):
        monkeypatch.setattr(kind, "__len__", lambda self: 1)
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


# One of each kind of schedule and of data; all are checked when read (tests/recipe).
QUICK = {"frozen-features", "multi-task"}
ALL = [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in recipe_names()]


@pytest.mark.parametrize("name", ALL)
def test_recipe_runs(name, images, tmp_path, one_batch, capsys):
    data, run = images, tmp_path / "run"
    if name in COLUMNS:
        data = write_manifest(images, tmp_path / "manifest.csv", COLUMNS[name])
    recipe = load_recipe(name)
    stages = len(recipe.training.stages)
    words = ["finetune", data, "--recipe", name, "--weights", "none", "-o", run]
    words += [
        "--epochs",
        ",".join(["1"] * stages),
        "--patch",
        32,
        "--context",
        0,
        "--batch-size",
        40,
    ]
    main([str(word) for word in words])
    metrics = json.loads((run / "metrics.json").read_text())
    assert "valid" in metrics
    out = capsys.readouterr().out
    assert "accuracy: valid" in out
    rows = list(csv.DictReader((run / "history.csv").open()))
    assert [int(row["stage"]) for row in rows] == list(range(1, stages + 1))
