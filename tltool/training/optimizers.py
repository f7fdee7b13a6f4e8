"""Optimizers whose rate differs by layer and whose weight decay spares biases and norms."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
from keras import ops, optimizers

from tltool.recipe import StageRecipe

OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "adam": lambda momentum, **k: _layered(optimizers.Adam)(beta_1=momentum, **k),
    "nadam": lambda momentum, **k: _layered(optimizers.Nadam)(beta_1=momentum, **k),
    "lion": lambda momentum, **k: _layered(optimizers.Lion)(beta_1=momentum, **k),
    "sgd": lambda momentum, **k: _layered(optimizers.SGD)(
        momentum=momentum, nesterov=momentum > 0, **k
    ),
    "rmsprop": lambda momentum, **k: _layered(optimizers.RMSprop)(momentum=momentum, **k),
}


def _layered(kind: type[Any]) -> type[Any]:
    """A child of an optimizer that scales the rate of each variable and decays kernels."""

    class Layered(kind):
        def __init__(self, factors: Mapping[str, float], decay: float, **options: Any):
            super().__init__(**options)
            self._factor_of_path, self._decay = factors, decay

        def build(self, variables: list[Any]) -> None:
            # By place: what `update_step` gets is the backend's variable, without a path.
            self._factors = [self._factor_of_path.get(v.path, 1.0) for v in variables]
            super().build(variables)

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            factor = self._factors[self._get_variable_index(variable)]
            rate = ops.multiply(ops.cast(learning_rate, variable.dtype), factor)
            if self._decay and len(variable.shape) > 1:
                self.assign_sub(variable, variable * rate * self._decay)
            super().update_step(gradient, variable, rate)

    Layered.__name__ = kind.__name__
    return Layered


def make_optimizer(stage: StageRecipe, rate: Any, factors: Mapping[str, float]) -> Any:
    """The optimizer of a stage.

    Parameters
    ----------
    stage : StageRecipe
    rate : float or keras.optimizers.schedules.LearningRateSchedule
    factors : dict of str to float
        Path of a variable to what its rate is multiplied by; 1 where it says
        nothing.

    Returns
    -------
    keras.optimizers.Optimizer
        Its weight decay is decoupled, ``w -= rate * decay * w`` (Loshchilov
        and Hutter 2019), and concerns variables of two axes or more: kernels,
        not biases and normalisation.
    """
    return OPTIMIZERS[stage.optimizer](
        stage.momentum,
        factors=factors,
        decay=stage.weight_decay,
        learning_rate=rate,
        clipnorm=stage.clipnorm,
        gradient_accumulation_steps=stage.gradient_accumulation_steps
        if stage.gradient_accumulation_steps > 1
        else None,
        use_ema=stage.ema is not None,
        ema_momentum=stage.ema or 0.99,
    )


def averaged_weights(model: keras.Model) -> dict[str, Any]:
    """The moving averages that the model's optimizer keeps: path of a variable to its value."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not optimizer.use_ema:
        return {}
    pairs = zip(
        optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True
    )
    return {variable.path: ops.convert_to_numpy(average) for variable, average in pairs}


@contextlib.contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Let the moving averages of the weights stand in for them, where the optimizer keeps some."""
    averages = averaged_weights(model)
    variables = [v for v in model.trainable_variables if v.path in averages]
    own = [ops.convert_to_numpy(v) for v in variables]
    for variable in variables:
        variable.assign(averages[variable.path])
    try:
        yield
    finally:
        for variable, value in zip(variables, own, strict=True):
            variable.assign(value)


def minimise(
    optimizer: Any, loss: Callable[[], tuple[Any, Any]], variables: Sequence[Any]
) -> tuple[Any, Any]:
    """Update `variables` once, against the gradients of a loss.

    Keras has no gradients that are the same for all backends; this is the one
    place of a step that asks TensorFlow.

    Parameters
    ----------
    optimizer : keras.optimizers.Optimizer
    loss : callable
        Computes the loss, a scalar, and anything else that is of use.
    variables : sequence of keras.Variable

    Returns
    -------
    What `loss` gave, before the update.
    """
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value, more = loss()
        scaled = optimizer.scale_loss(value)
    gradients = tape.gradient(scaled, variables)
    optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return value, more
