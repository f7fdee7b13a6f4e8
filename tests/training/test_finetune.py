import csv
import json
import shutil

import numpy as np
import pytest
import yaml
from conftest import HEAD_RECIPE
from PIL import Image

import tltool
from tltool.errors import DataError, ImageError, OutputError, RecipeError, UsageError
from tltool.sidecar import load_sidecar


def tiny(**more):
    return tltool.load_recipe(None, {**HEAD_RECIPE, **more})


@pytest.fixture
def folders(tmp_path):
    """Two classes that a glance tells apart: 12 dark and 12 light images of 40 px."""
    rng = np.random.default_rng(1)
    for name, low in (("dark", 0), ("light", 150)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(low, low + 100, (40, 40, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    return tmp_path / "data"


def test_the_run_folder_holds_what_it_should(tiny_run, patch_folder):
    names = {path.name for path in tiny_run.iterdir()}
    expected = {"model.keras", "model.json", "recipe.yaml", "history.csv", "metrics.json"}
    assert expected | {"checkpoints", "logs"} <= names
    assert list((tiny_run / "logs").glob("events.*"))
    assert (tiny_run / "checkpoints" / "best.keras").exists()
    sidecar = load_sidecar(tiny_run / "model.keras")
    assert (sidecar.patch, sidecar.context, sidecar.input_side) == (32, 32, 96)
    assert sidecar.background == "backgrounds"
    assert sidecar.gsd == pytest.approx(0.05)
    assert sidecar.data["folder"] == str(patch_folder)
    metrics = json.loads((tiny_run / "metrics.json").read_text())
    assert 0 <= metrics["test"]["accuracy"] <= 1
    with (tiny_run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["stage"] for row in rows] == ["1"]
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(rows[0])


def test_tensorboard_reads_the_logs(tiny_run):
    from tensorflow.core.util import event_pb2
    from tensorflow.python.lib.io import tf_record

    path = next((tiny_run / "logs").glob("events.*"))
    values = [
        value
        for record in tf_record.tf_record_iterator(str(path))
        for value in event_pb2.Event.FromString(record).summary.value
    ]
    assert {"loss", "val_accuracy"} <= {value.tag for value in values}
    assert {value.metadata.plugin_data.plugin_name for value in values} == {"scalars"}


def test_its_own_recipe_repeats_the_run_weight_for_weight(tiny_run, patch_folder, tmp_path):
    tltool.finetune(patch_folder, tmp_path / "again", tiny_run / "recipe.yaml")
    first, second = (_weights(run) for run in (tiny_run, tmp_path / "again"))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    content = yaml.safe_load((tiny_run / "recipe.yaml").read_text())
    assert content["patch"] == 32
    assert content["training"]["stages"][0]["patience"] == 10


def _weights(run):
    from tltool.models.loading import load_network

    return load_network(run / "model.keras").get_weights()


def test_it_learns_what_a_glance_tells(folders, tmp_path):
    stage = {"train": "head", "epochs": 10, "rate": 1e-2}
    recipe = tiny(training={"batch": 8, "stages": [stage]}, patch=32)
    run = tltool.finetune(folders, tmp_path / "run", recipe)
    assert run.metrics["test"]["accuracy"] == 1.0
    sidecar = load_sidecar(run.folder / "model.keras")
    assert (sidecar.classes, sidecar.background, sidecar.patch) == (["dark", "light"], None, 32)


def test_the_best_epoch_wins_and_patience_ends_a_stage(folders, tmp_path):
    stages = [
        {"train": "head", "epochs": 3, "rate": 1e-2},
        # A rate that ruins everything: its epochs are worse, and two of them are enough.
        {"train": "head", "epochs": 9, "rate": 10, "patience": 2},
    ]
    run = tltool.finetune(folders, tmp_path / "run", tiny(training={"batch": 8, "stages": stages}))
    with (run.folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["val_loss"]) for row in rows]
    assert [row["stage"] for row in rows].count("2") < 9
    best = rows[int(np.nanargmin(losses))]
    assert run.metrics["valid"]["accuracy"] == pytest.approx(float(best["val_accuracy"]))


def test_unreadable_images_are_left_out_or_stop_it(folders, tmp_path, caplog):
    (folders / "dark" / "broken.png").write_bytes(b"\x89PNG no")
    data = (folders / "light" / "0.png").read_bytes()
    (folders / "light" / "0.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=r"(broken|0)\.png cannot be read as an image"):
        tltool.finetune(folders, tmp_path / "strict", tiny(), strict=True)
    assert not (tmp_path / "strict").exists()
    tltool.finetune(folders, tmp_path / "run", tiny())
    assert "cannot be read and are left out: dark/broken.png" in caplog.text


def test_bad_data_leaves_no_run_folder(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: expected a folder for each class with images"):
        tltool.finetune(tmp_path / "empty", tmp_path / "run", tiny())
    shutil.rmtree(folders / "light")
    with pytest.raises(DataError, match=r"expected two classes or more, found only dark"):
        tltool.finetune(folders, tmp_path / "run", tiny())
    assert not (tmp_path / "run").exists()


def test_bad_usage_leaves_no_run_folder(folders, patch_folder, tmp_path):
    with pytest.raises(UsageError, match=r"patch 64 with context 32 needs more.*--context 32"):
        tltool.finetune(patch_folder, tmp_path / "run", tiny(patch=64, context=32))
    with pytest.raises(UsageError, match=r"background: expected one of dark, light; received sky"):
        tltool.finetune(folders, tmp_path / "run", tiny(background="sky"))
    with pytest.raises(RecipeError, match=r"augment.0: Albumentations .* has no transform Flop"):
        tltool.finetune(folders, tmp_path / "run", tiny(augment=["Flop"]))
    assert not (tmp_path / "run").exists()


def test_less_context_than_the_patches_have_is_cut_out(patch_folder, tmp_path):
    run = tltool.finetune(patch_folder, tmp_path / "run", tiny(context=16))
    sidecar = load_sidecar(run.folder / "model.keras")
    assert (sidecar.patch, sidecar.context, sidecar.input_side) == (32, 16, 64)


def test_an_earlier_run_is_not_replaced_unasked(tiny_run, patch_folder):
    before = (tiny_run / "model.keras").read_bytes()
    with pytest.raises(OutputError, match=r"holds a run already.*--overwrite"):
        tltool.finetune(patch_folder, tiny_run, tiny())
    assert (tiny_run / "model.keras").read_bytes() == before
