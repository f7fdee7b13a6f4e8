"""Augmentation pipelines made of Albumentations transforms, as a recipe lists them."""

import difflib
import inspect
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from tltool.errors import RecipeError
from tltool.runtime import prepare_environment

prepare_environment()

import albumentations  # noqa: E402 - reads the environment when imported


def _parse(entry: Any, where: str) -> tuple[str, dict[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, dict) and len(entry) == 1:
        name, arguments = next(iter(entry.items()))
        if isinstance(arguments, dict) or arguments is None:
            return str(name), dict(arguments or {})
    raise RecipeError(
        f"{where}: expected a transform's name or 'Name: {{arguments}}', received {entry!r}"
    )


def _transform_class(name: str, where: str) -> type:
    found = getattr(albumentations, name, None)
    basic = albumentations.BasicTransform
    if isinstance(found, type) and issubclass(found, basic):
        return found
    known = [
        n for n, v in vars(albumentations).items() if isinstance(v, type) and issubclass(v, basic)
    ]
    near = difflib.get_close_matches(name, known, 3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise RecipeError(
        f"{where}: Albumentations {albumentations.__version__} has no transform {name}.{hint}"
    )


def _build(entry: Any, where: str) -> Any:
    name, arguments = _parse(entry, where)
    transform = _transform_class(name, where)
    # Albumentations itself only warns of an argument that it does not know.
    allowed = list(inspect.signature(transform).parameters)
    unknown = [key for key in arguments if key not in allowed]
    if unknown:
        raise RecipeError(
            f"{where}: {name} takes no {', '.join(unknown)}. It takes {', '.join(allowed)}"
        )
    try:
        return transform(**arguments)
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise RecipeError(f"{where}: {name}({arguments}): {reason}") from error


class Augmenter:
    """Random transformations of one image, the same for the same key.

    Parameters
    ----------
    entries : sequence
        The recipe's ``augment`` list.

    Raises
    ------
    RecipeError
        For a transform or argument that the installed Albumentations lacks.
    """

    def __init__(self, entries: Sequence[Any]):
        self._entries = list(entries)
        self._local = threading.local()
        self._compose()

    def _compose(self) -> Any:
        # A pipeline holds the state of its generator, so each thread has its own.
        if not hasattr(self._local, "pipeline"):
            transforms = [_build(e, f"augment.{i}") for i, e in enumerate(self._entries)]
            self._local.pipeline = albumentations.Compose(transforms)
        return self._local.pipeline

    def __call__(self, image: np.ndarray, key: tuple[int, ...]) -> np.ndarray:
        """Transform an image.

        Parameters
        ----------
        image : (height, width, 3) uint8 array
        key : tuple of int
            Seeds the draw.

        Returns
        -------
        Array of the same shape and type.
        """
        pipeline = self._compose()
        pipeline.set_random_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        return pipeline(image=image)["image"]
