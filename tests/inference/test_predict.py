"""`tltool.predict`: the same answers as the model's, a batch at a time."""

import io
import itertools
import json
import logging

import numpy as np
import pytest
from PIL import Image

import tltool
from tltool.runtime import quiet_import

keras = quiet_import("keras")

from labelled_data import class_folders, manifest, picture  # noqa: E402
from small_runs import ALIVE, PATCH, SEEN, ZOO, small_run, write_bands  # noqa: E402

from tltool.data.dataset import PatchFacts  # noqa: E402
from tltool.errors import ImageError, ModelError  # noqa: E402
from tltool.metrics.calibration import soften  # noqa: E402
from tltool.run.sidecar import load_sidecar  # noqa: E402


@pytest.fixture
def zoo(tmp_path):
    small_run(tmp_path / "run", ZOO)
    return tmp_path / "run"


def written(predictions, form="csv", top_k=1):
    file = io.StringIO()
    predictions.write(file, form, top_k)
    return file.getvalue().splitlines()


def model_of(run, paths, change=lambda images: images):
    images = np.stack([np.asarray(Image.open(path), np.float32) for path in paths])
    told = keras.saving.load_model(run / "model.keras")(np.ascontiguousarray(change(images)))
    return keras.tree.map_structure(np.asarray, told)


def test_answers_are_the_models_in_the_order_of_the_images(zoo, tmp_path):
    paths = [picture(tmp_path / f"{i}.png", i) for i in (3, 1, 2, 0, 4)]
    told = tltool.predict(zoo, paths, batch_size=2)
    found = np.stack([each.probabilities["zoo"] for each in told])
    expected = model_of(zoo, paths)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    lines = written(tltool.predict(zoo, paths), top_k=9)
    assert lines[0] == "image,label,probability,label_2,probability_2,label_3,probability_3"
    for line, path, scores in zip(lines[1:], paths, expected, strict=True):
        name, *cells = line.split(",")
        order = np.argsort(-scores)
        assert (name, cells[::2]) == (str(path), [ZOO.classes[place] for place in order])
        assert [float(cell) for cell in cells[1::2]] == pytest.approx(scores[order], abs=1e-4)
    assert written(tltool.predict(zoo, str(paths[0])))[0] == "image,label,probability"
    assert len(written(tltool.predict(zoo, paths[0]))) == 2


def test_json_lines(zoo, tmp_path):
    path = picture(tmp_path / "a.png", 1)
    (line,) = written(tltool.predict(zoo, path), "jsonl", 2)
    found, (scores,) = json.loads(line), model_of(zoo, [path])
    best = int(scores.argmax())
    assert (found["image"], found["label"]) == (str(path), ZOO.classes[best])
    assert found["probability"] == pytest.approx(scores[best], abs=1e-5)
    assert [each["label"] for each in found["top"]] == [
        ZOO.classes[place] for place in np.argsort(-scores)[:2]
    ]
    assert "top" not in json.loads(written(tltool.predict(zoo, path), "jsonl")[0])


def test_several_tasks_and_several_labels(tmp_path):
    small_run(tmp_path / "run", ZOO, ALIVE, SEEN)
    path = picture(tmp_path / "a.png", 1)
    scores = {name: values[0] for name, values in model_of(tmp_path / "run", [path]).items()}
    header, line = written(tltool.predict(tmp_path / "run", path))
    cells = dict(zip(header.split(","), line.split(","), strict=True))
    assert list(cells) == [
        "image",
        "zoo.label",
        "zoo.probability",
        "alive.label",
        "alive.probability",
        "label.label",
        "label.p_boat",
        "label.p_person",
    ]
    assert cells["zoo.label"] == ZOO.classes[scores["zoo"].argmax()]
    yes = float(scores["alive"][0])
    assert cells["alive.label"] == ("yes" if yes > 0.5 else "no")
    assert float(cells["alive.probability"]) == pytest.approx(max(yes, 1 - yes), abs=1e-4)
    seen = [name for name, p in zip(SEEN.classes, scores["label"], strict=True) if p >= 0.5]
    assert cells["label.label"] == ("|".join(seen) or "none")
    assert float(cells["label.p_person"]) == pytest.approx(scores["label"][1], abs=1e-4)
    (line,) = written(tltool.predict(tmp_path / "run", path), "jsonl")
    told = json.loads(line)["tasks"]
    assert told["label"]["labels"] == seen
    assert told["label"]["probabilities"]["boat"] == pytest.approx(scores["label"][0], abs=1e-5)
    assert told["alive"]["label"] == cells["alive.label"]


def test_folders_are_gone_through_at_any_depth(zoo, tmp_path):
    class_folders(tmp_path / "data", bird=2, seal=1)
    picture(tmp_path / "data" / "z" / "deep" / "a.png", 1)
    (tmp_path / "data" / "notes.txt").write_text("no image")
    picture(tmp_path / "data" / ".hidden" / "a.png", 1)
    found = [each.path for each in tltool.predict(zoo, tmp_path / "data")]
    expected = ["bird/0.png", "bird/1.png", "seal/0.png", "z/deep/a.png"]
    assert [path.relative_to(tmp_path / "data").as_posix() for path in found] == expected
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="expected images in the folder, found none"):
        tltool.predict(zoo, [tmp_path / "empty"])


def test_images_are_taken_as_they_are_needed(zoo, tmp_path):
    path = picture(tmp_path / "a.png", 1)
    taken = 0

    def without_end():
        nonlocal taken
        while True:
            taken += 1
            yield path

    first = list(itertools.islice(tltool.predict(zoo, without_end(), batch_size=4), 40))
    assert len(first) == 40
    # What is read ahead, in batches.
    assert taken <= 40 + 4 * 8


def test_unreadable_images_are_left_out_named_and_counted(zoo, tmp_path, caplog):
    good = picture(tmp_path / "good.png", 1)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    write_bands(tmp_path / "bands.tif", 5)
    paths = [bad, good, tmp_path / "missing.png", tmp_path / "bands.tif"]
    with caplog.at_level(logging.WARNING, "tltool"):
        told = tltool.predict(zoo, paths)
        assert [each.path for each in told] == [good]
    assert (told.read, told.unreadable) == (1, 3)
    assert f"left out: {bad} cannot be read as an image" in caplog.text
    assert (
        "bands.tif: expected 3 bands, which the network was trained on; received 5" in caplog.text
    )
    assert caplog.messages[-1] == "3 of 4 images cannot be read"
    with pytest.raises(ImageError, match=r"bad\.png"):
        list(tltool.predict(zoo, paths, strict=True))
    with pytest.raises(ImageError, match="2 of 2 images cannot be read"):
        list(tltool.predict(zoo, [bad, tmp_path / "missing.png"]))
    with pytest.raises(ImageError, match="expected images, received none"):
        list(tltool.predict(zoo, []))


def test_images_of_another_size_are_seen_as_in_training(zoo, tmp_path, caplog):
    large = picture(tmp_path / "data" / "x" / "y" / "a.png", 1, side=2 * PATCH)
    with caplog.at_level(logging.WARNING, "tltool"):
        (resized,) = tltool.predict(zoo, large)
    assert f"{large} is 32 x 32 px; every image is resized to the 16 px" in caplog.text
    half = PATCH // 2
    # The same blobs, drawn at half the size.
    small = picture(tmp_path / "small.png", 1)
    np.testing.assert_allclose(resized.probabilities["zoo"], model_of(zoo, [small])[0], atol=0.05)
    PatchFacts(PATCH, half, None).save(tmp_path / "data")
    (cut,) = tltool.predict(zoo, large)
    (expected,) = model_of(zoo, [large], lambda x: x[:, half:-half, half:-half])
    np.testing.assert_allclose(cut.probabilities["zoo"], expected, atol=1e-5)


def test_the_mean_over_flips_does_not_see_flips(zoo, tmp_path):
    path = picture(tmp_path / "a.png", 3)
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "b.png")
    first, second = tltool.predict(zoo, [path, tmp_path / "b.png"], tta="d4")
    np.testing.assert_allclose(first.probabilities["zoo"], second.probabilities["zoo"], atol=1e-6)
    one, other = tltool.predict(zoo, [path, tmp_path / "b.png"])
    assert np.abs(one.probabilities["zoo"] - other.probabilities["zoo"]).max() > 1e-3


def test_calibrated_probabilities_want_a_stored_temperature(zoo, tmp_path):
    path = picture(tmp_path / "a.png", 3)
    with pytest.raises(ModelError, match="no temperature is stored for zoo"):
        tltool.predict(zoo, path, calibrated=True)
    model = zoo / "model.keras"
    load_sidecar(model).model_copy(update={"temperature": {"zoo": 3.0}}).save(model)
    (plain,), (mended,) = (tltool.predict(zoo, path, calibrated=c) for c in (False, True))
    np.testing.assert_allclose(plain.probabilities["zoo"], model_of(zoo, [path])[0], atol=1e-5)
    expected = soften(plain.probabilities["zoo"][None], 3.0, True)[0]
    np.testing.assert_allclose(mended.probabilities["zoo"], expected, atol=1e-6)


def test_scores_become_probabilities(zoo, tmp_path):
    path = picture(tmp_path / "a.png", 3)
    expected = model_of(zoo, [path])
    model = keras.saving.load_model(zoo / "model.keras")
    model.layers[-1].activation = keras.activations.linear
    model.save(zoo / "model.keras")
    sidecar = load_sidecar(zoo / "model.keras")
    sidecar.model_copy(update={"scores": True}).save(zoo / "model.keras")
    (found,) = tltool.predict(zoo, path)
    np.testing.assert_allclose(found.probabilities["zoo"], expected[0], atol=1e-5)


def test_predictions_of_a_manifests_images_agree_with_the_evaluation(zoo, tmp_path):
    data = manifest(tmp_path / "data", "label", ["bird", "seal", "none"])
    judged = tltool.evaluate(zoo, data, resamples=10).predictions
    told = tltool.predict(zoo, judged.paths)
    found = np.stack([each.probabilities["zoo"] for each in told])
    np.testing.assert_allclose(found, judged.probabilities["zoo"], atol=1e-6)
