"""`tltool export` through the one door."""

import importlib.util

import pytest

from tltool.cli.main import main

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

NEEDED = {"onnx": "tf2onnx", "openvino": "openvino"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from tltool.runtime import quiet_import

    quiet_import("keras")
    from small_runs import ZOO, small_run, write_bands

    import tltool

    folder = tmp_path_factory.mktemp("cli") / "run"
    small_run(folder, ZOO, gsd=0.1)
    write_bands(folder / "a.tif", 3)
    tltool.convert(folder, check_image=folder / "a.tif", windows=4)
    return folder


def call(*words):
    try:
        main([str(word) for word in words])
    except SystemExit as stop:
        return stop.code or 0
    return 0


@pytest.mark.parametrize("form", ["onnx", "openvino", "saved_model"])
def test_the_command_writes_and_tells_the_difference(run, tmp_path, capfd, form):
    if form in NEEDED and importlib.util.find_spec(NEEDED[form]) is None:
        pytest.skip(f"{NEEDED[form]} is not installed")
    out = tmp_path / ("fcn.onnx" if form == "onnx" else form)
    more = ("--tile", 64) if form == "onnx" else ()
    assert call("export", run, "--format", form, *more, "-o", out) == 0
    told, errors = capfd.readouterr()
    lines = told.splitlines()
    assert lines[0].startswith(f"{out}: ")
    assert lines[-1].startswith("difference from Keras: ")
    # Nothing that a converter logs.
    assert errors == ""
    assert out.exists()
    assert call("export", run / "fcn.keras", "--format", form, "-o", out) == 1
    assert "exists already" in capfd.readouterr().err


def test_wrong_usage(run, tmp_path, capsys):
    for words, message in (
        (("--format", "tflite"), "'tflite' is not one of"),
        ((), "Missing option '--format'"),
        (("--format", "saved_model", "--tile", "64"), "expected --format onnx"),
    ):
        assert call("export", run, *words, "-o", tmp_path / "out") == 2
        assert message in capsys.readouterr().err
    assert call("export", tmp_path, "--format", "saved_model", "-o", tmp_path / "out") == 1
    assert "fcn.keras does not exist" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
