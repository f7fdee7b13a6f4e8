import json
import zipfile

import h5py
import numpy as np
import pytest

from tltool.errors import ModelError, OutputError, UsageError
from tltool.runtime import quiet_import

quiet_import("keras")

import keras  # noqa: E402
from keras import layers  # noqa: E402
from legacy_files import shaken, write_hdf5, write_zip  # noqa: E402

from tltool.models.loading import load_network, open_model, upgrade  # noqa: E402


@pytest.fixture(scope="module")
def model():
    return shaken(
        keras.Sequential(
            [keras.Input((8, 8, 3)), layers.Conv2D(2, 3, name="c"), layers.Flatten(name="f")]
        )
    )


def answer(model):
    return np.asarray(model(np.linspace(0, 1, 192, dtype="float32").reshape(1, 8, 8, 3)))


@pytest.mark.parametrize("name", ["a.keras", "a.h5", "a.hdf5"])
def test_files_of_keras_3_open_under_any_name(tmp_path, model, name):
    path = tmp_path / name
    model.save(path)
    other = path.rename(tmp_path / "a.model")
    np.testing.assert_array_equal(answer(load_network(other)), answer(model))


@pytest.mark.parametrize("name", ["a.model", "a.keras", "a", "weights.pt"])
def test_hdf5_of_keras_2_opens_under_any_name(tmp_path, model, name):
    opened = open_model(str(write_hdf5(tmp_path / name, model)))
    np.testing.assert_allclose(answer(opened.model), answer(model), atol=1e-6)


def test_upgrade_writes_plain_keras_once(tmp_path, model):
    old = write_zip(tmp_path / "old.keras", model, "2.13.1")
    out = tmp_path / "new" / "new.keras"
    upgrade(old, out)
    np.testing.assert_allclose(answer(keras.saving.load_model(out)), answer(model), atol=1e-6)
    with pytest.raises(OutputError, match="exists already"):
        upgrade(old, out)
    upgrade(old, out, overwrite=True)
    with pytest.raises(UsageError, match=r"ends in .keras, received"):
        upgrade(old, tmp_path / "new.h5")
    assert [path.name for path in out.parent.iterdir()] == ["new.keras"]


def test_upgrade_on_the_command_line(tmp_path, model, capsys):
    from tltool.cli.main import main

    old = write_hdf5(tmp_path / "old.h5", model, "2.1")
    main(["upgrade", str(old), "-o", str(tmp_path / "new.keras")])
    told = capsys.readouterr().out
    assert "mended: Sequential model given as a list of layers" in told
    assert "new.keras: 56 weights" in told


def refused(path, match, **options):
    with pytest.raises(ModelError, match=match) as caught:
        open_model(path, **options)
    text = str(caught.value)
    assert path.name in text
    assert "\n" not in text
    return text


def archive(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for name, text in members.items():
            file.writestr(name, text)
    return path


def test_files_that_are_no_models(tmp_path):
    refused(tmp_path / "none.h5", r"none.h5 does not exist: expected a saved Keras model")
    (tmp_path / "empty.h5").touch()
    refused(tmp_path / "empty.h5", "it is empty")
    (tmp_path / "text.h5").write_text("no model")
    refused(tmp_path / "text.h5", "neither HDF5 nor a zip archive; expected a Keras model")
    refused(tmp_path, "it is a folder; expected a Keras model")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").touch()
    refused(tmp_path / "saved", r"SavedModel, .*tf.keras.models.load_model")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = 3
    refused(tmp_path / "other.h5", "weights only")


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.pkl", b"\x80\x04", "Python pickle, which is never opened"),
        ("a.joblib", b"x", "Python pickle"),
        ("a.model", b"\x80\x04", "Python pickle"),
        ("a.tflite", b"\x20\0\0\0TFL3", "TensorFlow Lite model"),
        ("a.onnx", b"\x08", "ONNX"),
        ("saved_model.pb", b"\x08", "TensorFlow graph"),
        ("a.pt", b"PK\x03\x04", "PyTorch"),
        ("a.json", b"{}", "architecture without weights"),
    ],
)
def test_files_of_others_are_named(tmp_path, name, content, what):
    path = tmp_path / name
    path.write_bytes(content)
    refused(path, what)


def test_damaged_files(tmp_path, model):
    whole = write_hdf5(tmp_path / "whole.h5", model).read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "cut.h5", "damaged or incomplete .*download it again")
    model.save(tmp_path / "whole.keras")
    whole = (tmp_path / "whole.keras").read_bytes()
    (tmp_path / "cut.keras").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "cut.keras", "breaks off")
    with h5py.File(tmp_path / "json.h5", "w") as file:
        file.attrs["model_config"] = b"{"
        file.create_group("model_weights")
    refused(tmp_path / "json.h5", "model_config is not JSON")
    with h5py.File(tmp_path / "json.h5", "a") as file:
        file.attrs["model_config"] = b'{"class_name": "Sequential", "config": {"layers": [{}]}}'
    refused(tmp_path / "json.h5", "not one of Keras's")
    with h5py.File(tmp_path / "json.h5", "a") as file:
        del file["model_weights"]
    refused(tmp_path / "json.h5", "group model_weights is missing")


def test_archives_that_are_no_models(tmp_path):
    refused(archive(tmp_path / "a.keras", {"readme.txt": "x"}), "the archive has no config.json")
    refused(archive(tmp_path / "b.keras", {"config.json": "{}"}), "has no model.weights.h5")
    members = {"config.json": "{}", "model.weights.h5": "x"}
    refused(archive(tmp_path / "c.keras", members), "config.json is not the configuration")
    for outside in ("../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:\\evil"):
        path = archive(tmp_path / "d.keras", {**members, outside: "x"})
        refused(path, "points outside of the archive")
    assert not (tmp_path.parent / "evil.txt").exists()
    config = json.dumps({"class_name": "Sequential", "config": {"name": "m", "layers": []}})
    path = archive(tmp_path / "e.keras", {"config.json": config, "model.weights.h5": "x"})
    refused(path, "e.keras cannot be read")


def nested(layer):
    inner = keras.Sequential([keras.Input((4, 4, 3), name="i"), layer], name="inner")
    return keras.Sequential([keras.Input((4, 4, 3)), layers.ReLU(), inner])


@pytest.mark.parametrize("ending", ["h5", "keras"])
@pytest.mark.parametrize("old", [False, True])
def test_lambda_layers_are_refused_by_name(tmp_path, ending, old):
    layer = layers.Lambda(lambda x: x * 2, name="secret", output_shape=(4, 4, 3))
    model = nested(layer)
    path = tmp_path / f"a.{ending}"
    if old:
        write = write_hdf5 if ending == "h5" else write_zip
        stand_in = nested(layers.ReLU(name="secret"))

        def edit(config):
            if config["config"].get("name") == "secret":
                code = ["4wEAAAABAAA=", None, None]
                config["class_name"], config["config"]["function"] = "Lambda", code

        write(path, stand_in, edit=edit)
    else:
        model.save(path)
    refused(path, "layer secret is a Lambda layer, and the Python code in it is not executed")


def test_custom_objects_of_keras_3_in_hdf5_are_refused_by_name(tmp_path):
    path = tmp_path / "a.h5"
    keras.Sequential([keras.Input((4, 4, 3)), layers.Identity()]).save(path)
    with h5py.File(path, "a") as file:
        text = file.attrs["model_config"]
        file.attrs["model_config"] = text.replace('"Identity"', '"Mine"')
    refused(path, "the class Mine is unknown to Keras .*Custom objects are not executed")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"module": "os", "class_name": "system"}, "the class system of os"),
        ({"module": None, "class_name": "Mine"}, "the class Mine"),
        ({"module": "mine.layers", "registered_name": "pkg>Mine"}, "the class pkg>Mine"),
        ({"module": "keras.layers", "registered_name": "pkg>Mine"}, "the class pkg>Mine"),
    ],
)
def test_custom_objects_of_keras_3_are_refused_by_name(tmp_path, keys, told):
    path = tmp_path / "a.keras"
    keras.Sequential([keras.Input((4, 4, 3)), layers.Identity(name="mine")]).save(path)
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][1].update(keys)
    archive(path, {**members, "config.json": json.dumps(config)})
    refused(path, f"layer mine: {told} is not one of Keras's own, and custom objects are not")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"class_name": "Mine"}, "layer mine: the class Mine is not one of Keras's own"),
        ({"class_name": "Addons>Mish"}, "layer mine: the class Addons>Mish"),
        ({"class_name": "Activation", "activation": "double"}, "the activation double"),
        (
            {"class_name": "Activation", "activation": {"class_name": "function",
             "config": "double", "module": "builtins", "registered_name": "double"}},
            "layer mine: the function double",
        ),
        ({"class_name": "os"}, "the class os"),
        ({"class_name": "TFSMLayer", "filepath": "x"}, "runs a program of another library"),
        ({"class_name": "TorchModuleWrapper"}, "runs a program of another library"),
        ({"class_name": "__init__"}, "the class __init__"),
    ],
)  # fmt: skip
def test_custom_objects_of_keras_2_are_refused_by_name(tmp_path, keys, told):
    def edit(config):
        if config["config"].get("name") == "mine":
            more = dict(keys)
            config["class_name"] = more.pop("class_name")
            config["config"].update(more)

    model = keras.Sequential([keras.Input((4, 4, 3)), layers.ReLU(name="mine")])
    refused(write_hdf5(tmp_path / "a.h5", model, edit=edit), told)


def test_a_model_class_of_ones_own_is_refused(tmp_path, model):
    path = write_hdf5(tmp_path / "a.h5", model)
    with h5py.File(path, "a") as file:
        text = file.attrs["model_config"].replace('"Sequential"', '"MyModel"')
        file.attrs["model_config"] = text
    refused(path, "expected a Sequential or Functional model, received the class MyModel")


def test_architectures(tmp_path, model):
    whole = write_hdf5(tmp_path / "whole.h5", model)
    (tmp_path / "config.json").write_text(model.to_json())
    with pytest.raises(UsageError, match=r"whole.h5 holds its architecture itself"):
        open_model(whole, architecture=tmp_path / "config.json")
    only = tmp_path / "only.weights.h5"
    model.save_weights(only)
    with pytest.raises(ModelError, match=r"`architecture`: .*gone.json does not exist"):
        open_model(only, architecture=tmp_path / "gone.json")
    (tmp_path / "bad.json").write_text("[1]")
    with pytest.raises(ModelError, match=r"bad.json .*not the configuration of a Keras model"):
        open_model(only, architecture=tmp_path / "bad.json")
    other = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(5, 3), layers.Conv2D(5, 3)])
    (tmp_path / "other.json").write_text(other.to_json())
    refused(only, "do not fit .*other.json", architecture=tmp_path / "other.json")


REAL = {
    "ART_mnist_cnn_original.h5": "Sequential model given as a list of layers",
    "mlctiny_vww_96.h5": "groups dropped from DepthwiseConv2D",
    "mlctiny_trainedResnet_90061.h5": None,
    "oarriaga_tiny_XCEPTION_KDEF.hdf5": None,
}


@pytest.mark.parametrize("name", REAL)
def test_real_files(tmp_path, shared, name):
    path, mended = shared / "models" / name, REAL[name]
    if not path.exists():
        pytest.skip(f"{path} not found")
    opened = upgrade(path, tmp_path / "new.keras")
    images = np.random.default_rng(0).uniform(0, 1, (2, *opened.model.input_shape[1:]))
    wanted = np.asarray(opened.model(images))
    new = keras.saving.load_model(tmp_path / "new.keras")
    np.testing.assert_array_equal(np.asarray(new(images)), wanted)
    if mended:
        assert opened.mended[0].startswith(mended)
        with pytest.raises((ValueError, TypeError)):
            keras.saving.load_model(path, compile=False)
        return
    assert opened.mended == []
    native = keras.saving.load_model(path, compile=False)
    np.testing.assert_array_equal(np.asarray(native(images)), wanted)
