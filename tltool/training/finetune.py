"""`tltool finetune`: from labelled images and a recipe to a run folder."""

import html
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from tltool.data.arrays import Classes, Scale
from tltool.data.overview import DataReport
from tltool.errors import DataError
from tltool.inference.network import LoadedNetwork
from tltool.models.graph import give_weights
from tltool.recipe import Recipe, load_recipe, override_recipe
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

logger = logging.getLogger(__name__)

Show = Callable[[DataReport], None]


@dataclass(frozen=True)
class Run:
    """A finished training run; `tltool.open(run.folder)` opens its network.

    Attributes
    ----------
    folder : Path
    metrics : dict
        Content of ``metrics.json``: per split the numbers of
        `tltool.training.split_metrics.split_metrics`.
    history : list of dict
        Content of ``history.csv``, a row an epoch: stage, epoch, rate, and the
        means of loss and metrics, of the validation with ``val_`` before them.
    """

    folder: Path
    metrics: dict[str, Any] = field(repr=False)
    history: list[dict[str, Any]] = field(default_factory=list, repr=False)

    def _scores(self) -> list[str]:
        splits = {name: self.metrics[name] for name in ("valid", "test") if name in self.metrics}
        return [
            f"{split}{' ' * bool(task)}{task} {key} {numbers[key]:.3f}"
            for split, found in splits.items()
            for task, numbers in found.get("tasks", {"": found}).items()
            for key in ("accuracy", "mean_absolute_error")
            if key in numbers
        ]

    def __repr__(self) -> str:
        told = [f"{str(self.folder)!r}", f"{len(self.history)} epochs", *self._scores()]
        return f"Run({', '.join(told)})"

    def _repr_html_(self) -> str:
        """Draw the losses of all epochs, for a notebook."""
        width, height, edge = 420, 160, 24
        lines, legend = [], []
        values = [row[k] for row in self.history for k in ("loss", "val_loss") if k in row]
        top = max(values, default=1.0) or 1.0
        across = (width - 2 * edge) / max(1, len(self.history) - 1)
        up = (height - 2 * edge) / top
        for key, colour in (("loss", "#8a8f98"), ("val_loss", "#1f5fa8")):
            points = [
                f"{edge + (row['epoch'] - 1) * across:.1f},{height - edge - row[key] * up:.1f}"
                for row in self.history
                if key in row
            ]
            if points:
                line = f'points="{" ".join(points)}" fill="none" stroke="{colour}"'
                lines.append(f'<polyline {line} stroke-width="2"/>')
                legend.append(f'<span style="color:{colour}">{key}</span>')
        said = html.escape(", ".join([f"{len(self.history)} epochs", *self._scores()]))
        return (
            f"<p><b>{html.escape(str(self.folder))}</b>: {said}<br>"
            f"{' '.join(legend)} (highest {top:.3g})</p>"
            f'<svg width="{width}" height="{height}" role="img" aria-label="loss by epoch">'
            f'<path d="M{edge} {edge}V{height - edge}H{width - edge}" fill="none" stroke="#ccc"/>'
            f"{''.join(lines)}</svg>"
        )


def _settle_determinism(recipe: Recipe) -> None:
    if recipe.training.deterministic:
        import tensorflow as tf

        # For the rest of the process: TensorFlow has no public way back.
        tf.config.experimental.enable_op_determinism()


def _log_warnings(report: DataReport) -> None:
    for warning in report.warnings:
        logger.warning("%s", warning)


def _train(
    prepared: Prepared,
    folder: Path,
    state: State | None,
    started: float,
    callbacks: Sequence[keras.callbacks.Callback],
) -> Run:
    recipe, dataset = prepared.recipe, prepared.dataset
    training, valid = recipe.training, len(prepared.loaded["valid"])
    if 0 < valid < 10 and training.keep == "best":
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
        callbacks=callbacks,
    )
    model = prepared.classifier.model
    if training.precision != "float32":
        # In single precision it computes as it will where it is used.
        trained, model = model, prepared.rebuild().model
        for layer, source in zip(model.layers, trained.layers, strict=True):
            give_weights(layer, source.get_weights())
    network = LoadedNetwork(None, prepared.sidecar, tuple(dataset.tasks), model)
    averaged = recipe.tta == "d4"
    metrics: dict[str, Any] = {
        split: split_metrics(network, prepared.loaded[split], training.batch_size, averaged)
        for split in ("valid", "test")
        if len(prepared.loaded[split])
    }
    metrics["seconds"] = round(time.perf_counter() - started, 1)
    if dataset.in_memory:
        metrics["data"] = _in_words(prepared)
    save_plain(model, folder / MODEL_NAME)
    prepared.sidecar.save(folder / MODEL_NAME)
    history.save(folder / HISTORY_NAME)
    write_json(folder / METRICS_NAME, metrics)
    return Run(folder, metrics, history.rows)


def _in_words(prepared: Prepared) -> str:
    """What a run was trained on that it cannot read again."""
    known = "" if prepared.stream else f", fingerprint {prepared.fingerprint}"
    return f"{prepared.dataset.source}{known}"


def finetune(
    data: Any,
    out: str | Path,
    recipe: Recipe | Mapping[str, Any] | str | Path | None = None,
    *,
    validation_data: Any = None,
    classes: Classes = None,
    scale: Scale = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    strict: bool = False,
    overwrite: bool = False,
    show: Show = _log_warnings,
    network: Network | None = None,
    **keywords: Any,
) -> Run:
    """Fine-tune a pretrained backbone on labelled images.

    Parameters
    ----------
    data : str, Path, (x, y), tf.data.Dataset, keras.utils.PyDataset or iterable
        A path: ``DATA/{train,valid,test}/<class>/*`` or ``DATA/<class>/*``, what
        `tltool.patches` wrote, or a CSV manifest (`tltool.data.manifest`).
        Arrays: x (n, height, width, bands) numbers in 0..255; y (n,) indices or
        names of classes, (n, classes) of 0 and 1, or a dict of these by task.
        Datasets and other iterables: elements (image, label), or batches of
        them; they come anew in every epoch and are augmented as the recipe
        says. One without a known end needs ``steps`` in every stage.
    out : str or Path
        The run folder: ``model.keras`` (plain Keras, raw RGB in 0..255),
        ``model.json``, ``recipe.yaml`` (fully resolved), ``history.csv``,
        ``metrics.json``, ``checkpoints/`` and ``logs/`` (TensorBoard). It says
        where data in memory were trained on, which it cannot repeat.
    recipe : Recipe, mapping, str or Path, optional
        A recipe, its content, a YAML file or an installed recipe's name; None:
        defaults.
    validation_data : (x, y), dataset or iterable, optional
        Beside arrays and datasets. Default: of arrays the recipe's split is
        drawn; a dataset is trained without.
    classes : sequence of str, or dict of them by task, optional
        Class names of arrays and datasets, in the order of the indices.
        Default: names sorted, or the indices as text.
    scale : (float, float), optional
        The numbers that become 0 and 255, for arrays and datasets in another
        range, such as ``(0, 1)``. The network that is saved takes 0..255.
    callbacks : sequence of keras.callbacks.Callback
        Called as `keras.Model.fit` calls them, once for each stage, before
        tltool's own; epochs count on from stage to stage, and where a run is
        resumed. Their model shares its layers with the network.
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
    **keywords
        Parts of the recipe, as `tltool.recipe.override_recipe` takes them:
        ``backbone="VGG16"``, ``weights="none"``, ``head="cam"``, ``epochs=5``,
        ``learning_rate=[1e-3, 1e-4]``, ``batch_size=16``, ``augment=[]``.

    Returns
    -------
    Run

    Raises
    ------
    DataError, ImageError, UsageError, RecipeError, WeightsError,
    DownloadError, OutputError, TrainingError

    Examples
    --------
    >>> import numpy as np
    >>> import tltool
    >>> x = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), "uint8")
    >>> y = ["rock", "seal"] * 12
    >>> backbone = {"alpha": 0.25, "weights": "none", "layer": "conv_pw_1_relu"}
    >>> stage = {"train": "all", "epochs": 1, "learning_rate": 1e-3}
    >>> recipe = {"backbone": backbone, "augment": [], "training": {"stages": [stage]}}
    >>> run = tltool.finetune((x, y), "run", recipe)
    >>> tltool.open("run").classes
    ['rock', 'seal']
    """
    folder = Path(out)
    check_folder(folder, overwrite)
    started = time.perf_counter()
    recipe = override_recipe(recipe, **keywords)
    _settle_determinism(recipe)
    prepared = prepare(
        data,
        recipe,
        strict=strict,
        network=network,
        validation_data=validation_data,
        classes=classes,
        scale=scale,
    )
    show(prepared.report)
    folder.mkdir(parents=True, exist_ok=True)
    clear_folder(folder)
    in_memory = prepared.dataset.in_memory
    note = f"data: {_in_words(prepared)}; resume with them in hand" if in_memory else ""
    prepared.recipe.save(folder / RECIPE_NAME, note)
    resolved, source = prepared.recipe.model_dump(mode="json"), prepared.dataset.source
    begun = RunStart(source, prepared.fingerprint, strict, resolved, in_memory, classes, scale)
    begun.save(folder)
    return _train(prepared, folder, None, started, callbacks)


def resume(
    run: str | Path,
    recipe: Recipe | Mapping[str, Any] | str | Path | None = None,
    data: Any = None,
    *,
    validation_data: Any = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    show: Show = _log_warnings,
) -> Run:
    """Go on with a run that was stopped.

    Parameters
    ----------
    run : str or Path
        Its folder.
    recipe : Recipe, mapping, str or Path, optional
        That it should have been begun with.
    data, validation_data : see `finetune`, optional
        Where the data lie now; None: where they lay. Arrays and datasets, which
        lie nowhere, are given again.
    callbacks, show
        See `finetune`.

    Returns
    -------
    Run
        With the weights that it would have had uninterrupted: bit for bit
        where the recipe says ``deterministic`` and a dataset gives the same
        again.

    Raises
    ------
    ModelError
        No unfinished run there.
    RecipeError, DataError
        Another recipe, other data than it began with.
    """
    folder = Path(run)
    started = time.perf_counter()
    begun, stored, state = open_unfinished(folder, None if recipe is None else load_recipe(recipe))
    _settle_determinism(stored)
    if data is None and begun.in_memory:
        raise DataError(
            f"{folder}: it was trained on what lies in no folder, {begun.data}. Give it again, in"
            f" `data` of `tltool.resume({folder})`"
        )
    if data is None and not Path(begun.data).exists():
        raise DataError(
            f"{folder}: its data are no longer at {begun.data}. Say in `data` where they are"
            f" now, beside `tltool.resume({folder})`"
        )
    prepared = prepare(
        begun.data if data is None else data,
        stored,
        strict=begun.strict,
        validation_data=validation_data,
        classes=begun.classes,
        scale=begun.scale,
    )
    if prepared.fingerprint != begun.fingerprint:
        raise DataError(
            f"{folder}: expected the data that the run began with (fingerprint"
            f" {begun.fingerprint}), received other images or labels ({prepared.fingerprint})."
            " Restore them, or start the run anew with `overwrite=True`"
        )
    show(prepared.report)
    stages = len(stored.training.stages)
    if state is None:
        logger.info("%s: no epoch was finished; from the beginning", folder)
    elif state.stage < stages:
        at = (state.stage + 1, stages, state.epoch + 1)
        logger.info("%s: on from stage %d of %d, epoch %d", folder, *at)
    return _train(prepared, folder, state, started, callbacks)
