import csv
import json
import shutil
import zipfile

import numpy as np
import pytest
import yaml
from PIL import Image
from quick_recipes import HEAD_RECIPE

import tltool
from tltool.errors import DataError, ImageError, OutputError, RecipeError, UsageError
from tltool.run.sidecar import load_sidecar

pytestmark = pytest.mark.usefixtures("quick_vgg16")


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


@pytest.mark.slow
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
    stage = {"train": "head", "epochs": 10, "learning_rate": 1e-2}
    recipe = tiny(training={"batch_size": 8, "stages": [stage]}, patch=32)
    run = tltool.finetune(folders, tmp_path / "run", recipe)
    assert run.metrics["test"]["accuracy"] == 1.0
    sidecar = load_sidecar(run.folder / "model.keras")
    assert (sidecar.classes, sidecar.background, sidecar.patch) == (["dark", "light"], None, 32)


@pytest.mark.slow
def test_the_best_epoch_wins_and_patience_ends_a_stage(folders, tmp_path):
    stages = [
        {"train": "head", "epochs": 3, "learning_rate": 1e-2},
        # A rate that ruins everything: its epochs are worse, and two of them are enough.
        {"train": "head", "epochs": 9, "learning_rate": 10, "patience": 2},
    ]
    run = tltool.finetune(
        folders, tmp_path / "run", tiny(training={"batch_size": 8, "stages": stages})
    )
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
    with pytest.raises(UsageError, match=r"patch 64 with context 32 needs more.*context=32"):
        tltool.finetune(patch_folder, tmp_path / "run", tiny(patch=64, context=32))
    with pytest.raises(UsageError, match=r"background: expected one of dark, light; received sky"):
        tltool.finetune(folders, tmp_path / "run", tiny(background="sky"))
    with pytest.raises(RecipeError, match=r"augment.0: Albumentations .* has no transform Flop"):
        tltool.finetune(folders, tmp_path / "run", tiny(augment=["Flop"]))
    stages = [
        {"epochs": 1, "learning_rate": 1e-3},
        {"epochs": 3, "learning_rate": 1e-3, "gradient_accumulation_steps": 7},
    ]
    with pytest.raises(
        RecipeError, match=r"stages.1.gradient_accumulation_steps: expected at most the 6 steps"
    ):
        tltool.finetune(
            folders, tmp_path / "run", tiny(training={"batch_size": 8, "stages": stages})
        )
    assert not (tmp_path / "run").exists()


def test_less_context_than_the_patches_have_is_cut_out(patch_folder, tmp_path):
    run = tltool.finetune(patch_folder, tmp_path / "run", tiny(context=16))
    sidecar = load_sidecar(run.folder / "model.keras")
    assert (sidecar.patch, sidecar.context, sidecar.input_side) == (32, 16, 64)


def test_an_earlier_run_is_not_replaced_unasked(tiny_run, patch_folder):
    before = (tiny_run / "model.keras").read_bytes()
    with pytest.raises(OutputError, match=r"holds a run already.*overwrite=True"):
        tltool.finetune(patch_folder, tiny_run, tiny())
    assert (tiny_run / "model.keras").read_bytes() == before


def plain_config(run):
    with zipfile.ZipFile(run.folder / "model.keras") as file:
        return file.read("config.json").decode()


@pytest.fixture
def manifest(folders, tmp_path):
    """Two tasks: how bright, known of all, and how even, known of some."""
    rows = ["path,tone,side"]
    for path in sorted(folders.glob("*/*.png")):
        side = ("", "left", "right")[int(path.stem) % 3]
        rows.append(f"{path},{path.parent.name},{side}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    return tmp_path / "manifest.csv"


def test_several_tasks_from_a_manifest(manifest, tmp_path):
    stage = {"train": "head", "epochs": 16, "learning_rate": 5e-2, "draws": 1, "patience": 16}
    training = {"batch_size": 8, "stages": [stage], "loss": {"name": "focal"}}
    tasks = {"side": {"weight": 0.1}, "tone": {"kind": "binary"}}
    run = tltool.finetune(manifest, tmp_path / "run", tiny(training=training, tasks=tasks))
    assert run.metrics["test"]["tasks"]["tone"]["accuracy"] == 1.0
    labelled = run.metrics["test"]["tasks"]["side"]["samples"]
    assert 0 < labelled < run.metrics["test"]["tasks"]["tone"]["samples"]
    sidecar = load_sidecar(run.folder / "model.keras")
    assert sidecar.classes == ["side.left", "side.right", "tone.light"]
    assert [task.kind for task in sidecar.tasks] == ["multi-class", "binary"]
    resolved = yaml.safe_load((run.folder / "recipe.yaml").read_text())
    assert resolved["tasks"]["tone"]["kind"] == "binary"
    # The file names nothing of tltool, so that it loads without.
    assert "tltool" not in plain_config(run)


@pytest.mark.slow
def test_half_precision_trains_and_is_saved_in_single(folders, tmp_path, keras):
    from tltool.models.loading import load_network

    stages = [{"train": "head", "epochs": 6, "learning_rate": 1e-2}]
    training = {"batch_size": 8, "precision": "mixed_bfloat16", "stages": stages}
    run = tltool.finetune(folders, tmp_path / "run", tiny(training=training))
    assert run.metrics["test"]["accuracy"] == 1.0
    network = load_network(run.folder / "model.keras")
    assert {layer.dtype_policy.name for layer in network.layers} == {"float32"}
    assert "bfloat16" not in plain_config(run)
    assert keras.config.dtype_policy().name == "float32"


def test_what_the_generator_normalises_is_in_the_network(folders, tmp_path):
    from tltool.models.loading import load_network

    entry = {"featurewise_std_normalization": True, "rescale": 0.01, "horizontal_flip": True}
    stage = {"train": "head", "epochs": 16, "learning_rate": 5e-2, "draws": 1, "patience": 16}
    recipe = tiny(
        augment=[{"image_data_generator": entry}],
        training={"batch_size": 8, "stages": [stage]},
        patch=40,
    )
    run = tltool.finetune(folders, tmp_path / "run", recipe)
    assert run.metrics["test"]["accuracy"] == 1.0
    network = load_network(run.folder / "model.keras")
    # It takes raw pixels all the same.
    images = np.stack([np.full((40, 40, 3), v, "float32") for v in (40, 200)])
    assert np.asarray(network(images)).argmax(1).tolist() == [0, 1]


@pytest.mark.slow
def test_images_of_five_bands(tmp_path):
    import rasterio

    rng = np.random.default_rng(1)
    for name, low in (("dark", 0), ("light", 150)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(10):
            path = tmp_path / "data" / name / f"{number}.tif"
            pixels = rng.integers(low, low + 100, (5, 32, 32)).astype(np.uint8)
            with rasterio.open(
                path, "w", driver="GTiff", width=32, height=32, count=5, dtype="uint8"
            ) as file:
                file.write(pixels)
    stage = {"train": "head", "epochs": 16, "learning_rate": 5e-2, "draws": 1, "patience": 16}
    training = {"batch_size": 8, "stages": [stage]}
    run = tltool.finetune(tmp_path / "data", tmp_path / "run", tiny(training=training))
    assert load_sidecar(run.folder / "model.keras").bands == 5
    assert run.metrics["test"]["accuracy"] == 1.0
    chosen = tiny(training=training, bands=[4, 2])
    run = tltool.finetune(tmp_path / "data", tmp_path / "two", chosen)
    sidecar = load_sidecar(run.folder / "model.keras")
    assert (sidecar.bands, sidecar.band_numbers) == (2, [4, 2])
