import shutil

import numpy as np
import pytest

import tltool
from tltool.errors import DataError, OutputError, UsageError
from tltool.run.sidecar import load_sidecar
from tltool.runtime import quiet_import

quiet_import("keras")

import keras  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from keras import layers  # noqa: E402
from small_classifiers import classifiers, noise  # noqa: E402
from small_runs import ALIVE, ZOO, small_run  # noqa: E402

from tltool.conversion.adapt import with_context  # noqa: E402
from tltool.data.dataset import read_facts  # noqa: E402
from tltool.fcn.geometry import trace  # noqa: E402
from tltool.fcn.surgery import to_fcn  # noqa: E402
from tltool.models.loading import load_network  # noqa: E402

CLASSES = ["adult_females", "adult_males", "backgrounds", "juveniles", "pups", "subadult_males"]
HINTS = {"classes": CLASSES}


@settings(max_examples=4, deadline=None)
@given(model=classifiers(), cells=st.integers(1, 3), seed=st.integers(0, 9))
def test_with_context_is_the_cell_of_the_map_over_the_middle(model, cells, seed):
    stride, side = trace(model).stride, model.input_shape[1]
    wide = with_context(model, cells, stride)
    assert wide.input_shape[1:3] == (side + 2 * cells * stride,) * 2
    assert wide.output_shape == model.output_shape
    pixels = noise(2, *wide.input_shape[1:], seed=seed)
    of_map = np.asarray(to_fcn(model)(pixels))
    assert of_map.shape[1:3] == (2 * cells + 1,) * 2
    np.testing.assert_allclose(wide(pixels), of_map[:, cells, cells], rtol=1e-4, atol=1e-4)


def padded(activation="softmax"):
    """A network of stride 8 that sees 8 px of padding or less."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 5, strides=4, padding="same", activation="relu")(
        layers.Rescaling(1 / 128, -1.0)(inputs)
    )
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(len(CLASSES), activation=activation)(x))


@pytest.fixture(scope="module")
def bare(survey, tmp_path_factory):
    """Patches of 32 px without context."""
    image, points = survey
    folder = tmp_path_factory.mktemp("bare") / "data"
    tltool.patches([image], points, folder, size=32)
    return folder


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "net.h5"
    padded().save(path)
    return path


@pytest.fixture(scope="module")
def adapted(net, bare, tmp_path_factory):
    out = tmp_path_factory.mktemp("adapted") / "out"
    return tltool.adapt(net, out, data=bare, **HINTS, epochs=1, windows=40)


def test_a_foreign_classifier_sees_its_surroundings_afterwards(adapted):
    assert adapted.context == 8
    assert adapted.split == "test"
    assert all(0 <= share <= 1 for share in adapted.accuracy)
    assert adapted.before["image"] == adapted.after["image"] == "survey_01.tif"
    assert adapted.before["windows"] == adapted.after["windows"] == 40
    assert adapted.before["max_difference"] > 1e-4
    assert adapted.after["argmax_agreement"] == 1.0
    assert adapted.after["max_difference"] <= 1e-5
    assert adapted.conversion.geometry.missing_context == 0


def test_an_adapted_classifier_is_a_run_of_plain_keras(adapted):
    run = adapted.conversion.path.parent
    sidecar = load_sidecar(run / "model.keras")
    assert (sidecar.patch, sidecar.context, sidecar.input_side) == (32, 8, 48)
    assert (sidecar.classes, sidecar.background, sidecar.scores) == (CLASSES, "backgrounds", False)
    model = keras.saving.load_model(run / "model.keras")
    assert model.input_shape == (None, 48, 48, 3)
    pixels = noise(1, 48, 48, 3)
    cell = np.asarray(load_network(adapted.conversion.path)(pixels)).reshape(1, -1)
    np.testing.assert_allclose(cell, model(pixels), atol=1e-5)
    # Ten epochs of the head, one of all layers.
    assert (run / "history.csv").read_text().count("\n") == 12
    assert not (run / "recipe.yaml").exists()


def test_bare_patches_are_cut_anew_beside_the_run(adapted, bare):
    run = adapted.conversion.path.parent
    wider = run.with_name("out-data")
    assert read_facts(wider).context == 8
    assert read_facts(bare).context == 0
    assert load_sidecar(run / "model.keras").data["folder"] == str(wider)


def test_what_is_adapted_to_the_full_cannot_be_again(adapted):
    with pytest.raises(UsageError, match=r"its context of 8 px covers the receptive field; there"):
        tltool.adapt(adapted.conversion.path.parent)


def test_an_earlier_run_is_not_replaced_unasked(adapted, net, bare):
    run = adapted.conversion.path.parent
    with pytest.raises(OutputError, match=r"out holds a run already.*overwrite"):
        tltool.adapt(net, run, data=bare, **HINTS)


@pytest.mark.slow
def test_patches_of_other_sizes_serve(net, survey, tmp_path):
    """Smaller ones are cut anew around the same centres; larger ones have their surroundings."""
    image, points = survey
    for size in (21, 48):
        data, out = tmp_path / f"data{size}", tmp_path / f"out{size}"
        tltool.patches([image], points, data, size=size)
        done = tltool.adapt(net, out, data=data, **HINTS, epochs=1, windows=9)
        assert done.after["argmax_agreement"] == 1.0
        assert out.with_name(f"out{size}-data").exists() == (size == 21)


@pytest.mark.slow
def test_a_run_is_adapted_with_its_own_patches_cut_anew(tiny_run, survey, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run", ignore=shutil.ignore_patterns("fcn.*"))
    done = tltool.adapt(run, epochs=1, windows=40)
    assert done.context == 160
    assert done.conversion.path == tmp_path / "run-adapted" / "fcn.keras"
    assert read_facts(tmp_path / "run-adapted-data").context == 160
    assert done.after["argmax_agreement"] == 1.0
    assert done.after["max_difference"] <= 1e-5
    before, after = (load_network(p / "model.keras") for p in (run, done.conversion.path.parent))
    assert [layer.name for layer in after.layers if layer.weights] == [
        layer.name for layer in before.layers if layer.weights
    ]


def refused(error, match, model, out, **more):
    with pytest.raises(error, match=match):
        tltool.adapt(model, out, **more)
    assert not out.exists()
    assert not out.with_name(f"{out.name}-data").exists()


def test_without_padding_there_is_nothing_to_adapt(tmp_path):
    small_run(tmp_path / "run", ZOO)
    refused(UsageError, "sees no padding, .*nothing to adapt", tmp_path / "run", tmp_path / "out")


def test_a_context_that_cannot_be_is_refused(net, bare, tmp_path):
    told = {**HINTS, "data": bare, "out": tmp_path / "out"}
    match = r"`context`: expected 0 and a multiple of 8 px, .*; received 12"
    refused(UsageError, match, net, context=12, **told)
    refused(
        UsageError, r"more than the 0 px .*, 8 for an exact map; received 0", net, context=0, **told
    )


def test_surroundings_of_enlarged_patches_are_whole_pixels(net, bare, tmp_path):
    """Stride 8 at zoom 1.6 is 5 px, at zoom 3.2 it is 2.5 px."""
    for zoom, whole in ((1, 8), (1.6, 5), (3.2, 5)):
        hints = {"classes": CLASSES, "zoom": zoom}
        with pytest.raises(UsageError, match=f"0 and a multiple of {whole} px, .*received 1$"):
            tltool.adapt(net, tmp_path / "out", data=bare, **hints, context=1)


def test_several_tasks_are_not_adapted(tmp_path):
    small_run(tmp_path / "run", ZOO, ALIVE)
    match = r"`adapt`: expected one task, .*model.keras has 2"
    refused(UsageError, match, tmp_path / "run", tmp_path / "out")


def test_scores_want_an_activation_first(bare, tmp_path):
    padded(None).save(tmp_path / "net.keras")
    match = r"outputs of .*net.keras are scores. `activation='softmax'`"
    refused(UsageError, match, tmp_path / "net.keras", tmp_path / "out", data=bare, **HINTS)


def test_data_without_surroundings_are_refused(net, tmp_path):
    refused(UsageError, r"does not say what it was trained on.*context=8\)", net, tmp_path / "out")
    (tmp_path / "plain" / "a").mkdir(parents=True)
    match = r"plain: expected patches that tltool patches cut,.*size=32, context=8\)"
    for name in ("plain", "plain/gone"):
        refused(
            DataError,
            match.replace("plain:", f"{name}:"),
            net,
            tmp_path / "out",
            data=tmp_path / name,
        )


def test_classes_are_those_of_the_data_in_their_order(net, bare, tmp_path):
    hints = {"classes": CLASSES[::-1]}
    with pytest.raises(
        UsageError,
        match=r"`data`: expected the classes of .*, subadult_males, pups,.*; received adult_fem",
    ):
        tltool.adapt(net, tmp_path / "out", data=bare, **hints, windows=4)
    assert list(tmp_path.iterdir()) == []
