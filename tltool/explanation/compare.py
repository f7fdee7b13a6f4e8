"""Comparison of explanation methods: how faithful the maps of each are, over many images."""

import csv
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tltool.errors import ImageError
from tltool.explanation.explain import read_all
from tltool.explanation.explainer import Explainer, choose_class, open_explainer
from tltool.explanation.faithfulness import (
    POINT_TOLERANCE,
    TOLERANCE,
    area_under,
    deletion,
    insertion,
    points_at,
)
from tltool.explanation.methods import allowed_methods, maps_of_subject, on_image
from tltool.explanation.subject import Subject
from tltool.explanation.truth import Truth, read_truth
from tltool.explanation.windows import gather, place_window, shrink_to_window
from tltool.files import atomic_path, refuse_existing
from tltool.inference.network import Openable, open_network
from tltool.inference.predict_batches import Batch, Images, is_cut
from tltool.progress import progress_bar
from tltool.run.folder import write_json
from tltool.text import with_numbers

logger = logging.getLogger(__name__)

CSV_NAME, JSON_NAME = "methods.csv", "methods.json"
# What a method must beat, and cannot look at the image.
CENTRE, CHANCE = "(centre)", "(chance)"


@dataclass(frozen=True)
class Faithfulness:
    """Measures of the faithfulness of a method's maps.

    Attributes
    ----------
    method : str
        ``(centre)`` is the nearness to the image's middle, ``(chance)`` random
        numbers a cell: what any method must beat.
    layer : str
        Whose map was looked at; empty for those two.
    images : int
    insertion, deletion : float
        Mean area under the curves of `tltool.explanation.faithfulness`; high and low
        are good.
    pointing : float or None
        Share of things that the map of their class points at; None: none known.
    things : int
        Pairs of image and class that were pointed at.
    seconds : float
        Of making a map, of an image.
    """

    method: str
    layer: str
    images: int
    insertion: float
    deletion: float
    pointing: float | None
    things: int
    seconds: float


@dataclass(frozen=True)
class MethodComparison:
    """The methods compared, the best difference of insertion and deletion first.

    Attributes
    ----------
    methods : list of Faithfulness
    unreadable : list of ImageError
    refused : dict of str to str
        Methods that the head or the layer does not allow, with the reason.
    files : list of Path
    """

    methods: list[Faithfulness]
    unreadable: list[ImageError]
    refused: dict[str, str]
    files: list[Path]


@dataclass
class _Tally:
    """What is collected of a method."""

    insertions: list[float] = field(default_factory=list)
    deletions: list[float] = field(default_factory=list)
    hits: list[bool] = field(default_factory=list)
    seconds: float = 0.0

    def summary(self, method: str, layer: str) -> Faithfulness:
        number = len(self.insertions)
        return Faithfulness(
            method,
            layer,
            number,
            float(np.mean(self.insertions)),
            float(np.mean(self.deletions)),
            float(np.mean(self.hits)) if self.hits else None,
            len(self.hits),
            self.seconds / max(1, number),
        )


# Images, targets -> maps (n, height, width) of the images' size.
Maker = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _maker(subject: Subject, method: str, batch_size: int) -> Maker:
    def make(images: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return on_image(subject, maps_of_subject(subject, images, targets, method, batch_size))

    return make


def _centre(images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    down, across = (np.linspace(-1, 1, side) for side in images.shape[1:3])
    nearness = 2 - np.hypot(down[:, None], across)
    return np.repeat(nearness[None], len(images), axis=0)


def _chance(subject: Subject, seed: int = 0) -> Maker:
    rng = np.random.default_rng(seed)

    def make(images: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return subject.layout.enlarge(rng.random((len(images), *subject.cells)))

    return make


@dataclass(frozen=True)
class _Comparison:
    """What holds for every image."""

    explainer: Explainer
    class_index: int | None
    truth: dict[Path, list[Truth]]
    cut: Callable[[Path], bool]

    def add(self, read: Batch, make: Maker, tally: _Tally) -> None:
        """Add the images of a batch to what is known of a method."""
        scores = self.explainer.checked_scores(read)
        asked = self.class_index
        classes = scores.argmax(axis=1) if asked is None else np.full(len(scores), asked)
        started = time.perf_counter()
        heats = make(read.prepared, self.explainer.targets(classes))
        tally.seconds += time.perf_counter() - started
        for image, heat, index in zip(read.prepared, heats, classes.tolist(), strict=True):
            predict = self._predict(index)
            tally.insertions.append(area_under(insertion(predict, image, heat)))
            tally.deletions.append(area_under(deletion(predict, image, heat)))
        self._point(read, heats, classes, make, tally)

    def _predict(self, index: int) -> Callable[[np.ndarray], np.ndarray]:
        return lambda images: self.explainer.scores(images)[:, index]

    def _point(
        self, read: Batch, heats: np.ndarray, classes: np.ndarray, make: Maker, tally: _Tally
    ) -> None:
        """Ask for each image and class of a thing in it where the map of that class points."""
        wanted = [
            (index, label, things)
            for index, path in enumerate(read.names)
            for label, things in self._things(path, int(classes[index])).items()
        ]
        if not wanted:
            return
        indices, labels = np.array([(index, label) for index, label, _ in wanted]).T
        own = heats[indices]
        other = labels != classes[indices]
        if other.any():
            images, targets = read.prepared[indices[other]], self.explainer.targets(labels[other])
            own[other] = make(images, targets)
        side = self.explainer.network.sidecar.window
        for (index, _, things), heat in zip(wanted, shrink_to_window(own, side), strict=True):
            path = Path(read.names[index])
            window, _ = place_window(path, self.explainer.network.sidecar, self.cut)
            boxes = [(window.from_image(t.box), self._tolerance(t)) for t in things]
            tally.hits.append(points_at(heat, boxes))

    def _tolerance(self, thing: Truth) -> float:
        """Of a thing, px of the window."""
        sidecar = self.explainer.network.sidecar
        if thing.is_point:
            return POINT_TOLERANCE * sidecar.patch
        return TOLERANCE * sidecar.window

    def _things(self, path: Path | str, predicted: int) -> dict[int, list[Truth]]:
        """Those of each class that the task knows; without a class, of the predicted one."""
        names = self.explainer.task.classes
        found: dict[int, list[Truth]] = {}
        for thing in self.truth.get(Path(path), []):
            if thing.label is None or thing.label in names:
                index = predicted if thing.label is None else names.index(thing.label)
                found.setdefault(index, []).append(thing)
        return found


def compare_methods(
    network: Openable,
    images: Images,
    out: str | Path | None = None,
    *,
    label: str | None = None,
    task: str | None = None,
    layer: str | None = None,
    truth: str | Path | None = None,
    batch_size: int = 32,
    strict: bool = False,
    overwrite: bool = False,
) -> MethodComparison:
    """Compare methods by how faithful their maps are over many images.

    Insertion: a blurred image gets its pixels back, those with most heat
    first. Deletion: pixels take the image's mean colour, those with most heat
    first. Both tell the mean probability of the class on the way. The pointing
    game asks whether a map is highest on a thing of its class: in its box or
    within 15 of 224 px of the window, or within a quarter of a patch from its
    point.

    Parameters
    ----------
    network, images, label, task, layer, batch, strict, overwrite
        As of `tltool.explain`.
    out : str or Path, optional
        Folder for ``methods.csv`` and ``methods.json``. None: nothing is
        written.
    truth : str or Path, optional
        Where things are: boxes, or points in any format of `tltool.patches`.

    Returns
    -------
    MethodComparison
        All methods that the head and the layer allow.

    Raises
    ------
    UsageError, ImageError, ModelError, DataError, OutputError
        As of `tltool.explain`.
    """
    files = [] if out is None else [Path(out) / CSV_NAME, Path(out) / JSON_NAME]
    for path in files:
        refuse_existing(path, overwrite)
    sources, cut = gather(images), is_cut()
    paths = [each for each in sources if isinstance(each, Path)]
    true = {} if truth is None else read_truth(Path(truth), paths)
    explainer = open_explainer(open_network(network), task, layer)
    _warn_of_unknown(true.values(), explainer.task.classes, truth)
    allowed, refused = allowed_methods(explainer.subject)
    comparison = _Comparison(explainer, choose_class(explainer.task, label), true, cut)
    makers = {name: _maker(subject, name, batch_size) for name, subject in allowed.items()}
    makers |= {CENTRE: _centre, CHANCE: _chance(explainer.subject)}
    tallies, unreadable = _compare_all(comparison, makers, sources, batch_size, strict)
    layers = {name: subject.layer for name, subject in allowed.items()}
    found = [tally.summary(name, layers.get(name, "")) for name, tally in tallies.items()]
    found.sort(key=lambda each: each.deletion - each.insertion)
    if files:
        _write(files[0], files[1], found)
    return MethodComparison(found, unreadable, refused, files)


def _warn_of_unknown(
    truth: Iterable[Sequence[Truth]], classes: Sequence[str], path: str | Path | None
) -> None:
    """Say which things are left out, for no class's map could point at them."""
    labels = (thing.label for things in truth for thing in things if thing.label is not None)
    unknown = Counter(label for label in labels if label not in classes)
    if unknown:
        logger.warning(
            "%s: labels that the run does not know: %s. They are left out; it knows %s",
            path,
            with_numbers(unknown),
            ", ".join(classes),
        )


def _compare_all(
    comparison: _Comparison,
    makers: dict[str, Maker],
    sources: Sequence[Any],
    batch_size: int,
    strict: bool,
) -> tuple[dict[str, _Tally], list[ImageError]]:
    tallies = {name: _Tally() for name in makers}
    unreadable: list[ImageError] = []
    with progress_bar("methods", len(sources) * len(makers), "maps") as bar:
        for read in read_all(comparison.explainer, sources, batch_size, strict):
            unreadable += read.unreadable
            for name, make in makers.items():
                if read.names:
                    comparison.add(read, make, tallies[name])
                bar.advance(len(read), name)
    return tallies, unreadable


def _write(table: Path, document: Path, found: Sequence[Faithfulness]) -> None:
    rows = [asdict(each) for each in found]
    with atomic_path(table) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_json(document, {"format": 1, "methods": rows})
