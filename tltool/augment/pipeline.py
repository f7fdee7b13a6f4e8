"""The recipe's ``augment`` list at work: an image and its targets moved by one draw."""

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
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
from tltool.augment.keras2.entry import RandomTransformation
from tltool.augment.mix import Mixer
from tltool.augment.presets import PRESETS
from tltool.data.targets import LEAST_VISIBLE, Targets, keypoints_inside, move_boxes, move_points
from tltool.errors import RecipeError, TltoolError
from tltool.runtime import prepare_environment

prepare_environment()

import albumentations  # noqa: E402 - reads the environment when imported

__all__ = ["Augmenter", "check_entries"]

# An image, the image's generator and its class or None, to an image.
Worker = Callable[[np.ndarray, np.random.Generator, str | None], np.ndarray]

# What Albumentations calls `TARGET_KINDS`.
_THEIRS = {"mask": "Mask", "boxes": "BBoxes", "keypoints": "Keypoints"}
# Side of the images that `Augmenter.check_bands` tries, px, where none is given.
_TRIED_SIDE = 64


class _ImageStep(albumentations.ImageOnlyTransform):
    """An entry of tltool's own that moves nothing, as Albumentations knows transforms."""

    def __init__(self, worker: Worker, p: float):
        super().__init__(p=p)
        self._worker = worker

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        return {"label": data.get("label")}

    def apply(self, img: np.ndarray, *args: Any, **params: Any) -> np.ndarray:
        return self._worker(img, self.random_generator, params["label"])


class _MovingStep(albumentations.DualTransform):
    """The entry ``image_data_generator``: one draw for image, mask, boxes and keypoints."""

    _targets = albumentations.Affine._targets

    def __init__(self, worker: RandomTransformation, p: float):
        super().__init__(p=p)
        self._worker = worker

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        return {"drawn": self._worker.draw(params["shape"], self.random_generator)}

    def apply(self, img: np.ndarray, drawn: dict[str, Any], **params: Any) -> np.ndarray:
        return self._worker.move_image(img, drawn)

    def apply_to_mask(self, mask: np.ndarray, drawn: dict[str, Any], **params: Any) -> np.ndarray:
        return self._worker.move_mask(mask, drawn)

    def apply_to_bboxes(
        self, bboxes: np.ndarray, drawn: dict[str, Any], shape: Sequence[int], **params: Any
    ) -> np.ndarray:
        # Albumentations has them in shares of the sides.
        sides = np.array([shape[1], shape[0]] * 2)
        moved = move_boxes(bboxes[:, :4] * sides, self._worker.matrix(drawn, shape)) / sides
        return np.concatenate([moved, bboxes[:, 4:]], axis=1)

    def apply_to_keypoints(
        self, keypoints: np.ndarray, drawn: dict[str, Any], shape: Sequence[int], **params: Any
    ) -> np.ndarray:
        # Its 0 is the middle of the first pixel.
        moved = move_points(keypoints[:, :2] + 0.5, self._worker.matrix(drawn, shape)) - 0.5
        return np.concatenate([moved, keypoints[:, 2:]], axis=1)


def _random_state(key: tuple[int, ...]) -> tuple[np.random.Generator, random.Random]:
    # Albumentations draws from both kinds.
    seed = np.random.SeedSequence(key)
    return np.random.default_rng(seed), random.Random(int(seed.pool[0]))


def _apply(node: Node, step: Any, data: dict[str, Any]) -> dict[str, Any]:
    image = data["image"]
    height, width, bands = image.shape
    try:
        found: dict[str, Any] = step(**data)
    except TltoolError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RecipeError(
            f"{node.where}: {node.name} failed on an image of {width} x {height} px and {bands}"
            f" bands: {reason}"
        ) from error
    result = found["image"]
    if result.shape == (height, width) and bands == 1:
        found["image"] = result = result[..., None]
    if result.shape != image.shape or result.dtype != np.uint8:
        raise RecipeError(
            f"{node.where}: expected {node.name} to give uint8 of shape {image.shape} as it got,"
            f" received {result.dtype} of shape {result.shape}. Sizes stay within the augment"
            " list; normalisation is the network's"
        )
    return found


@cache
def _unmoved_kinds(name: str) -> frozenset[str]:
    """The kinds of targets that a transform of Albumentations would leave behind its image."""
    transform = getattr(albumentations, name)
    if not issubclass(transform, albumentations.DualTransform):
        return frozenset()
    moved = {target.value for target in transform._targets}
    return frozenset(kind for kind, theirs in _THEIRS.items() if theirs not in moved)


class Augmenter:
    """Random transformations of one image and its targets, the same for the same key.

    Safe to use from many threads at once.

    Parameters
    ----------
    entries : sequence
        The recipe's ``augment`` list.

    Attributes
    ----------
    mixer : Mixer or None
        The batch entries, mixup and cutmix, at the end of the list.
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

    Examples
    --------
    >>> import numpy as np
    >>> from tltool.augment.pipeline import Augmenter
    >>> augmenter = Augmenter([{"VerticalFlip": {"p": 1}}])
    >>> augmenter(np.array([[[1]], [[2]]], np.uint8), key=(0,)).ravel()
    array([2, 1], dtype=uint8)
    """

    def __init__(self, entries: Sequence[Any]):
        nodes = parse_entries(entries)
        self._nodes = [node for node in nodes if node.name not in BATCH_ENTRIES]
        self._batch_nodes = nodes[len(self._nodes) :]
        self.mixer = Mixer(list(entries)[len(self._nodes) :]) if self._batch_nodes else None
        normalising = normalising_node(nodes)
        self.normalising = normalising.settings.normalising() if normalising else {}
        workers: dict[str, Callable[..., Any]] = {
            "image_data_generator": RandomTransformation,
            "superimpose": Superimpose,
            "swap_background": SwapBackground,
        }
        self._workers = {
            leaf.where: workers[leaf.name](leaf.settings, leaf.where)
            for leaf in self._leaves()
            if leaf.name in workers
        }
        # Images are done side by side already; OpenCV's own threads would wait for busy cores.
        cv2.setNumThreads(1)
        self._idle: tuple[deque[Any], ...] = deque([self._make_steps(False)]), deque()

    @property
    def draws(self) -> bool:
        """Whether one epoch's images may differ from another's."""
        return bool(self._nodes) or self.mixer is not None

    def _leaves(self) -> Iterator[Node]:
        for node in self._nodes:
            yield from node.leaves()

    def _make(self, node: Node) -> Any:
        settings = node.settings
        if node.inner:
            inner = list(map(self._make, node.inner))
            more = settings.model_dump(exclude={"transforms"})
            return getattr(albumentations, node.name)(inner, **more)
        if node.name not in IMAGE_ENTRIES:
            return make_transform(node)
        if node.name in PRESETS:
            apply = PRESETS[node.name]
            return _ImageStep(lambda image, rng, label: apply(image, settings, rng), settings.p)
        step = _MovingStep if node.name == "image_data_generator" else _ImageStep
        return step(self._workers[node.where], settings.p)

    def _make_steps(self, with_targets: bool) -> tuple[list[Any], Any]:
        """Each entry's transform, and what looks after targets, where any entry moves them."""
        transforms = [self._make(node) for node in self._nodes]
        if not with_targets or not any("bboxes" in t.available_keys for t in transforms):
            return transforms, None
        boxes = albumentations.BboxParams(
            "pascal_voc", min_visibility=LEAST_VISIBLE, clip=True, filter_invalid_bboxes=True
        )
        points = albumentations.KeypointParams("xy", remove_invisible=False)
        return transforms, albumentations.Compose(transforms, boxes, points)

    def _run(
        self, data: dict[str, Any], key: tuple[int, ...], with_targets: bool = False
    ) -> dict[str, Any]:
        state = _random_state(key)
        # Transforms hold the state of their generator: a thread takes a set and gives it back.
        try:
            transforms, composed = self._idle[with_targets].pop()
        except IndexError:
            transforms, composed = self._make_steps(with_targets)
        # Its parts: called as a whole it draws, and does not say which transform failed.
        if composed is not None:
            composed.preprocess(data)
        for node, transform in zip(self._nodes, transforms, strict=True):
            transform.set_random_state(*state)
            data = _apply(node, transform, data)
            if composed is not None:
                data = composed.check_data_post_transform(data)
        if composed is not None:
            data = composed.postprocess(data)
        self._idle[with_targets].append((transforms, composed))
        return data

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
        found: np.ndarray = self._run({"image": image, "label": label}, key)["image"]
        return found

    def move(
        self, image: np.ndarray, targets: Targets, key: tuple[int, ...], label: str | None = None
    ) -> tuple[np.ndarray, Targets]:
        """Transform an image and its targets by one draw.

        Parameters
        ----------
        image : (height, width, bands) uint8 array
        targets : Targets
            In pixels of the image.
        key, label
            See `__call__`; the image becomes what it becomes there.

        Returns
        -------
        image : array of the same shape and type
        targets : Targets
            In pixels of that image. Masks take the nearest pixel, and are
            unlabelled where an entry fills the surroundings with a colour. A
            box becomes the hull of its moved corners (or of its moved outline),
            clipped to the image; it is dropped where an entry leaves less than
            `tltool.data.targets.LEAST_VISIBLE` of it. Where an entry of
            Albumentations reflects the image beyond its edge, the copies have
            boxes too. Turned by several entries a box becomes wider than what
            it holds. Keypoints outside the image are missing (and one in a
            hundred of those that Albumentations' GridDistortion moves).

        Raises
        ------
        RecipeError
            Errors of `__call__` and `check_targets`.
        """
        self.check_targets(targets.kinds)
        if not self._nodes or not targets.kinds:
            return self(image, key, label), targets
        data: dict[str, Any] = {"image": image, "label": label}
        if targets.mask is not None:
            data["mask"] = targets.mask
        if targets.boxes is not None and targets.box_classes is not None:
            data["bboxes"] = np.column_stack([targets.boxes, targets.box_classes])
        if targets.keypoints is not None:
            there = np.flatnonzero(np.isfinite(targets.keypoints).all(axis=1))
            # To Albumentations 0 is the middle of the first pixel.
            data["keypoints"] = np.column_stack([targets.keypoints[there] - 0.5, there])
        found = self._run(data, key, with_targets=True)
        boxes = classes = keypoints = None
        if targets.boxes is not None:
            rows = np.asarray(found["bboxes"], float)
            rows = rows if len(rows) else np.empty((0, 5))
            boxes, classes = rows[:, :4], np.rint(rows[:, 4])
        if targets.keypoints is not None:
            keypoints = np.full_like(targets.keypoints, np.nan)
            rows = np.asarray(found["keypoints"], float)
            inside = keypoints_inside(rows[:, :2] + 0.5, image.shape)
            # Of copies that an entry reflects the first one inside.
            order = np.flatnonzero(~np.isnan(inside[:, 0]))[::-1]
            keypoints[np.rint(rows[order, -1]).astype(int)] = inside[order]
        return found["image"], Targets(found.get("mask"), boxes, classes, keypoints)

    def check_targets(self, kinds: Iterable[str]) -> None:
        """Raise `RecipeError` where an entry cannot move targets with their image.

        Parameters
        ----------
        kinds : iterable of str
            Names among `tltool.data.targets.TARGET_KINDS`.
        """
        for kind in sorted(kinds):
            for leaf in [*self._leaves(), *self._batch_nodes]:
                reason = getattr(self._workers.get(leaf.where), "new_content", "")
                if leaf.name in BATCH_ENTRIES:
                    reason = "it mixes classes alone"
                elif leaf.name not in IMAGE_ENTRIES and kind in _unmoved_kinds(leaf.name):
                    reason = "Albumentations has no way for it"
                if reason:
                    raise RecipeError(
                        f"{leaf.where}: {leaf.name} cannot keep {kind} true to the image:"
                        f" {reason}. Take it out of the list"
                    )

    def check_bands(self, bands: int, side: int | None = None) -> None:
        """Try every entry on an image of noise.

        Parameters
        ----------
        bands : int
            Number of bands of the images to come.
        side : int, optional
            Their side, px; where it is not given, an entry that fails because
            of the size passes.

        Raises
        ------
        RecipeError
            Naming the entry that fails.
        """
        for leaf in self._leaves():
            # Its transformations stand any number of bands, and it would import Keras.
            if leaf.name == "image_data_generator":
                continue
            error = self._failure(leaf, bands, side or _TRIED_SIDE)
            if error is None:
                continue
            if bands != 3 and self._failure(leaf, 3, side or _TRIED_SIDE) is None:
                raise RecipeError(
                    f"{leaf.where}: {leaf.name} works on images of 3 bands, these have {bands}."
                    f" Take it out of the list, or choose 3 with bands: [1, 2, 3] ({error})"
                ) from error
            if side is not None:
                raise error

    def _failure(self, leaf: Node, bands: int, side: int) -> RecipeError | None:
        noise = np.random.default_rng(0).integers(0, 256, (side, side, bands), dtype=np.uint8)
        step = self._make(leaf)
        step.set_random_state(*_random_state((0,)))
        try:
            _apply(leaf, partial(step, force_apply=True), {"image": noise, "label": None})
        except RecipeError as error:
            return error
        return None

    def check_classes(self, classes: Sequence[str]) -> None:
        """Raise `RecipeError` where an entry is for a class that is not among `classes`."""
        for worker in self._workers.values():
            if isinstance(worker, Superimpose | SwapBackground):
                worker.check_classes(classes)
