"""`tltool mine`: what a run takes for animals where none are becomes background to train on."""

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from tltool.annotations import Point
from tltool.counting.areas import Areas, find_areas
from tltool.counting.maps import ImageMap, classes_of, countable_sidecar, make_maps
from tltool.counting.truth import ImageTruth, read_truth
from tltool.counting.tune import Tuning, tune_count
from tltool.data.patch_folder import Addition, KnownSplits, extend_patches, patch_rows, read_patches
from tltool.data.splits import SPLITS
from tltool.errors import DataError, ModelError, OutputError, UsageError
from tltool.files import atomic_path, images_of
from tltool.points.detections import suppress_near
from tltool.recipe import load_recipe
from tltool.run.detection_parameters import Validation
from tltool.run.folder import RECIPE_NAME
from tltool.run.sidecar import Sidecar
from tltool.text import some_of
from tltool.training.finetune import finetune

logger = logging.getLogger("tltool")

Show = Callable[["Round"], None]

_TRAIN = SPLITS.index("train")

Taken = dict[Path, np.ndarray]

# Peaks below this score teach nothing: the run knows that nothing is there.
_FLOOR = 0.02

# Patches that a round adds for each animal, and in all.
_RATIO, _MOST = 16.0, 1000

# Places tried for each that is wanted.
_TRIED = 20


@dataclass(frozen=True)
class Round:
    """A network, and what it took for animals.

    Attributes
    ----------
    number : int
        From 1 on; the network of round 1 is the one that was given.
    f1 : float or None
        Of its detections of any animal, as `tune_count` validated them.
    precision, recall : float or None
    mined, drawn : int
        False detections that were added to the training for it, and places
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
    """What `mine` did.

    Attributes
    ----------
    data, run : Path
        The enlarged patches, and the run that was trained on them.
    rounds : list of Round
        One more than was asked for: the last is the network that came of it.
    tuning : Tuning
        Of that network.
    """

    data: Path
    run: Path
    rounds: list[Round] = field(default_factory=list)
    tuning: Tuning | None = None


@dataclass(frozen=True)
class Ground:
    """Where negatives may lie, and how many are wanted.

    Attributes
    ----------
    truth : dict of Path to ImageTruth
    areas : Areas
    splits : KnownSplits
    patch, window : int
        Sides of a patch without and with its context, px.
    distance : float
        Least of a patch's centre from every animal, along the farther axis, px.
    number : int
        Patches that a round adds.
    background : str
        Their label.
    """

    truth: dict[Path, ImageTruth]
    areas: Areas
    splits: KnownSplits
    patch: int
    window: int
    distance: float
    number: int
    background: str

    def allows(self, image: Path, xy: np.ndarray, taken: Taken) -> np.ndarray:
        """Which (n, 2) places of an image are the training's, far from animals and not cut yet."""
        lefts, tops = (xy - self.patch // 2).astype(int).T
        allowed = self.areas.covered[image].holds(lefts, tops, self.patch)
        allowed &= self.splits.assign(image, xy, self.window / 2) == _TRAIN
        allowed &= _away(xy, self.truth[image].xy, self.distance)
        return allowed & _away(xy, taken.get(image.resolve(), np.zeros((0, 2))), self.patch / 2)

    def false_ones(self, image_map: ImageMap, taken: Taken) -> list[Addition]:
        """Peaks where no animal is."""
        found = image_map.in_image(image_map.candidates(floor=_FLOOR))
        found = found.take(self.allows(image_map.image, np.round(found.xy), taken))
        found = found.take(suppress_near(found.x, found.y, found.score, self.patch / 2))
        return self.additions(image_map.image, np.round(found.xy), found.score.tolist())

    def drawn(self, image_map: ImageMap, taken: Taken, rng: np.random.Generator) -> list[Addition]:
        """Places drawn by chance."""
        image, size = image_map.image, image_map.size
        tried = np.floor(rng.random((_TRIED * self.number, 2)) * size)
        places = tried[self.allows(image, tried, taken)]
        even = np.zeros(len(places))
        chosen = np.sort(suppress_near(places[:, 0], places[:, 1], even, self.patch / 2))
        return self.additions(image, places[chosen], [None] * len(chosen))

    def additions(
        self, image: Path, places: np.ndarray, scores: Sequence[float | None]
    ) -> list[Addition]:
        """Patches of the background around (n, 2) places."""
        return [
            Addition(image, Point(image.name, x, y, self.background, score), "train")
            for (x, y), score in zip(places.tolist(), scores, strict=True)
        ]


def _away(xy: np.ndarray, points: np.ndarray, distance: float) -> np.ndarray:
    """Which of (n, 2) places are so far from every point along the farther axis."""
    if not len(points) or not len(xy):
        return np.ones(len(xy), bool)
    nearest, _ = cKDTree(points).query(xy, p=np.inf)
    return np.asarray(nearest >= distance)


def _how(addition: Addition) -> str:
    return "drawn" if addition.point.score is None else "mined"


def _taken(data: Path, background: str) -> Taken:
    """Where backgrounds were cut already."""
    places: dict[Path, list[tuple[float, float]]] = {}
    for row in patch_rows(data):
        if row["label"] == background:
            places.setdefault(Path(row["image"]), []).append((float(row["x"]), float(row["y"])))
    return {image: np.array(xy) for image, xy in places.items()}


def choose_negatives(
    found: Sequence[Addition], drawn: Sequence[Addition], number: int, rng: np.random.Generator
) -> list[Addition]:
    """The highest false peaks, half of all, and places drawn by chance for the rest.

    Those alone that deceive a network most are alike; taught by them alone, the
    next one is deceived by what this one told right.

    Returns
    -------
    list of Addition
        At most `number`; peaks first, highest score first.
    """
    peaks = sorted(found, key=lambda one: -(one.point.score or 0))[: number - number // 2]
    order = rng.permutation(len(drawn))[: number - len(peaks)]
    return peaks + [drawn[place] for place in order]


@dataclass(frozen=True)
class _Miner:
    """What stays the same over the rounds."""

    run: Path
    data: Path
    points: Path
    images: Sequence[Path]
    ground: Ground
    options: dict[str, Any]

    def judge(self, number: int, mining: bool) -> tuple[Round, list[Addition], Tuning]:
        """Tune on the maps of the run as it is, and choose what is mined from them."""
        with tempfile.TemporaryDirectory(prefix="tltool-mine-") as folder:
            maps = make_maps(self.run, self.images, Path(folder))
            if maps.failed:
                raise next(iter(maps.failed.values()))
            tuned = tune_count(self.run, self.images, self.points, maps=folder, **self.options)
            chosen = self._choose(maps.maps, number) if mining else []
        told = tuned.parameters.validation_any or Validation(tp=0, fp=0, fn=0)
        scores = [one.point.score for one in chosen if one.point.score is not None]
        ends = (max(scores), min(scores)) if scores else (None, None)
        mined, drawn = len(scores), len(chosen) - len(scores)
        made = Round(number, told.f1, told.precision, told.recall, mined, drawn, *ends)
        return made, chosen, tuned

    def _choose(self, maps: Sequence[ImageMap], number: int) -> list[Addition]:
        """What is cut from all images."""
        taken = _taken(self.data, self.ground.background)
        rng = np.random.default_rng(number)
        found = [one for each in maps for one in self.ground.false_ones(each, taken)]
        drawn = [one for each in maps for one in self.ground.drawn(each, taken, rng)]
        chosen = choose_negatives(found, drawn, self.ground.number, rng)
        source = f"round {number} of {self.run.name}"
        return [
            replace(one, point=replace(one.point, where=f"{_how(one)}: {source}")) for one in chosen
        ]

    def retrain(self) -> None:
        """Train the run's recipe anew; the old run stays until the new one is whole."""
        recipe = load_recipe(self.run / RECIPE_NAME)
        with atomic_path(self.run) as partial:
            finetune(self.data, partial, recipe, show=lambda report: None)


def _ratio(animals: int) -> float:
    return max(1.0, min(_RATIO, _MOST / max(animals, 1)))


def _check_trained_on(images: Sequence[Path], splits: KnownSplits, data: Path) -> None:
    """Whether there is any image to mine, and tell which are none."""
    others = [image for image in images if not splits.trained_on(image)]
    if len(others) == len(images):
        raise DataError(
            f"{data}: expected images that its training patches were cut from; received"
            f" {some_of([str(image) for image in others], 1)}, and none of its training patches is"
            " from there. Give the images that tltool patches was given, at the same paths"
        )
    if others:
        logger.info(
            "nothing is mined on %d of %d images, which no training patch is from: %s",
            len(others),
            len(images),
            some_of([image.name for image in others], 1),
        )


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
    told = (sidecar.data or {}).get("folder")
    if told is None or not Path(told).is_dir():
        raise DataError(
            f"{run}: expected its patches where it was trained on them, {told or 'a folder'};"
            " that is not there. Put it back, or train the run again"
        )
    if out.exists() and out.resolve() != Path(told).resolve():
        raise OutputError(
            f"{out}: expected {told}, the patches that {run} was trained on, to add to, or a new"
            " folder; it exists and is another"
        )
    return Path(told)


def mine(
    run: str | Path,
    images: Sequence[str | Path],
    points: str | Path,
    out: str | Path,
    *,
    rounds: int = 1,
    ratio: float | None = None,
    distance: float | None = None,
    radius: float | None = None,
    aoi: str | Path | None = None,
    ignore: str | Path | None = None,
    columns: Sequence[str] | None = None,
    show: Show = lambda made: None,
) -> Mining:
    """Add what a run takes for animals where none are to its backgrounds, and train it again.

    Each round maps the images, takes the highest peaks far from every point,
    and as many places drawn by chance, cuts them as patches of the background,
    and trains the run's own recipe anew on the enlarged patches. In the end
    threshold and distance are tuned as by `tune_count`.

    Parameters
    ----------
    run : str or Path
        A run folder of `tltool.finetune`, which is replaced by the retrained
        one when that is whole.
    images : sequence of str or Path
        Annotated images that its patches were cut from.
    points : str or Path
        Their true points, see `tltool.annotations.read_points`.
    out : str or Path
        The patches that the run was trained on, which are added to; or a new
        folder, which gets them and the new ones. ``manifest.csv`` says of
        each patch where it is from, and the score that the run gave it.
    rounds : int
    ratio : float, optional
        Patches that a round adds, at most, for each animal of the training.
        Default: 16; less where that were more than 1000 patches, but 1 at
        least.
    distance : float, optional
        Least distance of a new patch's centre from every point along the
        farther axis, px. Default: one and a half of the patch's side: points
        are not always set on the middle of what they mean.
    radius : float, optional
        As of `tune_count`.
    aoi, ignore : str or Path, optional
        GeoJSON of what is annotated, and of what nothing is taken from. Where
        nothing is annotated, animals are unknown: nothing is mined there.
    columns : sequence of str, optional
        Of `points`.
    show : callable
        Gets each `Round` when it is judged.

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
    for name, value in (("--rounds", rounds), ("--ratio", ratio)):
        if value is not None and not value > 0:
            raise UsageError(f"{name}: expected a number above 0, received {value:g}")
    sidecar, paths = countable_sidecar(run), images_of(images)
    data = _patches_of(run, sidecar, out)
    facts, rows = read_patches(data)
    areas = find_areas(paths, aoi, ignore)
    wanted = [path for path in paths if path in areas]
    truth = read_truth(points, wanted, classes_of(sidecar), sidecar.background, columns)
    splits = KnownSplits.load(data)
    _check_trained_on(wanted, splits, data)
    background = str(sidecar.background)
    animals = sum(row["split"] == "train" and row["label"] != background for row in rows)
    ground = Ground(
        truth,
        areas,
        splits,
        facts.patch,
        facts.patch + 2 * facts.context,
        1.5 * facts.patch if distance is None else distance,
        max(1, round((_ratio(animals) if ratio is None else ratio) * animals)),
        background,
    )
    if out.resolve() != data.resolve():
        data = extend_patches(data, [], out).folder
    options = {"radius": radius, "aoi": aoi, "ignore": ignore, "columns": columns}
    miner = _Miner(run, data, Path(points), wanted, ground, options)
    made: list[Round] = []
    for number in range(1, rounds + 2):
        judged, chosen, tuned = miner.judge(number, mining=number <= rounds)
        made.append(judged)
        show(judged)
        if not chosen:
            if number <= rounds:
                logger.warning(
                    "%s stays as it was: no place in the area and in the training's part of an"
                    " image is %g px from every point and not cut yet. Take less --distance, or"
                    " more images",
                    run,
                    ground.distance,
                )
            break
        extend_patches(data, chosen, data)
        miner.retrain()
    return Mining(data, run, made, tuned)
