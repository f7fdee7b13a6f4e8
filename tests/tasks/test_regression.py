"""Numbers in a unit: read, learnt, evaluated, predicted, mapped, explained and reported."""

import csv
import io
import json
import logging
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from brightness import RECIPE, brightness_manifest, slope

import tltool
from tltool.data.manifest import read_manifest
from tltool.errors import DataError, RecipeError, UsageError
from tltool.metrics.bootstrap import Draws
from tltool.metrics.regression import draw_regression, regression_metrics
from tltool.recipe import LossRecipe, make_recipe
from tltool.run.sidecar import load_sidecar
from tltool.runtime import quiet_import
from tltool.tasks.kinds import check_kinds, guess_kind, make_task
from tltool.tasks.regression import Regression

keras = quiet_import("keras")

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def celsius(level, index):
    # Below 0 too.
    return f"{60 * level - 30:.4f}"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return brightness_manifest(tmp_path_factory.mktemp("numbers") / "data", celsius)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("numbers_run") / "run"
    recipe = RECIPE | {"task": "regression"}
    recipe["training"] = RECIPE["training"] | {
        "stages": [{"train": "head", "epochs": 80, "learning_rate": 3e-2, "patience": 80}]
    }
    return tltool.finetune(data, folder, make_recipe(recipe))


@pytest.fixture(scope="module")
def evaluation(run, data):
    return tltool.evaluate(run.folder, data, report=True, resamples=200)


def test_errors_by_hand():
    found = regression_metrics(np.array([1.0, 2, 3, 6]), np.array([1.0, 3, 3, 3]))
    assert found["mean_absolute_error"] == 1.0
    assert found["rmse"] == pytest.approx(np.sqrt(10 / 4))
    assert found["bias"] == pytest.approx(-0.5)
    # Squares about the mean 3: 4 + 1 + 0 + 9.
    assert found["r2"] == pytest.approx(1 - 10 / 14)
    assert found["median_absolute_error"] == 0.5
    assert (found["samples"], found["mean_true"], found["mean_predicted"]) == (4, 3.0, 2.5)


def test_undefined_errors_are_none():
    assert regression_metrics(np.array([2.0, 2.0]), np.array([1.0, 2.0]))["r2"] is None
    nothing = regression_metrics(np.zeros(0), np.zeros(0))
    assert nothing["samples"] == 0
    assert {value for key, value in nothing.items() if key != "samples"} == {None}


def test_drawn_errors_are_those_of_the_repeated_images():
    rng = np.random.default_rng(0)
    truth, predicted = rng.normal(1000, 3, 12), rng.normal(1000, 3, 12)
    draws = Draws(np.arange(12), 5, 1)
    drawn = draw_regression(truth, predicted, draws)
    for number, weights in enumerate(np.concatenate(list(draws.weights(1)))):
        rows = np.repeat(np.arange(12), weights)
        expected = regression_metrics(truth[rows], predicted[rows])
        for name, values in drawn.items():
            assert values[number] == pytest.approx(expected[name], rel=1e-6), name


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng, held = np.random.default_rng(0), 0
    task = make_task("t", kind="regression")
    for _ in range(100):
        truth = rng.normal(0, 5, (60, 1))
        found = task.measure(truth + rng.normal(0, 1, (60, 1)), truth).numbers
        low, high = found["intervals"]["rmse"]
        held += low <= 1 <= high
    assert held >= 86


def test_labels_are_numbers(data):
    dataset = read_manifest(data, kind="regression")
    (task,) = dataset.tasks
    assert (task.kind, task.outputs, task.output_names) == ("regression", 1, ["value"])
    labels = [sample.labels[0] for split in dataset.samples.values() for sample in split]
    targets = task.encode([*labels, None])
    assert (targets.shape, targets.dtype) == ((49, 1), np.float32)
    assert np.nanmin(targets) < 0
    np.testing.assert_array_equal(task.labelled(targets), [True] * 48 + [False])


@pytest.mark.slow
def test_beside_classes_numbers_may_be_missing(tmp_path):
    path = brightness_manifest(tmp_path / "data", celsius)
    _, *rows = path.read_text().split()
    cells = [row.split(",") for row in rows]
    lines = []
    for index, (name, number, split) in enumerate(cells):
        feel = "warm" if float(number) > 0 else "cold"
        given = ("", feel) if index % 5 == 0 else (number, "" if index % 5 == 1 else feel)
        lines.append(",".join((name, *given, split)))
    path.write_text("\n".join(["path,celsius,feel,split", *lines]) + "\n")
    tasks = {"celsius": {"kind": "regression"}, "feel": {"kind": "binary"}}
    recipe = make_recipe(RECIPE | {"tasks": tasks})
    run = tltool.finetune(path, tmp_path / "run", recipe)
    assert set(run.metrics["test"]["tasks"]["celsius"]) >= {"mean_absolute_error", "r2"}
    assert "accuracy" in run.metrics["test"]["tasks"]["feel"]
    found = tltool.evaluate(run.folder, path, report=True, feature_map=False, resamples=20)
    numbers = found.metrics["tasks"]
    assert numbers["celsius"]["samples"] < found.metrics["samples"]
    assert numbers["celsius"]["kind"] == "regression"
    page = (found.folder / "report.html").read_text()
    assert "Residuals" in page
    assert "Class by class" in page
    image = slope(tmp_path / "slope.png")
    made = tltool.heatmap(run.folder, [image], tmp_path / "maps")[0]
    with rasterio.open(made.map_path) as source:
        assert source.descriptions == ("celsius.value", "feel.warm")


def test_the_training_split_alone_gives_mean_and_deviation(data):
    dataset = read_manifest(data, kind="regression")
    train = [s.labels[0][0] for s in dataset.samples["train"] if s.labels[0]]
    task = dataset.tasks[0]
    assert task.mean == pytest.approx(np.mean(train))
    assert task.deviation == pytest.approx(np.std(train))


def test_a_drawn_split_spreads_low_and_high_numbers(tmp_path):
    path = brightness_manifest(tmp_path / "data", lambda level, _: f"{level:.4f}", number=60)
    path.write_text("\n".join(row.rsplit(",", 1)[0] for row in path.read_text().split("\n")))
    dataset = read_manifest(path, kind="regression")
    means = [np.mean([s.labels[0][0] for s in samples]) for samples in dataset.samples.values()]
    assert np.ptp(means) < 0.06


def test_many_numbers_that_are_not_whole_are_taken_for_measurements(data, caplog):
    with caplog.at_level(logging.WARNING):
        assert read_manifest(data).tasks[0].kind == "regression"
    assert (
        "column label holds many different numbers and is read as task: regression" in caplog.text
    )
    assert guess_kind("label", [str(year) for year in range(1900, 2000)]) == "multi-class"
    assert guess_kind("label", ["0.5", "1.5"] * 30) == "multi-class"
    assert guess_kind("label", ["0.5", "a|b"]) == "multi-label"


def test_a_column_of_another_name_is_learnt_where_the_kind_is_said(data, tmp_path):
    path = brightness_manifest(tmp_path / "data", celsius)
    path.write_text(path.read_text().replace("path,label,split", "path,celsius,split"))
    (task,) = read_manifest(path, kind="regression").tasks
    assert (task.name, task.kind) == ("celsius", "regression")
    with pytest.raises(DataError, match="expected labels, received 48 different values"):
        read_manifest(path)


def test_what_is_no_number_is_named_by_line(tmp_path):
    path = brightness_manifest(tmp_path / "data", lambda level, i: "wet" if i == 2 else "1.5")
    with pytest.raises(DataError, match=r"line 4.*expected a number for a regression task.*wet"):
        read_manifest(path, kind="regression")


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"task": "ordinal"}, r"task: expected one of multi-class, binary, .*received ordinal"),
        ({"tasks": {"a": {"kind": "x"}}}, r"tasks\.a\.kind: expected one of multi-class"),
        (
            {"task": "regression", "training": {"loss": {"name": "focal"}}},
            r"training\.loss\.name: expected one of squared-error, huber; received focal",
        ),
        ({"training": {"loss": {"name": "foca"}}}, r"loss\.name: expected one of cross-entropy"),
    ],
)
def test_kinds_and_losses_are_checked_by_name(recipe, message):
    with pytest.raises(RecipeError, match=message):
        check_kinds(make_recipe(recipe))


@pytest.mark.parametrize("name", ["squared-error", "huber"])
def test_losses_are_of_standardised_labelled_rows(name):
    task = Regression("t", mean=10.0, deviation=2.0)
    loss = task.loss(LossRecipe(name=name))
    targets = np.array([[10.0], [np.nan], [-4.0]], np.float32)
    outputs = np.array([[11.0], [5.0], [0.0]], np.float32)
    # Errors of 0.5 and 2 deviations.
    expected = {"squared-error": (0.25 + 4) / 2, "huber": (0.125 + 1.5) / 2}[name]
    assert float(loss(targets, outputs)) == pytest.approx(expected)
    metric = task.metric()
    metric.update_state(targets, outputs)
    assert float(metric.result()) == pytest.approx((1 + 4) / 2)
    with pytest.raises(RecipeError, match="class_weights"):
        task.loss(LossRecipe(class_weights="inverse"))


def test_training_learns_in_the_unit_of_the_labels(run):
    assert run.metrics["test"]["r2"] > 0.8
    assert run.metrics["test"]["mean_absolute_error"] < 5
    model = keras.saving.load_model(run.folder / "model.keras")
    assert model.layers[-1].name == "values"
    assert type(model.layers[-1]) is keras.layers.Rescaling
    sidecar = load_sidecar(run.folder / "model.keras")
    assert (sidecar.classes, sidecar.tasks[0].kind) == (["value"], "regression")
    header = (run.folder / "history.csv").read_text().splitlines()[0]
    assert "val_mean_absolute_error" in header


def test_sampling_by_classes_is_refused(data, tmp_path):
    recipe = RECIPE | {"task": "regression"}
    recipe["training"] = RECIPE["training"] | {"sampling": "over"}
    with pytest.raises(RecipeError, match=r"training\.sampling: expected as-is"):
        tltool.finetune(data, tmp_path / "run", make_recipe(recipe))


def test_an_evaluation_has_errors_with_intervals(evaluation):
    numbers = evaluation.metrics
    assert numbers["kind"] == "regression"
    assert list(numbers["intervals"]) == ["mean_absolute_error", "rmse", "bias", "r2"]
    low, high = numbers["intervals"]["mean_absolute_error"]
    assert low < numbers["mean_absolute_error"] < high
    rows = list(csv.DictReader((evaluation.folder / "predictions.csv").open()))
    errors = [abs(float(row["error_value"])) for row in rows if row["error_value"]]
    assert np.mean(errors) == pytest.approx(numbers["mean_absolute_error"], rel=1e-4)
    assert list(rows[0]) == ["path", "true_value", "value", "error_value"]


def test_the_report_shows_errors_and_no_classes(evaluation):
    page = (evaluation.folder / "report.html").read_text()
    for text in ("Predicted against true", "Residuals", "Root mean squared error", "R2"):
        assert text in page
    for text in ("mean of training", "ridge regression on features", "The largest errors"):
        assert text in page
    for text in ("Class by class", "ROC curve", "Calibration curve", "Confusion matrix"):
        assert text not in page


def test_predictions_are_values(run, data):
    image = data.parent / "3.png"
    (found,) = tltool.predict(run.folder, [image])
    value = float(found.probabilities["label"][0])
    table, lines = io.StringIO(), io.StringIO()
    tltool.predict(run.folder, [image]).write(table)
    tltool.predict(run.folder, [image]).write(lines, "jsonl")
    assert table.getvalue().splitlines() == ["image,value", f"{image},{value:.6g}"]
    assert json.loads(lines.getvalue()) == {"image": str(image), "value": pytest.approx(value)}
    # Temperatures are for probabilities.
    (again,) = tltool.predict(run.folder, [image], calibrated=True)
    assert float(again.probabilities["label"][0]) == value


def test_a_map_holds_values(run, tmp_path):
    image = slope(tmp_path / "slope.png")
    made = tltool.heatmap(run.folder, [image], tmp_path / "maps", preview=True)[0]
    with rasterio.open(made.map_path) as source:
        assert (source.descriptions, source.dtypes) == (("value",), ("float32",))
        values = source.read(1)
    row = np.nanmean(values, axis=0)
    # Level 0.1 is -24, level 0.9 is 24.
    assert row[0] < -5
    assert row[-1] > 5
    assert made.overlay_path.stat().st_size > 1000
    assert "value, 0 is" in (tmp_path / "maps" / "slope.preview.html").read_text()
    fidelity = load_sidecar(run.folder / "fcn.keras").fidelity
    assert fidelity is None or "agreement" in fidelity


def test_classes_and_few_bits_are_refused_for_a_map(run, tmp_path):
    image = slope(tmp_path / "slope.png")
    with pytest.raises(UsageError, match=r"argmax.*classes exclude each other.*regression"):
        tltool.heatmap(run.folder, [image], tmp_path / "maps", argmax=True)
    with pytest.raises(UsageError, match=r"`dtype`: expected float32 for a map of numbers"):
        tltool.heatmap(run.folder, [image], tmp_path / "maps", dtype="uint8")


def test_a_value_is_explained(run, data, tmp_path):
    found = tltool.explain(run.folder, [data.parent / "3.png"], tmp_path / "why")
    (explained,) = found.images
    assert (explained.label, explained.predicted) == ("value", "value")
    assert explained.map.any()


def test_the_command_line_refuses_an_unknown_kind_before_tensorflow(data, tmp_path):
    words = ["finetune", str(data), "--task", "ordinal", "-o", str(tmp_path / "run")]
    code = (
        "import sys\nfrom tltool.cli.main import main\n"
        f"try: main({words})\nexcept SystemExit as end: print(end.code)\n"
        "print('keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]
    assert "expected one of multi-class, binary, multi-label, regression" in done.stderr


def test_commands_show_errors_in_the_unit(run, data, tmp_path, capsys):
    from tltool.cli.main import main

    main(["evaluate", str(run.folder), str(data), "--no-report", "-o", str(tmp_path / "e")])
    shown = capsys.readouterr().out
    assert "mean absolute error" in shown
    assert "precision" not in shown
