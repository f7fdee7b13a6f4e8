"""A killed run goes on as if nothing had been."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from quick_recipes import HEAD_RECIPE

import tltool
from tltool.errors import DataError, ModelError, OutputError, RecipeError

TESTS = Path(__file__).parents[1] / "helpers"

# Whatever holds a state between steps: dropout, momentum, averages, a plateau, mixed batches.
STAGES = [
    {"train": "head", "epochs": 4, "learning_rate": 1e-2, "draws": 2, "ema": 0.9},
    {
        "train": {"top": 1},
        "epochs": 3,
        "learning_rate": 1e-3,
        "gradient_accumulation_steps": 2,
        "schedule": "plateau",
    },
]
CONTENT = {
    **HEAD_RECIPE,
    "head": {"units": [8], "dropout": 0.5, "batch_norm": True},
    "augment": ["D4", {"mixup": {"alpha": 0.4}}],
    "training": {"batch_size": 4, "deterministic": True, "stages": STAGES},
}

# What an earlier tltool wrote of `CONTENT`.
OLD_RECIPE = """
backbone: {name: VGG16, weights: none, alpha: null, layer: null}
head: {name: gap, units: [8], dropout: 0.5, batch_norm: true}
task: multi-class
tasks: {}
patch: 32
context: 0
zoom: 1.0
bands: null
split: [0.6, 0.2, 0.2]
group: null
background: null
augment:
- D4
- mixup: {alpha: 0.4}
tta: none
training:
  batch: 4
  seed: 1
  deterministic: true
  precision: float32
  sampling: as-is
  loss: {name: cross-entropy, label_smoothing: null, class_weights: none, beta: 0.999,
    gamma: 2.0, alpha: null}
  keep: best
  stages:
  - train: head
    epochs: 4
    rate: 0.01
    curve: {name: cosine, warmup: 0.0, end: 0.01}
    layer_decay: 1.0
    optimizer: adam
    momentum: 0.9
    weight_decay: 0.0
    clip: 1.0
    accumulate: 1
    ema: 0.9
    draws: 2
    cache: backbone
    patience: 10
    batch_norm: inference
  - train: {top: 1}
    epochs: 3
    rate: 0.001
    curve: {name: plateau, factor: 0.3, wait: 3}
    layer_decay: 1.0
    optimizer: adam
    momentum: 0.9
    weight_decay: 0.0
    clip: 1.0
    accumulate: 2
    ema: null
    draws: 20
    cache: backbone
    patience: 10
    batch_norm: inference
"""


@pytest.fixture(scope="module", autouse=True)
def _as_before():
    from small_backbones import small_vgg16

    with small_vgg16():
        yield
    from tensorflow.python.framework.config import disable_op_determinism

    disable_op_determinism()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "all.yaml"
    path.write_text(yaml.safe_dump(CONTENT))
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """24 noisy images of two classes."""
    rng = np.random.default_rng(1)
    folder = tmp_path_factory.mktemp("data")
    for name, low in (("dark", 0), ("light", 60)):
        (folder / name).mkdir()
        for number in range(12):
            pixels = rng.integers(low, low + 195, (32, 32, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def whole(images, recipe, tmp_path_factory):
    """An uninterrupted run."""
    return tltool.finetune(images, tmp_path_factory.mktemp("runs") / "whole", recipe)


def weights_of(run):
    from tltool.models.loading import load_network

    return load_network(run / "model.keras").get_weights()


def assert_same(one, other):
    for a, b in zip(weights_of(one), weights_of(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (one / "history.csv").read_text() == (other / "history.csv").read_text()


def kill_at(run, images, recipe, epochs):
    """Start the run elsewhere and kill it a moment after its state was written so often."""
    command = (
        f"import sys; sys.path.append({str(TESTS)!r})\n"
        "from small_backbones import small_vgg16\n"
        "from tltool.cli.main import main\n"
        "with small_vgg16(): main()"
    )
    words = ["finetune", images, "--recipe", recipe, "-o", run]
    process = subprocess.Popen(
        [sys.executable, "-c", command, *map(str, words)], stdout=subprocess.DEVNULL
    )
    state, seen, before = run / "checkpoints" / "state.h5", 0, None
    while seen < epochs and process.poll() is None:
        now = state.stat().st_mtime_ns if state.exists() else None
        seen, before = seen + (now != before), now
        time.sleep(0.002)
    time.sleep(random.uniform(0, 0.3))
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_killed_run_ends_with_the_same_bits(whole, images, recipe, tmp_path):
    run = tmp_path / "run"
    kill_at(run, images, recipe, random.randint(1, 5))
    assert not (run / "model.keras").exists()
    tltool.resume(run)
    assert_same(whole.folder, run)


class Stop(Exception):
    pass


def stop_after(monkeypatch, steps):
    """Let training end with an error after so many steps."""
    from tltool.training.callbacks import ShowProgress

    left = iter(range(steps))
    step = ShowProgress.on_train_batch_end

    def count(self, batch, logs=None):
        if next(left, None) is None:
            raise Stop
        step(self, batch, logs)

    monkeypatch.setattr(ShowProgress, "on_train_batch_end", count)


# Of 14 training images in batches of 4, an epoch has 4 steps; the stages have 16 and 12.
@pytest.mark.parametrize(
    "steps",
    [22, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 6, 9, 15, 16, 18, 25, 27))],
)
def test_stopped_anywhere_it_ends_with_the_same_bits(
    steps, whole, images, recipe, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_after(patch, steps)
        with pytest.raises(Stop):
            tltool.finetune(images, run, recipe)
    tltool.resume(run)
    assert_same(whole.folder, run)


@pytest.fixture(scope="module")
def stopped_once(images, recipe, tmp_path_factory):
    """A run that ended in its second epoch."""
    run = tmp_path_factory.mktemp("runs") / "stopped"
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 7)
        with pytest.raises(Stop):
            tltool.finetune(images, run, recipe)
    return run


@pytest.fixture
def stopped(stopped_once, tmp_path):
    shutil.copytree(stopped_once, tmp_path / "run")
    return tmp_path / "run"


def test_stopped_in_the_first_stage_it_ends_with_the_same_bits(whole, stopped):
    tltool.resume(stopped)
    assert_same(whole.folder, stopped)


def test_a_run_of_before_goes_on_with_its_old_keys(whole, stopped):
    begun = stopped / "checkpoints" / "begun.json"
    content = json.loads(begun.read_text()) | {"recipe": yaml.safe_load(OLD_RECIPE)}
    begun.write_text(json.dumps(content))
    (stopped / "recipe.yaml").write_text(OLD_RECIPE)
    tltool.resume(stopped)
    assert_same(whole.folder, stopped)
    opened = tltool.load_recipe(stopped / "recipe.yaml")
    assert opened.training.stages[1].schedule.patience == 3


def test_another_recipe_is_refused(stopped):
    path = stopped / "recipe.yaml"
    text = path.read_text()
    path.write_text(text.replace("momentum: 0.9", "momentum: 0.8", 1))
    with pytest.raises(RecipeError, match=r"training.stages.0.momentum was 0.9, is now 0.8"):
        tltool.resume(stopped)
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"training.batch_size was 4, is now 16. Resume .*anew"):
        tltool.resume(stopped, tltool.load_recipe(path, {"training": {"batch_size": 16}}))


def test_other_data_are_refused(stopped, images, tmp_path):
    shutil.copytree(images, tmp_path / "data")
    next((tmp_path / "data").glob("*/*.png")).unlink()
    with pytest.raises(DataError, match="expected the data that the run began with"):
        tltool.resume(stopped, data=tmp_path / "data")


def test_an_unfinished_run_is_not_replaced_unasked(stopped, images, recipe):
    with pytest.raises(
        OutputError, match=r"unfinished run already. Go on with it by `tltool.resume"
    ):
        tltool.finetune(images, stopped, recipe)


def test_nothing_to_resume(whole, tmp_path):
    with pytest.raises(ModelError, match="holds a finished run: there is nothing to resume"):
        tltool.resume(whole.folder)
    with pytest.raises(ModelError, match="expected the folder of an unfinished run"):
        tltool.resume(tmp_path)


def test_a_broken_state_is_told(stopped):
    (stopped / "checkpoints" / "state.h5").write_bytes(b"no")
    with pytest.raises(ModelError, match=r"state.h5: expected the state of a training run"):
        tltool.resume(stopped)
