"""`tltool count tune`: threshold and distance chosen on annotated images."""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tltool.counting.areas import Areas, find_areas
from tltool.counting.maps import ImageMap, Maps, classes_of, countable_sidecar, maps_for
from tltool.counting.parameters import default_radius, store_parameters
from tltool.counting.truth import ImageTruth, read_truth, warn_of_blank
from tltool.counting.unannotated import warn_of_far
from tltool.data.patch_folder import KnownSplits, known_splits
from tltool.errors import DataError, UsageError
from tltool.files import images_of
from tltool.points.detections import choose_surface
from tltool.points.tuning import GOALS, TuningScene, tune
from tltool.run.detection_parameters import DetectionParameters, Goal
from tltool.run.map_options import MapOptions
from tltool.run.sidecar import Sidecar

logger = logging.getLogger("tltool")

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
    """What `tune_count` chose.

    Attributes
    ----------
    parameters : DetectionParameters
        With their validation.
    classes : tuple of str
    images : int
        That it was chosen on.
    points : int
        True ones in them.
    folds : int
        1: validated on the images it was chosen on.
    notes : list of str
        What to know of it.
    files : list of Path
        The sidecars that tell it.
    """

    parameters: DetectionParameters
    classes: tuple[str, ...]
    images: int
    points: int
    folds: int
    notes: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class _Part:
    """Candidates and truth of an image, inside the area."""

    map: ImageMap
    scene: TuningScene
    splits: KnownSplits | None

    def held_out(self) -> "_Part":
        """What lies where the network was not trained."""
        if self.splits is None:
            return self
        candidates, truth = self.scene.candidates, np.asarray(self.scene.truth)
        scale, image = np.array(self.map.scale), self.map.image
        told, true = (self.splits.assign(image, xy / scale) > 0 for xy in (candidates.xy, truth))
        labels = np.asarray(self.scene.truth_labels)[true]
        return replace(self, scene=TuningScene(candidates.take(told), truth[true], labels))


def _part(
    image_map: ImageMap, areas: Areas, truth: ImageTruth, splits: KnownSplits | None, surface: Any
) -> _Part:
    found = image_map.candidates(surface=surface)
    coverage, scale = areas.covered[image_map.image], np.array(image_map.scale)
    inside = found.take(coverage.covers(*(found.xy / scale).T))
    true = truth.within(coverage)
    return _Part(image_map, TuningScene(inside, true.xy * scale, true.labels), splits)


def _points(parts: Sequence[_Part]) -> int:
    return sum(len(part.scene.truth) for part in parts)


def _unseen(parts: Sequence[_Part]) -> tuple[list[_Part], list[str]]:
    """What to tune on, and what to say of it."""
    trained = sum(part.splits is not None for part in parts)
    if not trained:
        return list(parts), []
    unseen = [part.held_out() for part in parts]
    number, every = _points(unseen), _points(parts)
    which = f"{trained} of {len(parts)} images were trained on"
    if number >= ENOUGH:
        used = [part for part in unseen if len(part.scene.truth) or len(part.scene.candidates)]
        note = f"{which}: of these only the parts of the valid and test splits are used"
        return used, [f"{note}, {number} of {every} points"]
    note = (
        f"{which}, and only {number} points lie in parts of their valid and test splits ({ENOUGH}"
        " are needed to use these alone): thresholds are too high and precision and recall flatter."
        " Better take other images"
    )
    logger.warning("%s", note)
    return list(parts), [note]


def _seeing(maps: Maps) -> dict[str, Any]:
    """How all maps were seen."""
    first = maps.maps[0]
    other = next((each for each in maps.maps if each.view != first.view), None)
    if other is not None:
        raise DataError(
            f"{maps.folder}: expected maps that were all made alike; {first.path.name} has"
            f" {first.view}, {other.path.name} {other.view}. Make them in one call"
        )
    return first.view


def _folds(scenes: Sequence[TuningScene], folds: int | None) -> int:
    if folds is not None:
        return folds
    annotated = sum(len(scene.truth) > 0 for scene in scenes)
    return min(_FOLDS, annotated) if annotated >= _LEAST_SCENES else 1


def tune_count(
    run: str | Path,
    images: Sequence[str | Path],
    points: str | Path,
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
    """Choose a run's threshold and distance per class, and store them in its sidecars.

    Parameters
    ----------
    run : str or Path
        A run folder, or an FCN's file.
    images : sequence of str or Path
        Annotated ones, best such as the network was not trained on. Of those
        it was trained on, by the manifest of its patches, only what lies in
        the valid and test splits is used, where that has 20 points or more.
    points : str or Path
        Their true points, in any format of `tltool.annotations.read_points`.
    goal : 'f1' or 'count'
        Highest F1, or as many detections as true points.
    per_class : bool
        A rule of its own for each class that has 10 points or more, by matches
        of the same label; else one for all, by matches of any label, which
        finds animals best where classes are told badly.
    radius : float, optional
        Within which a detection can stand for a true point, px that the
        network sees (those of the image without `resample`). Default: the
        patch's side, at least a cell.
    aoi, ignore : str or Path, optional
        GeoJSON of what is annotated, and of what to leave out.
    columns : sequence of str, optional
        Of `points`.
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
        How maps are made. With `resample` distances are in px of the resampled
        image, points in those of the image.
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
    _check(goal, radius, blocks)
    sidecar, paths = countable_sidecar(run), images_of(images)
    areas = find_areas(paths, aoi, ignore)
    wanted = [path for path in paths if path in areas]
    truth = read_truth(points, wanted, classes_of(sidecar), sidecar.background, columns)
    _check_inside(truth, areas, points)
    with tempfile.TemporaryDirectory(prefix="tltool-tune-") as folder:
        ready = maps_for(run, wanted, Path(folder), maps, False, options)
        if ready.failed:
            raise next(iter(ready.failed.values()))
        parts = _parts(ready, areas, truth, sidecar)
    parts, notes = _unseen(parts)
    within = radius or default_radius(sidecar)
    warn_of_blank(truth, points)
    if aoi is None:
        warn_of_far([part.scene.scene(part.scene.candidates) for part in parts], within, points)
    scenes = sorted((part.scene for part in parts), key=lambda scene: -len(scene.truth))
    number = _folds(scenes, folds)
    chosen = tune(
        scenes,
        within,
        goal=goal,
        per_class=per_class,
        surface=_surface(sidecar),
        block=blocks,
        folds=number,
    )
    chosen = chosen.model_copy(update={"seeing": _seeing(ready)})
    notes += [OPTIMISTIC] if number == 1 else []
    tuned = Tuning(chosen, classes_of(sidecar), len(parts), _points(parts), number, notes)
    return replace(tuned, files=store_parameters(run, chosen))


def _surface(sidecar: Sidecar) -> Any:
    return choose_surface(sidecar.classes, sidecar.background)


def _check(goal: str, radius: float | None, blocks: float | None) -> None:
    if goal not in GOALS:
        raise UsageError(f"--for: expected {' or '.join(GOALS)}; received {goal}")
    for name, value in (("--radius", radius), ("--blocks", blocks)):
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"{name}: expected px above 0, received {value:g}")


def _check_inside(truth: dict[Path, ImageTruth], areas: Areas, points: str | Path) -> None:
    """Raise where there is no true point, before anything slow."""
    covered = [own.within(areas.covered[image]) for image, own in truth.items()]
    if not sum(map(len, covered)):
        raise DataError(
            f"{points}: expected true points inside the area of the images, found none there. Draw"
            " --aoi around what is annotated, in the image's CRS or, where it has none, in pixels"
            " (y down)"
        )


def _parts(
    maps: Maps, areas: Areas, truth: dict[Path, ImageTruth], sidecar: Sidecar
) -> list[_Part]:
    known = known_splits(sidecar)
    surface = _surface(sidecar)
    return [
        _part(
            each,
            areas,
            truth[each.image],
            known if known.trained_on(each.image) else None,
            surface,
        )
        for each in maps.maps
    ]
