"""`tltool demo`: a painted survey, and the journey over it through the public functions."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tltool
from tltool.demonstration.paint import paint_survey
from tltool.errors import DownloadError
from tltool.files import refuse_existing
from tltool.recipe import load_recipe
from tltool.run.folder import FCN_NAME, METRICS_NAME
from tltool.run.sidecar import Sidecar, load_sidecar

if TYPE_CHECKING:
    from tltool.counting.mine import MiningRound
    from tltool.counting.survey import Survey
    from tltool.mapping.image_map import HeatMap

logger = logging.getLogger(__name__)

# A patch no larger than the smallest animal keeps neighbours apart.
_PATCH, _CONTEXT, _STRIDE = 16, 16, 4
_PHOTOGRAPHS, _ANIMALS, _BACKGROUNDS, _NEAREST = 10, 130, 8, 12
# px from an animal's middle, about its half length.
_RADIUS = 20


@dataclass(frozen=True)
class DemoResult:
    """Result of the demo.

    Attributes
    ----------
    seconds : dict of str to float
        Wall time of each step.
    weights : str
        Origin of the backbone's weights.
    accuracy : float
        Accuracy of the last classifier on patches of photographs it has not
        seen.
    rounds : list of MiningRound
        Rounds of the mining: the classifier before and after.
    sidecar : Sidecar
        Sidecar of the FCN, with the fidelity.
    maps : list of HeatMap
        Maps of the photographs that it has not seen.
    survey : Survey
        The animals counted on those of the maps, scored against the truth.
    """

    seconds: dict[str, float]
    weights: str
    accuracy: float
    rounds: "list[MiningRound]"
    sidecar: Sidecar
    maps: "list[HeatMap]"
    survey: "Survey"


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
    folder, seconds = Path(out), dict[str, float]()
    refuse_existing(folder, overwrite)
    data, run, maps = folder / "data", folder / "run", folder / "maps"

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        logger.info("%s ...", name)
        started = time.perf_counter()
        yield
        seconds[name] = time.perf_counter() - started

    def train(recipe: str, **backbone: Any) -> None:
        loaded = load_recipe(recipe, {"backbone": backbone, "training": {"seed": seed}})
        tltool.finetune(data, run, loaded, overwrite=overwrite)

    def of_split(split: str) -> list[Path]:
        """The photographs whose patches are in a split."""
        named = {path.name.rsplit("_", 2)[0] for path in (data / split).glob("*/*.png")}
        return [image for image in images if image.stem in named]

    with timed("paint"):
        images, points = paint_survey(
            folder / "survey", photographs=_PHOTOGRAPHS, animals=_ANIMALS, seed=seed
        )
    with timed("patches"):
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
    with timed("finetune"):
        origin = {"none": "random", "imagenet": "ImageNet"}.get(weights, weights)
        try:
            if weights != "none":
                train("demo", weights=weights)
        except DownloadError:
            origin = "random"
            logger.info("ImageNet weights cannot be had here: the backbone starts from random ones")
        if origin == "random":
            train("demo-scratch")
    with timed("convert"):
        tltool.convert(run, overwrite=overwrite)
    unseen, valid = of_split("test"), of_split("valid")
    with timed("mine"):
        # Dark stones pass for pups until the network has been shown those that did.
        others = [image for image in images if image not in unseen]
        rounds = tltool.mine(run, others, points, data, radius=_RADIUS).rounds
    # It leaves the classifier and the FCN that came of it.
    metrics = json.loads((run / METRICS_NAME).read_text(encoding="utf-8"))
    accuracy, sidecar = float(metrics["test"]["accuracy"]), load_sidecar(run / FCN_NAME)
    with timed("heatmap"):
        made = tltool.heatmap(run, unseen, maps, stride=_STRIDE, overwrite=overwrite)
    with timed("tune"):
        # On photographs of neither the training nor the count.
        tltool.tune_count(run, valid, points, per_class=False, radius=_RADIUS, stride=_STRIDE)
    with timed("count"):
        survey = tltool.count(
            run, unseen, folder / "count", maps=maps, truth=points, overwrite=overwrite
        )
    return DemoResult(seconds, origin, accuracy, rounds, sidecar, made, survey)
