"""The recipe's ``augment`` list at work: random transformations of images, the same for a key."""

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from tltool.augment.compose import Superimpose, SwapBackground
from tltool.augment.entries import (
    BATCH_ENTRIES,
    IMAGE_ENTRIES,
    Node,
    check_entries,
    make_transform,
    normalising_node,
    parse_entries,
)
from tltool.augment.generator import RandomTransformation
from tltool.augment.mix import Mixer
from tltool.augment.presets import BadExposure, Defocus, SensorNoise
from tltool.errors import RecipeError, TltoolError
from tltool.runtime import prepare_environment

prepare_environment()

import albumentations  # noqa: E402 - reads the environment when imported

__all__ = ["Augmenter", "check_entries"]

# An image, the image's generator and its class or None, to an image.
Worker = Callable[[np.ndarray, np.random.Generator, str | None], np.ndarray]

_WORKERS: dict[str, Callable[..., Worker]] = {
    "image_data_generator": RandomTransformation,
    "superimpose": Superimpose,
    "swap_background": SwapBackground,
    "defocus": Defocus,
    "bad_exposure": BadExposure,
    "sensor_noise": SensorNoise,
}
# Side of the images that `Augmenter.check_bands` tries, px, where none is told.
_TRIED_SIDE = 64


class _Step(albumentations.ImageOnlyTransform):
    """An entry of tltool's own as Albumentations knows transforms, so that both nest alike."""

    def __init__(self, worker: Worker, p: float):
        super().__init__(p=p)
        self._worker = worker

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        return {"label": data.get("label")}

    def apply(self, img: np.ndarray, *args: Any, **params: Any) -> np.ndarray:
        return self._worker(img, self.random_generator, params["label"])


def _random_state(key: tuple[int, ...]) -> tuple[np.random.Generator, random.Random]:
    # Albumentations draws from both kinds.
    seed = np.random.SeedSequence(key)
    return np.random.default_rng(seed), random.Random(int(seed.pool[0]))


def _fault(node: Node, error: Exception, image: np.ndarray) -> RecipeError:
    height, width, bands = image.shape
    reason = " ".join(str(error).split()) or type(error).__name__
    return RecipeError(
        f"{node.where}: {node.name} failed on an image of {width} x {height} px and {bands} bands:"
        f" {reason}"
    )


def _check_result(node: Node, found: np.ndarray, image: np.ndarray) -> np.ndarray:
    if found.shape == image.shape[:2] and image.shape[2] == 1:
        found = found[..., None]
    if found.shape != image.shape or found.dtype != np.uint8:
        raise RecipeError(
            f"{node.where}: expected {node.name} to give uint8 of shape {image.shape} as it got,"
            f" received {found.dtype} of shape {found.shape}. Sizes stay within the augment list;"
            " normalisation is the network's"
        )
    return found


def _apply(
    node: Node, step: Any, image: np.ndarray, label: str | None = None, **options: Any
) -> np.ndarray:
    try:
        found = step(image=image, label=label, **options)["image"]
    except TltoolError:
        raise
    except Exception as error:
        raise _fault(node, error, image) from error
    return _check_result(node, found, image)


class Augmenter:
    """Random transformations of one image, the same for the same key.

    Safe to use from many threads at once.

    Parameters
    ----------
    entries : sequence
        The recipe's ``augment`` list.

    Attributes
    ----------
    mixer : Mixer or None
        Of the batch entries, mixup and cutmix, at the end of the list.
    normalising : dict
        Parameters of the list's ``image_data_generator`` that normalise every
        image the network sees and are not at their default. They are not
        applied here: they belong into the network.

    Raises
    ------
    RecipeError
        For an entry that cannot be meant, naming its path in the recipe.
    ImageError
        For a cut-out that is none.
    """

    def __init__(self, entries: Sequence[Any]):
        nodes = parse_entries(entries)
        self._nodes = [node for node in nodes if node.name not in BATCH_ENTRIES]
        last = list(entries)[len(self._nodes) :]
        self.mixer = Mixer(last) if last else None
        normalising = normalising_node(nodes)
        self.normalising = normalising.settings.normalising() if normalising else {}
        self._workers = {
            leaf.where: _WORKERS[leaf.name](leaf.settings, leaf.where)
            for leaf in self._leaves()
            if leaf.name in IMAGE_ENTRIES
        }
        # Images are done side by side already; OpenCV's own threads would wait for busy cores.
        cv2.setNumThreads(1)
        # Transforms hold the state of their generator: a thread takes a set and gives it back.
        self._idle = deque([self._make_steps()])

    @property
    def draws(self) -> bool:
        """Whether one epoch's images may differ from another's."""
        return bool(self._nodes) or self.mixer is not None

    def _leaves(self) -> Iterator[Node]:
        for node in self._nodes:
            yield from node.leaves()

    def _make(self, node: Node) -> Any:
        if node.inner:
            container = getattr(albumentations, node.name)
            settings = node.settings.model_dump(exclude={"transforms"})
            return container([self._make(inner) for inner in node.inner], **settings)
        if node.name in IMAGE_ENTRIES:
            return _Step(self._workers[node.where], node.settings.p)
        return make_transform(node)

    def _make_steps(self) -> list[Any]:
        return [self._make(node) for node in self._nodes]

    def __call__(
        self, image: np.ndarray, key: tuple[int, ...], label: str | None = None
    ) -> np.ndarray:
        """Transform an image.

        Parameters
        ----------
        image : (height, width, bands) uint8 array
            Stays as it is.
        key : tuple of int
            Seeds the draw; 0 or more each.
        label : str, optional
            Class of the image; entries that are for some classes alone leave
            it as it is without.

        Returns
        -------
        Array of the same shape and type.

        Raises
        ------
        RecipeError
            Where an entry fails on the image or changes its shape or type.
        """
        if not self._nodes:
            return image
        state = _random_state(key)
        try:
            steps = self._idle.pop()
        except IndexError:
            steps = self._make_steps()
        for node, step in zip(self._nodes, steps, strict=True):
            step.set_random_state(*state)
            image = _apply(node, step, image, label)
        self._idle.append(steps)
        return image

    def check_bands(self, bands: int, side: int | None = None) -> None:
        """Try every entry on an image of noise.

        Parameters
        ----------
        bands : int
            Of the images to come.
        side : int, optional
            Of the images to come, px; where it is not told an entry that fails
            because of the size passes.

        Raises
        ------
        RecipeError
            Naming the entry that fails.
        """
        for leaf in self._leaves():
            # Its transformations stand any number of bands, and it would import Keras.
            if leaf.name != "image_data_generator":
                self._try(leaf, bands, side)

    def _try(self, leaf: Node, bands: int, side: int | None) -> None:
        error = self._failure(leaf, bands, side or _TRIED_SIDE)
        if error is None:
            return
        if bands != 3 and self._failure(leaf, 3, side or _TRIED_SIDE) is None:
            raise RecipeError(
                f"{leaf.where}: {leaf.name} works on images of 3 bands, these have {bands}. Take"
                f" it out of the list, or choose 3 with bands: [1, 2, 3] ({error})"
            ) from error
        if side is not None:
            raise error

    def _failure(self, leaf: Node, bands: int, side: int) -> RecipeError | None:
        noise = np.random.default_rng(0).integers(0, 256, (side, side, bands), dtype=np.uint8)
        step = self._make(leaf)
        step.set_random_state(*_random_state((0,)))
        try:
            _apply(leaf, step, noise, force_apply=True)
        except RecipeError as error:
            return error
        return None

    def check_classes(self, classes: Sequence[str]) -> None:
        """Raise `RecipeError` where an entry is for a class that is not among `classes`."""
        for worker in self._workers.values():
            if isinstance(worker, Superimpose | SwapBackground):
                worker.check_classes(classes)
