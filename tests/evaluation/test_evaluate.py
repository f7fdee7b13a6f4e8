"""`tltool.evaluate` on small runs: what is judged, what is written, what is complained of."""

import csv
import json
import logging
import math
import shutil

import numpy as np
import pytest
from PIL import Image

import tltool
from tltool.runtime import quiet_import

keras = quiet_import("keras")

from labelled_data import class_folders, manifest, picture  # noqa: E402
from sklearn import metrics as reference  # noqa: E402
from small_runs import ALIVE, PATCH, SEEN, ZOO, small_run  # noqa: E402

from tltool.data.dataset import PatchFacts  # noqa: E402
from tltool.data.folders import read_dataset  # noqa: E402
from tltool.errors import DataError, ImageError, ModelError, OutputError, UsageError  # noqa: E402
from tltool.metrics.calibration import soften  # noqa: E402
from tltool.recipe import Recipe  # noqa: E402
from tltool.run.sidecar import load_sidecar  # noqa: E402


@pytest.fixture
def zoo(tmp_path):
    small_run(tmp_path / "run", ZOO, background="none")
    return tmp_path / "run"


def evaluate(run, data, **options):
    return tltool.evaluate(run, data, **{"resamples": 50, **options})


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def expected_of(run, paths):
    """Probabilities of the model itself."""
    model = keras.saving.load_model(run / "model.keras")
    return np.asarray(model(np.stack([np.asarray(Image.open(p), np.float32) for p in paths])))


def test_the_numbers_are_of_the_models_answers_to_the_test_split(zoo, tmp_path):
    for seed, split in enumerate(("train", "valid", "test")):
        class_folders(tmp_path / "data" / split, seed, bird=9, none=8, seal=7)
    done = evaluate(zoo, tmp_path / "data")
    assert done.folder == zoo / "evaluation"
    assert {p.name for p in done.folder.iterdir()} == {"metrics.json", "predictions.csv"}
    stored = json.loads((done.folder / "metrics.json").read_text())
    assert stored == done.metrics
    assert (stored["split"], stored["samples"], stored["lacking"]) == ("test", 24, {})
    paths = sorted((tmp_path / "data" / "test").glob("*/*.png"))
    assert done.predictions.paths == paths
    scores = expected_of(zoo, paths)
    labels = [ZOO.classes.index(path.parent.name) for path in paths]
    np.testing.assert_allclose(done.predictions.probabilities["zoo"], scores, atol=1e-5)
    assert stored["accuracy"] == pytest.approx(np.mean(scores.argmax(1) == labels))
    assert stored["log_loss"] == pytest.approx(reference.log_loss(labels, scores), abs=1e-4)
    low, high = stored["intervals"]["accuracy"]
    assert low <= stored["accuracy"] <= high
    table = rows(done.folder / "predictions.csv")
    assert [row["path"] for row in table] == list(map(str, paths))
    for row, told, label in zip(table, scores, labels, strict=True):
        assert row["label"] == ZOO.classes[label]
        assert row["predicted"] == ZOO.classes[told.argmax()]
        assert row["correct"] == str(int(told.argmax() == label))
        assert float(row["probability"]) == pytest.approx(told.max(), abs=1e-4)
        assert float(row["p_seal"]) == pytest.approx(told[2], abs=1e-4)


def labelled_by(run, folder, number, sureness):
    """Images whose classes are drawn from what a run says, made less sure."""
    paths = [picture(folder / f"{i}.png", i) for i in range(number)]
    scores, rng = soften(expected_of(run, paths), sureness, True), np.random.default_rng(0)
    splits = ("train", "valid", "valid", "test")
    cells = [f"{ZOO.classes[rng.choice(3, p=p)]},{splits[i % 4]}" for i, p in enumerate(scores)]
    return manifest(folder, "label,split", cells)


def test_the_temperature_comes_from_the_validation_images_and_is_stored(zoo, tmp_path):
    data = labelled_by(zoo, tmp_path / "data", 160, 3.0)
    tltool.convert(zoo)
    done = evaluate(zoo, data)
    after = done.metrics["calibrated"]
    told = load_sidecar(zoo / "model.keras").temperature
    assert told == load_sidecar(zoo / "fcn.keras").temperature == {"zoo": after["temperature"]}
    assert after["fitted_on"] == 80
    assert after["temperature"] == pytest.approx(3, rel=0.4)
    assert after["log_loss"] < done.metrics["log_loss"]
    assert after["ece"] < done.metrics["ece"]
    assert set(done.metrics["intervals"]) >= {"calibrated.log_loss", "calibrated.ece"}
    # The validation images themselves are judged at the stored one, as data without any are.
    class_folders(tmp_path / "plain", 7, bird=2, seal=2)
    for again in (
        evaluate(zoo, data, split="valid", overwrite=True),
        evaluate(zoo, tmp_path / "plain", overwrite=True),
    ):
        assert again.metrics["calibrated"]["fitted_on"] is None
        assert again.metrics["calibrated"]["temperature"] == after["temperature"]


def test_data_without_splits_is_judged_whole(zoo, tmp_path):
    class_folders(tmp_path / "data", bird=3, seal=4)
    done = evaluate(zoo, tmp_path / "data")
    assert (done.metrics["split"], done.metrics["samples"]) == ("all", 7)
    assert done.metrics["lacking"] == {"zoo": ["none"]}
    assert done.metrics["classes"]["none"]["recall"] is None
    assert done.metrics["confusion_normalised"][1] == [None] * 3
    assert done.metrics["calibrated"] is None
    with pytest.raises(DataError, match="expected splits for `split=test`, and the data has none"):
        evaluate(zoo, tmp_path / "data", split="test", overwrite=True)


def test_the_training_data_are_judged_as_training_judged_them(tiny_run, patch_folder, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    trained = json.loads((run / "metrics.json").read_text())["test"]
    done = evaluate(run, patch_folder)
    assert done.metrics["split"] == "test"
    assert done.metrics["confusion"] == trained["confusion"]
    assert done.metrics["log_loss"] == pytest.approx(trained["log_loss"], rel=1e-3)


def test_plain_training_data_are_known_again_and_split_as_then(tmp_path, caplog):
    data, recipe = class_folders(tmp_path / "data", bird=20, seal=20), Recipe(split=(0.5, 0.3, 0.2))
    trained = read_dataset(data, recipe)
    (task,) = trained.tasks
    small_run(tmp_path / "run", task, data=trained.summary())
    recipe.save(tmp_path / "run" / "recipe.yaml")
    done = evaluate(tmp_path / "run", data)
    assert (done.metrics["split"], done.metrics["samples"]) == ("test", 8)
    assert set(done.predictions.paths) == {sample.path for sample in trained.samples["test"]}
    # Its answers have nothing to do with these classes.
    assert "label: the 12 validation images do not determine a temperature" in caplog.text
    assert done.metrics["calibrated"] is None
    picture(data / "seal" / "more.png", 77)
    other = evaluate(tmp_path / "run", data, overwrite=True)
    assert (other.metrics["split"], other.metrics["samples"]) == ("all", 41)


def test_other_classes_and_splits_are_told_with_what_there_is(zoo, tmp_path):
    class_folders(tmp_path / "data", bird=2, wolf=2, fox=1)
    with pytest.raises(DataError) as error:
        evaluate(zoo, tmp_path / "data")
    assert str(error.value) == (
        f"{tmp_path / 'data'}: expected the classes that the network knows, bird, none, seal;"
        " received bird, fox, wolf. Rename or remove fox, wolf"
    )
    class_folders(tmp_path / "split" / "train", bird=2)
    with pytest.raises(DataError, match=r"images of the test split, found none. There are train 2"):
        evaluate(zoo, tmp_path / "split")
    (tmp_path / "none" / "bird").mkdir(parents=True)
    with pytest.raises(DataError, match="expected images in folders called bird, none, seal"):
        evaluate(zoo, tmp_path / "none")
    assert not (zoo / "evaluation").exists()


def test_an_empty_class_and_a_split_alone_are_no_error(zoo, tmp_path):
    class_folders(tmp_path / "data" / "test", bird=2, seal=1)
    (tmp_path / "data" / "test" / "none").mkdir()
    done = evaluate(zoo, tmp_path / "data")
    assert (done.metrics["split"], done.metrics["samples"]) == ("test", 3)


def test_one_image(zoo, tmp_path, recwarn):
    class_folders(tmp_path / "data", bird=1)
    metrics = evaluate(zoo, tmp_path / "data", tta="d4").metrics
    assert metrics["samples"] == 1
    assert metrics["accuracy"] in (0, 1)
    assert metrics["kappa"] is None or metrics["kappa"] == 0
    assert metrics["classes"]["bird"]["roc_auc"] is None
    assert set(metrics["intervals"].values()) == {None}
    assert metrics["tta"]["gain"]["accuracy"]["interval"] is None
    assert not [w for w in recwarn if "sklearn" in str(w.filename)]


def test_unreadable_images_are_left_out_counted_and_named(zoo, tmp_path, caplog):
    class_folders(tmp_path / "data", bird=3, seal=3)
    (tmp_path / "data" / "bird" / "1.png").write_bytes(b"no image")
    with caplog.at_level(logging.WARNING, "tltool"):
        done = evaluate(zoo, tmp_path / "data")
    assert done.metrics["samples"] == 5
    (told,) = done.metrics["unreadable"]
    assert "bird/1.png cannot be read" in told
    assert "1 of 6 images cannot be read and are left out" in caplog.text
    # The labels are those of the images that are left.
    assert [p.parent.name for p in done.predictions.paths] == ["bird"] * 2 + ["seal"] * 3
    np.testing.assert_array_equal(done.predictions.targets["zoo"].argmax(1), [0, 0, 2, 2, 2])
    with pytest.raises(ImageError, match=r"bird/1\.png"):
        evaluate(zoo, tmp_path / "data", strict=True, overwrite=True)
    for path in (tmp_path / "data").glob("*/*.png"):
        path.write_bytes(b"")
    with pytest.raises(ImageError, match="not one of 6 images can be read"):
        evaluate(zoo, tmp_path / "data", overwrite=True)


def test_outputs_that_are_no_numbers_name_the_images(zoo, tmp_path):
    class_folders(tmp_path / "data", bird=3, seal=3)
    model = keras.saving.load_model(zoo / "model.keras")
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * math.nan, bias])
    model.save(zoo / "model.keras")
    with pytest.raises(ModelError) as error:
        evaluate(zoo, tmp_path / "data")
    assert "received NaN or infinity for 6 of 6 images" in str(error.value)
    assert f"{tmp_path / 'data' / 'bird' / '0.png'}, " in str(error.value)
    assert str(error.value).count(".png") == 3


def test_several_tasks_are_judged_where_they_are_labelled(tmp_path):
    small_run(tmp_path / "run", ZOO, ALIVE)
    cells = ["bird,yes", "seal,", ",no", "none,yes", "bird,no", "seal,yes"]
    data = manifest(tmp_path / "data", "zoo,alive", cells)
    done = evaluate(tmp_path / "run", data, tta="d4")
    numbers = done.metrics["tasks"]
    assert {name: each["samples"] for name, each in numbers.items()} == {"zoo": 5, "alive": 5}
    told = done.predictions.probabilities["alive"][[0, 2, 3, 4, 5], 0]
    truth = np.array([1, 0, 1, 0, 1])
    assert numbers["alive"]["accuracy"] == pytest.approx(np.mean((told > 0.5) == truth))
    assert numbers["alive"]["classes"]["yes"]["roc_auc"] == pytest.approx(
        reference.roc_auc_score(truth, told)
    )
    assert [row["best"] for row in numbers["alive"]["thresholds"]["yes"]].count(True) == 1
    assert "thresholds" not in numbers["zoo"]
    assert set(done.metrics["averaged"]["tasks"]) == set(done.metrics["tta"]["gain"])
    table = rows(done.folder / "predictions.csv")
    assert table[1]["alive.label"] == table[1]["alive.correct"] == ""
    assert table[1]["alive.predicted"] in ("no", "yes")
    assert table[0]["zoo.averaged_predicted"] in ZOO.classes
    sums = [float(row["alive.p_no"]) + float(row["alive.p_yes"]) for row in table]
    assert sums == pytest.approx([1] * 6, abs=1e-5)


def test_a_column_that_is_missing_beside_others_is_not_labelled(tmp_path):
    small_run(tmp_path / "run", ZOO, ALIVE)
    data = manifest(tmp_path / "data", "zoo", ["bird", "seal"])
    numbers = evaluate(tmp_path / "run", data).metrics["tasks"]
    assert (numbers["zoo"]["samples"], numbers["alive"]["samples"]) == (2, 0)
    assert numbers["alive"]["accuracy"] is None
    assert numbers["alive"]["intervals"] == {}
    other = manifest(tmp_path / "other", "colour", ["red", "blue"])
    with pytest.raises(
        DataError, match=r"labels in a column zoo or alive; the file has path, colour"
    ):
        evaluate(tmp_path / "run", other, overwrite=True)
    class_folders(tmp_path / "folders", bird=2, seal=2)
    with pytest.raises(DataError, match="expected a manifest with a column for each of zoo, alive"):
        evaluate(tmp_path / "run", tmp_path / "folders", overwrite=True)


def test_several_labels_of_an_image(tmp_path):
    small_run(tmp_path / "run", SEEN)
    cells = ["boat", "boat|person", "none", "person", "none"]
    done = evaluate(tmp_path / "run", manifest(tmp_path / "data", "label", cells))
    told = done.predictions.probabilities["label"] >= 0.5
    truth = np.array([[1, 0], [1, 1], [0, 0], [0, 1], [0, 0]])
    assert done.metrics["subset_accuracy"] == pytest.approx((told == truth).all(1).mean())
    assert done.metrics["hamming_loss"] == pytest.approx((told != truth).mean())
    assert list(done.metrics["thresholds"]) == ["boat", "person"]
    table = rows(done.folder / "predictions.csv")
    assert [row["label"] for row in table] == cells
    assert "probability" not in table[0]
    unknown = manifest(tmp_path / "other", "label", ["boat|plane"])
    with pytest.raises(DataError, match=r"knows, boat, person; received boat, plane"):
        evaluate(tmp_path / "run", unknown, overwrite=True)


def test_groups_of_a_manifest_are_drawn_together(zoo, tmp_path):
    cells = [f"{('bird', 'seal')[i % 2]},{'ab'[i // 6]},test" for i in range(12)]
    data = manifest(tmp_path / "data", "label,group,split", cells)
    done = evaluate(zoo, data)
    assert list(done.predictions.groups) == ["a"] * 6 + ["b"] * 6
    # Of two groups there are three samples only: both a, both b, one of each.
    right = done.predictions.probabilities["zoo"].argmax(1) == done.predictions.targets[
        "zoo"
    ].argmax(1)
    shares = [right[:6].mean(), right[6:].mean()]
    assert done.metrics["intervals"]["accuracy"] == pytest.approx(sorted(shares))
    single = evaluate(
        zoo, manifest(tmp_path / "one", "label,group", ["bird,a"] * 4), overwrite=True
    )
    assert set(single.metrics["intervals"].values()) == {None}


def test_test_time_augmentation_averages_and_tells_gain_and_cost(zoo, tmp_path):
    class_folders(tmp_path / "data", bird=8, none=8, seal=8)
    done = evaluate(zoo, tmp_path / "data", tta="d4")
    paths = done.predictions.paths
    images = np.stack([np.asarray(Image.open(p), np.float32) for p in paths])
    model = keras.saving.load_model(zoo / "model.keras")
    views = [np.rot90(images[:, ::s], k, (1, 2)) for k in range(4) for s in (1, -1)]
    mean = np.mean([np.asarray(model(np.ascontiguousarray(view))) for view in views], axis=0)
    np.testing.assert_allclose(done.predictions.averaged["zoo"], mean, atol=1e-5)
    labels = done.predictions.targets["zoo"].argmax(1)
    averaged = np.mean(mean.argmax(1) == labels)
    assert done.metrics["averaged"]["accuracy"] == pytest.approx(averaged)
    gain = done.metrics["tta"]["gain"]["accuracy"]
    assert gain["value"] == pytest.approx(averaged - done.metrics["accuracy"])
    assert gain["interval"][0] <= gain["value"] <= gain["interval"][1]
    assert (done.metrics["tta"]["kind"], done.metrics["tta"]["views"]) == ("d4", 8)
    assert done.metrics["tta"]["cost"] > 1


def test_random_draws_are_the_recipes_and_seeded(zoo, tmp_path):
    class_folders(tmp_path / "data", bird=4, seal=5)
    with pytest.raises(UsageError, match=r"need the recipe of the run, and .*recipe\.yaml"):
        evaluate(zoo, tmp_path / "data", tta=3)
    Recipe(augment=[]).save(zoo / "recipe.yaml")
    with pytest.raises(UsageError, match="no augmentation to draw from"):
        evaluate(zoo, tmp_path / "data", tta=3)
    Recipe(augment=[{"InvertImg": {"p": 1.0}}, {"mixup": {}}]).save(zoo / "recipe.yaml")
    done = evaluate(zoo, tmp_path / "data", tta=3)
    images = np.stack([np.asarray(Image.open(p), np.float32) for p in done.predictions.paths])
    model = keras.saving.load_model(zoo / "model.keras")
    np.testing.assert_allclose(
        done.predictions.averaged["zoo"], np.asarray(model(255 - images)), atol=1e-5
    )
    Recipe().save(zoo / "recipe.yaml")
    first, second, third = (
        evaluate(
            zoo, tmp_path / "data", tta="4", seed=s, batch_size=b, overwrite=True
        ).predictions.averaged
        for s, b in ((0, 2), (0, 7), (1, 7))
    )
    np.testing.assert_allclose(first["zoo"], second["zoo"], atol=1e-6)
    assert np.abs(first["zoo"] - third["zoo"]).max() > 1e-3
    for wrong in ("d8", 0, "-1"):
        with pytest.raises(
            UsageError, match="`tta`: expected none, d4 or a number of draws from 1"
        ):
            evaluate(zoo, tmp_path / "data", tta=wrong, overwrite=True)


def test_patches_with_more_context_are_cut_and_with_less_refused(zoo, tmp_path):
    for i in range(4):
        picture(tmp_path / "data" / ("bird", "seal")[i % 2] / f"{i}.png", i, side=2 * PATCH)
    resized = evaluate(zoo, tmp_path / "data").predictions.probabilities["zoo"]
    PatchFacts(PATCH, PATCH // 2, None).save(tmp_path / "data")
    cut = evaluate(zoo, tmp_path / "data", overwrite=True).predictions
    model = keras.saving.load_model(zoo / "model.keras")
    half = PATCH // 2
    middle = np.stack([np.asarray(Image.open(p), np.float32) for p in cut.paths])
    middle = middle[:, half:-half, half:-half]
    np.testing.assert_allclose(cut.probabilities["zoo"], np.asarray(model(middle)), atol=1e-5)
    assert np.abs(cut.probabilities["zoo"] - resized).max() > 1e-3
    PatchFacts(PATCH - 4, 0, None).save(tmp_path / "data")
    with pytest.raises(DataError, match=r"anew with `tltool.patches\(size=16, context=0\)`"):
        evaluate(zoo, tmp_path / "data", overwrite=True)


def test_nothing_is_replaced_unasked_and_no_run_is_an_error(zoo, tmp_path):
    class_folders(tmp_path / "data", bird=2, seal=2)
    out = tmp_path / "out"
    assert evaluate(zoo / "model.keras", tmp_path / "data", out=out).folder == out
    with pytest.raises(OutputError, match=r"metrics\.json exists already"):
        evaluate(zoo, tmp_path / "data", out=out)
    for wrong in ({"beta": 0}, {"top_k": 0}, {"resamples": 0}, {"seed": -1}, {"split": "dev"}):
        with pytest.raises(UsageError, match=rf"{next(iter(wrong))}`?: expected"):
            evaluate(zoo, tmp_path / "data", **wrong)
    with pytest.raises(ModelError, match=r"expected a run folder with model\.keras"):
        evaluate(tmp_path / "data", tmp_path / "data", out=tmp_path / "other")
