"""`tltool mine`: what a run takes for animals where none are becomes background to train on."""

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from tltool.annotations import Point, PointSource
from tltool.counting.images import Images, find_areas
from tltool.counting.maps import ImageMap, classes_of, countable_sidecar, make_maps
from tltool.counting.truth import ImageTruth, read_truth
from tltool.counting.tune import Tuning, tune_count
from tltool.data.coverage import Coverage
from tltool.data.patch_folder import Addition, KnownSplits, extend_patches, patch_rows, read_patches
from tltool.data.splits import SPLITS
from tltool.errors import DataError, ModelError, OutputError, UsageError
from tltool.files import atomic_path
from tltool.points.detections import suppress_near
from tltool.recipe import load_recipe
from tltool.run.detection_parameters import Validation
from tltool.run.folder import RECIPE_NAME
from tltool.run.map_options import MapOptions
from tltool.run.sidecar import Sidecar
from tltool.text import some_of
from tltool.training.finetune import finetune

logger = logging.getLogger(__name__)

_TRAIN = SPLITS.index("train")

Taken = dict[Path, np.ndarray]

# Peaks below this score teach nothing: the run knows that nothing is there.
_FLOOR = 0.02

# Patches that a round adds for each animal, and in all.
_RATIO, _MOST = 16.0, 1000

# Positions tried for each that is wanted.
_TRIED = 20


@dataclass(frozen=True)
class MiningRound:
    """A network of `mine`, and what it took for animals.

    Attributes
    ----------
    number : int
        From 1 on; the network of round 1 is the one that was given.
    f1 : float or None
        F1 of its detections of any animal, as `tune_count` validated them.
    precision, recall : float or None
    mined, drawn : int
        False detections that were added to the training for it, and positions
        drawn by chance; 0 for the last network.
    highest, lowest : float or None
        Scores of the false detections.
    """

    number: int
    f1: float | None
    precision: float | None
    recall: float | None
    mined: int = 0
    drawn: int = 0
    highest: float | None = None
    lowest: float | None = None


@dataclass(frozen=True)
class Mining:
    """Result of `mine`.

    Attributes
    ----------
    data, run : Path
        The extended patches, and the run that was trained on them.
    rounds : list of MiningRound
        One more than was asked for: the last is the network that came of it.
    tuning : Tuning
        Rules of that network.
    """

    data: Path
    run: Path
    rounds: list[MiningRound]
    tuning: Tuning


@dataclass(frozen=True)
class Ground:
    """Area in which negatives may lie, and how many are wanted.

    Attributes
    ----------
    truth : dict of Path to ImageTruth
    areas : dict of Path to Coverage
    splits : KnownSplits
    patch, window : int
        Sides of a patch without and with its context, px.
    distance : float
        Least distance of a patch's centre from every animal, along the farther
        axis, px.
    number : int
        Patches that a round adds.
    background : str
        Their label.
    """

    truth: dict[Path, ImageTruth]
    areas: dict[Path, Coverage]
    splits: KnownSplits
    patch: int
    window: int
    distance: float
    number: int
    background: str

    def allows(self, image: Path, xy: np.ndarray, taken: Taken) -> np.ndarray:
        """Tell which (n, 2) positions are the training's, far from animals and not cut yet."""
        lefts, tops = (xy - self.patch // 2).astype(int).T
        allowed = self.areas[image].holds(lefts, tops, self.patch)
        allowed &= self.splits.assign(image, xy, self.window / 2) == _TRAIN
        cut = taken.get(image.resolve(), np.zeros((0, 2)))
        for points, distance in ((self.truth[image].xy, self.distance), (cut, self.patch / 2)):
            if len(points) and len(xy):
                # Along the farther axis.
                allowed &= cKDTree(points).query(xy, p=np.inf)[0] >= distance
        return allowed

    def candidates(
        self, image_map: ImageMap, taken: Taken, rng: np.random.Generator
    ) -> tuple[list[Addition], list[Addition]]:
        """Patches around peaks where no animal is, and around positions drawn by chance."""
        image = image_map.image
        found = image_map.in_image(image_map.candidates(floor=_FLOOR))
        found = found.take(self.allows(image, np.round(found.xy), taken))
        found = found.take(suppress_near(found.x, found.y, found.score, self.patch / 2))
        tried = np.floor(rng.random((_TRIED * self.number, 2)) * image_map.size)
        drawn = tried[self.allows(image, tried, taken)]
        even = np.zeros(len(drawn))
        chosen = np.sort(suppress_near(drawn[:, 0], drawn[:, 1], even, self.patch / 2))

        def cut(xy: np.ndarray, scores: Sequence[float | None]) -> list[Addition]:
            return [
                Addition(image, Point(image.name, x, y, self.background, score), "train")
                for (x, y), score in zip(xy.tolist(), scores, strict=True)
            ]

        peaks = cut(np.round(found.xy), found.score.tolist())
        return peaks, cut(drawn[chosen], [None] * len(chosen))


def choose_negatives(
    found: Sequence[Addition], drawn: Sequence[Addition], number: int, rng: np.random.Generator
) -> list[Addition]:
    """Choose the highest false peaks, half of all, and positions drawn by chance for the rest.

    Those alone that deceive a network most are alike; taught by them alone, the
    next one is deceived by what this one got right.

    Returns
    -------
    list of Addition
        At most `number`; peaks first, highest score first.
    """
    peaks = sorted(found, key=lambda one: -(one.point.score or 0))[: number - number // 2]
    order = rng.permutation(len(drawn))[: number - len(peaks)]
    return peaks + [drawn[index] for index in order]


def _patches_of(run: Path, sidecar: Sidecar, out: Path) -> Path:
    """The patches to start from, where `out` may be written."""
    if not (run / RECIPE_NAME).is_file():
        raise ModelError(
            f"{run}: expected a run that tltool finetune trained, to train it again; it has no"
            f" {RECIPE_NAME}"
        )
    if sidecar.background is None:
        raise DataError(
            f"{run}: expected a class that means nothing is there, to add to; received"
            f" {', '.join(sidecar.classes)}. Say which it is with background: in the recipe"
        )
    folder = (sidecar.data or {}).get("folder")
    if folder is None or not Path(folder).is_dir():
        raise DataError(
            f"{run}: expected its patches where it was trained on them, {folder or 'a folder'};"
            " that is not there. Put it back, or train the run again"
        )
    if out.exists() and out.resolve() != Path(folder).resolve():
        raise OutputError(
            f"{out}: expected {folder}, the patches that {run} was trained on, to add to, or a new"
            " folder; it exists and is another"
        )
    return Path(folder)


def mine(
    run: str | Path,
    images: str | Path | Sequence[str | Path],
    points: PointSource,
    out: str | Path,
    *,
    rounds: int = 1,
    ratio: float | None = None,
    distance: float | None = None,
    radius: float | None = None,
    aoi: str | Path | None = None,
    ignore: str | Path | None = None,
    columns: Sequence[str] | None = None,
    show: Callable[[MiningRound], None] = lambda made: None,
    options: MapOptions | None = None,
    **keywords: Any,
) -> Mining:
    """Add what a run takes for animals where none are to its backgrounds, and train it again.

    Each round maps the images, takes the highest peaks far from every point,
    and as many positions drawn by chance, cuts them as patches of the
    background, and trains the run's own recipe anew on the extended patches. In
    the end threshold and distance are tuned as by `tune_count`.

    Parameters
    ----------
    run : str or Path
        A run folder of `tltool.finetune`, which is replaced by the retrained
        one when that is whole.
    images : str, Path or sequence of these
        Annotated images that its patches were cut from.
    points : str, Path, sequence of Point, mapping of columns or DataFrame
        Their true points, see `tltool.annotations.read_points`.
    out : str or Path
        The patches that the run was trained on, which are added to; or a new
        folder, which gets them and the new ones. ``manifest.csv`` says of
        each patch where it is from, and the score that the run gave it.
    rounds : int
        How often to mine and train again.
    ratio : float, optional
        Patches that a round adds, at most, for each animal of the training.
        Default: 16; less where that were more than 1000 patches, but 1 at
        least.
    distance : float, optional
        Least distance of a new patch's centre from every point along the
        farther axis, px. Default: one and a half of the patch's side: points
        are not always set on the middle of what they mean.
    radius : float, optional
        See `tune_count`.
    aoi, ignore : str or Path, optional
        GeoJSON of what is annotated, and of what nothing is taken from. Where
        nothing is annotated, animals are unknown: nothing is mined there.
    columns : sequence of str, optional
        Columns of `points`.
    show : callable
        Gets each `MiningRound` when its network is tuned.
    options : MapOptions, optional
        How maps are made.
    **keywords
        Single options of `MapOptions`, over these.

    Returns
    -------
    Mining

    Raises
    ------
    DataError, ImageError, ModelError, OutputError, TrainingError, UsageError

    Notes
    -----
    New patches are for training alone, and lie where the training is: on
    images of the training split, or inside its block of a divided one. So
    what is held out stays unseen.

    References
    ----------
    A. Shrivastava, A. Gupta and R. Girshick, "Training Region-based Object
    Detectors with Online Hard Example Mining", CVPR 2016, section 2:
    bootstrapping, alternately training and adding false detections.
    """
    run, out = Path(run), Path(out)
    options = MapOptions.of(options, **keywords)
    for name, value in (("rounds", rounds), ("ratio", ratio)):
        if value is not None and not value > 0:
            raise UsageError(f"`{name}`: expected a number above 0, received {value:g}")
    sidecar = countable_sidecar(run)
    given = Images(images, sidecar, options)
    if given.rasters:
        raise UsageError("`images`: expected files that patches were cut from, received an array")
    data = _patches_of(run, sidecar, out)
    facts, rows = read_patches(data)
    areas = find_areas(given, aoi, ignore)
    truth = read_truth(points, given, classes_of(sidecar), columns)
    splits = KnownSplits.load(data)
    others = [image for image in given.paths if not splits.trained_on(image)]
    if len(others) == len(given.paths):
        raise DataError(
            f"{data}: expected images that its training patches were cut from; received"
            f" {some_of([str(image) for image in others], 1)}, and none of its training patches is"
            " from there. Give the images that tltool patches was given, at the same paths"
        )
    if others:
        logger.info(
            "nothing is mined on %d of %d images, which no training patch is from: %s",
            len(others),
            len(given.paths),
            some_of([image.name for image in others], 1),
        )
    background = str(sidecar.background)
    animals = sum(row["split"] == "train" and row["label"] != background for row in rows)
    if ratio is None:
        ratio = max(1.0, min(_RATIO, _MOST / max(animals, 1)))
    sides = facts.patch, facts.patch + 2 * facts.context
    distance = 1.5 * facts.patch if distance is None else distance
    wanted = max(1, round(ratio * animals))
    ground = Ground(truth, areas, splits, *sides, distance, wanted, background)
    if out.resolve() != data.resolve():
        data = extend_patches(data, [], out).folder
    made: list[MiningRound] = []
    for number in range(1, rounds + 2):
        chosen: list[Addition] = []
        with tempfile.TemporaryDirectory(prefix="tltool-mine-") as folder:
            maps = make_maps(run, given, Path(folder), options=options).all()
            known: dict[str, Any] = {"aoi": aoi, "ignore": ignore, "columns": columns}
            tuned = tune_count(run, given.paths, points, maps=folder, radius=radius, **known)
            if number <= rounds:
                cut: dict[Path, list[tuple[float, float]]] = {}
                for row in patch_rows(data):
                    if row["label"] == background:
                        xy = float(row["x"]), float(row["y"])
                        cut.setdefault(Path(row["image"]), []).append(xy)
                taken = {image: np.array(xy) for image, xy in cut.items()}
                rng = np.random.default_rng(number)
                pairs = [ground.candidates(each, taken, rng) for each in maps]
                found, drawn = ([one for pair in pairs for one in pair[k]] for k in (0, 1))
                chosen = choose_negatives(found, drawn, ground.number, rng)
        scores = [one.point.score for one in chosen if one.point.score is not None]
        ends = (max(scores), min(scores)) if scores else (None, None)
        rates = tuned.parameters.validation_any or Validation(tp=0, fp=0, fn=0)
        numbers = len(scores), len(chosen) - len(scores)
        made.append(MiningRound(number, rates.f1, rates.precision, rates.recall, *numbers, *ends))
        show(made[-1])
        if not chosen:
            if number <= rounds:
                logger.warning(
                    "%s stays as it was: no place in the area and in the training's part of an"
                    " image is %g px from every point and not cut yet. Take less `distance`, or"
                    " more images",
                    run,
                    ground.distance,
                )
            break
        additions = []
        for one in chosen:
            how = "drawn" if one.point.score is None else "mined"
            where = f"{how}: round {number} of {run.name}"
            additions.append(replace(one, point=replace(one.point, where=where)))
        extend_patches(data, additions, data)
        # The old run stays until the new one is whole.
        with atomic_path(run) as partial:
            recipe = load_recipe(run / RECIPE_NAME)
            finetune(data, partial, recipe, show=lambda report: None)
    return Mining(data, run, made, tuned)
