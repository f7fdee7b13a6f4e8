import numpy as np
import pytest

from tltool.runtime import quiet_import

quiet_import("keras")

from tltool.recipe import StageRecipe  # noqa: E402
from tltool.recipe.stages import SCHEDULES as NAMES  # noqa: E402
from tltool.training.optimizers import make_optimizer  # noqa: E402
from tltool.training.schedules import SCHEDULES, make_schedule  # noqa: E402


def rates(schedule, steps, *, epochs=4, per_epoch=25, **stage):
    made = make_schedule(
        StageRecipe(epochs=epochs, learning_rate=0.1, schedule=schedule, **stage), per_epoch
    )
    return [float(made(step)) for step in steps]


def test_the_recipe_and_the_table_know_the_same_schedules():
    assert {*SCHEDULES, "plateau"} == set(NAMES)


def test_constant():
    assert rates("constant", (0, 50, 100)) == pytest.approx([0.1] * 3)


def test_cosine_falls_to_a_hundredth():
    assert rates("cosine", (0, 50, 100, 150)) == pytest.approx([0.1, 0.0505, 0.001, 0.001])


def test_cosine_after_a_warm_up():
    schedule = {"name": "cosine", "warmup": 1, "end": 0}
    found = rates(schedule, (0, 12, 25, 62.5, 100))
    assert found == pytest.approx([0.1 / 26, 0.05, 0.1, 0.05, 0], abs=1e-6)


def test_one_cycle_rises_and_falls():
    schedule = {"name": "one-cycle", "peak": 0.25, "start": 0.1, "end": 0}
    found = rates(schedule, (0, 12.5, 25, 62.5, 100))
    assert found == pytest.approx([0.01, 0.055, 0.1, 0.05, 0], abs=1e-6)


def test_steps_fall_by_a_factor():
    schedule = {"name": "step", "every": 2, "factor": 0.5}
    assert rates(schedule, (0, 49, 50, 99, 100)) == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025])


def test_a_stage_that_accumulates_ends_at_the_same_rate(keras):
    stage = StageRecipe(epochs=4, learning_rate=0.1, gradient_accumulation_steps=2)
    optimizer = make_optimizer(stage, make_schedule(stage, 25), {})
    variable = keras.Variable([1.0])
    for _ in range(100):
        optimizer.apply([keras.ops.ones(1)], [variable])
    assert float(optimizer.learning_rate) == pytest.approx(0.001)


def test_plateau_starts_at_the_rate():
    assert make_schedule(StageRecipe(epochs=1, learning_rate=0.3, schedule="plateau"), 10) == 0.3


@pytest.mark.parametrize("schedule", [name for name in NAMES if name != "plateau"])
def test_rates_stay_between_zero_and_the_rate(schedule):
    found = np.array(rates(schedule, range(0, 130, 3)))
    assert (found >= 0).all()
    assert found.max() <= 0.1 * (1 + 1e-6)
    assert found.max() > 0.09
