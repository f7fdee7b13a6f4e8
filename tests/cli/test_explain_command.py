import subprocess
import sys

import numpy as np
import pytest
from click.shell_completion import ShellComplete
from PIL import Image
from small_runs import ALIVE, PATCH, ZOO, small_run

from tltool.cli.main import cli, main


@pytest.fixture(scope="module")
def run_and_image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    model = small_run(folder / "run", ZOO, ALIVE)
    pixels = np.random.default_rng(0).integers(0, 255, (PATCH, PATCH, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "image.png")
    return folder / "run", folder / "image.png", [each.name for each in model.layers[1:3]]


def call(capsys, *arguments):
    status = 0
    try:
        main(["explain", *map(str, arguments)])
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def complete(*arguments, incomplete=""):
    found = ShellComplete(cli, {}, "tltool", "_TLTOOL_COMPLETE").get_completions(
        ["explain", *map(str, arguments)], incomplete
    )
    return [item.value for item in found]


def test_names_are_completed(run_and_image):
    run, _, names = run_and_image
    assert complete(run, "--layer") == names
    assert complete(run, "--layer", incomplete="c") == names[1:]
    assert complete(run, "--task") == ["zoo", "alive"]
    assert complete(run, "--class") == ["bird", "none", "seal", "no", "yes"]
    assert complete(run, "--task", "alive", "--class") == ["no", "yes"]
    assert complete(run / "nowhere", "--layer") == []
    assert "gradcam++" in complete(run, "--method")


def test_completion_does_not_wait_for_keras(run_and_image):
    code = (
        "import sys; from tltool.explanation.choices import stored_layers, stored_tasks;"
        "from pathlib import Path; run = Path(sys.argv[1]);"
        "assert stored_layers(run) and stored_tasks(run); assert 'keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(run_and_image[0])], check=True)


def test_the_class_and_its_probability_are_told(run_and_image, tmp_path, capsys):
    run, image, names = run_and_image
    status, out, _ = call(
        *(capsys, run, image, "-o", tmp_path / "out", "--task", "zoo", "--boxes"),
        *("--method", "layercam", "--class", "seal"),
    )
    assert status == 0
    assert "image.layercam.png  seal" in out
    assert f"layercam, layer {names[1]}, 4 x 4 cells" in out
    assert (tmp_path / "out/boxes.csv").exists()


def test_layers_are_listed_without_images(run_and_image, capsys):
    run, _, names = run_and_image
    status, out, _ = call(capsys, run, "--list-layers", "--task", "zoo")
    assert status == 0
    (line,) = [line for line in out.splitlines() if line.startswith(names[1])]
    assert "4 x 4 x 8" in line
    assert line.endswith("default")


def test_methods_are_compared(run_and_image, tmp_path, capsys):
    run, image, _ = run_and_image
    arguments = (run, image, "-o", tmp_path / "out", "--task", "alive", "--compare")
    status, out, _ = call(capsys, *arguments)
    assert status == 0
    assert "(chance)" in out
    assert "1 images, 0 of things" in out
    assert (tmp_path / "out/methods.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected IMAGE... and -o FOLDER"),
        (["image.png"], "expected IMAGE... and -o FOLDER"),
        (["image.png", "-o", "out", "--box-threshold", "0.3"], "--box-threshold goes with --boxes"),
        (["image.png", "-o", "out", "--compare", "--boxes"], "--compare: expected no --boxes"),
        (["image.png", "-o", "out", "--method", "rise"], "'rise' is not one of"),
    ],
)
def test_wrong_usage(run_and_image, capsys, arguments, message):
    status, _, err = call(capsys, run_and_image[0], *arguments)
    assert status == 2
    assert message in err
