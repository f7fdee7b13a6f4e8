"""Run the stages of a schedule over batches, and go on where a killed run was."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tltool.data.stream import Batches
from tltool.models.network import Classifier
from tltool.progress import progress_bar
from tltool.recipe import Keep, StageRecipe
from tltool.tasks.losses import labelled_accuracy
from tltool.training.callbacks import (
    EventLog,
    History,
    KeepBest,
    Plateau,
    ShowProgress,
    StopAtNaN,
    ValidateAveraged,
    save_plain,
)
from tltool.training.features import CachedBatches, compute_draws, halve
from tltool.training.optimizers import make_optimizer
from tltool.training.schedules import make_schedule
from tltool.training.stages import apply_stage, backbone_is_frozen
from tltool.training.state import STATE_NAME, SaveState, State, assign, values_of

logger = logging.getLogger("tltool")


def _create_variables(model: keras.Model) -> None:
    """Create what the first step would: TensorFlow traces a step that creates variables twice."""
    model.optimizer.build(model.trainable_variables)
    answers = keras.tree.map_structure(
        lambda tensor: np.zeros((1, *tensor.shape[1:]), np.float32), model.output
    )
    model.compute_loss(None, answers, answers)
    model.compute_metrics(None, answers, answers)
    model.reset_metrics()


@dataclass(frozen=True)
class Objective:
    """What training makes small.

    Attributes
    ----------
    losses : dict of task name to keras.losses.Loss
    weights : dict of task name to float
        Of the losses in their sum.
    """

    losses: dict[str, Any]
    weights: dict[str, float]

    def compile(self, model: keras.Model, classifier: Classifier, optimizer: Any) -> None:
        """Make a classifier, or what trains of it, ready for training."""
        model.compile(optimizer=optimizer, **self._options(classifier))
        _create_variables(model)

    def _options(self, classifier: Classifier) -> dict[str, Any]:
        metrics = {task.name: [labelled_accuracy(task)] for task in classifier.tasks}
        if len(classifier.tasks) == 1:
            name = classifier.tasks[0].name
            return {"loss": self.losses[name], "metrics": metrics[name]}
        return {"loss": self.losses, "loss_weights": self.weights, "metrics": metrics}


@dataclass(frozen=True)
class _Material:
    """What a stage trains, on what."""

    model: keras.Model
    train: Any
    valid: Any


class _Fitting:
    """The stages of one run, with what they share."""

    def __init__(
        self,
        classifier: Classifier,
        train: Batches,
        valid: Batches | None,
        folder: Path,
        seed: int,
        keep: Keep,
    ):
        self._classifier, self._train, self._valid, self._seed = classifier, train, valid, seed
        network, checkpoints = classifier.model, folder / "checkpoints"
        self._state_path = checkpoints / STATE_NAME
        self._best_path = checkpoints / "best.keras"
        self.history = History()
        self._best = KeepBest(network, keep == "last")
        self._events = EventLog(folder / "logs", self.history)
        self._guard = StopAtNaN(network, checkpoints / "last.keras")
        self._plateau: Plateau | None = None
        self._model, self._keep = network, keep

    def run(self, stages: Sequence[StageRecipe], objective: Objective, state: State | None) -> None:
        """All stages, or those after `state`."""
        if state is not None:
            self._go_back_to(state)
        start = state.stage if state else 0
        for number, stage in enumerate(stages[start:], start):
            within = state if state and state.stage == number and state.optimizer else None
            self._one(number, stage, objective, within)
            self._best.restore()
            save_plain(self._classifier.model, self._best_path)
            self._capture(number + 1, 0, with_optimizer=False).save(self._state_path)
            _log_stage(number + 1, len(stages), self.history, self._keep)

    def _go_back_to(self, state: State) -> None:
        network = self._classifier.model
        assign(network.variables, state.network, self._state_path)
        if state.best:
            paths = [weight.path for weight in network.weights]
            self._best.weights = dict(zip(paths, state.best, strict=True))
        self._best.lowest, self._best.waited = state.numbers["lowest"], state.numbers["waited"]
        self.history.rows = list(state.numbers["rows"])

    def _capture(self, stage: int, epoch: int, with_optimizer: bool = True) -> State:
        network, best, plateau = self._classifier.model, self._best, self._plateau
        return State(
            stage,
            epoch,
            values_of(network.variables),
            values_of(self._model.optimizer.variables) if with_optimizer else [],
            [best.weights[w.path] for w in network.weights] if best.weights else [],
            {
                "lowest": best.lowest,
                "waited": best.waited if with_optimizer else 0,
                "rows": self.history.rows,
                "plateau": [plateau.lowest, plateau.waited] if plateau else None,
            },
        )

    def _material(self, number: int, stage: StageRecipe, done: int, first: int) -> _Material:
        """The whole network on images, or what trains on features that are computed here."""
        cached = stage.cache == "frozen" or backbone_is_frozen(self._classifier)
        halves = halve(self._classifier) if stage.draws and stage.epochs and cached else None
        if halves is None:
            self._train.start(first + done)
            return _Material(self._classifier.model, self._train, self._valid)
        number_of_draws = min(stage.draws, stage.epochs) if self._train.differs else 1
        epochs = range(first, first + number_of_draws)
        title = f"stage {number + 1}: features"
        draws = compute_draws(halves.frozen, self._train, epochs, title)
        batch = self._train.batch_size
        train = CachedBatches(draws, batch, self._seed, done)
        valid = None
        if self._valid is not None:
            kept = compute_draws(halves.frozen, self._valid, [0], "features of valid")
            valid = CachedBatches(kept, batch)
        return _Material(halves.head, train, valid)

    def _one(
        self, number: int, stage: StageRecipe, objective: Objective, within: State | None
    ) -> None:
        steps = len(self._train)
        factors = apply_stage(self._classifier, stage, steps, f"training.stages.{number}")
        done = within.epoch if within else 0
        self.history.stage = self._guard.stage = number + 1
        self._best.patience = stage.patience
        if within is None:
            self._best.waited = 0
        if done >= stage.epochs or (within is not None and self._best.spent):
            return
        material = self._material(number, stage, done, len(self.history.rows) - done)
        self._model = material.model
        optimizer = make_optimizer(stage, make_schedule(stage, steps), factors)
        objective.compile(material.model, self._classifier, optimizer)
        self._plateau = (
            Plateau(stage.schedule.factor, stage.schedule.patience)
            if stage.schedule.name == "plateau"
            else None
        )
        if within is not None:
            self._go_back_within(within)
        self._fit(number, stage, material, done)

    def _go_back_within(self, state: State) -> None:
        """To where the stage's optimizer and plateau were."""
        assign(self._model.optimizer.variables, state.optimizer, self._state_path)
        if self._plateau is not None:
            self._plateau.lowest, self._plateau.waited = state.numbers["plateau"]

    def _fit(self, number: int, stage: StageRecipe, material: _Material, done: int) -> None:
        saving = SaveState(self._state_path, lambda epoch: self._capture(number, epoch))
        title = f"stage {number + 1}"
        with progress_bar(title, (stage.epochs - done) * len(material.train), "steps") as bar:
            callbacks = [
                ValidateAveraged() if stage.ema else None,
                self._guard,
                self.history,
                self._best,
                self._plateau,
                self._events,
                ShowProgress(bar),
                saving,
            ]
            material.model.fit(
                material.train,
                validation_data=material.valid,
                initial_epoch=done,
                epochs=stage.epochs,
                verbose=0,
                # The batches shuffle themselves, by the seed; Keras would by Python's generator.
                shuffle=False,
                callbacks=[callback for callback in callbacks if callback is not None],
            )


def fit(
    classifier: Classifier,
    train: Batches,
    valid: Batches | None,
    stages: Sequence[StageRecipe],
    objective: Objective,
    folder: Path,
    *,
    seed: int = 0,
    keep: Keep = "best",
    state: State | None = None,
) -> History:
    """Train stage by stage; the classifier ends with the best weights of all epochs, or the last.

    Parameters
    ----------
    classifier : Classifier
    train, valid : Batches
        Without `valid` the training loss tells the best epoch.
    stages : sequence of StageRecipe
    objective : Objective
    folder : Path
        Run folder: ``checkpoints/`` and ``logs/`` go there.
    seed : int
        Of the order of cached features.
    keep : 'best' or 'last'
        Which epoch's weights.
    state : State, optional
        To go on from.

    Returns
    -------
    History
        A row an epoch.

    Raises
    ------
    TrainingError
        At the first loss that is no number.
    """
    fitting = _Fitting(classifier, train, valid, folder, seed, keep)
    fitting.run(stages, objective, state)
    return fitting.history


def _log_stage(number: int, stages: int, history: History, keep: Keep) -> None:
    rows = [row for row in history.rows if row["stage"] == number]
    if not rows:
        return
    key = "val_loss" if "val_loss" in rows[0] else "loss"
    row = rows[-1] if keep == "last" else min(rows, key=lambda r: r[key])
    shown = [k for k in ("accuracy", "val_accuracy", "val_loss") if k in row]
    numbers = ", ".join(f"{k} {row[k]:.3f}" for k in shown)
    logger.info(
        "stage %d of %d: %d epochs, %s %d: %s",
        number,
        stages,
        len(rows),
        keep,
        row["epoch"],
        numbers,
    )
