"""What one training step does: forward pass, loss, update of the weights, numbers so far.

A step is a `keras.Model` around the layers of the network that it trains, and
has Keras's own methods: ``train_step(data) -> logs``, ``test_step(data) ->
logs``, run by `keras.Model.fit` in its compiled function. The network itself,
which is saved, stays plain. To train in another way (with unlabelled images,
against an adversary), write a child of `SupervisedStep` and add it to `STEPS`:
a stage names it as its ``method``.

Where the rest of a step is: images are mixed (mixup, CutMix) when a batch is
made, by its key, in `tltool.augment.mix`; which layers train, and their
factors of the learning rate, in `tltool.training.stages`; clipping,
accumulation, weight decay and moving averages in the optimizer of
`tltool.training.optimizers`. Whatever a step keeps between batches must be a
variable of its network or its optimizer: these are what a resumed run gets back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from tltool.tasks.task import Task
from tltool.training.optimizers import averaged, minimise


@dataclass(frozen=True)
class Objective:
    """Objective that training minimises.

    Attributes
    ----------
    tasks : sequence of Task
    losses : dict of task name to keras.losses.Loss
    weights : dict of task name to float
        Factors of the losses in their sum.
    """

    tasks: Sequence[Task]
    losses: dict[str, Any]
    weights: dict[str, float]

    def compiled(self) -> dict[str, Any]:
        """Arguments of `keras.Model.compile`."""
        metrics = {task.name: [task.metric()] for task in self.tasks}
        if len(self.tasks) == 1:
            name = self.tasks[0].name
            return {"loss": self.losses[name], "metrics": metrics[name]}
        return {"loss": self.losses, "loss_weights": self.weights, "metrics": metrics}


class SupervisedStep(keras.Model):
    """A step on labelled images: the loss of the outputs against the targets.

    Parameters
    ----------
    network : keras.Model
        From images, or features of what is frozen, to outputs. Its layers are
        shared; those that do not train are frozen already.
    objective : Objective
    optimizer : keras.optimizers.Optimizer
    """

    def __init__(self, network: keras.Model, objective: Objective, optimizer: Any):
        super().__init__(inputs=network.input, outputs=network.output, name=network.name)
        # By it Keras decides whether the loss is scaled.
        self.dtype_policy = network.dtype_policy
        self.compile(optimizer=optimizer, **objective.compiled())
        # What the first step would create: TensorFlow traces a step that creates variables twice.
        self.optimizer.build(self.trainable_variables)
        outputs = keras.tree.map_structure(
            lambda tensor: np.zeros((1, *tensor.shape[1:]), np.float32), self.output
        )
        self.compute_loss(None, outputs, outputs)
        self.compute_metrics(None, outputs, outputs)
        self.reset_metrics()

    def train_step(self, data: Any) -> dict[str, Any]:
        """Update the weights by one batch.

        Parameters
        ----------
        data : (images, targets) or (images, targets, weights)
            (b, side, side, bands) float32 in 0..255, or features; (b, outputs)
            float32 or a dict of them by task; (b,) float32 weights of the samples.

        Returns
        -------
        dict of str to scalar
            Means of the loss and the metrics over the epoch so far.
        """
        images, targets, weights = keras.utils.unpack_x_y_sample_weight(data)

        def loss() -> tuple[Any, Any]:
            outputs = self(images, training=True)
            return self.compute_loss(images, targets, outputs, weights, training=True), outputs

        value, outputs = minimise(self.optimizer, loss, self.trainable_weights)
        mean = next(metric for metric in self.metrics if metric.name == "loss")
        mean.update_state(value, sample_weight=ops.shape(images)[0])
        return self.compute_metrics(images, targets, outputs, weights)

    def evaluate(self, *args: Any, **options: Any) -> Any:
        """Evaluate with the moving averages of the weights, where the optimizer keeps some."""
        with averaged(self):
            return super().evaluate(*args, **options)


# By what a stage says as its `method`.
STEPS: dict[str, type[SupervisedStep]] = {"supervised": SupervisedStep}
