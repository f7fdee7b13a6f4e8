"""`tltool explain`: where a run's classifier sees in an image what it tells of it."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tltool.errors import DataError, ImageError, UsageError
from tltool.explanation.boxes import THRESHOLD, Localisation, localise
from tltool.explanation.chosen import Asked, ask, choose_class
from tltool.explanation.explained import RAW, Explained, Files, Locator
from tltool.explanation.methods import find_method, maps_of_subject, on_image, subject_for
from tltool.explanation.names import DEFAULT_METHOD
from tltool.explanation.truth import Truth, read_truth
from tltool.explanation.windows import gather, shrink_to_window
from tltool.explanation.written import COCO_NAME, CSV_NAME, write_boxes
from tltool.inference.network import Openable, open_network
from tltool.inference.predict_batches import Batch, is_cut, predict_batches
from tltool.progress import progress_bar

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Explanation:
    """Result of `explain`.

    Attributes
    ----------
    method : str
    layer : str
        Path of the layer whose map was looked at.
    cells : (int, int)
        Of that map, down and across.
    images : list of Explained
    unreadable : list of ImageError
        Of the images that were left out.
    localisation : Localisation or None
        Where true boxes are known.
    files : list of Path
        Of the boxes.
    """

    method: str
    layer: str
    cells: tuple[int, ...]
    images: list[Explained]
    unreadable: list[ImageError]
    localisation: Localisation | None = None
    files: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class _Job:
    """What holds for every image of a call."""

    asked: Asked
    class_index: int | None
    files: Files
    locator: Locator | None
    batch_size: int

    def explain(self, read: Batch) -> list[Explained]:
        """The images of a batch."""
        asked, side = self.asked, self.asked.network.sidecar.window
        scores = asked.checked_scores(read)
        predicted = scores.argmax(axis=1)
        chosen = (
            predicted if self.class_index is None else np.full_like(predicted, self.class_index)
        )
        targets, method = asked.targets(chosen), self.files.method
        maps = maps_of_subject(asked.subject, read.prepared, targets, method, self.batch_size)
        heats = shrink_to_window(on_image(asked.subject, maps), side)
        return [
            self._finish(*each)
            for each in zip(
                map(Path, read.names), read.images, heats, scores, chosen.tolist(), strict=True
            )
        ]

    def _finish(
        self, image: Path, pixels: np.ndarray, heat: np.ndarray, scores: np.ndarray, place: int
    ) -> Explained:
        names, probability = self.asked.task.classes, float(scores[place])
        class_name, predicted = names[place], names[int(scores.argmax())]
        located = self.locator(image, heat, class_name) if self.locator else None
        lines = [f"{class_name} {probability:.2f}", f"{image.name}, {self._how()}"]
        if predicted != class_name:
            lines[0] += f" (most probable: {predicted} {scores.max():.2f})"
        sidecar = self.asked.network.sidecar
        picture = self.files.draw(image, pixels, heat, lines, located, sidecar)
        raw = self.files.write_raw(image, heat)
        return Explained(image, class_name, probability, predicted, heat, picture, raw, located)

    def _how(self) -> str:
        return f"{self.files.method}, {self.asked.subject.layer}"


def explain(
    network: Openable,
    images: Sequence[str | Path],
    out: str | Path,
    *,
    method: str = DEFAULT_METHOD,
    class_name: str | None = None,
    task: str | None = None,
    layer: str | None = None,
    raw: str | None = None,
    boxes: bool = False,
    box_threshold: float = THRESHOLD,
    truth: str | Path | None = None,
    batch_size: int = 32,
    strict: bool = False,
    overwrite: bool = False,
) -> Explanation:
    """Show where a run's classifier sees in images what it tells of them.

    Parameters
    ----------
    network : str, Path, Network or keras.Model
        A run folder, a model file, or what `tltool.open` takes or gave.
    images : sequence of str or Path
        Image files, folders of them (of folders too), or patterns. They are
        read as the run reads its patches: of those that `tltool.patches` cut
        the middle, others resized.
    out : str or Path
        Folder for ``<stem>.<method>.png``: the image, and the same under the
        heat. Of images from a folder the stem is the path from there.
    method : str
        One of `tltool.explanation.methods.METHODS`.
    class_name : str, optional
        Of which class. Default: of each image the most probable one.
    task : str, optional
        Of which task, where the run tells several.
    layer : str, optional
        Whose map is looked at, by its path (`list_layers`). Default: the last
        map before the head with 5 cells or more along each side; of ``cam``
        what the head pools.
    raw : 'npy' or 'tiff', optional
        Write the map too: (side, side) float32 in px of the window that the
        network sees, not scaled.
    boxes : bool
        Put a box around the largest connected part of the map above a share of
        its maximum; write all to ``boxes.csv`` and, as COCO has it,
        ``boxes.json``, px of the image.
    box_threshold : float
        That share, 0..1.
    truth : str or Path, optional
        With `boxes`: CSV table of the true ones, ``image,xmin,ymin,xmax,ymax``
        and perhaps ``label``, px of the image.
    batch_size : int
        Images at a time.
    strict : bool
        Stop at an unreadable image instead of leaving it out.
    overwrite : bool
        Replace earlier outputs.

    Returns
    -------
    Explanation

    Raises
    ------
    UsageError
        A method, task, class or layer that there is not, or that the head does
        not allow.
    ImageError
        Not one image can be read; where `strict`, the first that cannot.
    ModelError
        No run there, or outputs that are no numbers, naming the image.
    DataError
        A truth file that is none.
    OutputError
    """
    find_method(method)
    _check(raw, box_threshold, truth, boxes)
    named, cut = gather(images), is_cut()
    files = Files(Path(out), named, method, raw)
    files.refuse(overwrite, *((COCO_NAME, CSV_NAME) if boxes else ()))
    true = {} if truth is None else _boxes_alone(Path(truth), list(named))
    asked = ask(open_network(network), task, layer)
    asked = asked.at(subject_for(asked.subject, method))
    locator = Locator(asked.network.sidecar, box_threshold, true, cut) if boxes else None
    job = _Job(asked, choose_class(asked.task, class_name), files, locator, batch_size)
    made, unreadable = _explain_all(job, cut, strict)
    written = write_boxes(files.folder, made) if boxes else []
    located = [each.located for each in made if each.located]
    fits = [(one.iou, one.right) for one in located if one.iou is not None]
    layer, cells = asked.subject.layer, asked.subject.cells
    return Explanation(method, layer, cells, made, unreadable, localise(fits), written)


def _check(raw: str | None, threshold: float, truth: str | Path | None, boxes: bool) -> None:
    if raw is not None and raw not in RAW:
        raise UsageError(f"`raw`: expected one of {', '.join(RAW)}; received {raw}")
    if not 0 < threshold < 1:
        raise UsageError(
            "`box_threshold`: expected a share of the map's maximum between 0 and 1, received"
            f" {threshold:g}"
        )
    if truth is not None and not boxes:
        raise UsageError("`truth`: expected `boxes=True` with it, or `tltool.compare_methods`")


def _boxes_alone(path: Path, images: list[Path]) -> dict[Path, list[Truth]]:
    found = read_truth(path, images)
    if any(each.is_point for own in found.values() for each in own):
        raise DataError(
            f"{path}: expected boxes, image,xmin,ymin,xmax,ymax and perhaps label, to compare boxes"
            " with; received points, which `tltool.compare_methods` takes"
        )
    return found


def read_all(
    asked: Asked, paths: Sequence[Path], cut: Callable[[Path], bool], batch_size: int, strict: bool
) -> Iterator[Batch]:
    """Batches of images as the run sees them; unreadable ones are told at once.

    Raises
    ------
    ImageError
        Where `strict`; or not one can be read.
    """
    readable, last = 0, None
    batches = predict_batches(asked.network, paths, batch_size=batch_size, crop=cut, strict=strict)
    for each in batches:
        for last in each.unreadable:
            logger.warning("left out: %s", last)
        readable += len(each.names)
        yield each
    if last is not None and not readable:
        raise last


def _explain_all(
    job: _Job, cut: Callable[[Path], bool], strict: bool
) -> tuple[list[Explained], list[ImageError]]:
    made: list[Explained] = []
    unreadable: list[ImageError] = []
    paths = list(job.files.names)
    with progress_bar(job.files.method, len(paths), "images") as bar:
        for read in read_all(job.asked, paths, cut, job.batch_size, strict):
            unreadable += read.unreadable
            made += job.explain(read) if read.names else []
            bar.advance(len(read.names) + len(read.unreadable))
    return made, unreadable
