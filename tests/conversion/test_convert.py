import shutil

import pytest

import tltool
from tltool.conversion.convert import exact_context
from tltool.errors import ConversionError, ModelError, OutputError
from tltool.run.sidecar import load_sidecar
from tltool.runtime import quiet_import

quiet_import("keras")

from small_runs import ZOO, small_run  # noqa: E402


@pytest.fixture
def run(tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "run", ignore=shutil.ignore_patterns("fcn.*"))
    return tmp_path / "run"


def test_the_sidecar_tells_geometry_and_fidelity(run, survey):
    done = tltool.convert(run, windows=64)
    sidecar = load_sidecar(run / "fcn.keras")
    assert sidecar == done.sidecar
    assert (sidecar.stride, sidecar.offset, sidecar.input_side) == (32.0, 32.0, 96)
    # MobileNet's own receptive field, one cell pooled.
    assert sidecar.receptive_field == 315
    assert sidecar.reach == (-94, 220)
    assert sidecar.fidelity["image"] == survey[0].name
    assert sidecar.fidelity["own_size_difference"] <= 1e-5
    assert 0 < sidecar.fidelity["argmax_agreement"] <= 1
    # Cutting patches with this much context removes the padding.
    assert exact_context(sidecar, done.geometry) == 160
    assert "`context=160`" in done.advice


@pytest.mark.slow
def test_context_of_half_the_receptive_field_makes_the_map_exact(survey, patch_folder, tmp_path):
    from quick_recipes import HEAD_RECIPE

    image, points = survey
    recipe = {**HEAD_RECIPE, "backbone": {"name": "MobileNet", "alpha": 0.25, "weights": "none"}}
    data = tmp_path / "data"
    tltool.patches([image], points, data, size=32, context=160, split=(0.8, 0.2, 0.0))
    tltool.finetune(data, tmp_path / "run", tltool.load_recipe(None, recipe))
    done = tltool.convert(tmp_path / "run", windows=100, check_image=image)
    assert done.geometry.missing_context == 0
    assert done.sidecar.fidelity["argmax_agreement"] == 1.0
    assert done.sidecar.fidelity["max_difference"] <= 1e-5


def test_without_source_images_a_mosaic_of_patches_is_measured(run, patch_folder, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(patch_folder, moved)
    (moved / "manifest.csv").unlink()
    sidecar = load_sidecar(run / "model.keras")
    sidecar.data["folder"] = str(moved)
    sidecar.save(run / "model.keras")
    measured = tltool.convert(run, windows=32).sidecar.fidelity
    assert measured["image"].startswith("a mosaic of patches")
    assert measured["windows"] == 32


def test_without_any_image_it_converts_and_says_so(tmp_path, caplog):
    gone = {"folder": str(tmp_path / "gone"), "fingerprint": "0", "counts": {}}
    small_run(tmp_path / "run", ZOO, data=gone)
    done = tltool.convert(tmp_path / "run")
    assert done.sidecar.fidelity is None
    assert "pass `check_image`" in caplog.text


def test_an_earlier_fcn_is_not_replaced_unasked(tmp_path):
    small_run(tmp_path / "run", ZOO)
    tltool.convert(tmp_path / "run")
    earlier = (tmp_path / "run" / "fcn.keras").stat().st_mtime_ns
    with pytest.raises(OutputError, match=r"fcn.keras exists already.*overwrite=True"):
        tltool.convert(tmp_path / "run")
    assert (tmp_path / "run" / "fcn.keras").stat().st_mtime_ns == earlier
    tltool.convert(tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "fcn.keras").stat().st_mtime_ns > earlier


def test_models_and_sidecars_that_do_not_belong_together_are_refused(run):
    sidecar = load_sidecar(run / "model.keras")
    short = sidecar.model_copy(update={"classes": sidecar.classes[:-1]})
    short.save(run / "model.keras")
    with pytest.raises(
        ModelError, match=r"expected 5 classes and an input of 96 px with 3 bands, received 6"
    ):
        tltool.convert(run)
    (run / "model.json").unlink()
    with pytest.raises(ModelError, match=r"model.json is missing: expected the class names"):
        tltool.convert(run)
    (run / "model.keras").write_text("no model")
    with pytest.raises(ModelError, match=r"model.keras cannot be read as a Keras model"):
        tltool.convert(run)


def test_a_model_that_cannot_be_converted_leaves_nothing(run):
    import keras
    from keras import layers

    inputs = keras.Input((96, 96, 3))
    x = layers.MaxPooling2D(32)(inputs)
    x = layers.Permute((2, 1, 3), name="turn")(x)
    outputs = layers.Dense(6)(layers.Flatten()(x))
    keras.Model(inputs, outputs).save(run / "model.keras")
    with pytest.raises(ConversionError, match=r"layer turn \(Permute\)"):
        tltool.convert(run)
    assert not (run / "fcn.keras").exists()
    assert not (run / "fcn.json").exists()
