"""`tltool count tune`: threshold and distance chosen on annotated images."""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tltool.annotations import PointSource, source_of
from tltool.counting.images import Images, find_areas
from tltool.counting.maps import (
    classes_of,
    countable_sidecar,
    default_radius,
    maps_for,
    store_parameters,
)
from tltool.counting.truth import read_truth, warn_of_blank, warn_of_far
from tltool.data.patch_folder import known_splits
from tltool.errors import DataError, UsageError
from tltool.inference.network import Openable
from tltool.points.detections import choose_surface
from tltool.points.tuning import GOALS, TuningScene, tune
from tltool.run.detection_parameters import DetectionParameters, Goal
from tltool.run.map_options import MapOptions

logger = logging.getLogger(__name__)

# True points in the held-out parts of images that were trained on, from which on these parts alone
# are used.
ENOUGH = 20

# Images with true points from which on each is validated by what is chosen on others, and parts
# that images are divided into for that.
_LEAST_SCENES, _FOLDS = 3, 5

OPTIMISTIC = (
    "precision and recall are those on the points that the choice was made on: on new images they"
    " will be somewhat lower, the more so the fewer points there are"
)


@dataclass(frozen=True)
class Tuning:
    """Result of `tune_count`.

    Attributes
    ----------
    parameters : DetectionParameters
        Chosen rules with their validation.
    classes : tuple of str
    images : int
        Number of images that they were chosen on.
    points : int
        Number of true points in them.
    folds : int
        1: validated on the images they were chosen on.
    notes : list of str
        What to know of them.
    files : list of Path
        The sidecars that hold them.
    """

    parameters: DetectionParameters
    classes: tuple[str, ...]
    images: int
    points: int
    folds: int
    notes: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


def tune_count(
    network: Openable,
    images: Any,
    points: PointSource,
    *,
    goal: Goal = "f1",
    per_class: bool = True,
    radius: float | None = None,
    aoi: str | Path | None = None,
    ignore: str | Path | None = None,
    columns: Sequence[str] | None = None,
    maps: str | Path | None = None,
    blocks: float | None = None,
    folds: int | None = None,
    options: MapOptions | None = None,
    **keywords: Any,
) -> Tuning:
    """Choose a network's threshold and distance per class, and keep them with it.

    Parameters
    ----------
    network : str, Path, keras.Model or Network
        A run folder or an FCN's file, whose JSON files keep the choice; what
        `tltool.open` gives keeps it in memory too.
    images : str, Path, array, PIL image or an iterable of these
        Annotated ones, best such as the network was not trained on. Of those
        it was trained on, by the manifest of its patches, only what lies in
        the valid and test splits is used, where that has 20 points or more.
    points : str, Path, sequence of Point, mapping of columns or DataFrame
        Their true points, see `tltool.annotations.read_points`. A single
        array is called ``image``, several ``image_0``, ``image_1``, ...
    goal : 'f1' or 'count'
        Highest F1, or as many detections as true points.
    per_class : bool
        A rule of its own for each class that has 10 points or more, by matches
        of the same label; else one for all, by matches of any label, which
        finds animals best where classes are often confused.
    radius : float, optional
        Within which a detection can stand for a true point, px that the
        network sees (those of the image without `resample`). Default: the
        patch's side, at least a cell.
    aoi, ignore : str or Path, optional
        GeoJSON of what is annotated, and of what to leave out.
    columns : sequence of str, optional
        Columns of `points`.
    maps : str or Path, optional
        A folder of maps of these images, to use in place of new ones.
    blocks : float, optional
        Side of the squares that the bootstrap resamples, px; default: each
        image is one.
    folds : int, optional
        Parts of the images, of which each is validated by what is chosen on
        the others; 1: all are validated by what is chosen on them. Default: 5,
        or as many as have points, from 3 on; else 1.
    options : MapOptions, optional
        How maps are made.
    **keywords
        Single options of `MapOptions`, over these.

    Returns
    -------
    Tuning

    Raises
    ------
    DataError
        Nothing to tune on: no true point inside the area, no peak in the maps.
    ModelError, ImageError, UsageError
    """
    options = MapOptions.of(options, **keywords)
    if goal not in GOALS:
        raise UsageError(f"`goal`: expected {' or '.join(GOALS)}; received {goal}")
    for name, value in (("radius", radius), ("blocks", blocks)):
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"`{name}`: expected px above 0, received {value:g}")
    if options.aoi is not None:
        aoi, options = aoi or options.aoi, replace(options, aoi=None)
    sidecar = countable_sidecar(network)
    given, classes = Images(images, sidecar, options), classes_of(sidecar)
    areas = find_areas(given, aoi, ignore)
    truth = read_truth(points, given, classes, columns)
    # Before anything slow.
    if not sum(len(own.within(areas[image])) for image, own in truth.items()):
        raise DataError(
            f"{source_of(points)}: expected true points inside the area of the images, found none"
            " there. Draw `aoi` around what is annotated, in the image's CRS or, where it has none,"
            " in pixels (y down)"
        )
    surface, splits = choose_surface(sidecar.classes, sidecar.background), known_splits(sidecar)
    every, unseen, trained, view = [], [], 0, None
    with tempfile.TemporaryDirectory(prefix="tltool-tune-") as folder:
        ready = maps_for(network, given, Path(folder), maps, options).all()
        for image_map in ready:
            view = view or image_map.facts.view
            if image_map.facts.view != view:
                raise DataError(
                    f"{maps}: expected maps that were all made alike; {ready[0].image.name} has"
                    f" {view}, {image_map.image.name} {image_map.facts.view}. Make them in one call"
                )
            image, coverage = image_map.image, areas[image_map.image]
            found, scale = image_map.candidates(surface=surface), np.array(image_map.scale)
            found = found.take(coverage.covers(*(found.xy / scale).T))
            true = truth[image].within(coverage)
            scene = TuningScene(found, true.xy * scale, true.labels)
            every.append(scene)
            if splits.trained_on(image):
                trained += 1
                # What lies where the network was not trained.
                held = splits.assign(image, true.xy) > 0
                found = found.take(splits.assign(image, found.xy / scale) > 0)
                scene = TuningScene(found, scene.truth[held], true.labels[held])
            unseen.append(scene)
    scenes, notes = every, list[str]()
    number, total = (sum(len(scene.truth) for scene in some) for some in (unseen, every))
    if trained and number >= ENOUGH:
        scenes = [scene for scene in unseen if len(scene.truth) or len(scene.candidates)]
        notes.append(
            f"{trained} of {len(every)} images were trained on: of these only the parts of the"
            f" valid and test splits are used, {number} of {total} points"
        )
    elif trained:
        notes.append(
            f"{trained} of {len(every)} images were trained on, and only {number} points lie in"
            f" parts of their valid and test splits ({ENOUGH} are needed to use these alone):"
            " thresholds are too high and precision and recall flatter. Better take other images"
        )
        logger.warning("%s", notes[0])
    within = radius or default_radius(sidecar)
    warn_of_blank(truth, points)
    if aoi is None:
        warn_of_far([scene.scene(scene.candidates) for scene in scenes], within, points)
    annotated = sum(len(scene.truth) > 0 for scene in scenes)
    if folds is None:
        folds = min(_FOLDS, annotated) if annotated >= _LEAST_SCENES else 1
    chosen = tune(
        sorted(scenes, key=lambda scene: -len(scene.truth)),
        within,
        goal=goal,
        per_class=per_class,
        surface=surface,
        block=blocks,
        folds=folds,
    )
    chosen = chosen.model_copy(update={"view": view})
    notes += [OPTIMISTIC] if folds == 1 else []
    files = store_parameters(network, chosen)
    count = sum(len(scene.truth) for scene in scenes)
    return Tuning(chosen, classes, len(scenes), count, folds, notes, files)
