"""Comparison of explanation methods: how faithful the maps of each are, over many images."""

import csv
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tltool.errors import ImageError
from tltool.explanation.boxes import Box
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
        Time that a map of an image takes.
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


# Images, targets -> maps (n, height, width) of the images' size.
Maker = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _makers(allowed: dict[str, Subject], default: Subject, batch_size: int) -> dict[str, Maker]:
    """Collect what makes maps: the methods, and what a method must beat."""
    rng = np.random.default_rng(0)

    def by_method(method: str, subject: Subject) -> Maker:
        return lambda images, targets: on_image(
            subject, maps_of_subject(subject, images, targets, method, batch_size)
        )

    def centre(images: np.ndarray, targets: np.ndarray) -> np.ndarray:
        down, across = (np.linspace(-1, 1, side) for side in images.shape[1:3])
        return np.repeat(2 - np.hypot(down[:, None], across)[None], len(images), axis=0)

    def chance(images: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return default.layout.enlarge(rng.random((len(images), *default.cells)))

    makers = {method: by_method(method, subject) for method, subject in allowed.items()}
    return makers | {CENTRE: centre, CHANCE: chance}


# Image's row, class, and its things there, that the map of the class may point at.
_Pointing = tuple[int, int, list[tuple[Box, float]]]


def _pointings(
    batch: Batch,
    predicted: np.ndarray,
    explainer: Explainer,
    truth: dict[Path, list[Truth]],
    cut: Callable[[Path], bool],
) -> list[_Pointing]:
    """Find the things in the images of a batch; those without a class are of the predicted one."""
    sidecar, names = explainer.network.sidecar, explainer.task.classes
    found: list[_Pointing] = []
    for row, name in enumerate(batch.names):
        of_class: dict[int, list[tuple[Box, float]]] = {}
        for thing in truth.get(Path(name), []):
            if thing.label is not None and thing.label not in names:
                continue
            target = int(predicted[row]) if thing.label is None else names.index(thing.label)
            near = POINT_TOLERANCE * sidecar.patch if thing.is_point else TOLERANCE * sidecar.window
            window, _ = place_window(Path(name), sidecar, cut)
            of_class.setdefault(target, []).append((window.from_image(thing.box), near))
        found += [(row, target, boxes) for target, boxes in of_class.items()]
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
    network, images, label, task, layer, batch_size, strict, overwrite
        As of `tltool.explain`.
    out : str or Path, optional
        Folder for ``methods.csv`` and ``methods.json``. None: nothing is
        written.
    truth : str or Path, optional
        Places of things: boxes, or points in any format of `tltool.patches`.

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
    classes, side = explainer.task.classes, explainer.network.sidecar.window
    labels = [thing.label for things in true.values() for thing in things]
    unknown = Counter(name for name in labels if name is not None and name not in classes)
    if unknown:
        text = "%s: labels that the run does not know: %s. They are left out; it knows %s"
        logger.warning(text, truth, with_numbers(unknown), ", ".join(classes))
    allowed, refused = allowed_methods(explainer.subject)
    chosen = choose_class(explainer.task, label)
    makers = _makers(allowed, explainer.subject, batch_size)
    insertions: dict[str, list[float]] = {name: [] for name in makers}
    deletions: dict[str, list[float]] = {name: [] for name in makers}
    hits: dict[str, list[bool]] = {name: [] for name in makers}
    seconds = dict.fromkeys(makers, 0.0)
    unreadable: list[ImageError] = []
    with progress_bar("methods", len(sources) * len(makers), "maps") as bar:
        for batch in read_all(explainer, sources, batch_size, strict):
            unreadable += batch.unreadable
            if not batch.names:
                bar.advance(len(batch) * len(makers))
                continue
            scores = explainer.checked_scores(batch)
            shown = scores.argmax(axis=1) if chosen is None else np.full(len(scores), chosen)
            pointings = _pointings(batch, shown, explainer, true, cut)
            rows = np.array([row for row, _, _ in pointings], int)
            targets = np.array([target for _, target, _ in pointings], int)
            other = targets != shown[rows]
            for name, make in makers.items():
                started = time.perf_counter()
                heats = make(batch.prepared, explainer.targets(shown))
                seconds[name] += time.perf_counter() - started
                for image, heat, index in zip(batch.prepared, heats, shown.tolist(), strict=True):

                    def predict(changed: np.ndarray, index: int = index) -> np.ndarray:
                        return explainer.scores(changed)[:, index]

                    insertions[name].append(area_under(insertion(predict, image, heat)))
                    deletions[name].append(area_under(deletion(predict, image, heat)))
                own = heats[rows]
                if other.any():
                    own[other] = make(
                        batch.prepared[rows[other]], explainer.targets(targets[other])
                    )
                for (*_, boxes), heat in zip(pointings, shrink_to_window(own, side), strict=True):
                    hits[name].append(points_at(heat, boxes))
                bar.advance(len(batch), name)
    found = [
        Faithfulness(
            name,
            allowed[name].layer if name in allowed else "",
            len(insertions[name]),
            float(np.mean(insertions[name])),
            float(np.mean(deletions[name])),
            float(np.mean(hits[name])) if hits[name] else None,
            len(hits[name]),
            seconds[name] / max(1, len(insertions[name])),
        )
        for name in makers
    ]
    found.sort(key=lambda each: each.deletion - each.insertion)
    if files:
        table = [asdict(each) for each in found]
        with atomic_path(files[0]) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(table)
        write_json(files[1], {"format": 1, "methods": table})
    return MethodComparison(found, unreadable, refused, files)
