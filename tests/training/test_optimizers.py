import numpy as np
import pytest

from tltool.runtime import quiet_import

keras = quiet_import("keras")

from tltool.recipe import StageRecipe  # noqa: E402
from tltool.training.callbacks import averaged  # noqa: E402
from tltool.training.optimizers import OPTIMIZERS, averaged_weights, make_optimizer  # noqa: E402


def stage(**more):
    return StageRecipe(**{"epochs": 1, "learning_rate": 0.1, "clipnorm": None, **more})


def plain_sgd(**more):
    return stage(optimizer="sgd", momentum=0, **more)


@pytest.fixture
def net():
    """Two layers, ones everywhere."""
    inputs = keras.Input((2,))
    hidden = keras.layers.Dense(3, kernel_initializer="ones", bias_initializer="ones", name="low")
    output = keras.layers.Dense(1, kernel_initializer="ones", name="high")
    return keras.Model(inputs, output(hidden(inputs)))


def apply(net, optimizer, gradient=1.0, times=1):
    variables = net.trainable_variables
    optimizer.build(variables)
    for _ in range(times):
        optimizer.apply([keras.ops.full(v.shape, gradient) for v in variables], variables)
    return {v.path: np.asarray(v) for v in variables}


def test_each_layer_moves_at_its_own_rate(net):
    factors = {"low/kernel": 0.1, "low/bias": 0.1, "high/kernel": 1.0}
    after = apply(net, make_optimizer(plain_sgd(), 0.1, factors))
    # w - rate * factor * gradient; what nothing is said of has the whole rate.
    np.testing.assert_allclose(after["low/kernel"], 0.99)
    np.testing.assert_allclose(after["high/kernel"], 0.9)
    np.testing.assert_allclose(after["high/bias"], -0.1)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_scales_its_step(net, name):
    slow, fast = {"low/kernel": 0.1}, {"low/kernel": 1.0}
    moved = [
        1
        - apply(keras.models.clone_model(net), make_optimizer(stage(optimizer=name), 0.1, f))[
            "low/kernel"
        ]
        for f in (slow, fast)
    ]
    np.testing.assert_allclose(moved[0] * 10, moved[1], rtol=1e-5)
    assert (moved[1] > 0).all()


def test_weight_decay_is_decoupled_and_spares_biases(net):
    optimizer = make_optimizer(plain_sgd(weight_decay=0.5), 0.1, {"high/kernel": 0.2})
    after = apply(net, optimizer, gradient=0.0)
    np.testing.assert_allclose(after["low/kernel"], 1 - 0.1 * 0.5, rtol=1e-6)
    np.testing.assert_allclose(after["high/kernel"], 1 - 0.1 * 0.2 * 0.5, rtol=1e-6)
    np.testing.assert_allclose(after["low/bias"], 1)


def test_normalisation_does_not_decay():
    inputs = keras.Input((2,))
    net = keras.Model(inputs, keras.layers.BatchNormalization(name="norm")(inputs))
    after = apply(net, make_optimizer(plain_sgd(weight_decay=0.5), 0.1, {}), gradient=0.0)
    np.testing.assert_array_equal(after["norm/gamma"], 1)


def test_gradients_are_clipped_weight_by_weight(net):
    after = apply(net, make_optimizer(plain_sgd(clipnorm=1.0), 0.1, {}), gradient=100.0)
    # A gradient of six equal parts and norm 1.
    np.testing.assert_allclose(after["low/kernel"], 1 - 0.1 / np.sqrt(6), rtol=1e-5)
    np.testing.assert_allclose(after["high/bias"], -0.1, rtol=1e-5)


def test_accumulated_gradients_are_averaged(net):
    optimizer = make_optimizer(plain_sgd(gradient_accumulation_steps=2), 0.1, {})
    variables = net.trainable_variables
    optimizer.build(variables)
    for gradient, expected in ((1.0, 1.0), (3.0, 1 - 0.1 * 2)):
        optimizer.apply([keras.ops.full(v.shape, gradient) for v in variables], variables)
        np.testing.assert_allclose(net.get_layer("low").kernel, expected, rtol=1e-6)


def test_moving_average_of_the_weights(net):
    net.compile(make_optimizer(plain_sgd(ema=0.9), 0.1, {}), "mse")
    apply(net, net.optimizer, times=2)
    # 0.9 after the first update, where the average begins; then 0.9 * 0.9 + 0.1 * 0.8.
    kernel = net.get_layer("high").kernel
    assert np.asarray(kernel) == pytest.approx(0.8)
    assert averaged_weights(net)[kernel.path] == pytest.approx(0.89)
    with averaged(net):
        assert np.asarray(kernel) == pytest.approx(0.89)
    assert np.asarray(kernel) == pytest.approx(0.8)


def test_without_average_nothing_stands_in(net):
    net.compile(make_optimizer(plain_sgd(), 0.1, {}), "mse")
    assert averaged_weights(net) == {}
