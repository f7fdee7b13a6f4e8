"""Classifiers of any origin on their way through `tltool.convert`."""

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import rasterio

import tltool
from tltool.data.images import read_image
from tltool.errors import ConversionError, ModelError, OutputError, UsageError
from tltool.run.sidecar import load_sidecar
from tltool.runtime import quiet_import

quiet_import("keras")

import keras  # noqa: E402
from keras import layers  # noqa: E402
from legacy_files import write_hdf5  # noqa: E402
from small_runs import ALIVE, PATCH, ZOO, small_model, small_run, write_bands  # noqa: E402

from tltool.inference.network import open_network  # noqa: E402
from tltool.models.loading import load_network  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

CLASSES = {"classes": ["bird", "none", "seal"], "background": "none"}


@pytest.fixture(scope="module")
def model():
    return small_model([ZOO])


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "a.tif"
    write_bands(path, 3)
    return path


@pytest.fixture(scope="module")
def done(model, photo, tmp_path_factory):
    """A .h5 of Keras 3, converted."""
    folder = tmp_path_factory.mktemp("foreign")
    model.save(folder / "net.h5")
    return tltool.convert(
        folder / "net.h5", folder / "out", **CLASSES, check_image=photo, windows=30
    )


def pixels_of(photo):
    return read_image(photo)[None, :PATCH, :PATCH].astype("float32")


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_holds_classifier_and_fcn_with_what_was_told(done, model, photo):
    folder = done.path.parent
    assert names_in(folder) == [
        *("fcn.fidelity.png", "fcn.json", "fcn.keras", "model.json", "model.keras"),
    ]
    assert done.picture == folder / "fcn.fidelity.png"
    sidecar = load_sidecar(folder / "fcn.keras")
    assert sidecar == done.sidecar
    assert (sidecar.classes, sidecar.background) == (["bird", "none", "seal"], "none")
    assert (sidecar.stride, sidecar.patch, sidecar.receptive_field) == (4.0, PATCH, PATCH)
    assert sidecar.fidelity["image"] == "a.tif"
    assert (sidecar.fidelity["argmax_agreement"], sidecar.fidelity["windows"]) == (1.0, 30)
    assert done.difference <= 1e-5
    of_classifier = load_sidecar(folder / "model.keras")
    assert of_classifier.classes == sidecar.classes
    assert of_classifier.stride is None
    expected = model(pixels_of(photo))
    for name in ("model.keras", "fcn.keras"):
        received = np.asarray(load_network(folder / name)(pixels_of(photo))).reshape(1, 3)
        np.testing.assert_allclose(received, expected, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="fcn"),
        pytest.param({"stride": 2}, id="dense", marks=pytest.mark.slow),
        pytest.param({"mode": "patches", "stride": 8}, id="slid"),
    ],
)
def test_maps_are_made_of_that_folder(done, photo, tmp_path, options):
    tltool.heatmap(done.path.parent, [photo], tmp_path, **options)
    with rasterio.open(tmp_path / "a.heatmap.tif") as file:
        assert file.descriptions == ("bird", "none", "seal")
    facts = json.loads((tmp_path / "a.json").read_text())
    assert facts["fidelity"]["argmax_agreement"] == 1.0 if "mode" not in options else True


def test_that_folder_converts_like_a_run(done, tmp_path):
    again = tltool.convert(done.path.parent, tmp_path / "again", stride=2)
    assert again.path.name == "fcn-stride2.keras"
    assert again.notes == []
    assert load_sidecar(tmp_path / "again" / "model.keras").classes == ["bird", "none", "seal"]


@pytest.mark.slow
def test_the_fcn_runs_where_tltool_is_not_installed(done, model, photo, tmp_path):
    np.save(tmp_path / "image.npy", pixels_of(photo))
    script = (
        "import sys; sys.modules['tltool'] = None\n"
        "import keras, numpy as np\n"
        "image = np.load('image.npy')\n"
        f"fcn = keras.saving.load_model({str(done.path)!r}, safe_mode=True)\n"
        f"own = keras.saving.load_model({str(done.path.with_name('model.keras'))!r})\n"
        "np.save('out.npy', np.stack([fcn(image)[:, 0, 0], own(image)]))\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    for received in np.load(tmp_path / "out.npy"):
        np.testing.assert_allclose(received, model(pixels_of(photo)), atol=1e-5)


def keras_3(path, model):
    model.save(path.with_suffix(".keras"))
    path.with_suffix(".keras").rename(path)


def weights_only(path, model):
    model.save_weights(path)
    path.with_suffix(".arch.json").write_text(model.to_json())
    return {"architecture": path.with_suffix(".arch.json")}


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("net.keras", keras_3),
        ("net.model", keras_3),
        ("net.h5", write_hdf5),
        ("net.model", write_hdf5),
        ("net.weights.h5", weights_only),
    ],
)
def test_files_of_every_keras_are_read(tmp_path, model, photo, name, write):
    path = tmp_path / name
    options = write(path, model)
    network = open_network(path, **CLASSES, **(options if isinstance(options, dict) else {}))
    np.testing.assert_allclose(network.model(pixels_of(photo)), model(pixels_of(photo)), atol=1e-5)
    assert network.foreign
    assert network.sidecar.classes == ["bird", "none", "seal"]


def test_the_default_folder_is_named_after_the_file(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets").mkdir()
    own = [keras.Input((PATCH, PATCH, 3)), layers.Conv2D(4, 4), layers.Flatten(), layers.Dense(3)]
    write_hdf5(tmp_path / "nets" / "net.h5", keras.Sequential(own), "2.1")
    done = tltool.convert("nets/net.h5")
    assert str(done.path) == "net-fcn/fcn.keras"
    assert names_in(tmp_path / "net-fcn") == ["fcn.json", "fcn.keras", "model.json", "model.keras"]
    assert done.mended[0].startswith("Sequential model given as a list of layers")
    # Scores of some hundred: rounding them is no difference.
    assert (done.picture, done.sidecar.fidelity) == (None, None)
    assert "no training data are known: pass `check_image` for the fidelity" in caplog.text
    assert any("`classes` names them" in note for note in done.notes)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.h5", b"no model at all", "neither HDF5 nor a zip archive"),
        ("short.h5", None, "cannot be read as a Keras model"),
        ("photos.keras", "zip", "cannot be read as a Keras model"),
        ("gone.h5", "gone", "does not exist: expected a saved Keras model"),
    ],
)
def test_files_that_are_no_model_are_named(tmp_path, model, name, content, message):
    path = tmp_path / name
    if content == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", "hello")
    elif content is None:
        whole = write_hdf5(tmp_path / "whole.h5", model).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif content != "gone":
        path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        tltool.convert(path, tmp_path / "out")
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_weights_alone_ask_for_their_architecture(tmp_path, model):
    weights_only(tmp_path / "net.weights.h5", model)
    with pytest.raises(ModelError, match=r"weights only .*`architecture`"):
        tltool.convert(tmp_path / "net.weights.h5", tmp_path / "out")


def test_an_architecture_of_the_same_stem_is_no_sidecar(tmp_path, model):
    model.save(tmp_path / "net.keras")
    (tmp_path / "net.json").write_text(model.to_json())
    assert open_network(tmp_path / "net.keras", **CLASSES).foreign
    for text in ("[]", "{", '"classes"'):
        (tmp_path / "net.json").write_text(text)
        assert open_network(tmp_path / "net.keras", **CLASSES).foreign


def test_options_about_the_model_are_not_for_a_run(tmp_path):
    small_run(tmp_path / "run", ALIVE)
    for path in (tmp_path / "run", tmp_path / "run" / "model.keras"):
        for more in (CLASSES, {"architecture": tmp_path / "a.json"}):
            with pytest.raises(UsageError, match=r"model.json beside it tells all that. Leave"):
                tltool.convert(path, **more)
        assert not open_network(path, zoom=1).foreign


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"model.keras does not exist"):
        tltool.convert(tmp_path)


def test_a_saved_model_folder_is_named(tmp_path):
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(ModelError, match="SavedModel"):
        tltool.convert(tmp_path, tmp_path / "out")


def test_nothing_is_overwritten_unasked(tmp_path, model):
    model.save(tmp_path / "net.keras")
    out = tmp_path / "out"
    tltool.convert(tmp_path / "net.keras", out)
    with pytest.raises(OutputError, match=r"fcn.keras exists already.*overwrite=True"):
        tltool.convert(tmp_path / "net.keras", out)
    (out / "fcn.keras").unlink()
    with pytest.raises(OutputError, match=r"model.keras exists already.*overwrite=True"):
        tltool.convert(tmp_path / "net.keras", out)
    tltool.convert(tmp_path / "net.keras", out, overwrite=True, **CLASSES)
    assert load_sidecar(out / "model.keras").classes == ["bird", "none", "seal"]
    assert not list(out.glob(".partial*"))


def test_the_users_own_files_are_never_overwritten_unasked(tmp_path, model):
    own = tmp_path / "model.keras"
    model.save(own)
    before = own.read_bytes()
    with pytest.raises(OutputError, match=r"model.keras exists already"):
        tltool.convert(own, tmp_path, pixels="0..1")
    own.rename(tmp_path / "net.keras")
    (tmp_path / "model.json").write_text(model.to_json())
    with pytest.raises(OutputError, match=r"model.json exists already"):
        tltool.convert(tmp_path / "net.keras", tmp_path)
    assert (tmp_path / "net.keras").read_bytes() == before
    assert names_in(tmp_path) == ["model.json", "net.keras"]


@pytest.mark.parametrize("name", ["x.keras", "x.h5", "x.hdf5"])
def test_the_output_is_a_folder(tmp_path, model, name):
    model.save(tmp_path / "net.keras")
    with pytest.raises(UsageError, match=f"`out`: expected a folder, received .*{name}"):
        tltool.convert(tmp_path / "net.keras", tmp_path / name)


def test_a_run_of_several_tasks_is_copied_as_it_is(tmp_path, photo):
    model = small_run(tmp_path / "run", ZOO, ALIVE)
    tltool.convert(tmp_path / "run", tmp_path / "copy")
    copied = load_network(tmp_path / "copy" / "model.keras")
    assert sorted(copied.output) == ["alive", "zoo"]
    for name, expected in model(pixels_of(photo)).items():
        np.testing.assert_allclose(copied(pixels_of(photo))[name], expected, atol=1e-6)
    assert not open_network(tmp_path / "copy").foreign
    # By another spelling the folder is its own still, and its classifier stays.
    before = (tmp_path / "run" / "model.keras").read_bytes()
    tltool.convert(tmp_path / "run", os.path.relpath(tmp_path / "run"))
    assert (tmp_path / "run" / "model.keras").read_bytes() == before


def test_an_fcn_is_no_classifier(done):
    with pytest.raises(ModelError, match=r"fcn.keras: expected a classifier, .*takes images of a"):
        tltool.convert(done.path)


def _permuted(x):
    return layers.Flatten()(layers.Permute((2, 1, 3), name="turn")(x))


def _attending(x):
    x = layers.MultiHeadAttention(1, 4, name="attention")(x, x)
    return layers.Flatten()(x)


def _reading(x):
    return layers.LSTM(4)(layers.Reshape((16, 8), name="rows")(x))


@pytest.mark.parametrize(
    ("mix", "layer"),
    [
        (_permuted, r"turn \(Permute\)"),
        (_attending, r"attention \(MultiHeadAttention\)"),
        (_reading, r"rows \(Reshape\)"),
    ],
)
def test_a_model_that_mixes_positions_is_refused_by_its_layer(tmp_path, mix, layer):
    inputs = keras.Input((PATCH, PATCH, 3))
    x = mix(layers.Conv2D(8, 4, strides=4)(inputs))
    keras.Model(inputs, layers.Dense(3)(x)).save(tmp_path / "net.keras")
    with pytest.raises(ConversionError, match=rf"layer {layer}.*heatmap\(mode='patches'\)"):
        tltool.convert(tmp_path / "net.keras", tmp_path / "out")
    assert names_in(tmp_path / "out") == ["model.json", "model.keras"]


def test_what_does_not_convert_is_kept_ready_to_be_slid(tmp_path, photo):
    inputs = keras.Input((PATCH, PATCH, 3))
    outputs = layers.Dense(3, activation="softmax")(layers.Flatten()(inputs))
    model = keras.Model(inputs, outputs)
    model.layers[-1].set_weights([w / 99 for w in model.layers[-1].get_weights()])
    model.save(tmp_path / "net.keras")
    hints = {"classes": ["bird", "none", "seal"], "pixels": "0..1"}
    with pytest.raises(ConversionError, match=r"no layer slides over the.*out holds it, ready"):
        tltool.convert(tmp_path / "net.keras", tmp_path / "out", **hints)
    tltool.heatmap(tmp_path / "out", [photo], tmp_path, mode="patches", stride=8)
    with rasterio.open(tmp_path / "a.heatmap.tif") as file:
        values = file.read()
    assert values.shape[0] == 3
    assert np.isfinite(values).all()
    slid = load_network(tmp_path / "out" / "model.keras")
    np.testing.assert_allclose(slid(pixels_of(photo)), model(pixels_of(photo) / 255), atol=1e-5)


def test_a_run_that_does_not_convert_is_left_alone(tmp_path):
    small_run(tmp_path / "run", ZOO)
    inputs = keras.Input((PATCH, PATCH, 3))
    keras.Model(inputs, layers.Dense(3)(layers.Flatten()(inputs))).save(
        tmp_path / "run" / "model.keras"
    )
    with pytest.raises(ConversionError, match=r"Dense\) cannot be converted"):
        tltool.convert(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()
