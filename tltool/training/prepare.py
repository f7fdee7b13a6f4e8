"""From data and recipe to what training needs: sizes, arrays, the network, its sidecar."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tltool.augment.pipeline import Augmenter
from tltool.data.arrays import (
    Classes,
    Scale,
    Stream,
    StreamBatches,
    as_images,
    is_stream,
    read_arrays,
    read_stream,
)
from tltool.data.dataset import Dataset, Sample
from tltool.data.folders import read_dataset
from tltool.data.overview import DataReport, data_report
from tltool.data.splits import SPLITS
from tltool.data.stream import Batches, Patches, first_image, load_patches
from tltool.errors import DataError, RecipeError, UsageError
from tltool.models.network import Classifier, build_classifier, input_side
from tltool.models.normalisation import normalisation_layers
from tltool.prefetch import default_workers
from tltool.raster import as_zoom
from tltool.recipe import Recipe, TaskRecipe
from tltool.run.sidecar import Sidecar
from tltool.runtime import keep_freed_memory
from tltool.tasks.kinds import task_facts
from tltool.tasks.task import Task
from tltool.training.stages import check_stages, check_steps
from tltool.training.steps import Objective

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sizes:
    """Side of the judged square and margin around it, px; whether images are cut to them."""

    patch: int
    context: int
    crop: bool

    @property
    def window(self) -> int:
        """Side of a training image."""
        return self.patch + 2 * self.context


def _sizes(recipe: Recipe, dataset: Dataset, first: np.ndarray) -> Sizes:
    facts = dataset.facts
    if facts is not None:
        patch = recipe.patch or facts.patch
        available = (facts.patch + 2 * facts.context - patch) // 2
        context = min(facts.context, available) if recipe.context is None else recipe.context
        if patch + 2 * context > facts.patch + 2 * facts.context or available < 0:
            raise UsageError(
                f"{dataset.folder} holds patches of {facts.patch} px with {facts.context} px of"
                f" context; patch {patch} with context {context} needs more. Cut them anew with"
                f" `tltool.patches(size={patch}, context={context})`"
            )
        return Sizes(patch, context, crop=True)
    context = recipe.context or 0
    height, width = first.shape[:2]
    own = height - 2 * context if height == width and height > 2 * context else 224
    patch = recipe.patch or own
    if (height, width) != (patch + 2 * context,) * 2:
        logger.warning(
            "%s: the first image is %d x %d px; every image is resized to %d px"
            " (set `patch` and `context` to what the images are)",
            dataset.source,
            width,
            height,
            patch + 2 * context,
        )
    return Sizes(patch, context, crop=False)


def _load(
    dataset: Dataset, sizes: Sizes, recipe: Recipe, bands: int, strict: bool
) -> dict[str, Patches]:
    loaded = {
        split: load_patches(
            dataset.samples[split],
            sizes.window,
            crop=sizes.crop,
            strict=strict,
            bands=recipe.bands,
            number=bands,
        )
        for split in SPLITS
    }
    encoded = loaded["train"].targets(dataset.tasks) if dataset.samples["train"] else {}
    for task in dataset.tasks:
        if task.name in encoded and (lacking := task.lacking(encoded[task.name])):
            raise DataError(
                f"{dataset.source}: the training split has no readable image of"
                f" {', '.join(lacking)}. Add images, or change the split"
            )
    return loaded


def _resolved(recipe: Recipe, dataset: Dataset, sizes: Sizes) -> Recipe:
    """The recipe with what the data said in place of None, to be run from any folder."""
    update: dict[str, Any] = {"patch": sizes.patch, "context": sizes.context}
    if len(dataset.tasks) == 1 and not recipe.tasks:
        update["task"] = dataset.tasks[0].kind
    else:
        update["tasks"] = {
            t.name: recipe.tasks.get(t.name, TaskRecipe()).model_copy(update={"kind": t.kind})
            for t in dataset.tasks
        }
    loss = recipe.training.loss
    if len(dataset.tasks) == 1 and loss.name is None:
        loss = loss.model_copy(update={"name": dataset.tasks[0].losses[0]})
        update["training"] = recipe.training.model_copy(update={"loss": loss})
    return recipe.anchored().model_copy(update=update)


def _sidecar(recipe: Recipe, dataset: Dataset, sizes: Sizes, bands: int) -> Sidecar:
    several = len(dataset.tasks) > 1
    return Sidecar(
        classes=[
            f"{task.name}.{name}" if several else name
            for task in dataset.tasks
            for name in task.output_names
        ],
        tasks=[task_facts(task) for task in dataset.tasks],
        background=dataset.background,
        patch=sizes.patch,
        context=sizes.context,
        zoom=recipe.zoom,
        input_side=input_side(sizes.patch, sizes.context, as_zoom(recipe.zoom)),
        bands=bands,
        band_numbers=recipe.bands,
        gsd=dataset.facts.gsd if dataset.facts else None,
        data={**dataset.told(), **dataset.summary()},
    )


@dataclass(frozen=True)
class Prepared:
    """Everything that training needs.

    Attributes
    ----------
    recipe : Recipe
        Fully resolved.
    dataset : Dataset
    loaded : dict of split name to Patches
    augmenter : Augmenter
    classifier : Classifier
        In the recipe's precision.
    rebuild : callable
        Builds the same network anew.
    sidecar : Sidecar
    report : DataReport
    stream : StreamBatches or None
        Where training images come bit by bit.
    """

    recipe: Recipe
    dataset: Dataset
    loaded: dict[str, Patches]
    augmenter: Augmenter
    classifier: Classifier
    rebuild: Callable[[], Classifier]
    sidecar: Sidecar
    report: DataReport
    stream: StreamBatches | None = None

    @property
    def fingerprint(self) -> str:
        """Digest of names, sizes and labels, or of pixels in memory."""
        return str((self.sidecar.data or {})["fingerprint"])

    def train_batches(self) -> Batches | StreamBatches:
        """Augmented batches of the training split."""
        if self.stream is not None:
            return self.stream
        training = self.recipe.training
        return Batches(
            self.loaded["train"],
            self.dataset.tasks,
            training.batch_size,
            as_zoom(self.recipe.zoom),
            self.augmenter,
            training.seed,
            training.sampling,
            self.sidecar.context,
            workers=default_workers(),
        )

    def valid_batches(self) -> Batches | None:
        """Batches of the validation split, where it has images."""
        patches, zoom = self.loaded["valid"], as_zoom(self.recipe.zoom)
        if not len(patches):
            return None
        return Batches(patches, self.dataset.tasks, self.recipe.training.batch_size, zoom)

    def objective(self) -> Objective:
        """The losses, with their weights."""
        targets = self.loaded["train"].targets(self.dataset.tasks)
        tasks, default = self.dataset.tasks, self.recipe.training.loss
        told = {task.name: self.recipe.tasks.get(task.name, TaskRecipe()) for task in tasks}
        losses = {t.name: t.loss(told[t.name].loss or default, targets[t.name]) for t in tasks}
        return Objective(tasks, losses, {name: part.weight for name, part in told.items()})


# From the tasks and sizes that the data have to a network of one's own.
Network = Callable[[Sequence[Task], Sizes], Classifier]


def prepare(
    data: Any,
    recipe: Recipe,
    *,
    strict: bool = False,
    network: Network | None = None,
    validation_data: Any = None,
    classes: Classes = None,
    scale: Scale = None,
) -> Prepared:
    """Read the data, build the network, and check every stage against it.

    Parameters
    ----------
    data, validation_data, classes, scale
        See `tltool.finetune`.
    recipe : Recipe
    strict : bool
        Stop at an unreadable image instead of leaving it out.
    network : callable, optional
        Builds the classifier in place of the recipe's backbone and head.
    """
    keep_freed_memory()
    augmenter, training = Augmenter(recipe.augment), recipe.training
    stream = first = None
    if isinstance(data, str | Path):
        more = {"validation_data": validation_data, "classes": classes, "scale": scale}
        if given := next((name for name, value in more.items() if value is not None), None):
            raise UsageError(
                f"`{given}`: expected with arrays or a dataset in `data`; {data} has splits,"
                " classes and bytes of its own"
            )
        dataset = read_dataset(data, recipe)
    elif is_stream(data):
        stream = Stream(data)
        dataset = read_stream(stream, recipe, validation_data, classes, scale)
        image = stream.first[0] if stream.batched else np.asarray(stream.first[0])[None]
        first = Sample(Path("data[0]"), (), pixels=as_images(image, scale)[0]).read(recipe.bands)
        losses = [training.loss, *(t.loss for t in recipe.tasks.values() if t.loss)]
        beforehand = {
            "training.sampling": training.sampling != "as-is",
            "training.loss.class_weights": any(x.class_weights != "none" for x in losses),
            "augment: what normalises every image": bool(augmenter.normalising),
        }
        if key := next((key for key, wanted in beforehand.items() if wanted), None):
            raise UsageError(
                f"{key}: expected images that are known beforehand, but `data` gives them bit by"
                " bit. Pass arrays or a folder, or leave it out"
            )
    else:
        dataset = read_arrays(data, recipe, validation_data, classes, scale)
    if first is None:
        first = first_image(dataset.samples["train"], recipe.bands)
    if first is None:
        raise DataError(f"{dataset.source}: not one image of the training split can be read")
    task = dataset.tasks[0]
    if training.sampling != "as-is" and not task.probabilistic:
        raise RecipeError(
            f"training.sampling: expected as-is where the first task, {task.name}, is a"
            f" {task.kind} and has no classes; received {training.sampling}"
        )
    bands, sizes = first.shape[2], _sizes(recipe, dataset, first)
    augmenter.check_bands(bands, sizes.window)
    augmenter.check_classes([name for task in dataset.tasks for name in task.classes])
    recipe = _resolved(recipe, dataset, sizes)
    sidecar = _sidecar(recipe, dataset, sizes, bands)
    # Means and the like come from the images; else a network that cannot be is told at once.
    early = _load(dataset, sizes, recipe, bands, strict) if augmenter.normalising else None

    def build() -> Classifier:
        normalisation = None
        if early is not None:
            zoom = as_zoom(recipe.zoom)
            normalisation = normalisation_layers(augmenter.normalising, early["train"].images, zoom)
        keras.utils.set_random_seed(recipe.training.seed)
        if network is not None:
            return network(dataset.tasks, sizes)
        return build_classifier(
            dataset.tasks,
            sizes.patch,
            sizes.context,
            recipe.zoom,
            recipe.backbone,
            recipe.head,
            bands=bands,
            normalisation=normalisation,
        )

    with _precision(recipe.training.precision):
        classifier = build()
    check_stages(classifier, recipe.training.stages)
    loaded = early or _load(dataset, sizes, recipe, bands, strict)
    report = data_report(dataset, loaded)
    batches = (
        None
        if stream is None
        else StreamBatches(
            stream,
            dataset.tasks,
            training.batch_size,
            as_zoom(recipe.zoom),
            augmenter,
            training.seed,
            sizes.context,
            side=sizes.window,
            scale=scale,
            bands=recipe.bands,
        )
    )
    found = Prepared(
        recipe, dataset, loaded, augmenter, classifier, build, sidecar, report, batches
    )
    check_steps(training.stages, found.train_batches())
    return found


@contextlib.contextmanager
def _precision(name: str) -> Iterator[None]:
    """Layers built inside compute in this precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
