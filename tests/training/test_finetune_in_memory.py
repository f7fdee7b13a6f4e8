"""What a Keras user has in hand goes into `tltool.finetune`: arrays, datasets, callbacks."""

import json

import numpy as np
import pytest
from quick_recipes import HEAD_RECIPE

import tltool
from tltool.errors import DataError, RecipeError, UsageError
from tltool.runtime import quiet_import

keras = quiet_import("keras")
pytestmark = pytest.mark.usefixtures("quick_vgg16")

RNG = np.random.default_rng(1)
# Twelve dark and twelve light images.
X = np.concatenate([RNG.integers(low, low + 100, (12, 32, 32, 3)) for low in (0, 150)]).astype(
    np.uint8
)
Y = np.repeat([0, 1], 12)
SPOILT = X.astype(float)
SPOILT[5, 3, 3, 0] = np.nan
NAMES = np.array(["dark", "light"])[Y]
QUICK = {
    "augment": [],
    "training": {"batch_size": 8, "stages": [{"epochs": 2, "learning_rate": 1e-2}]},
}
VGG = {"backbone": "VGG16", "weights": "none"}


def train(data, out, recipe=QUICK, **keywords):
    return tltool.finetune(data, out, recipe, **{**VGG, **keywords})


def weights_of(run):
    return keras.saving.load_model(run.folder / "model.keras").get_weights()


def assert_same(one, other):
    for a, b in zip(weights_of(one), weights_of(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    from small_backbones import small_vgg16

    with small_vgg16():
        return train((X, Y), tmp_path_factory.mktemp("runs") / "plain", classes=["dark", "light"])


def test_arrays_make_the_same_run_folder(plain):
    names = {path.name for path in plain.folder.iterdir()}
    assert {"model.keras", "model.json", "recipe.yaml", "history.csv", "metrics.json"} <= names
    sidecar = json.loads((plain.folder / "model.json").read_text())
    assert (sidecar["classes"], sidecar["patch"]) == (["dark", "light"], 32)
    assert sidecar["data"]["source"] == "arrays in memory: 24 images"
    assert "folder" not in sidecar["data"]
    # 0.6, 0.2 and 0.2 of twelve each.
    assert sidecar["data"]["counts"]["train"] == {"dark": 7, "light": 7}
    begun = json.loads((plain.folder / "checkpoints" / "begun.json").read_text())
    assert begun["data"] == "arrays in memory: 24 images"
    told = f"arrays in memory: 24 images, fingerprint {begun['fingerprint']}"
    assert json.loads((plain.folder / "metrics.json").read_text())["data"] == told
    assert (plain.folder / "recipe.yaml").read_text().startswith(f"# data: {told}; resume")
    assert tltool.load_recipe(plain.folder / "recipe.yaml").patch == 32


def test_a_run_shows_itself(plain):
    assert [row["epoch"] for row in plain.history] == [1, 2]
    assert "2 epochs, valid accuracy" in repr(plain)
    page = plain._repr_html_()
    assert page.count("<polyline") == 2
    assert "valid accuracy" in page


@pytest.mark.parametrize(
    "data",
    [
        (X.astype(float), Y),
        (X, np.eye(2)[Y]),
        pytest.param((X, Y[:, None]), marks=pytest.mark.slow),
        pytest.param((X, NAMES), marks=pytest.mark.slow),
        (list(X), list(NAMES)),
        pytest.param((X, NAMES.astype("S")), marks=pytest.mark.slow),
    ],
    ids=["floats", "one-hot", "column", "names", "lists", "bytes"],
)
def test_whatever_form_they_have_the_weights_are_the_same(plain, data, tmp_path):
    run = train(data, tmp_path / "run", classes=["dark", "light"])
    assert_same(plain, run)


def test_floats_within_one_are_scaled(plain, tmp_path):
    run = train((X / 255, Y), tmp_path / "run", classes=["dark", "light"], scale=(0, 1))
    assert_same(plain, run)


def test_validation_data_and_several_tasks(tmp_path):
    y = {"light": NAMES, "both": np.stack([Y, 1 - Y], 1) | (np.arange(24) % 3 == 0)[:, None]}
    run = train(
        (X, y), tmp_path / "run", validation_data=(X[::3], {k: v[::3] for k, v in y.items()})
    )
    facts = json.loads((run.folder / "model.json").read_text())
    assert [(t["name"], t["kind"]) for t in facts["tasks"]] == [
        ("light", "multi-class"),
        ("both", "multi-label"),
    ]
    assert facts["data"]["counts"]["valid"]["light"] == {"dark": 4, "light": 4}
    assert "test" not in run.metrics


@pytest.mark.parametrize(
    ("data", "more", "message"),
    [
        ((X, Y[:5]), {}, "`data`: expected as many labels as images, received 24 images and 5"),
        ((X[0], Y), {}, "`data`: expected as many labels as images"),
        ((X[..., 0], Y), {}, r"`data`: expected images, \(n, height, width, bands\)"),
        ((X / 255, Y), {}, r"received floats within 0..1.*`scale=\(0, 1\)`"),
        ((X.astype(np.uint16) * 9, Y), {}, r"in 0..255, received 0 to 22\d\d"),
        ((SPOILT, Y), {}, "image 5 holds NaN"),
        ((X, Y * 0), {}, "expected two classes or more, received one, 0"),
        ((X, np.stack([Y / 3, Y], 1)), {}, "a column of 0 and 1 for each; received numbers"),
        ((X, np.where(Y, np.nan, 0.5)), {}, r"`data`: expected labels, \(n,\) indices or names"),
        ((X, np.eye(3)[Y]), {"classes": ["a", "b"]}, "expected indices of the 2 classes"),
        ((X, NAMES), {"classes": ["dark", "grey"]}, "without light"),
        ((X, {"a": Y}), {"classes": {"b": ["x", "y"]}}, "expected labels of b"),
        (("x", "y", "z"), {}, "`data`: expected a folder, a manifest, arrays"),
        ((X, Y), {"validation_data": (X, Y + 1)}, "`validation_data`: expected indices of"),
        ("nowhere", {"classes": ["a", "b"]}, "`classes`: expected with arrays"),
        (iter([]), {"steps": 2}, "expected elements .image, label., received none"),
        (iter([(X[0, 0], 1)]), {"steps": 2}, "batches of them, received shape"),
    ],
)
def test_what_cannot_be_meant_is_told_by_its_parameter(data, more, message, tmp_path):
    with pytest.raises((DataError, UsageError), match=message):
        train(data, tmp_path / "run", **more)
    assert not (tmp_path / "run").exists()


class Seen(keras.callbacks.Callback):
    def __init__(self, stop=99):
        super().__init__()
        self.epochs, self.stop, self.logs = [], stop, {}

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.append(epoch)

    def on_train_batch_end(self, batch, logs=None):
        self.stop -= 1
        if self.stop < 0:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        logs["mine"] = float(epoch)
        self.logs = dict(logs)


def test_callbacks_are_called_and_what_they_add_is_kept(tmp_path):
    seen = Seen()
    run = train((X, Y), tmp_path / "run", callbacks=[seen])
    assert seen.epochs == [0, 1]
    assert {"loss", "accuracy", "val_loss", "mine"} <= set(seen.logs)
    assert [row["mine"] for row in run.history] == [0, 1]


def stopped(data, folder, **more):
    with pytest.raises(KeyboardInterrupt):
        train(data, folder, callbacks=[Seen(3)], deterministic=True, **more)


def test_arrays_are_resumed_when_given_again(tmp_path):
    whole = train((X, Y), tmp_path / "whole", deterministic=True)
    stopped((X, Y), tmp_path / "run")
    with pytest.raises(DataError, match=r"arrays in memory: 24 images\. Give it again, in `data`"):
        tltool.resume(tmp_path / "run")
    with pytest.raises(DataError, match="expected the data that the run began with"):
        tltool.resume(tmp_path / "run", data=(X[::-1], Y))
    seen = Seen()
    run = tltool.resume(tmp_path / "run", data=(X, Y), callbacks=[seen])
    assert seen.epochs == [1]
    assert_same(whole, run)
    assert whole.history == [{k: v for k, v in row.items() if k != "mine"} for row in run.history]


class Sequence(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return X[index::3].astype("float32"), NAMES[index::3]


def dataset(batched=True):
    import tensorflow as tf

    # Else the order depends on whether anything in the process has set it before.
    tf.random.set_seed(1)
    found = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(24, seed=3)
    return found.batch(8) if batched else found


def generator():
    while True:
        yield from zip(X, Y, strict=True)


STREAMS = {
    "PyDataset": (Sequence, {}),
    "batched": (dataset, {}),
    "unbatched": (lambda: dataset(False), {}),
    "endless": (lambda: dataset().repeat(), {"classes": ["dark", "light"], "steps": 6}),
    "generator": (generator, {"classes": ["dark", "light"], "steps": 6}),
}


@pytest.mark.parametrize(
    "name",
    ["generator"]
    + [
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("PyDataset", "batched", "unbatched", "endless")
    ],
)
def test_datasets_train_and_are_resumed(name, tmp_path):
    make, more = STREAMS[name]
    more = {**more, "augment": ["D4", {"mixup": {}}]}
    whole = train(make(), tmp_path / "whole", deterministic=True, **more)
    facts = json.loads((whole.folder / "model.json").read_text())
    assert len(facts["classes"]) == 2
    assert facts["data"]["source"].split(":")[0] in str(type(make()))
    assert "valid" not in whole.metrics
    stopped(make(), tmp_path / "run", **more)
    run = tltool.resume(tmp_path / "run", data=make())
    assert len(run.history) == len(whole.history)
    assert_same(whole, run)


def test_a_dataset_has_validation_data_of_any_kind(tmp_path):
    run = train(dataset(), tmp_path / "run", validation_data=dataset(False))
    assert run.metrics["valid"]["samples" if "samples" in run.metrics["valid"] else "accuracy"]
    assert all("val_loss" in row for row in run.history)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"classes": ["a", "b"]}, "`steps`: expected a number of steps for each stage"),
        ({"steps": 2}, "`classes`: expected the names of all classes"),
        ({"classes": ["a", "b"], "steps": 2, "sampling": "over"}, "training.sampling: expected"),
    ],
)
def test_what_an_endless_stream_lacks_is_asked_for(more, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        train(generator(), tmp_path / "run", **more)


def test_numbers_are_a_regression(tmp_path):
    light = X.mean(axis=(1, 2, 3)) / 7
    run = train((X, light), tmp_path / "run", validation_data=(X[::2], light[::2]))
    assert json.loads((run.folder / "model.json").read_text())["tasks"][0]["kind"] == "regression"
    assert run.metrics["valid"]["mean_absolute_error"] > 0
    assert "mean_absolute_error" in repr(run)
    whole = train((X, Y * 9), tmp_path / "whole", task="regression", epochs=1)
    assert "mean_absolute_error" in whole.metrics["test"]


def test_a_stream_that_ends_too_soon_is_told(tmp_path):
    with pytest.raises(DataError, match=r"expected images for all steps, but generator: no known"):
        train((each for each in [(X, Y)]), tmp_path / "run", classes=["a", "b"], steps=5)


def test_keywords_are_those_of_the_recipe(tmp_path):
    recipe = tltool.recipe.override_recipe(
        HEAD_RECIPE, head={"units": [4]}, learning_rate=0.5, epochs=[3], tta="d4", bands=(3, 1)
    )
    assert recipe.head.units == [4]
    assert (recipe.tta, recipe.bands) == ("d4", [3, 1])
    assert [(s.learning_rate, s.epochs) for s in recipe.training.stages] == [(0.5, 3)]
    both = tltool.recipe.override_recipe(weights="none", learning_rate=0.5)
    assert [s.train for s in both.training.stages] == ["all"]
    for wrong, words in (
        ({"rate": 1}, "`rate`: no such parameter. Did you mean learning_rate?"),
        ({"batchsize": 1}, "`batchsize`: no such parameter. Did you mean batch_size?"),
        ({"epochs": 1, "steps": 2}, "`steps`: expected epochs or steps, received both"),
    ):
        with pytest.raises(UsageError, match=words):
            tltool.recipe.override_recipe(**wrong)
    with pytest.raises(RecipeError, match=r"`epochs`: expected 2 numbers"):
        tltool.recipe.override_recipe(epochs=(1, 2, 3))
