import numpy as np
import pytest

from tltool.runtime import quiet_import

keras = quiet_import("keras")

from tltool.recipe import LossRecipe, StageRecipe  # noqa: E402
from tltool.tasks.kinds import make_task  # noqa: E402
from tltool.tasks.losses import make_loss  # noqa: E402
from tltool.training.optimizers import make_optimizer  # noqa: E402
from tltool.training.steps import STEPS, Objective  # noqa: E402

TASKS = (make_task("size", ("small", "large", "huge")), make_task("alive", ("no", "yes"), "binary"))


class Counted(keras.layers.Dense):
    """Counts how often its graph is made."""

    calls = 0

    def call(self, inputs):
        self.calls += 1
        return super().call(inputs)


@pytest.mark.parametrize("tasks", [TASKS[:1], TASKS])
@pytest.mark.parametrize("more", [{}, {"ema": 0.9, "gradient_accumulation_steps": 2}])
def test_a_step_is_traced_once_and_counts_from_nothing(tasks, more):
    inputs = keras.Input((4,))
    counted = Counted(8)
    features = counted(inputs)
    outputs = {t.name: keras.layers.Dense(t.outputs, "sigmoid")(features) for t in tasks}
    model = keras.Model(inputs, outputs if len(tasks) > 1 else outputs[tasks[0].name])
    losses = {task.name: make_loss(LossRecipe(), task) for task in tasks}
    objective = Objective(tasks, losses, {task.name: 1.0 for task in tasks})
    stage = StageRecipe(epochs=2, learning_rate=1e-3, **more)
    step = STEPS["supervised"](model, objective, make_optimizer(stage, 0.0, {}))
    before = counted.calls
    truth = {task.name: task.encode([(0,)] * 6 + [(1,)] * 2) for task in tasks}
    truth = truth if len(tasks) > 1 else truth[tasks[0].name]
    images = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    history = step.fit(images, truth, batch_size=4, epochs=2, verbose=0).history
    assert counted.calls == before + 1
    # A rate of 0 changes nothing: both epochs say the same.
    for values in history.values():
        assert values[0] == pytest.approx(values[1])
