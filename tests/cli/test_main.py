import errno
import importlib
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import tltool
from tltool.cli.main import COMMANDS, main
from tltool.errors import DataError, ImageError, RecipeError, UsageError

HEAVY = ("keras", "tensorflow", "albumentations", "matplotlib", "sklearn", "scipy", "pandas")


def in_process(code):
    """Standard output of Python code in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture
def run(capsys):
    def call(*arguments):
        """Exit status, standard output, standard error."""
        status = 0
        try:
            main([str(word) for word in arguments])
        except SystemExit as stop:
            status = stop.code or 0
        return (status, *capsys.readouterr())

    return call


@pytest.fixture
def survey(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    (tmp_path / "points.csv").write_text(
        "image,x,y,label\n" + "".join(f"photo.png,{x},{x % 80},pup\n" for x in range(5, 115, 10))
    )
    return tmp_path


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys, json\n"
        "from tltool.cli.main import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as stop: assert not stop.code\n"
        f"print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    )
    lines = in_process(code).splitlines()
    assert json.loads(lines[-1]) == []
    assert lines[0].startswith("Usage: tltool")


def test_recipe_mistake_is_found_before_anything_heavy_is_imported(tmp_path):
    code = (
        "import sys\n"
        "from tltool.cli.main import main\n"
        f"try: main(['finetune', {str(tmp_path)!r}, '-o', 'x', '--set', 'training.bacth=3'])\n"
        "except SystemExit as stop: print(stop.code)\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    assert in_process(code).splitlines() == ["2", "[]"]


def test_tltool_itself_imports_nothing_heavy():
    assert in_process(f"import sys, tltool; print([m for m in {HEAVY!r} if m in sys.modules])") == (
        "[]\n"
    )


def test_keras_is_imported_quietly_or_not_at_all():
    code = (
        "import sys, tltool\n"
        "for name, (_, needs_keras) in tltool._PUBLIC.items():\n"
        "    if not needs_keras: getattr(tltool, name)\n"
        "print({'keras', 'tensorflow'} & set(sys.modules))"
    )
    assert in_process(code) == "set()\n"


def test_help_lists_every_command_with_its_line(run):
    status, out, _ = run("--help")
    assert status == 0
    listed = out.partition("Commands:")[2]
    for name, line in COMMANDS.items():
        assert f"  {name}" in listed
        assert line in " ".join(listed.split())


def command_of(name):
    module = name.replace("-", "_")
    return getattr(importlib.import_module(f"tltool.cli.{module}"), module)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_called_as_it_is_listed(name):
    command = command_of(name)
    assert command.name == name
    assert command.short_help == COMMANDS[name]


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_has_help_for_all_it_takes(run, name, flag):
    status, out, err = run(name, flag)
    assert (status, err) == (0, "")
    assert out.startswith(f"Usage: tltool {name}")
    command = command_of(name)
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    assert all(option.help and option.opts[0] in out for option in options)


def test_version(run):
    assert run("--version")[:2] == (0, f"tltool, version {tltool.__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["--fly"],
        ["recipes", "--fly"],
        ["patches"],
        ["finetune", "data"],
        ["patches", "a.jpg", "p.csv", "-o", "x", "--size", "0"],
        ["patches", "a.jpg", "p.csv", "-o", "x", "--split", "0.5,0.5"],
        ["patches", "a.jpg", "p.csv", "-o", "x", "--split", "a,b,c"],
        ["patches", "a.jpg", "p.csv", "-o", "x", "--split-by", "mood"],
        ["patches", "a.jpg", "p.csv", "-o", "x", "--columns", "x,y,z"],
        ["finetune", "data", "-o", "x", "--epochs", "1.5"],
    ],
)
def test_wrong_usage_exits_with_two_and_prints_no_result(run, arguments):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert "Error: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "new"),
    [
        (["finetune", "data", "-o", "x", "--rate", "0.1"], "--learning-rate"),
        (["lr-find", "data", "-o", "x.png", "--batch", "8"], "--batch-size"),
        (["predict", "run", "a.jpg", "--batch", "8"], "--batch-size"),
    ],
)
def test_an_option_of_before_is_refused_by_the_name_of_the_new(run, arguments, new):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert f"it is called {new} now." in err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["recipes", "show", "nothing"], 2, "received nothing"),
        (["finetune", "data", "-o", "x", "--recipe", "nothing"], 2, "received nothing"),
        (["finetune", "data", "-o", "x", "--set", "zoom=20"], 2, "zoom: "),
        (["finetune", "data", "-o", "x", "--set", "zoom"], 2, "expected KEY=VALUE"),
        (["finetune", "data", "-o", "x", "--epochs", "1,2,3"], 2, "--epochs: expected 2 numbers"),
        (["patches", "a.jpg", "none.csv", "-o", "x"], 1, "none.csv: expected a file of points"),
    ],
)
def test_error_is_one_line_on_standard_error(
    run, tmp_path, monkeypatch, arguments, status, message
):
    monkeypatch.chdir(tmp_path)
    found, out, err = run(*arguments)
    assert (found, out) == (status, "")
    assert err.startswith("tltool: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--debug", "recipes", "show", "nothing"],
        ["recipes", "--debug", "show", "nothing"],
        ["recipes", "show", "nothing", "--debug"],
    ],
)
def test_debug_anywhere_shows_the_traceback(run, arguments):
    status, _, err = run(*arguments)
    assert status == 2
    assert "Traceback (most recent call last)" in err
    assert err.splitlines()[-1].startswith("tltool: recipe: expected")


def test_debug_does_not_disturb_what_works(run):
    assert run("recipes", "--debug") == run("recipes")


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UsageError("told so"), 2, "told so"),
        (RecipeError("told so"), 2, "told so"),
        (DataError("told so"), 1, "told so"),
        (ImageError("told so"), 1, "told so"),
        (KeyboardInterrupt(), 1, "stopped; no unfinished file has a final name"),
        (MemoryError(), 1, "not enough memory. Take a smaller --batch-size or --tile"),
        (OSError(errno.EACCES, "Permission denied", "/a/b"), 1, "/a/b: Permission denied"),
        (OSError("just so"), 1, "just so"),
        (RuntimeError("a\n  b"), 1, "unexpected RuntimeError: a b. --debug shows where"),
        (KeyError("key"), 1, "unexpected KeyError: 'key'. --debug shows where"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_each_error_has_its_line_and_status(run, monkeypatch, error, status, line, debug):
    def fail():
        raise error

    monkeypatch.setattr("tltool.recipe.recipe_names", fail)
    found, out, err = run("recipes", *(["--debug"] if debug else []))
    assert (found, out) == (status, "")
    assert err.splitlines()[-1] == f"tltool: {line}"
    assert ("Traceback" in err) == debug
    assert debug or len(err.strip().splitlines()) == 1


def test_recipes_are_listed_and_shown(run):
    status, out, _ = run("recipes")
    assert status == 0
    assert {"demo", "demo-scratch"} <= {line.split()[0] for line in out.splitlines()}
    status, shown, _ = run("recipes", "show", "demo-scratch")
    assert (status, "weights: none" in shown) == (0, True)


def test_patches_are_cut_and_counted(run, survey):
    out = survey / "data"
    status, table, err = run(
        "patches", survey, survey / "points.csv", "--size", 8, "--context", 2, "-o", out
    )
    assert (status, err) == (0, "")
    assert json.loads((out / "patches.json").read_text())["context"] == 2
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines() if line.strip()}
    assert rows["class"] == ["train", "valid", "test"]
    for place, split in enumerate(("train", "valid", "test")):
        files = len(list((out / split / "pup").glob("*.png")))
        assert rows["pup"][place] == str(files)


def test_existing_output_is_refused_in_one_line(run, survey):
    arguments = ("patches", survey, survey / "points.csv", "--size", 8, "-o", survey / "data")
    assert run(*arguments)[0] == 0
    status, out, err = run(*arguments)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "exists already" in err
    assert "--overwrite" in err
    assert run(*arguments, "--overwrite")[0] == 0


@pytest.fixture
def net(tmp_path, keras):
    """A small classifier of three classes in a file, and an image."""
    from small_runs import ZOO, small_model, write_bands

    small_model([ZOO]).save(tmp_path / "net.h5")
    write_bands(tmp_path / "a.tif", 3)
    (tmp_path / "labels.txt").write_text("0 bird\n1 none\n2 seal\n")
    return tmp_path


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_model_of_ones_own_is_converted_and_checked(run, net, monkeypatch):
    monkeypatch.chdir(net)
    options = ("--classes", "labels.txt", "--background", "none")
    status, out, _ = run("convert", "net.h5", *options, "--check-image", "a.tif", "--windows", 16)
    assert status == 0
    assert "note: " not in out
    assert "net-fcn/fcn.keras: a cell every 4 px, receptive field 16 px\n" in out
    assert "fidelity: 100.00 % of 16 windows of a.tif get the classifier's own class; " in out
    assert out.endswith("net-fcn/fcn.fidelity.png\n")
    assert json.loads((net / "net-fcn" / "fcn.json").read_text())["background"] == "none"
    status, out, _ = run("fidelity", "net-fcn", "net.h5", "a.tif", "--windows", 16, *options)
    assert status == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["a.tif"] in rows
    assert ["windows", "compared", "16"] in rows
    assert ["the", "same", "answer", "100.00", "%"] in rows
    assert out.endswith("net-fcn/a.fidelity.png\n")
    status, out, err = run("fidelity", "net-fcn", "net.h5", "a.tif", *options)
    assert (status, out) == (1, "")
    assert "a.fidelity.png exists already" in err


def test_what_is_not_known_of_a_model_is_noted(run, net):
    status, out, err = run("convert", net / "net.h5", "-o", net / "out")
    assert status == 0
    assert "note: the classes are called class_0, class_1, class_2; --classes names them\n" in out
    assert "fidelity: not measured\n" in out
    assert err == "no training data are known: pass --check-image for the fidelity\n"


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--classes", "a,b"], 2, "wants 3 names, received 2: a, b"),
        (["--classes", "none.txt"], 2, "--classes: none.txt does not exist"),
        (["--pixels", "0..2"], 2, "--pixels: expected one of 0..255"),
        (["--activation", "relu"], 2, "--activation: expected softmax or sigmoid"),
        (["--zoom", "3"], 2, "--zoom: "),
        (["--input-size", "32"], 2, "--input-size: "),
        (["--background", "dog"], 2, "--background: expected one of"),
        (["--architecture", "a.json"], 2, "--architecture: "),
        (["-o", "net.h5"], 2, "--out: expected a folder"),
        (["--check-image", "gone.tif"], 1, "gone.tif"),
    ],
)
def test_what_does_not_fit_a_model_is_one_line(run, net, monkeypatch, options, status, message):
    monkeypatch.chdir(net)
    found, out, err = run("convert", "net.h5", *options)
    assert (found, out) == (status, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (net / "net-fcn").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "d"], "--data goes with --adapt"),
        (["--context", "8"], "--context goes with --adapt"),
        (["--epochs", "1"], "--epochs goes with --adapt"),
        (["--adapt", "--stride", "8"], "--adapt: expected no --stride"),
    ],
)
def test_options_of_adapting_go_together(run, arguments, message):
    status, out, err = run("convert", "RUN", *arguments)
    assert (status, out) == (2, "")
    assert f"Error: {message}" in err


def test_installed_command_answers():
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "from tltool.cli.main import main; main()",
            "recipes",
            "show",
            "nothing",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("tltool: recipe: ")
