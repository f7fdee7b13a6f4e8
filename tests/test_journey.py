"""The whole journey on the command line, as a new user types it."""

import json

import pytest
import rasterio

from tltool.cli.main import main


def run(*words):
    try:
        main([str(word) for word in words])
    except SystemExit as stop:
        return stop.code or 0
    return 0


@pytest.mark.usefixtures("quick_vgg16")
@pytest.mark.parametrize(
    ("backbone", "seen"),
    [
        (("VGG16",), 94),
        pytest.param(("MobileNet", "--alpha", 0.25), 315, marks=pytest.mark.slow),
    ],
    ids=["small", "MobileNet"],
)
def test_patches_finetune_convert_heatmap(survey, tmp_path, capsys, backbone, seen):
    image, points = survey
    data, model, maps = tmp_path / "data", tmp_path / "run", tmp_path / "maps"
    assert run("patches", image, points, "--size", 32, "--context", 32, "-o", data) == 0
    assert "together" in capsys.readouterr().out
    network = ("--backbone", *backbone, "--weights", "none", "--batch-size", 8)
    assert run("finetune", data, *network, "--epochs", 1, "--seed", 5, "-o", model) == 0
    assert "accuracy: valid" in capsys.readouterr().out
    assert run("convert", model, "--windows", 16) == 0
    out = capsys.readouterr().out
    assert f"a cell every 32 px, receptive field {seen} px" in out
    assert "% of 16 windows of survey_01.tif get the classifier's own class" in out
    assert run("heatmap", model, image, "-o", maps) == 0
    assert "Mpx/s" in capsys.readouterr().out
    with rasterio.open(maps / "survey_01.heatmap.tif") as source:
        assert source.descriptions == tuple(json.loads((model / "fcn.json").read_text())["classes"])
        assert source.crs.to_epsg() == 32605
    assert (maps / "survey_01.overlay.png").stat().st_size > 10_000


def test_errors_are_one_line_with_a_status(survey, tmp_path, capsys):
    image, _ = survey
    (tmp_path / "bad.csv").write_text("image,x,label\na,1,b\n")
    cases = [
        (1, "column y is missing", ("patches", image, tmp_path / "bad.csv", "-o", tmp_path / "d")),
        (1, "found none", ("finetune", tmp_path / "nothing", "-o", tmp_path / "r")),
        (
            2,
            "expected a YAML file or one of",
            ("finetune", tmp_path, "--recipe", "nope", "-o", tmp_path / "r"),
        ),
        (2, "--epochs: expected 2 numbers", ("finetune", tmp_path, "--epochs", "1", "-o", "r")),
        (1, "does not exist", ("convert", tmp_path / "norun")),
        (1, "does not exist", ("heatmap", tmp_path, tmp_path / "a.png", "-o", tmp_path / "m")),
    ]
    for status, message, words in cases:
        assert run(*words) == status, words
        error = capsys.readouterr().err
        assert message in error
        assert error.startswith("tltool: ")
        assert error.count("\n") == 1
    assert run("heatmap") == 2


def test_stopping_by_hand_is_one_line(survey, tmp_path, capsys, monkeypatch):
    from tltool.data import patches as points

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(points, "PatchWriter", stop)
    image, csv = survey
    assert run("patches", image, csv, "-o", tmp_path / "d") == 1
    error = capsys.readouterr().err.lstrip("\n")
    assert error == "tltool: stopped; no unfinished file has a final name\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_demo(tmp_path, capsys):
    assert run("demo", "-o", tmp_path / "demo") == 0
    out = capsys.readouterr().out
    assert "round 2: F1" in out
    assert "accuracy (test)" in out
    assert "95 % interval" in out
    accuracy = json.loads((tmp_path / "demo" / "run" / "metrics.json").read_text())
    assert accuracy["test"]["accuracy"] > 0.95
    assert list((tmp_path / "demo" / "maps").glob("*.overlay.png"))
    score = json.loads((tmp_path / "demo" / "count" / "scores.json").read_text())
    assert score["any"]["f1"] >= 0.95
