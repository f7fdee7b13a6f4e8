"""Run the stages of a training over batches, and go on where a killed run was."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras

from tltool.data.arrays import StreamBatches
from tltool.data.stream import Batches
from tltool.models.network import Classifier
from tltool.progress import progress_bar
from tltool.recipe import Keep, StageRecipe
from tltool.tasks.kinds import metric_names
from tltool.training.callbacks import (
    EventLog,
    History,
    KeepBest,
    Plateau,
    ShowProgress,
    StopAfter,
    StopAtNaN,
    save_plain,
)
from tltool.training.features import CachedBatches, compute_draws, halve
from tltool.training.optimizers import make_optimizer
from tltool.training.schedules import make_schedule
from tltool.training.stages import apply_stage, backbone_is_frozen, steps_per_epoch
from tltool.training.state import STATE_NAME, SaveState, State, assign, values_of
from tltool.training.steps import STEPS, Objective, SupervisedStep

logger = logging.getLogger(__name__)


def fit(
    classifier: Classifier,
    train: Batches | StreamBatches,
    valid: Batches | None,
    stages: Sequence[StageRecipe],
    objective: Objective,
    folder: Path,
    *,
    seed: int = 0,
    keep: Keep = "best",
    state: State | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> History:
    """Train stage by stage; the classifier ends with the best weights of all epochs, or the last.

    Parameters
    ----------
    classifier : Classifier
    train : Batches or StreamBatches
    valid : Batches or None
        None: the training loss tells the best epoch.
    stages : sequence of StageRecipe
    objective : Objective
    folder : Path
        Run folder: ``checkpoints/`` and ``logs/`` go there.
    seed : int
        Seed of the order of cached features.
    keep : 'best' or 'last'
        Which epoch's weights.
    state : State, optional
        Where to go on.
    callbacks : sequence of keras.callbacks.Callback
        Called before tltool's own, as `keras.Model.fit` calls them once for
        each stage. Epochs count on from stage to stage.

    Returns
    -------
    History
        A row an epoch.

    Raises
    ------
    TrainingError
        At the first loss that is no number.
    """
    network, checkpoints = classifier.model, folder / "checkpoints"
    state_path = checkpoints / STATE_NAME
    history, best = History(), KeepBest(network, keep == "last")
    guard, events = (
        StopAtNaN(network, checkpoints / "last.keras"),
        EventLog(folder / "logs", history),
    )
    if state is not None:
        assign(network.variables, state.network, state_path)
        if state.best:
            paths = [weight.path for weight in network.weights]
            best.weights = dict(zip(paths, state.best, strict=True))
        best.lowest, best.waited = state.numbers["lowest"], state.numbers["waited"]
        history.rows = list(state.numbers["rows"])

    def capture(
        stage: int, step: SupervisedStep | None, plateau: Any, first: int, end: int
    ) -> State:
        return State(
            stage,
            end - first,
            values_of(network.variables),
            values_of(step.optimizer.variables) if step else [],
            [best.weights[w.path] for w in network.weights] if best.weights else [],
            {
                "lowest": best.lowest,
                "waited": best.waited if step else 0,
                "rows": history.rows,
                "plateau": [plateau.lowest, plateau.waited] if plateau else None,
            },
        )

    start = state.stage if state else 0
    for number, stage in enumerate(stages[start:], start):
        within = state if state and state.stage == number and state.optimizer else None
        done = within.epoch if within else 0
        if within is None:
            best.waited = 0
        best.patience = stage.patience
        per_epoch = steps_per_epoch(train, stage)
        factors = apply_stage(classifier, stage, per_epoch, f"training.stages.{number}")
        epochs, steps = stage.length(per_epoch)
        if done < epochs and not (within is not None and best.spent):
            # Epochs that earlier stages took.
            first = len(history.rows) - done
            history.stage, guard.stage, guard.first = number + 1, number + 1, first
            model, images, kept = _material(
                classifier, train, valid, number, stage, seed, first, done
            )
            optimizer = make_optimizer(stage, make_schedule(stage, per_epoch), factors)
            step = STEPS[stage.method](model, objective, optimizer)
            plateau = Plateau(stage.schedule) if stage.schedule.name == "plateau" else None
            if within is not None:
                assign(step.optimizer.variables, within.optimizer, state_path)
                if plateau is not None:
                    plateau.lowest, plateau.waited = within.numbers["plateau"]
            left = steps - done * per_epoch
            with progress_bar(f"stage {number + 1}", left, "steps") as bar:
                own = [
                    StopAfter(left) if stage.steps else None,
                    guard,
                    history,
                    best,
                    plateau,
                    events,
                    ShowProgress(bar),
                    SaveState(state_path, partial(capture, number, step, plateau, first)),
                ]
                step.fit(
                    images,
                    validation_data=kept,
                    initial_epoch=first + done,
                    epochs=first + epochs,
                    steps_per_epoch=None if isinstance(train, Batches) else per_epoch,
                    verbose=0,
                    # Batches shuffle themselves, by the seed; Keras would by Python's generator.
                    shuffle=False,
                    callbacks=[*callbacks, *(callback for callback in own if callback is not None)],
                )
        best.restore()
        save_plain(network, checkpoints / "best.keras")
        capture(number + 1, None, None, 0, 0).save(state_path)
        _log_stage(number + 1, len(stages), history, keep)
    return history


def _material(
    classifier: Classifier,
    train: Batches | StreamBatches,
    valid: Batches | None,
    number: int,
    stage: StageRecipe,
    seed: int,
    first: int,
    done: int,
) -> tuple[keras.Model, Any, Any]:
    """The whole network on images, or what trains on features that are computed here."""
    if not isinstance(train, Batches):
        images = train.batches_from(first, done, steps_per_epoch(train, stage))
        return classifier.model, images, valid
    cached = stage.cache == "frozen" or backbone_is_frozen(classifier)
    halves = halve(classifier) if stage.draws and cached else None
    if halves is None:
        train.start(first + done)
        return classifier.model, train, valid
    draws = min(stage.draws, stage.length(len(train))[0]) if train.differs else 1
    title = f"stage {number + 1}: features"
    features = compute_draws(halves.frozen, train, range(first, first + draws), title)
    kept = None
    if valid is not None:
        drawn = compute_draws(halves.frozen, valid, [0], "features of valid")
        kept = CachedBatches(drawn, train.batch_size)
    return halves.head, CachedBatches(features, train.batch_size, seed, done), kept


def _log_stage(number: int, stages: int, history: History, keep: Keep) -> None:
    rows = [row for row in history.rows if row["stage"] == number]
    if not rows:
        return
    key = "val_loss" if "val_loss" in rows[0] else "loss"
    row = rows[-1] if keep == "last" else min(rows, key=lambda r: r[key])
    names = [prefix + name for name in metric_names() for prefix in ("", "val_")]
    shown = [k for k in (*names, "val_loss") if k in row]
    numbers = ", ".join(f"{k} {row[k]:.3f}" for k in shown)
    told = (number, stages, len(rows), keep, row["epoch"], numbers)
    logger.info("stage %d of %d: %d epochs, %s %d: %s", *told)
