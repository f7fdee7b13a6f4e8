"""Features of what is frozen, computed once and used in every epoch of what trains."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, tree

from tltool.data.stream import Batches, for_model, room_for
from tltool.models.network import Classifier
from tltool.progress import progress_bar
from tltool.training.stages import FIXED

# What has no weights and draws nothing is computed once too.
_STILL = (
    layers.InputLayer,
    layers.Cropping2D,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling2D,
    layers.Flatten,
)

# Beyond this many bytes in all, the draws of a stage live in temporary files, not in memory.
_MEMORY_LIMIT = 2 << 30


@dataclass(frozen=True)
class Halves:
    """A classifier cut in two where its features leave what is frozen.

    Attributes
    ----------
    frozen, head : keras.Model
        Image to features, features to probabilities; they share the
        classifier's layers.
    """

    frozen: keras.Model
    head: keras.Model


def _cut(classifier: Classifier) -> keras.KerasTensor:
    """The last tensor that all goes through, before anything that moves."""
    backbone = {layer.name for layer in classifier.backbone_layers}
    every = classifier.model.layers
    last_use = {
        id(tensor): place
        for place, layer in enumerate(every)
        if not isinstance(layer, layers.InputLayer)
        for tensor in tree.flatten(layer.input)
    }
    cut: keras.KerasTensor = classifier.model.input
    open_ones: dict[int, keras.KerasTensor] = {}
    for place, layer in enumerate(every):
        # Of the backbone all is computed as in use, its dropout too.
        still = layer.name in backbone or isinstance(layer, _STILL)
        if layer.trainable_weights or not still:
            break
        open_ones |= {id(tensor): tensor for tensor in tree.flatten(layer.output)}
        open_ones = {key: t for key, t in open_ones.items() if last_use.get(key, -1) > place}
        if len(open_ones) == 1:
            (cut,) = open_ones.values()
    return cut


def halve(classifier: Classifier) -> Halves | None:
    """Cut a classifier below the lowest layer that trains, as high as one tensor is all of it.

    Where the whole backbone is frozen that is behind the pooling that follows.

    Returns
    -------
    Halves; None where nothing of the backbone lies below.
    """
    model, features = classifier.model, _cut(classifier)
    frozen = keras.Model(model.input, features)
    if not any(layer.weights and not FIXED.fullmatch(layer.name) for layer in frozen.layers):
        return None
    halves = Halves(frozen, keras.Model(features, model.output))
    for half in (halves.frozen, halves.head):
        # By it Keras decides whether the loss is scaled.
        half.dtype_policy = model.dtype_policy
    return halves


@dataclass(frozen=True)
class Draw:
    """The features of one epoch's images, and what the head should say to them.

    Attributes
    ----------
    features : (n, ...) float32 array
    targets : dict of str to (n, outputs) float32 array
    """

    features: np.ndarray
    targets: dict[str, np.ndarray]


def compute_draws(
    frozen: keras.Model, batches: Batches, epochs: Sequence[int], title: str
) -> list[Draw]:
    """Run all images of some epochs, augmented as in these, through the frozen half.

    Parameters
    ----------
    frozen : keras.Model
    batches : Batches
    epochs : sequence of int
        From 0.
    title : str
        Title of the progress bar.
    """
    draws = []
    with progress_bar(title, len(epochs) * len(batches), "batches") as bar:
        for epoch in epochs:
            batches.start(epoch)
            shape = (batches.samples, *frozen.outputs[0].shape[1:])
            features = room_for(shape, np.float32, _MEMORY_LIMIT // len(epochs))
            told: list[dict[str, np.ndarray]] = []
            done = 0
            for images, targets in batches.stream():
                features[done : done + len(images)] = frozen.predict_on_batch(images)
                done += len(images)
                told.append(targets)
                bar.advance()
            every = {name: np.concatenate([t[name] for t in told]) for name in told[0]}
            draws.append(Draw(features, every))
    return draws


class CachedBatches(keras.utils.PyDataset):
    """Batches of features for `keras.Model.fit`: each epoch the next draw, in a new order.

    Parameters
    ----------
    draws : list of Draw
    batch_size : int
    seed : int, optional
        Seed of the order; None: as they are.
    epoch : int
        To begin with.
    """

    def __init__(self, draws: list[Draw], batch_size: int, seed: int | None = None, epoch: int = 0):
        super().__init__()
        self._draws, self._batch, self._seed, self._epoch = draws, batch_size, seed, epoch
        self._turn()

    def _turn(self) -> None:
        self._draw = self._draws[self._epoch % len(self._draws)]
        self._order = np.arange(len(self._draw.features))
        if self._seed is not None:
            # Not the generator of the images' order: that one made the draw.
            np.random.default_rng((self._seed, self._epoch, 1)).shuffle(self._order)

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch)

    def on_epoch_end(self) -> None:
        """Take the next draw."""
        self._epoch += 1
        self._turn()

    def __getitem__(self, index: int) -> tuple[np.ndarray, Any]:
        places = self._order[index * self._batch : (index + 1) * self._batch]
        # Sorted, a file is read from front to end.
        places = np.sort(places)
        targets = {name: values[places] for name, values in self._draw.targets.items()}
        return np.asarray(self._draw.features[places]), for_model(targets)
