import numpy as np
import pytest
from PIL import Image
from quick_recipes import HEAD_RECIPE

import tltool
from tltool.errors import TrainingError
from tltool.runtime import quiet_import

keras = quiet_import("keras")

from tltool.recipe import StageRecipe  # noqa: E402
from tltool.recipe.stages import PlateauSchedule  # noqa: E402
from tltool.training.callbacks import KeepBest, Plateau, StopAtNaN, save_plain  # noqa: E402
from tltool.training.optimizers import averaged_weights, make_optimizer  # noqa: E402


@pytest.fixture
def net():
    inputs = keras.Input((2,))
    low = keras.layers.Dense(2, name="low", trainable=False)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, name="high")(low))
    model.compile("sgd", "mse")
    return model


def follow(callback, losses, network):
    callback.set_model(network)
    for epoch, loss in enumerate(losses):
        network.get_layer("high").bias.assign([float(epoch)])
        callback.on_epoch_end(epoch, {"loss": 0.0, "val_loss": loss})


def test_best_weights_come_back(net):
    best = KeepBest(net)
    best.patience = 9
    follow(best, [3.0, 1.0, 2.0, np.nan], net)
    best.restore()
    assert np.asarray(net.get_layer("high").bias) == 1
    assert (best.lowest, best.waited) == (1.0, 2)


def test_best_weights_have_what_is_frozen_too(net):
    best = KeepBest(net)
    follow(best, [3.0], net)
    assert set(best.weights) == {w.path for w in net.weights}


def test_the_last_weights_are_kept_whatever_the_validation_says(net):
    last = KeepBest(net, last=True)
    last.patience = 2
    net.stop_training = False
    follow(last, [1.0, 2.0, 3.0, 4.0], net)
    assert not net.stop_training
    net.get_layer("high").bias.assign([9.0])
    last.restore()
    assert np.asarray(net.get_layer("high").bias) == 3


def test_patience_ends_training(net):
    best = KeepBest(net)
    best.patience = 2
    net.stop_training = False
    follow(best, [1.0, 2.0], net)
    assert not net.stop_training
    follow(best, [3.0], net)
    assert net.stop_training


def test_plateau_lowers_the_rate(net):
    net.optimizer.learning_rate = 0.1
    follow(
        Plateau(PlateauSchedule(name="plateau", factor=0.5, patience=2)),
        [1.0, 1.0, 1.0, 0.9, 1.0, 1.0, 1.0],
        net,
    )
    # After the third and the sixth epoch; the last has waited for one.
    assert float(net.optimizer.learning_rate) == pytest.approx(0.025)


@pytest.mark.parametrize("scaled", [False, True])
def test_kept_are_the_averaged_weights_and_training_goes_on_with_its_own(net, scaled):
    stage = StageRecipe(epochs=1, learning_rate=0.1, ema=0.5)
    optimizer = make_optimizer(stage, 0.1, {})
    net.compile(keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer, "mse")
    net.optimizer.build(net.trainable_variables)
    for _ in range(3):
        optimizer.apply([keras.ops.ones(v.shape) for v in net.trainable_variables])
    own, averages = net.get_layer("high").get_weights(), averaged_weights(net)
    best = KeepBest(net)
    best.set_model(net)
    best.on_epoch_end(0, {"val_loss": 1.0})
    kept = best.weights["high/bias"]
    np.testing.assert_array_equal(kept, averages["high/bias"])
    assert not np.array_equal(kept, own[1])
    for before, after in zip(own, net.get_layer("high").get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_weights_spoilt_by_an_epochs_last_step_are_not_called_good(net, tmp_path):
    guard, bias = StopAtNaN(net, tmp_path / "last.keras"), net.get_layer("high").bias
    guard.set_model(net)
    guard.on_train_begin()
    for epoch, value in enumerate([1.0, 2.0, np.nan]):
        bias.assign([value])
        guard.on_epoch_begin(epoch)
        if epoch < 2:
            guard.on_train_batch_end(0, {"loss": 0.5})
    with pytest.raises(TrainingError, match=r"epoch 3, step 1.*`weights` starts a run from them"):
        guard.on_train_batch_end(0, {"loss": np.nan})
    kept = keras.saving.load_model(tmp_path / "last.keras")
    assert np.asarray(kept.get_layer("high").bias) == 2


def test_weights_that_a_stage_starts_from_are_good(net, tmp_path):
    guard = StopAtNaN(net, tmp_path / "last.keras")
    guard.set_model(net)
    net.get_layer("high").bias.assign([3.0])
    guard.on_train_begin()
    guard.on_epoch_begin(0)
    net.get_layer("high").bias.assign([np.nan])
    with pytest.raises(TrainingError):
        guard.on_train_batch_end(0, {"loss": np.inf})
    assert np.asarray(net.get_layer("high").bias) == 3


def test_saved_network_is_plain(net, tmp_path):
    save_plain(net, tmp_path / "a.keras")
    loaded = keras.saving.load_model(tmp_path / "a.keras", safe_mode=True)
    assert not loaded.compiled
    assert [w.shape for w in loaded.weights] == [w.shape for w in net.weights]


@pytest.fixture
def images(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(10):
            pixels = np.full((32, 32, 3), 20 * number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    return tmp_path / "data"


@pytest.mark.usefixtures("quick_vgg16")
def test_loss_that_is_no_number_stops_and_keeps_the_good_weights(images, tmp_path, monkeypatch):
    from tltool.data.stream import Batches

    rows = Batches.rows

    def spoilt(self, index):
        pixels, targets = rows(self, index)
        # From the second epoch on there is too much to learn.
        much = np.inf if self._augmenter and self._epoch > 1 else 0
        return pixels, {name: values + much for name, values in targets.items()}

    monkeypatch.setattr(Batches, "rows", spoilt)
    stage = {"train": "head", "epochs": 3, "learning_rate": 2e-3, "draws": 0}
    recipe = tltool.load_recipe(
        None, {**HEAD_RECIPE, "training": {"batch_size": 6, "stages": [stage]}}
    )
    with pytest.raises(
        TrainingError, match=r"stage 1, epoch 2, step 1: the loss is inf at a rate of 0\.00\d+"
    ) as caught:
        tltool.finetune(images, tmp_path / "run", recipe)
    path = tmp_path / "run" / "checkpoints" / "last.keras"
    assert str(path) in str(caught.value)
    kept = keras.saving.load_model(path)
    assert all(np.isfinite(w).all() for w in kept.get_weights())
    assert not (tmp_path / "run" / "model.keras").exists()
