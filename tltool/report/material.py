"""What a report needs beyond the numbers: images, features, baselines and maps of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

from tltool.augment.pipeline import Augmenter
from tltool.data.dataset import Sample
from tltool.data.splits import SPLITS
from tltool.data.stream import Batches, Patches, load_patches
from tltool.errors import TltoolError
from tltool.inference.network import LoadedNetwork
from tltool.models.network import build_classifier
from tltool.models.normalisation import normalisation_layers
from tltool.prefetch import default_workers
from tltool.raster import as_zoom
from tltool.recipe import Recipe
from tltool.report.comparison import Compared, compare
from tltool.report.evaluation import Evaluation
from tltool.report.features import backbone_features, penultimate
from tltool.run.folder import RECIPE_NAME
from tltool.tasks.task import Task
from tltool.training.features import compute_draws

# Images that baselines learn of and are evaluated on at most.
_LEARNT, _ASKED = 5000, 2000


@dataclass(frozen=True)
class Pretrained:
    """A network that makes features which no fine-tuning of this run has shaped, or nearly so.

    Attributes
    ----------
    networks : dict of task name to keras.Model
        From images to a vector.
    source : str
        What it is, in words.
    warning : str
        Where the weights that the run began with cannot be had: why, and what
        was taken instead; else empty.
    """

    networks: dict[str, keras.Model]
    source: str
    warning: str = ""


class Material:
    """The images of an evaluation and what networks make of them, each loaded when first used.

    Parameters
    ----------
    run : LoadedNetwork
    evaluation : Evaluation
        Of this run.
    batch_size : int
    seed : int
        Of what is drawn where there are too many images.
    """

    def __init__(
        self, run: LoadedNetwork, evaluation: Evaluation, batch_size: int = 32, seed: int = 0
    ):
        self.evaluation, self.batch_size, self.seed = evaluation, batch_size, seed
        assert run.path is not None
        assert evaluation.folder is not None
        self.path, self.folder = run.path, evaluation.folder
        self.model, self.recipe = run.model, run.recipe
        self.as_input = run.prepare
        self.sidecar, self.dataset, self.tasks = run.sidecar, evaluation.dataset, run.tasks
        self.zoom = as_zoom(self.sidecar.zoom)

    def values(self, task: Task) -> tuple[np.ndarray, np.ndarray]:
        """Targets of the evaluated images and the network's outputs: two (n, outputs) arrays."""
        predictions = self.evaluation.predictions
        return predictions.targets[task.name], predictions.probabilities[task.name]

    def labelled(self, task: Task) -> np.ndarray:
        """Test which evaluated images are labelled for a task: (n,) bool array."""
        return task.labelled(self.values(task)[0])

    def load(self, samples: Sequence[Sample]) -> Patches:
        """Decode images as training did; those that cannot be read are left out."""
        return load_patches(
            samples,
            self.sidecar.window,
            crop=self.dataset.facts is not None,
            bands=self.sidecar.band_numbers,
            number=self.sidecar.bands,
        )

    def images(self, places: Sequence[int]) -> np.ndarray:
        """Evaluated images by their indices: (n, side, side, bands) uint8."""
        samples = self._evaluated_samples
        return self.load([samples[place] for place in places]).images

    @cached_property
    def _evaluated_samples(self) -> list[Sample]:
        by_path = {s.path: s for split in SPLITS for s in self.dataset.samples[split]}
        return [by_path[path] for path in self.evaluation.predictions.paths]

    def _drawn(self, samples: Sequence[Sample], limit: int) -> np.ndarray:
        order = np.random.default_rng(self.seed).permutation(len(samples))
        return np.sort(order[:limit])

    @cached_property
    def asked(self) -> np.ndarray:
        """Places of the evaluated images that baselines and feature maps take."""
        return self._drawn(self._evaluated_samples, _ASKED)

    @cached_property
    def evaluated_patches(self) -> Patches:
        """The evaluated images at `asked`."""
        return self.load([self._evaluated_samples[place] for place in self.asked])

    @cached_property
    def train_patches(self) -> Patches:
        """Training images of the data, or as many as baselines learn of."""
        samples = self.dataset.samples["train"]
        return self.load([samples[place] for place in self._drawn(samples, _LEARNT)])

    def features(self, network: keras.Model, patches: Patches, title: str) -> np.ndarray:
        """Features of all images, in their order: (n, features) float32 array."""
        batches = Batches(
            patches, self.tasks, self.batch_size, self.zoom, workers=default_workers()
        )
        return compute_draws(network, batches, [0], title)[0].features

    @cached_property
    def last_features(self) -> dict[str, np.ndarray]:
        """Features that the run's last layer sees of the images at `asked`, for each task."""
        networks = penultimate(self.model, self.tasks)
        return {
            name: self.features(network, self.evaluated_patches, "features of the last layer")
            for name, network in networks.items()
        }

    def _before_training(self, recipe: Recipe) -> Pretrained:
        """The backbone of the run's classifier as it was before its first step."""
        normalisation, sidecar = None, self.sidecar
        augmenter = Augmenter(recipe.augment)
        if augmenter.normalising:
            images = self.train_patches.images
            normalisation = normalisation_layers(augmenter.normalising, images, self.zoom)
        # As training did, for those weights that are random.
        keras.utils.set_random_seed(recipe.training.seed)
        classifier = build_classifier(
            self.tasks,
            sidecar.patch,
            sidecar.context,
            sidecar.zoom,
            recipe.backbone,
            recipe.head,
            bands=sidecar.bands,
            normalisation=normalisation,
        )
        weights = recipe.backbone.weights
        source = {
            "imagenet": "ImageNet weights, before fine-tuning",
            "none": "the random weights that training began with",
        }.get(weights, f"the weights of {Path(weights).name}, before fine-tuning")
        network = backbone_features(classifier)
        networks = dict.fromkeys((task.name for task in self.tasks), network)
        return Pretrained(networks, f"the backbone with {source}")

    def pretrained(self) -> Pretrained:
        """The backbone before fine-tuning, or the run's own network where that cannot be had."""
        reason = f"there is no {RECIPE_NAME} beside the model"
        if self.recipe is not None:
            try:
                return self._before_training(self.recipe)
            except TltoolError as error:
                reason = str(error)
        return Pretrained(
            penultimate(self.model, self.tasks),
            "the fine-tuned network itself",
            "The weights that the run began with cannot be had, so that the features are those of"
            f" the fine-tuned network: they do not tell what fine-tuning bought. {reason}",
        )

    def no_baselines(self) -> str:
        """Reason why baselines have nothing to learn from, or an empty text."""
        if self.evaluation.predictions.split in ("train", "all"):
            return "The judged images are those that baselines would learn of."
        if not len(self.train_patches):
            return "The data have no training images that baselines could learn of."
        return ""

    def baselines(self, pretrained: Pretrained) -> dict[str, list[Compared]]:
        """Baselines of each task and the run's network, evaluated on the same images.

        Tasks that no training image or no evaluated one is labelled for are left
        out.
        """
        train, evaluated = self.train_patches, self.evaluated_patches
        # Without what surrounds the patch.
        inner = slice(self.sidecar.context, self.sidecar.context + self.sidecar.patch)
        pixels = train.images[:, inner, inner], evaluated.images[:, inner, inner]
        encoded = train.targets(self.tasks)
        groups = self.evaluation.predictions.groups
        known: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        found = {}
        for task in self.tasks:
            network = pretrained.networks[task.name]
            # Tasks may share one.
            if id(network) not in known:
                known[id(network)] = (
                    self.features(network, train, "features of train"),
                    self.features(network, evaluated, "features of evaluated images"),
                )
            learnt, asked = known[id(network)]
            labelled = self.labelled(task)
            # Rows of `asked` that are labelled for the task.
            rows = np.flatnonzero(labelled[self.asked])
            if not len(rows) or not task.labelled(encoded[task.name]).any():
                continue
            images = pixels[0], pixels[1][rows]
            made = task.baselines(encoded[task.name], images, (learnt, asked[rows]), self.seed)
            # Among the labelled images.
            places = np.cumsum(labelled)[self.asked[rows]] - 1
            own = np.array(groups)[labelled].tolist() if groups else []
            targets, outputs = self.values(task)
            found[task.name] = compare(task, outputs, targets, places, made, own, self.seed)
        return found
