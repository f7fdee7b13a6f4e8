"""What a step does, and stages that are counted in steps."""

from pathlib import Path

import numpy as np
import pytest

from tltool.errors import RecipeError
from tltool.runtime import quiet_import

keras = quiet_import("keras")

from tltool.data.dataset import Sample  # noqa: E402
from tltool.data.stream import Batches, Patches  # noqa: E402
from tltool.models.network import Classifier  # noqa: E402
from tltool.recipe import LossRecipe, StageRecipe, load_recipe  # noqa: E402
from tltool.tasks.kinds import make_task  # noqa: E402
from tltool.tasks.losses import make_loss  # noqa: E402
from tltool.training.fit import fit  # noqa: E402
from tltool.training.optimizers import make_optimizer  # noqa: E402
from tltool.training.stages import check_stages  # noqa: E402
from tltool.training.state import load_state  # noqa: E402
from tltool.training.steps import STEPS, Objective, SupervisedStep  # noqa: E402

TASK = make_task("label", ("a", "b"))


def classifier():
    keras.utils.set_random_seed(3)
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(4, 3, name="low", activation="relu")(inputs)
    x = keras.layers.Dropout(0.3)(keras.layers.GlobalAveragePooling2D()(x))
    outputs = keras.layers.Dense(2, "softmax", name="high")(x)
    return Classifier(keras.Model(inputs, outputs), [["low"]], (TASK,))


def batches(number=10, size=4):
    pixels = np.random.default_rng(0).integers(0, 256, (number, 4, 4, 3), dtype=np.uint8)
    samples = [Sample(Path(f"{i}.png"), ((i % 2,),)) for i in range(number)]
    return Batches(Patches(pixels, samples, []), [TASK], size)


def objective():
    return Objective([TASK], {"label": make_loss(LossRecipe(), TASK)}, {"label": 1.0})


def stage(**more):
    return StageRecipe(**{"train": "all", "learning_rate": 1e-2, **more})


@pytest.mark.parametrize(
    "more", [{}, {"ema": 0.9}, {"gradient_accumulation_steps": 2, "optimizer": "sgd"}]
)
def test_a_step_is_keras_own_to_the_last_bit(more):
    weights = []
    for bare in (False, True):
        network = classifier().model
        optimizer = make_optimizer(stage(epochs=3, **more), 1e-2, {})
        model = network if bare else SupervisedStep(network, objective(), optimizer)
        if bare:
            network.compile(optimizer=optimizer, **objective().compiled())
        history = model.fit(batches(), epochs=3, verbose=0, shuffle=False).history
        weights.append([*network.get_weights(), *map(np.array, history.values())])
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_network_stays_plain(tmp_path):
    made = classifier()
    fit(made, batches(), None, [stage(epochs=1)], objective(), tmp_path)
    assert not isinstance(made.model, SupervisedStep)
    assert not made.model.compiled


# Ten images in batches of four: three steps an epoch.
@pytest.mark.parametrize(("steps", "epochs"), [(1, 1), (3, 1), (7, 3), (9, 3)])
def test_a_stage_of_steps_ends_after_so_many(tmp_path, steps, epochs):
    counted = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: counted.append(1))
    made = classifier()
    history = fit(
        made, batches(), batches(4), [stage(steps=steps)], objective(), tmp_path, callbacks=[count]
    )
    assert len(counted) == steps
    assert [row["epoch"] for row in history.rows] == list(range(1, epochs + 1))
    assert all(np.isfinite(row["val_loss"]) for row in history.rows)


def test_as_many_steps_as_epochs_have_give_the_same_weights(tmp_path):
    by_epochs, by_steps = classifier(), classifier()
    fit(by_epochs, batches(), None, [stage(epochs=2)], objective(), tmp_path / "a")
    fit(by_steps, batches(), None, [stage(steps=6)], objective(), tmp_path / "b")
    for one, other in zip(by_epochs.model.get_weights(), by_steps.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("steps", [10, *(pytest.param(n, marks=pytest.mark.slow) for n in (5, 7))])
def test_stopped_it_ends_with_the_same_bits_and_epochs_count_on(tmp_path, steps):
    stages = [stage(steps=7, draws=0), stage(steps=5, ema=0.9, schedule="plateau")]

    def run(folder, callback, state=None):
        made = classifier()
        history = fit(
            made, batches(), None, stages, objective(), folder, state=state, callbacks=[callback]
        )
        return made.model.get_weights(), history.rows

    class Seen(keras.callbacks.Callback):
        def __init__(self, most):
            super().__init__()
            self.most, self.epochs, self.begun = most, [], 0

        def on_train_begin(self, logs=None):
            self.begun += 1

        def on_epoch_begin(self, epoch, logs=None):
            self.epochs.append(epoch)

        def on_train_batch_end(self, batch, logs=None):
            self.most -= 1
            if self.most < 0:
                raise KeyboardInterrupt

    whole = Seen(99)
    weights, rows = run(tmp_path / "whole", whole)
    assert (whole.epochs, whole.begun) == ([0, 1, 2, 3, 4], 2)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", Seen(steps))
    state = load_state(tmp_path / "run" / "checkpoints" / "state.h5")
    again = Seen(99)
    found, found_rows = run(tmp_path / "run", again, state)
    assert found_rows == rows
    assert again.epochs == whole.epochs[-len(again.epochs) :]
    for one, other in zip(weights, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_method_of_ones_own_is_a_line_in_the_table(tmp_path, monkeypatch):
    class Still(SupervisedStep):
        def train_step(self, data):
            images, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
            return self.compute_metrics(images, targets, self(images, training=False))

    made, recipe = classifier(), stage(epochs=1, method="still")
    with pytest.raises(RecipeError, match=r"stages.0.method: expected one of supervised; received"):
        check_stages(made, [recipe])
    monkeypatch.setitem(STEPS, "still", Still)
    check_stages(made, [recipe])
    before = made.model.get_weights()
    fit(made, batches(), None, [recipe], objective(), tmp_path)
    for one, other in zip(before, made.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_stage_has_epochs_or_steps():
    for wrong in ({}, {"epochs": 1, "steps": 2}, {"steps": 0}):
        with pytest.raises(ValueError, match=r"expected epochs or steps|greater than or equal"):
            stage(**wrong)
    recipe = load_recipe(assignments=("training.stages.1.steps=50",))
    assert (recipe.training.stages[1].epochs, recipe.training.stages[1].steps) == (None, 50)
    recipe = load_recipe(None, recipe.model_dump(mode="json"), ("training.stages.1.epochs=5",))
    assert (recipe.training.stages[1].epochs, recipe.training.stages[1].steps) == (5, None)


def test_schedules_count_in_steps():
    from tltool.training.schedules import make_schedule

    made = make_schedule(stage(steps=7, schedule={"name": "cosine", "end": 0.0}), 3)
    assert float(made(0)) == pytest.approx(1e-2)
    assert float(made(3.5)) == pytest.approx(5e-3)
    assert float(made(7)) == pytest.approx(0, abs=1e-9)
