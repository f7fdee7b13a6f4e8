"""`tltool finetune`: from labelled images and a recipe to a run folder."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tltool.data.overview import DataReport
from tltool.errors import DataError
from tltool.inference.network import LoadedNetwork
from tltool.models.graph import give_weights
from tltool.models.network import Classifier
from tltool.recipe import Recipe, load_recipe
from tltool.run.folder import (
    HISTORY_NAME,
    METRICS_NAME,
    MODEL_NAME,
    RECIPE_NAME,
    check_folder,
    clear_folder,
    write_json,
)
from tltool.training.callbacks import save_plain
from tltool.training.fit import fit
from tltool.training.prepare import Network, Prepared, prepare
from tltool.training.run_start import RunStart, open_unfinished
from tltool.training.split_metrics import split_metrics
from tltool.training.state import State

logger = logging.getLogger("tltool")

# Validation images below which their loss is chance.
_FEW = 10

Show = Callable[[DataReport], None]


@dataclass(frozen=True)
class Run:
    """A finished training run.

    Attributes
    ----------
    folder : Path
    metrics : dict
        Content of ``metrics.json``: per split the numbers of
        `tltool.training.split_metrics.split_metrics`.
    """

    folder: Path
    metrics: dict[str, Any]


def _settle_determinism(recipe: Recipe) -> None:
    if recipe.training.deterministic:
        import tensorflow as tf

        # For the rest of the process: TensorFlow has no public way back.
        tf.config.experimental.enable_op_determinism()


def _judge(prepared: Prepared, classifier: Classifier) -> dict[str, Any]:
    recipe, tasks = prepared.recipe, tuple(prepared.dataset.tasks)
    network = LoadedNetwork(None, prepared.sidecar, tasks, classifier.model)
    return {
        split: split_metrics(
            network, prepared.loaded[split], recipe.training.batch_size, recipe.tta == "d4"
        )
        for split in ("valid", "test")
        if len(prepared.loaded[split])
    }


def _log_warnings(report: DataReport) -> None:
    for warning in report.warnings:
        logger.warning("%s", warning)


def _in_single_precision(prepared: Prepared) -> Classifier:
    """The trained network, to compute as it will where it is used."""
    trained = prepared.classifier
    if prepared.recipe.training.precision == "float32":
        return trained
    rebuilt = prepared.rebuild()
    for layer, source in zip(rebuilt.model.layers, trained.model.layers, strict=True):
        give_weights(layer, source.get_weights())
    return rebuilt


def _train(prepared: Prepared, folder: Path, state: State | None, started: float) -> Run:
    training = prepared.recipe.training
    valid = len(prepared.loaded["valid"])
    if 0 < valid < _FEW and training.keep == "best":
        logger.warning(
            "valid has %d images, too few to tell which epoch is best: training.keep=last takes the"
            " last one",
            valid,
        )
    history = fit(
        prepared.classifier,
        prepared.train_batches(),
        prepared.valid_batches(),
        training.stages,
        prepared.objective(),
        folder,
        seed=training.seed,
        keep=training.keep,
        state=state,
    )
    classifier = _in_single_precision(prepared)
    metrics = _judge(prepared, classifier)
    metrics["seconds"] = round(time.perf_counter() - started, 1)
    save_plain(classifier.model, folder / MODEL_NAME)
    prepared.sidecar.save(folder / MODEL_NAME)
    history.save(folder / HISTORY_NAME)
    write_json(folder / METRICS_NAME, metrics)
    return Run(folder, metrics)


def finetune(
    data: str | Path,
    out: str | Path,
    recipe: Recipe | str | Path | None = None,
    *,
    strict: bool = False,
    overwrite: bool = False,
    show: Show = _log_warnings,
    network: Network | None = None,
) -> Run:
    """Fine-tune a pretrained backbone on labelled images.

    Parameters
    ----------
    data : str or Path
        ``DATA/{train,valid,test}/<class>/*`` or ``DATA/<class>/*``, what
        `tltool.patches` wrote, or a CSV manifest (`tltool.data.manifest`).
    out : str or Path
        The run folder: ``model.keras`` (plain Keras, raw RGB in 0..255),
        ``model.json``, ``recipe.yaml`` (fully resolved), ``history.csv``,
        ``metrics.json``, ``checkpoints/`` and ``logs/`` (TensorBoard).
    recipe : Recipe, str or Path, optional
        A recipe, a YAML file or an installed recipe's name; None: defaults.
    strict : bool
        Stop at an unreadable image instead of leaving it out.
    overwrite : bool
        Allow replacing an earlier run in `out`.
    show : callable
        Gets the report on the data before training; logs its warnings if not
        given.
    network : callable, optional
        Builds the classifier in place of the recipe's backbone and head, from
        the list of `tltool.tasks.task.Task` and the `Sizes` of
        `tltool.training.prepare`. Such a run cannot be resumed.

    Returns
    -------
    Run

    Raises
    ------
    DataError, ImageError, UsageError, RecipeError, WeightsError,
    DownloadError, OutputError, TrainingError
    """
    folder = Path(out)
    check_folder(folder, overwrite)
    started = time.perf_counter()
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    _settle_determinism(recipe)
    prepared = prepare(data, recipe, strict=strict, network=network)
    show(prepared.report)
    folder.mkdir(parents=True, exist_ok=True)
    clear_folder(folder)
    prepared.recipe.save(folder / RECIPE_NAME)
    resolved = prepared.recipe.model_dump(mode="json")
    fingerprint = str((prepared.sidecar.data or {})["fingerprint"])
    RunStart(prepared.dataset.source, fingerprint, strict, resolved).save(folder)
    return _train(prepared, folder, None, started)


def resume(
    run: str | Path,
    recipe: Recipe | None = None,
    data: str | Path | None = None,
    *,
    show: Show = _log_warnings,
) -> Run:
    """Go on with a run that was stopped.

    Parameters
    ----------
    run : str or Path
        Its folder.
    recipe : Recipe, optional
        That it should have been begun with.
    data : str or Path, optional
        Where the data lie now; None: where they lay.
    show : callable
        As in `finetune`.

    Returns
    -------
    Run
        With the weights that it would have had uninterrupted: bit for bit
        where the recipe says ``deterministic``.

    Raises
    ------
    ModelError
        No unfinished run there.
    RecipeError, DataError
        Another recipe, other data than it began with.
    """
    folder = Path(run)
    started = time.perf_counter()
    begun, stored, state = open_unfinished(folder, recipe)
    _settle_determinism(stored)
    if data is None and not begun.data.exists():
        raise DataError(
            f"{folder}: its data are no longer at {begun.data}. Say where they are now: tltool"
            f" finetune DATA --resume {folder}"
        )
    prepared = prepare(data or begun.data, stored, strict=begun.strict)
    begun.check_data(str((prepared.sidecar.data or {})["fingerprint"]), folder)
    show(prepared.report)
    stages = len(stored.training.stages)
    if state is None:
        logger.info("%s: no epoch was finished; from the beginning", folder)
    elif state.stage < stages:
        logger.info(
            "%s: on from stage %d of %d, epoch %d", folder, state.stage + 1, stages, state.epoch + 1
        )
    return _train(prepared, folder, state, started)
