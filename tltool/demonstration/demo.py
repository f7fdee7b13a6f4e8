"""`tltool demo`: a painted survey, and the journey over it through the public functions."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tltool
from tltool.demonstration.paint import paint_survey
from tltool.errors import DownloadError
from tltool.files import refuse_existing
from tltool.recipe import load_recipe
from tltool.run.folder import FCN_NAME
from tltool.run.sidecar import Sidecar, load_sidecar

if TYPE_CHECKING:
    from tltool.counting.mine import Round
    from tltool.counting.survey import Survey
    from tltool.mapping.image_map import HeatMap

logger = logging.getLogger(__name__)

# A patch no larger than the smallest animal keeps neighbours apart.
_PATCH, _CONTEXT, _STRIDE = 16, 16, 4
_PHOTOGRAPHS, _ANIMALS, _BACKGROUNDS, _NEAREST = 10, 130, 8, 12
# px from an animal's middle, about its half length.
_RADIUS = 20


@dataclass
class DemoResult:
    """Result of the demo.

    Attributes
    ----------
    seconds : dict of str to float
        Wall time of each step.
    weights : str
        Where the backbone's weights came from.
    accuracy : float
        Of the last classifier on patches of photographs it has not seen.
    rounds : list of Round
        Of the mining: the classifier before and after.
    sidecar : Sidecar
        Of the FCN, with the fidelity.
    maps : list of HeatMap
        Of the photographs that it has not seen.
    survey : Survey
        The animals counted on those of the maps, scored against the truth.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    weights: str = ""
    accuracy: float = 0.0
    rounds: "list[Round]" = field(default_factory=list)
    sidecar: Sidecar | None = None
    maps: "list[HeatMap]" = field(default_factory=list)
    survey: "Survey | None" = None


@contextmanager
def _timed(result: DemoResult, name: str) -> Iterator[None]:
    logger.info("%s ...", name)
    started = time.perf_counter()
    yield
    result.seconds[name] = time.perf_counter() - started


def _finetune(data: Path, run: Path, weights: str, seed: int, overwrite: bool) -> str:
    """Train, and tell where the backbone's weights came from."""

    def attempt(recipe: str, **backbone: Any) -> None:
        loaded = load_recipe(recipe, {"backbone": backbone, "training": {"seed": seed}})
        tltool.finetune(data, run, loaded, overwrite=overwrite)

    if weights != "none":
        try:
            named = "ImageNet" if weights == "imagenet" else weights
            attempt("demo", weights=weights)
            return named
        except DownloadError:
            logger.info("ImageNet weights cannot be had here: the backbone starts from random ones")
    attempt("demo-scratch")
    return "random"


def _accuracy(run: Path) -> float:
    # Imports Keras.
    from tltool.run.folder import METRICS_NAME

    metrics = json.loads((run / METRICS_NAME).read_text(encoding="utf-8"))
    return float(metrics["test"]["accuracy"])


def _of_split(data: Path, images: list[Path], split: str) -> list[Path]:
    """The photographs whose patches are in a split."""
    named = {path.name.rsplit("_", 2)[0] for path in (data / split).glob("*/*.png")}
    return [image for image in images if image.stem in named]


def demo(
    out: str | Path, *, weights: str = "imagenet", seed: int = 7, overwrite: bool = False
) -> DemoResult:
    """Paint a survey of aerial photographs and make the whole journey over it.

    Parameters
    ----------
    out : str or Path
        Folder: ``survey/`` (GeoTIFFs and points.csv), ``data/`` (patches),
        ``run/`` (classifier and FCN), ``maps/`` and ``count/``.
    weights : str
        ``imagenet``, which becomes ``none`` where they cannot be had; ``none``;
        or the path of MobileNet's with alpha 0.25, without top.
    seed : int
        Seed of the survey and the training.
    overwrite : bool
        Replace an earlier demo in `out`.

    Returns
    -------
    DemoResult
        Times, numbers, maps and counts of the journey.

    Raises
    ------
    OutputError
        `out` exists already or cannot be written.
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
            distance=_NEAREST,
            seed=seed,
            overwrite=overwrite,
        )
    with _timed(result, "finetune"):
        result.weights = _finetune(data, run, weights, seed, overwrite)
    with _timed(result, "convert"):
        tltool.convert(run, overwrite=overwrite)
    unseen, maps = _of_split(data, images, "test"), folder / "maps"
    with _timed(result, "mine"):
        # Dark stones pass for pups until the network has been shown those that did.
        others = [image for image in images if image not in unseen]
        result.rounds = tltool.mine(run, others, points, data, radius=_RADIUS).rounds
        # It leaves the classifier and the FCN that came of it.
        result.accuracy, result.sidecar = _accuracy(run), load_sidecar(run / FCN_NAME)
    with _timed(result, "heatmap"):
        result.maps = tltool.heatmap(run, unseen, maps, stride=_STRIDE, overwrite=overwrite)
    with _timed(result, "tune"):
        # On photographs of neither the training nor the count.
        valid = _of_split(data, images, "valid")
        tltool.tune_count(run, valid, points, per_class=False, radius=_RADIUS, stride=_STRIDE)
    with _timed(result, "count"):
        result.survey = tltool.count(
            run, unseen, folder / "count", maps=maps, truth=points, overwrite=overwrite
        )
    return result
