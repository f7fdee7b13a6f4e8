import csv
import json

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image
from two_filters import two_filters

import tltool
from tltool.errors import UsageError
from tltool.explanation.compare import CENTRE, CHANCE
from tltool.explanation.methods import METHODS, allowed_methods
from tltool.explanation.subject import open_subject
from tltool.run.sidecar import Sidecar, TaskFacts


@pytest.fixture(scope="module")
def spots(tmp_path_factory):
    """A run that tells whether there is a bright spot, and images with one in a corner."""
    folder = tmp_path_factory.mktemp("spots")
    inputs = keras.Input((32, 32, 3))
    bright = layers.Conv2D(1, 4, 4, activation="relu", name="bright")(inputs)
    outputs = layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(bright))
    model = keras.Model(inputs, outputs)
    model.layers[1].set_weights([np.full((4, 4, 3, 1), 1 / 48), np.array([-120.0])])
    model.layers[-1].set_weights([np.array([[1, -1]]), np.array([-1, 1])])
    run = folder / "run"
    run.mkdir()
    model.save(run / "model.keras")
    facts = TaskFacts(classes=["spot", "nothing"])
    sidecar = Sidecar(classes=facts.classes, tasks=[facts], patch=32, input_side=32)
    sidecar.save(run / "model.keras")
    images = folder / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    rows = ["image,x,y,label"]
    for number, (row, column) in enumerate([(4, 4), (4, 24), (24, 8)]):
        pixels = rng.integers(0, 100, (32, 32, 3), np.uint8)
        pixels[row : row + 4, column : column + 4] = 250
        Image.fromarray(pixels).save(images / f"{number}.png")
        rows.append(f"{number}.png,{column + 2},{row + 2},spot")
    (folder / "truth.csv").write_text("\n".join(rows))
    return folder


def test_methods_beat_chance_where_the_network_is_plain(spots, tmp_path):
    done = tltool.compare_methods(
        spots / "run", [spots / "images"], tmp_path, truth=spots / "truth.csv"
    )
    found = {worth.method: worth for worth in done.methods}
    assert set(found) == {
        *("cam", "gradcam", "gradcam++", "layercam", "scorecam", "augmented-gradcam"),
        *(CENTRE, CHANCE),
    }
    assert not done.refused
    for name in ("cam", "gradcam", "layercam"):
        assert found[name].pointing == 1
        assert found[name].insertion > found[CHANCE].insertion + 0.05
        assert found[name].deletion < found[CHANCE].deletion - 0.02
        assert (found[name].images, found[name].things) == (3, 3)
    assert found[CENTRE].pointing == 0
    order = [worth.insertion - worth.deletion for worth in done.methods]
    assert order == sorted(order, reverse=True)
    rows = list(csv.DictReader((tmp_path / "methods.csv").open()))
    assert [row["method"] for row in rows] == [worth.method for worth in done.methods]
    stored = json.loads((tmp_path / "methods.json").read_text())
    assert stored["methods"][0]["insertion"] == done.methods[0].insertion


def test_the_map_of_the_things_own_class_is_asked(spots, tmp_path):
    truth = tmp_path / "truth.csv"
    # Boxes without class are looked for in the map of the class that is told: nothing.
    truth.write_text("image,xmin,ymin,xmax,ymax\n0.png,4,4,8,8\n")
    done = tltool.compare_methods(
        spots / "run", [spots / "images/0.png"], truth=truth, label="spot"
    )
    assert next(w for w in done.methods if w.method == "cam").pointing == 1
    assert done.files == []


def test_labels_that_the_run_does_not_know_are_told(spots, tmp_path, caplog):
    truth = tmp_path / "truth.csv"
    truth.write_text("image,x,y,label\n0.png,6,6,seal\n0.png,6,6,spot\n")
    done = tltool.compare_methods(spots / "run", [spots / "images/0.png"], truth=truth)
    assert done.methods[0].things == 1
    assert "does not know: seal (1). They are left out; it knows spot, nothing" in caplog.text


def test_a_layer_of_choice_leaves_cam_out():
    model = two_filters()
    subject = open_subject(model, (2, 2, 1), "filters")
    allowed, refused = allowed_methods(subject)
    assert list(allowed) == [name for name in METHODS if name != "cam"]
    assert "received filters (Conv2D) where the pooling should be" in refused["cam"]


def test_the_class_must_be_known(spots):
    with pytest.raises(UsageError, match="`label`: expected one of spot, nothing; received seal"):
        tltool.compare_methods(spots / "run", [spots / "images/0.png"], label="seal")
