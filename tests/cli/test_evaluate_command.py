"""`tltool evaluate` and `tltool predict` through the one door."""

import json
import subprocess
import sys

import pytest

from tltool.cli.main import main


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run and data to judge it on."""
    from tltool.runtime import quiet_import

    quiet_import("keras")
    from labelled_data import class_folders
    from small_runs import ALIVE, small_run

    folder = tmp_path_factory.mktemp("judging")
    small_run(folder / "run", ALIVE, temperature={"alive": 2.0})
    class_folders(folder / "data" / "test", no=6, yes=7)
    return folder


def call(*words):
    try:
        main([str(word) for word in words])
    except SystemExit as stop:
        return stop.code or 0
    return 0


def test_the_table_has_the_numbers_with_intervals(place, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--tta", "d4", "--beta", "3", "--resamples", 40, "--seed", 2]
    assert call("evaluate", place / "run", place / "data", "--no-report", *options, "-o", out) == 0
    lines = capsys.readouterr().out.splitlines()
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["beta"], metrics["resamples"], metrics["seed"]) == (3, 40, 2)
    assert lines[0].split() == ["test", "samples", "precision", "recall", "F1", "ROC", "AUC", "AP"]
    low, high = metrics["intervals"]["accuracy"]
    (accuracy,) = [line.split() for line in lines if line.startswith("accuracy ")]
    averaged = metrics["averaged"]["accuracy"]
    numbers = [metrics["accuracy"], low, high, averaged]
    assert [word for word in accuracy[1:] if word != ".."] == [f"{n:.3f}" for n in numbers]
    (loss,) = [line.split() for line in lines if line.startswith("log loss ")]
    assert loss[-1] == f"{metrics['calibrated']['log_loss']:.3f}"
    assert any(line.startswith("F-beta 3, macro ") for line in lines)
    assert "temperature 2.000, stored before" in lines
    assert any(line.startswith("averaged over 8 flips and rotations, for ") for line in lines)
    gain = 100 * metrics["tta"]["gain"]["accuracy"]["value"]
    assert any(line.startswith(f"  accuracy {gain:+.1f} points, 95 % ") for line in lines)
    assert lines[-2:] == [str(out / "metrics.json"), str(out / "predictions.csv")]


def test_what_is_required_decides_the_exit_status(place, tmp_path, capsys):
    def judge(*required):
        words = [word for text in required for word in ("--assert", text)]
        run = (
            "evaluate",
            place / "run",
            place / "data",
            "--no-report",
            "--resamples",
            5,
            "--overwrite",
        )
        return call(*run, *words, "-o", tmp_path / "out")

    assert judge("accuracy>=0", "samples==13") == 0
    capsys.readouterr()
    assert judge("samples==13", "accuracy>1") == 1
    told = capsys.readouterr()
    accuracy = json.loads((tmp_path / "out" / "metrics.json").read_text())["accuracy"]
    assert told.err == f"tltool: expected accuracy>1, found {accuracy:.6g}\n"
    # The numbers are shown all the same.
    assert "balanced accuracy" in told.out
    assert judge("acuracy>=0.6") == 2
    assert "no number called acuracy. Did you mean accuracy?" in capsys.readouterr().err
    assert judge("accuracy~0.6") == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--tta", "d8"], 2, "tta: expected none, d4 or a number of draws from 1 on; received d8"),
        (["--tta", "4"], 2, "recipe.yaml does not exist"),
        (["--split", "valid"], 1, "expected images of the valid split, found none"),
        (["--beta", "0"], 2, "0.0 is not in the range x>0"),
    ],
)
def test_what_cannot_be_meant_is_one_line(place, tmp_path, capsys, options, status, message):
    words = (
        "evaluate",
        place / "run",
        place / "data",
        "--no-report",
        *options,
        "-o",
        tmp_path / "out",
    )
    assert call(*words) == status
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_predictions_go_to_standard_output_or_a_file(place, tmp_path, capsys):
    folder = place / "data" / "test"
    assert call("predict", place / "run", folder, "--top-k", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "image,label,probability,label_2,probability_2"
    assert len(lines) == 14
    out = tmp_path / "told.jsonl"
    assert call("predict", place / "run", folder, "-o", out) == 0
    assert capsys.readouterr().out == ""
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["label"] for row in rows] == [line.split(",")[1] for line in lines[1:]]
    assert call("predict", place / "run", folder, "-o", out) == 1
    assert "exists already" in capsys.readouterr().err
    words = ("--calibrated", "--format", "csv", "--overwrite", "-o", out)
    assert call("predict", place / "run", folder, *words) == 0
    softer = [float(line.split(",")[2]) for line in out.read_text().splitlines()[1:]]
    assert all(s < row["probability"] for s, row in zip(softer, rows, strict=True))


def test_paths_come_from_standard_input(place, capsys, monkeypatch):
    paths = sorted((place / "data" / "test" / "yes").iterdir())
    monkeypatch.setattr("sys.stdin", iter([f"{path}\n" for path in paths[:3]] + ["\n"]))
    assert call("predict", place / "run", paths[4], "-", paths[5]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    expected = [paths[4], *paths[:3], paths[5]]
    assert [line.split(",")[0] for line in lines] == list(map(str, expected))


def test_an_unreadable_image_is_named_and_nothing_readable_is_an_error(place, tmp_path, capsys):
    good = place / "data" / "test" / "yes" / "0.png"
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    assert call("predict", place / "run", bad, good) == 0
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 2
    assert told.err.splitlines()[0].startswith(f"left out: {bad} cannot be read")
    assert told.err.splitlines()[-1] == "1 of 2 images cannot be read"
    assert call("predict", place / "run", bad, good, "--strict") == 1
    assert f"tltool: {bad} cannot be read" in capsys.readouterr().err
    out = tmp_path / "out.csv"
    assert call("predict", place / "run", bad, "-o", out) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "tltool: 1 of 1 images cannot be read"
    assert not out.exists()


@pytest.mark.slow
def test_a_closed_pipe_ends_quietly(place, tmp_path):
    images = tmp_path / "images.txt"
    images.write_text(f"{place / 'data' / 'test' / 'yes' / '0.png'}\n" * 3000)
    code = "import sys; from tltool.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "predict", str(place / "run"), "-"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with images.open() as names, subprocess.Popen(command, stdin=names, **pipes) as process:
        assert process.stdout.readline() == "image,label,probability\n"
        process.stdout.close()
        assert process.stderr.read() == ""
