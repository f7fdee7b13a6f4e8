import numpy as np
import pytest
from PIL import Image
from report_pages import Page, write_folders, write_manifest
from small_runs import ALIVE, SEEN, ZOO, small_run

import tltool
from tltool.cli.main import main
from tltool.errors import OutputError
from tltool.report.comparison import Compared
from tltool.report.tables import gain_sentence
from tltool.tasks.kinds import make_task
from tltool.tasks.multi_class import MultiClass

ALWAYS = [
    "results",
    "baselines",
    "classes",
    "curves",
    "calibration",
    "examples",
    "data",
    "recipe",
    "environment",
    "repeat",
]


def report(run, data, out=None, **choices):
    done = tltool.evaluate(run, data, out, resamples=20, report=True, **choices)
    page = Page(done.folder / "report.html")
    page.check()
    return done, page


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """A run, its data, what was judged, and the page."""
    folder = tmp_path_factory.mktemp("zoo")
    small_run(folder / "run", ZOO, background="none")
    counts = {(s, c): n for s, n in (("train", 4), ("valid", 2), ("test", 3)) for c in ZOO.classes}
    data = write_folders(folder / "data", counts)
    return folder / "run", data, *report(folder / "run", data, tta="d4")


def test_a_report_has_its_sections(zoo):
    page = zoo[3]
    assert set(page.sections) == {*ALWAYS, "tta", "map"}
    assert page.sections[:2] == ["results", "baselines"]


def test_the_numbers_are_those_of_the_metrics(zoo):
    _, _, done, page = zoo
    share = f"{100 * done.metrics['accuracy']:.1f} %"
    assert f"Of 9 images of the test split, {share} get the right class" in page.text
    for name, told in done.metrics["classes"].items():
        assert name in page.text
        assert f"{told['roc_auc']:.3f}" in page.text
    assert f"{done.metrics['log_loss']:.3f}" in page.text
    assert f"{100 * done.metrics['averaged']['accuracy']:.1f} %" in page.text


def test_baselines_are_told_with_what_their_features_are(zoo):
    page = zoo[3]
    names = ("majority class", "nearest neighbour on pixels", "logistic regression on features")
    assert all(name in page.text for name in names)
    # This run has no recipe, so its first weights are not known.
    assert "The weights that the run began with cannot be had" in page.text
    assert "33.3 %" in page.text


def test_examples_have_maps_and_tell_the_truth(zoo):
    _, _, done, page = zoo
    heats = [image for image in page.images if "class activation map" in image["alt"]]
    wrong = round(9 * (1 - done.metrics["accuracy"]))
    blank = page.text.count("In its map nothing spoke for it.")
    assert len(heats) + blank == wrong + 9
    assert len(heats) >= 1
    assert page.text.count("; is ") >= wrong


def test_pictures_are_small(zoo):
    assert len(zoo[3].source) < 1_000_000


def test_the_feature_map_lies_beside_it(zoo):
    done, page = zoo[2], zoo[3]
    assert (done.folder / "feature_map.png") in done.files
    with Image.open(done.folder / "feature_map.png") as picture:
        assert picture.width == 1200
    assert sum("by what the last layer sees" in image["alt"] for image in page.images) == 2


def test_commands_repeat_it(zoo):
    run, data, _, page = zoo
    assert f"tltool evaluate {run} {data} --split test --tta d4" in page.text


def test_a_report_is_not_overwritten_unasked(zoo):
    run, data, done, _ = zoo
    (done.folder / "metrics.json").rename(done.folder / "kept.json")
    (done.folder / "predictions.csv").rename(done.folder / "kept.csv")
    with pytest.raises(OutputError, match=r"report\.html exists already"):
        tltool.evaluate(run, data)


def test_an_old_report_goes_when_the_numbers_are_new(tmp_path):
    small_run(tmp_path / "run", ALIVE)
    data = write_folders(tmp_path / "data", {("test", "no"): 1, ("test", "yes"): 1})
    (tmp_path / "out").mkdir()
    (tmp_path / "out/report.html").write_text("old")
    done = tltool.evaluate(tmp_path / "run", data, tmp_path / "out", overwrite=True)
    assert not (done.folder / "report.html").exists()


def test_names_are_escaped(tmp_path):
    task = make_task("label", ('<b>&"', "<script>alert(1)</script>", "plain"))
    small_run(tmp_path / "run", task)
    rows = [('<b>&"', "test"), ("<script>alert(1)</script>", "test"), ("plain", "test")]
    data = write_manifest(tmp_path / "data/m.csv", ["label", "split"], rows)
    _, page = report(tmp_path / "run", data, feature_map=False)
    assert '<b>&"' in page.text
    assert "&lt;b&gt;&amp;&#34;" in page.source
    assert "map" not in page.sections


def test_one_image_and_classes_without_any(tmp_path):
    small_run(tmp_path / "run", ZOO)
    data = write_folders(tmp_path / "data", {("test", "seal"): 1})
    done, page = report(tmp_path / "run", data)
    assert "Of 1 image of the test split" in page.text
    assert "No image of bird, none was judged" in page.text
    assert "The data have no training images that baselines could learn of." in page.text
    assert "None" not in page.text
    assert "nan" not in page.text.lower().split()
    # Too few for t-SNE; the principal components are all in one place.
    assert (done.folder / "feature_map.png").exists()


@pytest.mark.slow
def test_a_binary_run(tmp_path):
    small_run(tmp_path / "run", ALIVE)
    counts = {(s, c): 3 for s in ("train", "test") for c in ALIVE.classes}
    _, page = report(tmp_path / "run", write_folders(tmp_path / "data", counts), feature_map=False)
    assert {*ALWAYS, "thresholds"} == set(page.sections)
    assert any("Precision, recall and F1 of yes" in chart["aria-label"] for chart in page.charts)


@pytest.mark.slow
def test_a_run_of_several_labels(tmp_path):
    small_run(tmp_path / "run", SEEN)
    told = ["boat", "person", "boat|person", "boat|person", "boat", "person"]
    rows = [(label, split) for split in ("train", "test") for label in told]
    data = write_manifest(tmp_path / "data/m.csv", ["label", "split"], rows)
    done, page = report(tmp_path / "run", data)
    share = f"{100 * done.metrics['accuracy']:.1f} %"
    assert f"Of all labels of 6 images of the test split, {share} are right" in page.text
    assert "Subset accuracy" in page.text
    assert "Confusion matrix" not in page.text
    assert "logistic regression on features" in page.text


def test_a_run_of_several_tasks_some_of_them_not_labelled(tmp_path):
    small_run(tmp_path / "run", ZOO, ALIVE)
    told = [("seal", "yes"), ("bird", "no"), ("none", ""), ("seal", "no"), ("bird", "yes")]
    rows = [(*labels, split) for split in ("train", "test") for labels in told]
    data = write_manifest(tmp_path / "data/m.csv", ["zoo", "alive", "split"], rows)
    _, page = report(tmp_path / "run", data)
    # The binary one has thresholds too.
    assert page.text.count("Task zoo") + 1 == page.text.count("Task alive") >= 8
    assert "alive: Of 4 images of the test split" in page.text


def test_the_command_writes_a_report_and_train_has_no_baselines(tmp_path, capsys):
    small_run(tmp_path / "run", ALIVE)
    counts = {(s, c): 1 for s in ("train", "test") for c in ALIVE.classes}
    data = write_folders(tmp_path / "data", counts)
    words = ["evaluate", str(tmp_path / "run"), str(data), "--split", "train", "--no-feature-map"]
    main([*words, "-o", str(tmp_path / "out")])
    assert f"{tmp_path / 'out' / 'report.html'}" in capsys.readouterr().out.replace("\n", "")
    assert not (tmp_path / "out" / "feature_map.png").exists()
    page = Page(tmp_path / "out" / "report.html")
    page.check()
    assert "The judged images are those that baselines would learn of." in page.text
    assert "majority class" not in page.text


@pytest.mark.slow
def test_a_trained_run_tells_recipe_history_and_what_came_before(tiny_run, patch_folder, tmp_path):
    done, page = report(tiny_run, patch_folder, tmp_path / "out", feature_map=False)
    assert "training" in page.sections
    assert "MobileNet of width 0.25, starting from random weights." in page.text
    assert "the backbone with the random weights that training began with" in page.text
    assert "cannot be had" not in page.text
    assert f"tltool finetune {patch_folder.resolve()} --recipe" in page.text
    assert any(chart["aria-label"].startswith("Loss over 1 epochs") for chart in page.charts)
    assert str(done.sidecar.data["fingerprint"]) in page.text


def test_without_a_gain_that_is_sure_it_is_said():
    rows = [
        Compared("guess", "", 9, 0.5, 0.5, (0.4, 0.6), 0.1, (-0.1, 0.3), 0.1),
        Compared("this network", "", 9, 0.6, 0.6, (0.5, 0.7)),
    ]
    text = gain_sentence(rows, MultiClass.scoring)
    assert text.startswith("The network is 10.0 percentage points above the best of them, guess")
    assert "do not tell whether there is a difference" in text
    sure = np.array([0.05, 0.15])
    rows[0] = Compared("guess", "", 9, 0.5, 0.5, None, 0.1, tuple(sure), 0.1)
    assert "do not tell" not in gain_sentence(rows, MultiClass.scoring)
