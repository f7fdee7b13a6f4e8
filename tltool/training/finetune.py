"""`tltool finetune`: from class folders and a recipe to a run folder."""

import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tltool.augment.pipeline import Augmenter
from tltool.data.folders import Dataset, PatchFacts, read_folders
from tltool.data.splits import SPLITS
from tltool.data.stream import Batches, Patches, load_patches, read_image
from tltool.errors import DataError, ImageError, OutputError, UsageError
from tltool.evaluation.metrics import judge
from tltool.files import atomic_path, write_text
from tltool.models.network import Classifier, build_classifier, input_side
from tltool.raster import as_zoom
from tltool.recipe import Recipe, load_recipe
from tltool.sidecar import Sidecar
from tltool.training.callbacks import History
from tltool.training.fit import fit

logger = logging.getLogger("tltool")

MODEL_NAME = "model.keras"
RECIPE_NAME = "recipe.yaml"
METRICS_NAME = "metrics.json"


@dataclass(frozen=True)
class Run:
    """A finished training run.

    Attributes
    ----------
    folder : Path
    metrics : dict
        Content of ``metrics.json``: per split the numbers of
        `tltool.evaluation.metrics.judge`.
    """

    folder: Path
    metrics: dict[str, Any]


@dataclass(frozen=True)
class _Sizes:
    patch: int
    context: int
    crop: bool

    @property
    def window(self) -> int:
        return self.patch + 2 * self.context


def _first_image(dataset: Dataset) -> np.ndarray:
    for sample in dataset.samples["train"]:
        try:
            return read_image(sample.path)
        except ImageError:
            continue
    raise DataError(f"{dataset.folder}: not one image of the training split can be read")


def _sizes_of_cut(recipe: Recipe, facts: PatchFacts, folder: Path) -> _Sizes:
    patch = recipe.patch or facts.patch
    available = (facts.patch + 2 * facts.context - patch) // 2
    context = min(facts.context, available) if recipe.context is None else recipe.context
    if patch + 2 * context > facts.patch + 2 * facts.context or available < 0:
        raise UsageError(
            f"{folder} holds patches of {facts.patch} px with {facts.context} px of context;"
            f" patch {patch} with context {context} needs more. Cut them anew with"
            f" tltool patches --size {patch} --context {context}"
        )
    return _Sizes(patch, context, crop=True)


def _sizes(recipe: Recipe, dataset: Dataset) -> _Sizes:
    if dataset.facts is not None:
        return _sizes_of_cut(recipe, dataset.facts, dataset.folder)
    context = recipe.context or 0
    height, width = _first_image(dataset).shape[:2]
    if recipe.patch is not None:
        patch = recipe.patch
    elif height == width and height > 2 * context:
        patch = height - 2 * context
    else:
        patch = 224
    if (height, width) != (patch + 2 * context,) * 2:
        logger.warning(
            "%s: the first image is %d x %d px; every image is resized to %d px"
            " (set --patch and --context to what the images are)",
            dataset.folder,
            width,
            height,
            patch + 2 * context,
        )
    return _Sizes(patch, context, crop=False)


def _load(dataset: Dataset, sizes: _Sizes, strict: bool) -> dict[str, Patches]:
    loaded = {}
    for split in SPLITS:
        samples = dataset.samples[split]
        loaded[split] = load_patches(samples, sizes.window, crop=sizes.crop, strict=strict)
    unreadable = [error for patches in loaded.values() for error in patches.unreadable]
    for error in unreadable[:5]:
        logger.warning("%s", error)
    if unreadable:
        total = sum(map(len, dataset.samples.values()))
        logger.warning("%d of %d images are left out as unreadable", len(unreadable), total)
    _check_enough(dataset, loaded)
    return loaded


def _check_enough(dataset: Dataset, loaded: dict[str, Patches]) -> None:
    present = np.bincount(loaded["train"].labels, minlength=len(dataset.classes))
    lacking = [name for name, n in zip(dataset.classes, present, strict=True) if not n]
    if lacking:
        raise DataError(
            f"{dataset.folder}: the training split has no readable image of {', '.join(lacking)}."
            " Add images, or change the split"
        )


def _write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2) + "\n")


def _prepare_folder(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; expected the name of a folder")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        whole = (folder / METRICS_NAME).exists()
        state = "holds a run" if whole else "is not empty (an unfinished run?)"
        raise OutputError(
            f"{folder} {state} already. Name another output, or allow replacing it with --overwrite"
        )


def _clear_run(folder: Path) -> None:
    # What an earlier run wrote here, so that nothing of it passes for the new one's.
    names = ("fcn.keras", "fcn.json", MODEL_NAME, "model.json", METRICS_NAME, "history.csv")
    for name in names:
        (folder / name).unlink(missing_ok=True)
    for old in (folder / "logs").glob("events.*"):
        old.unlink()


def _sidecar(recipe: Recipe, dataset: Dataset, sizes: _Sizes) -> Sidecar:
    background = recipe.background or dataset.background
    if background is not None and background not in dataset.classes:
        raise UsageError(
            f"background: expected one of {', '.join(dataset.classes)}; received {background}"
        )
    return Sidecar(
        classes=dataset.classes,
        background=background,
        patch=sizes.patch,
        context=sizes.context,
        zoom=recipe.zoom,
        input_side=input_side(sizes.patch, sizes.context, as_zoom(recipe.zoom)),
        gsd=dataset.facts.gsd if dataset.facts else None,
        data={"folder": str(dataset.folder.resolve()), **dataset.summary()},
    )


def _predict(model: keras.Model, patches: Patches, classes: int, recipe: Recipe) -> np.ndarray:
    batches = Batches(patches, classes, recipe.training.batch, as_zoom(recipe.zoom))
    return model.predict(batches, verbose=0)


def _evaluate(
    model: keras.Model, loaded: dict[str, Patches], classes: list[str], recipe: Recipe
) -> dict[str, Any]:
    metrics = {}
    for split in ("valid", "test"):
        patches = loaded[split]
        if len(patches):
            probabilities = _predict(model, patches, len(classes), recipe)
            metrics[split] = judge(probabilities, patches.labels, classes)
    return metrics


def _train(
    classifier: Classifier, loaded: dict[str, Patches], classes: int, recipe: Recipe, folder: Path
) -> History:
    training, zoom = recipe.training, as_zoom(recipe.zoom)
    train = Batches(
        loaded["train"],
        classes,
        training.batch,
        zoom,
        Augmenter(recipe.augment),
        training.seed,
        workers=max(1, (os.cpu_count() or 1) - 1),
    )
    valid = (
        Batches(loaded["valid"], classes, training.batch, zoom) if len(loaded["valid"]) else None
    )
    return fit(classifier, train, valid, training, folder)


def finetune(
    data: str | Path,
    out: str | Path,
    recipe: Recipe | str | Path | None = None,
    *,
    strict: bool = False,
    overwrite: bool = False,
) -> Run:
    """Fine-tune a pretrained backbone on class folders.

    Parameters
    ----------
    data : str or Path
        ``DATA/{train,valid,test}/<class>/*`` or ``DATA/<class>/*``, or what
        `tltool.patches` wrote.
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

    Returns
    -------
    Run

    Raises
    ------
    DataError, ImageError, UsageError, RecipeError, WeightsError,
    DownloadError, OutputError
    """
    folder = Path(out)
    _prepare_folder(folder, overwrite)
    started = time.perf_counter()
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    Augmenter(recipe.augment)
    training = recipe.training
    dataset = read_folders(data, recipe.split, training.seed)
    sizes = _sizes(recipe, dataset)
    recipe = recipe.model_copy(update={"patch": sizes.patch, "context": sizes.context})
    sidecar = _sidecar(recipe, dataset, sizes)
    keras.utils.set_random_seed(training.seed)
    classifier = build_classifier(
        len(dataset.classes), sizes.patch, sizes.context, recipe.zoom, recipe.backbone, recipe.head
    )
    loaded = _load(dataset, sizes, strict)
    folder.mkdir(parents=True, exist_ok=True)
    _clear_run(folder)
    recipe.save(folder / RECIPE_NAME)
    history = _train(classifier, loaded, len(dataset.classes), recipe, folder)
    metrics = _evaluate(classifier.model, loaded, dataset.classes, recipe)
    metrics["seconds"] = round(time.perf_counter() - started, 1)
    with atomic_path(folder / MODEL_NAME) as partial:
        classifier.model.save(partial)
    sidecar.save(folder / MODEL_NAME)
    history.save(folder / "history.csv")
    _write_json(folder / METRICS_NAME, metrics)
    return Run(folder, metrics)
