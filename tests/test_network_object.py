"""`tltool.open`: one object for a run, a file and a model in memory; arrays in, arrays out."""

import io
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

import tltool
from tltool.cli.main import main
from tltool.errors import ConversionError, ModelError, UsageError
from tltool.runtime import quiet_import

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

keras = quiet_import("keras")

from keras import layers  # noqa: E402
from small_runs import ALIVE, PATCH, ZOO, small_run  # noqa: E402

CLASSES = ["bird", "none", "seal"]
RNG = np.random.default_rng(3)


def blobs(height, width):
    small = RNG.integers(0, 256, (-(-height // 4), -(-width // 4), 3), dtype=np.uint8)
    return small.repeat(4, 0).repeat(4, 1)[:height, :width]


IMAGES = np.stack([blobs(PATCH, PATCH) for _ in range(5)])
PHOTO = blobs(50, 70)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("network")
    small_run(folder / "run", ZOO)
    (folder / "images").mkdir()
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
    Image.fromarray(PHOTO).save(folder / "photo.png")
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return keras.saving.load_model(folder / "run" / "model.keras")


@pytest.fixture(scope="module")
def network(model):
    return tltool.open(model, classes=CLASSES)


def test_a_model_in_memory_knows_its_sizes(network, folder):
    run = tltool.open(folder / "run")
    for opened in (network, run):
        assert isinstance(opened, tltool.Network)
        assert (opened.classes, opened.patch, opened.context, opened.zoom) == (CLASSES, PATCH, 0, 1)
        assert opened.stride == 4.0
        assert opened.fcn.output_shape[-1] == 3
    assert (network.path, run.path) == (None, folder / "run" / "model.keras")
    assert tltool.open(network) is network
    assert [task.name for task in run.tasks] == ["zoo"]


def test_one_array_a_batch_pictures_paths_and_a_mix_of_them(network, model, folder):
    expected = model.predict(IMAGES.astype("float32"), verbose=0)
    paths = sorted((folder / "images").iterdir())

    def mixed():
        yield IMAGES[0]
        yield str(paths[1])
        yield Image.fromarray(IMAGES[2])
        yield IMAGES[3:]

    for given in (IMAGES, list(IMAGES), paths, folder / "images", str(folder / "images"), mixed()):
        found = network.predict(given).to_array()
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-6)
    for given in (IMAGES[1], Image.fromarray(IMAGES[1]), paths[1], IMAGES[1].astype("float64")):
        np.testing.assert_allclose(network.predict(given).to_array(), expected[1:2], atol=1e-6)
    told = [(each.index, each.path, each.name) for each in network.predict([IMAGES[0], paths[1]])]
    assert told == [(0, None, "image 0"), (1, paths[1], str(paths[1]))]


def test_predictions_are_those_of_the_command(network, folder):
    out = folder / "predictions.csv"
    main(["predict", str(folder / "run"), str(folder / "images"), "-o", str(out)])
    file = io.StringIO()
    network.predict(folder / "images").write(file)
    assert file.getvalue() == out.read_text()


def test_several_tasks_give_an_array_each(tmp_path):
    model = small_run(tmp_path / "run", ZOO, ALIVE)
    found = tltool.open(tmp_path / "run").predict(IMAGES, tta="d4").to_array()
    assert {name: values.shape for name, values in found.items()} == {
        "zoo": (5, 3),
        "alive": (5, 2),
    }
    np.testing.assert_allclose(found["alive"].sum(1), 1, atol=1e-6)
    plain = tltool.predict(model, IMAGES).to_array()
    assert {values.shape for values in plain.values()} == {(5, 3), (5, 2)}


def test_every_verb_takes_networks_and_models(network, model, folder, tmp_path):
    run = tltool.open(folder / "run")
    expected = network.predict(IMAGES).to_array()
    for given in (folder / "run", run, model):
        np.testing.assert_array_equal(tltool.predict(given, IMAGES).to_array(), expected)
    done = tltool.convert(model, classes=CLASSES, windows=20)
    assert (done.path, done.picture) == (None, None)
    assert done.difference <= 1e-5
    assert done.fcn.inputs[0].shape[1] is None
    written = tltool.convert(model, tmp_path / "out", classes=CLASSES, check_image=PHOTO)
    assert written.path == tmp_path / "out" / "fcn.keras"
    assert written.sidecar.fidelity["image"] == "check_image"
    data = tmp_path / "data"
    for number, name in enumerate(("bird", "seal")):
        (data / name).mkdir(parents=True)
        Image.fromarray(IMAGES[number]).save(data / name / "a.png")
    found = tltool.evaluate(network, data, resamples=10)
    assert (found.files, found.folder) == ([], None)
    assert found.metrics["samples"] == 2
    assert tltool.evaluate(run, data, resamples=10).folder == folder / "run" / "evaluation"
    with pytest.raises(UsageError, match=r"`report`: expected a run folder"):
        tltool.evaluate(network, data, report=True)


def test_an_explanation_is_an_object_and_nothing_is_written(network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = network.explain(IMAGES[0], label="seal", method="layercam")
    assert (found.label, found.map.shape) == ("seal", (PATCH, PATCH))
    assert found.probability == pytest.approx(network.predict(IMAGES[0]).to_array()[0, 2])
    assert found.to_image().mode == "RGB"
    assert found._repr_html_().startswith('<img src="data:image/png;base64,')
    many = tltool.explain(network, IMAGES)
    assert [each.image for each in many.images] == [f"image {i}" for i in range(5)]
    assert list(tmp_path.iterdir()) == []
    files = tltool.explain(network, IMAGES[:2], tmp_path).images
    assert [each.picture.name for each in files] == [f"image-{i}.gradcam.png" for i in (0, 1)]


def test_the_fidelity_is_measured_on_an_array(network):
    found = network.fidelity(PHOTO, windows=50)
    # It sees no padding.
    assert found["argmax_agreement"] == 1
    assert found["windows"] == 50
    again = tltool.fidelity(network.fcn, network, PHOTO, windows=50)
    assert (again.numbers, again.picture) == ({"image": "image", **found}, None)


def test_a_map_has_the_numbers_of_the_command(network, folder, tmp_path):
    main(["heatmap", str(folder / "run"), str(folder / "photo.png"), "-o", str(tmp_path)])
    with rasterio.open(tmp_path / "photo.heatmap.tif") as file:
        written = file.read().transpose(1, 2, 0)
    for opened in (network, tltool.open(folder / "run")):
        found = opened.map(PHOTO)
        assert isinstance(found, tltool.Map)
        assert found.values.dtype == np.float32
        np.testing.assert_array_equal(found.values, written)
        np.testing.assert_array_equal(np.asarray(found), written)
    np.testing.assert_array_equal(network.map(Image.fromarray(PHOTO)).values, written)
    assert network.map(PHOTO, stride=2).values.shape[0] > written.shape[0]


def test_a_count_of_an_array_is_that_of_the_file(network, folder):
    options = {"threshold": 0.3, "distance": 6}
    found = network.count(PHOTO, **options)
    (again,) = tltool.count(folder / "run", folder / "photo.png", **options).images
    assert found.points.to_dict()["x"]
    assert found.points.to_dict() == again.points.to_dict()
    assert str(found.counts) == str(again.counts)


def test_the_example_of_the_readme_counts_its_squares(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["arrays.py", str(tmp_path / "squares.png")])
    example = Path(tltool.__file__).parents[1] / "examples" / "arrays.py"
    found = runpy.run_path(str(example))
    points = found["squares"].points.to_dict()
    assert list(zip(points["x"], points["y"], strict=True)) == [(50, 38), (210, 98), (110, 158)]
    assert "(50, 75, 1) cells, a cell every 4 px" in capsys.readouterr().out
    assert Image.open(tmp_path / "squares.png").mode == "RGB"


def test_a_network_shows_itself(network):
    assert repr(network) == f"<Network {network.name}: 3 classes (bird, none, seal), 16 px>"
    table = network._repr_html_()
    for text in ("bird, none, seal", "16 px", "a cell every 4 px", "not measured"):
        assert text in table


def test_context_and_pixels_are_hints():
    inputs = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 8, 4)(inputs))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    network = tltool.open(model, context=2, pixels="0..1")
    assert (network.patch, network.context, network.classes) == (12, 2, ["class_0", "class_1"])
    image = IMAGES[0]
    expected = model.predict(image[None] / np.float32(255), verbose=0)
    np.testing.assert_allclose(network.predict(image).to_array(), expected, atol=1e-5)
    with pytest.raises(UsageError, match="`context`: expected a margin"):
        tltool.open(model, context=8)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros(3, np.uint8), r"`images`: .*received .*\(3,\)"),
        (np.zeros((16, 16, 5), np.uint8), r"`images`: expected .*3 bands.* received .*5"),
        (np.full((16, 16, 3), np.nan), r"`images`: .*NaN"),
        (RNG.random((16, 16, 3)), r"`scale`"),
        (5, r"`images`: expected paths, arrays .*, received int"),
    ],
)
def test_arrays_that_are_no_images_are_refused(network, images, message):
    for call in (network.predict, network.explain):
        with pytest.raises(UsageError, match=message):
            list(call(images)) if call == network.predict else call(images)


def test_floats_of_0_to_1_with_a_scale_are_images(network):
    expected = network.predict(IMAGES).to_array()
    found = network.predict(IMAGES / 255, scale=(0, 1)).to_array()
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("empty", [[], np.empty((0, 16, 16, 3), np.uint8), iter(())])
def test_no_images_are_told(network, empty):
    with pytest.raises(tltool.TltoolError, match="`images`: expected images, received none"):
        network.predict(empty).to_array()


class Subclassed(keras.Model):
    def call(self, images):
        return images


def test_models_without_a_recognisable_classifier_are_refused():
    inputs = keras.Input((16, 16, 3))
    with pytest.raises(ConversionError, match=r"`source` \(model .*expected one vector of class"):
        tltool.open(keras.Model(inputs, layers.Conv2D(2, 3)(inputs)))
    with pytest.raises(ModelError, match=r"`source` .*expected a Sequential or Functional model"):
        tltool.open(Subclassed())
    with pytest.raises(UsageError, match=r"`source`: expected a run folder, .*received int"):
        tltool.open(3)
    with pytest.raises(ModelError, match="does not exist"):
        tltool.open(Path("nothing.keras"))


def test_hints_beside_an_open_network_are_refused(network):
    with pytest.raises(UsageError, match="`source`: expected no hints"):
        tltool.open(network, classes=CLASSES)


@pytest.mark.parametrize("name", ["open_model", "to_fcn"])
def test_names_that_are_gone_tell_the_new_one(name):
    with pytest.raises(AttributeError, match=r"tltool\.open"):
        getattr(tltool, name)


def test_dir_lists_public_names_and_submodules_alone():
    listed = {name for name in dir(tltool) if not name.startswith("_")}
    submodules = {path.stem for path in Path(tltool.__file__).parent.iterdir()}
    assert listed - submodules == set(tltool.__all__) - submodules
    assert {"open", "Network", "mapping"} <= listed
    assert not {"importlib", "Any", "quiet_import"} & listed
    assert sys.modules["tltool.files"] is tltool.files
