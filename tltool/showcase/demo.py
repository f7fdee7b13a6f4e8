"""`tltool demo`: a painted survey, and the journey over it through the public functions."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tltool
from tltool.errors import DownloadError
from tltool.files import refuse_existing
from tltool.recipe import load_recipe
from tltool.showcase.paint import paint_survey

if TYPE_CHECKING:
    from tltool.maps.mapper import HeatMap
    from tltool.sidecar import Sidecar
    from tltool.training.finetune import Run

logger = logging.getLogger("tltool")

_PATCH, _CONTEXT = 32, 96
_PHOTOGRAPHS, _ANIMALS, _BACKGROUNDS = 5, 130, 0.7


@dataclass
class DemoResult:
    """What the demo made.

    Attributes
    ----------
    seconds : dict of str to float
        Wall time of each step.
    weights : str
        Where the backbone's weights came from.
    accuracy : float
        Of the classifier on patches of a photograph it has not seen.
    sidecar : Sidecar
        Of the FCN, with the fidelity.
    maps : list of HeatMap
        Of that photograph.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    weights: str = ""
    accuracy: float = 0.0
    sidecar: "Sidecar | None" = None
    maps: "list[HeatMap]" = field(default_factory=list)


@contextmanager
def _timed(result: DemoResult, name: str) -> Iterator[None]:
    logger.info("%s ...", name)
    started = time.perf_counter()
    yield
    result.seconds[name] = time.perf_counter() - started


def _finetune(data: Path, folder: Path, seed: int, overwrite: bool) -> "tuple[Run, str]":
    def attempt(recipe: str, name: str = "run", **backbone: Any) -> "Run":
        changes = {"backbone": backbone, "training": {"seed": seed}}
        loaded = load_recipe(recipe, changes)
        return tltool.finetune(data, folder / name, loaded, overwrite=overwrite)

    try:
        return attempt("demo", weights="imagenet"), "ImageNet"
    except DownloadError:
        logger.info("ImageNet weights cannot be had here: the backbone starts from random weights")
    # Most of the way with little context, which is quick; then a few epochs with all of it.
    first = attempt("demo-scratch", "run-little-context")
    return attempt("demo-context", weights=str(first.folder / "model.keras")), "random"


def _unseen(data: Path, images: list[Path]) -> list[Path]:
    """The photographs whose patches are in the test split."""
    named = {path.name.rsplit("_", 2)[0] for path in (data / "test").glob("*/*.png")}
    return [image for image in images if image.stem in named]


def demo(out: str | Path, *, seed: int = 7, overwrite: bool = False) -> DemoResult:
    """Paint a survey of aerial photographs and make the whole journey over it.

    Parameters
    ----------
    out : str or Path
        Folder: ``survey/`` (GeoTIFFs and points.csv), ``data/`` (patches),
        ``run/`` (classifier and FCN) and ``maps/``.
    seed : int
        Of the survey and the training.
    overwrite : bool
        Replace an earlier demo in `out`.

    Returns
    -------
    DemoResult
    """
    folder = Path(out)
    refuse_existing(folder, overwrite)
    data, run = folder / "data", folder / "run"
    result = DemoResult()
    with _timed(result, "paint"):
        images, points = paint_survey(
            folder / "survey", photographs=_PHOTOGRAPHS, animals=_ANIMALS, seed=seed
        )
    with _timed(result, "patches"):
        tltool.patches(
            images,
            points,
            data,
            size=_PATCH,
            context=_CONTEXT,
            backgrounds=_BACKGROUNDS,
            overwrite=overwrite,
        )
    with _timed(result, "finetune"):
        trained, result.weights = _finetune(data, folder, seed, overwrite)
        result.accuracy = trained.metrics["test"]["accuracy"]
    with _timed(result, "convert"):
        result.sidecar = tltool.convert(run, overwrite=overwrite).sidecar
    with _timed(result, "heatmap"):
        unseen = _unseen(data, images)
        result.maps = tltool.heatmap(run, unseen, folder / "maps", overwrite=overwrite)
    return result
