"""Run the stages of a schedule over batches."""

import logging
from pathlib import Path

import keras

from tltool.data.stream import Batches
from tltool.models.network import Classifier
from tltool.progress import progress_bar
from tltool.recipe import TrainingRecipe
from tltool.training.callbacks import EventLog, History, KeepBest, ShowProgress
from tltool.training.schedule import apply_stage, cosine_rate

logger = logging.getLogger("tltool")


def fit(
    classifier: Classifier,
    train: Batches,
    valid: Batches | None,
    recipe: TrainingRecipe,
    folder: Path,
) -> History:
    """Train stage by stage; the classifier ends with the best weights of all epochs.

    Parameters
    ----------
    classifier : Classifier
    train, valid : Batches
        Without `valid` the training loss tells the best epoch.
    recipe : TrainingRecipe
    folder : Path
        Run folder: ``checkpoints/`` and ``logs/`` go there.

    Returns
    -------
    History
        A row an epoch.
    """
    history = History()
    best = KeepBest(folder / "checkpoints" / "best.keras")
    events = EventLog(folder / "logs", history)
    for number, stage in enumerate(recipe.stages, 1):
        apply_stage(classifier, stage, len(train))
        classifier.model.compile(
            optimizer=keras.optimizers.Adam(cosine_rate(stage, len(train)), clipnorm=1.0),
            loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
            metrics=["accuracy"],
        )
        history.stage, best.patience = number, stage.patience
        title = f"stage {number}/{len(recipe.stages)}"
        with progress_bar(title, stage.epochs * len(train), "steps") as bar:
            classifier.model.fit(
                train,
                validation_data=valid,
                epochs=stage.epochs,
                verbose=0,
                callbacks=[history, best, events, ShowProgress(bar)],
            )
        best.restore(classifier.model)
        _log_stage(number, history)
    return history


def _log_stage(number: int, history: History) -> None:
    rows = [row for row in history.rows if row["stage"] == number]
    if not rows:
        return
    key = "val_loss" if "val_loss" in rows[0] else "loss"
    row = min(rows, key=lambda r: r[key])
    shown = [k for k in ("accuracy", "val_accuracy", "val_loss") if k in row]
    numbers = ", ".join(f"{k} {row[k]:.3f}" for k in shown)
    logger.info("stage %d: %d epochs, best %d: %s", number, len(rows), row["epoch"], numbers)
