"""`tltool predict`: what a run says to images, a batch at a time."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from tltool.errors import ImageError
from tltool.files import walk_images
from tltool.inference.network import Probabilities, check_finite
from tltool.inference.opened_run import OpenedRun, is_cut, open_run
from tltool.inference.predictions import FORMATS, Prediction
from tltool.inference.reading import Batch, WindowReader, read_batches
from tltool.inference.views import Views, mean_of_views
from tltool.metrics.calibration import soften
from tltool.progress import progress_bar

logger = logging.getLogger("tltool")

Source = str | Path


def _expand(sources: Iterable[Source]) -> Iterator[Path]:
    for source in map(Path, sources):
        if not source.is_dir():
            yield source
            continue
        inside = None
        for inside in walk_images(source):
            yield inside
        if inside is None:
            raise ImageError(f"{source}: expected images in the folder, found none")


class Predictions:
    """What a run says to images; made while one goes through them, once.

    Attributes
    ----------
    tasks : tuple of Task
    read, unreadable : int
        Images so far.
    """

    def __init__(
        self,
        run: OpenedRun,
        paths: Iterable[Path],
        *,
        views: Views | None,
        temperature: dict[str, float] | None,
        batch_size: int,
        strict: bool,
        progress: bool,
    ):
        self.tasks = run.tasks
        self.read = self.unreadable = 0
        self._run, self._paths, self._views = run, paths, views
        self._temperature, self._batch = temperature, batch_size
        self._strict, self._progress = strict, progress

    def __iter__(self) -> Iterator[Prediction]:
        reader = WindowReader(self._run.sidecar, is_cut())
        total = len(self._paths) if isinstance(self._paths, Sequence) else None
        batches = read_batches(self._paths, reader, self._run.network, self._batch, self._strict)
        with progress_bar("predicting", total, "images", shown=self._progress) as bar:
            for batch in batches:
                self._tell(batch)
                yield from self._predictions(batch)
                bar.advance(len(batch.paths) + len(batch.unreadable))
        self._end()

    def _tell(self, batch: Batch) -> None:
        self.read += len(batch.paths)
        self.unreadable += len(batch.unreadable)
        for error in batch.unreadable:
            logger.warning("left out: %s", error)

    def _end(self) -> None:
        if self.unreadable:
            whole = self.read + self.unreadable
            text = f"{self.unreadable} of {whole} images cannot be read"
            if not self.read:
                raise ImageError(text)
            logger.warning("%s", text)
        elif not self.read:
            raise ImageError("expected images, received none")

    def _probabilities(self, batch: Batch) -> Probabilities:
        if self._views is None:
            told = self._run.network(batch.prepared)
        else:
            told = mean_of_views(self._run.network, batch.images, self._views, batch.places)
        check_finite(self._run.path, batch.paths, told)
        if self._temperature is None:
            return told
        return {
            task.name: soften(task.kind, told[task.name], self._temperature[task.name])
            for task in self.tasks
        }

    def _predictions(self, batch: Batch) -> Iterator[Prediction]:
        if not batch.paths:
            return
        told = self._probabilities(batch)
        for row, path in enumerate(batch.paths):
            yield Prediction(path, self.tasks, {name: told[name][row] for name in told})

    def write(self, file: TextIO, form: str = "csv", top_k: int = 1) -> None:
        """Write them as they are made.

        Parameters
        ----------
        file : text file
        form : str
            Of `tltool.inference.predictions.FORMATS`.
        top_k : int
            Most probable classes to tell of each image.
        """
        FORMATS[form](self, self.tasks, file, top_k)


def predict(
    run: str | Path,
    images: Source | Iterable[Source],
    *,
    tta: str | int | None = None,
    calibrated: bool = False,
    batch_size: int = 32,
    seed: int = 0,
    strict: bool = False,
    progress: bool = True,
) -> Predictions:
    """Tell the classes of images.

    Parameters
    ----------
    run : str or Path
        A run folder, or a ``model.keras`` with its ``model.json``.
    images : str, Path or iterable of them
        Image files, and folders with images at any depth. Taken as they are
        needed: it may be a generator without end.
    tta : 'd4', int or None
        Tell the mean over the eight flips and rotations, or over so many
        random draws of the recipe's augmentation.
    calibrated : bool
        Probabilities at the temperature that `tltool.evaluate` stored, in
        place of the network's own. It changes no answer.
    batch_size : int
        Images that the network sees at a time; no more than a few batches are
        in memory.
    seed : int
        Of the draws.
    strict : bool
        Stop at an unreadable image instead of leaving it out, with a warning.
    progress : bool
        Show a bar on standard error where that is a terminal.

    Returns
    -------
    Predictions
        An iterable of `tltool.inference.predictions.Prediction`, with
        ``write(file, form, top_k)``.

    Raises
    ------
    ModelError
        No run there, no temperature stored, or outputs that are no numbers.
    UsageError
    ImageError
        Where `strict`, or not one image can be read; while going through them.

    Notes
    -----
    Images are seen as in training. Patches that `tltool.patches` cut (its
    ``patches.json`` lies at most two folders above) keep their scale: the
    middle of the side that the network sees is cut out. Every other image is
    resized until its shorter side is that, and its middle square is taken; the
    first that has another size is warned of.
    """
    opened = open_run(run)
    views = opened.views(tta, seed)
    temperature = opened.temperature() if calibrated else None
    given = [images] if isinstance(images, str | Path) else images
    expanded = _expand(given)
    return Predictions(
        opened,
        list(expanded) if isinstance(given, Sequence) else expanded,
        views=views,
        temperature=temperature,
        batch_size=batch_size,
        strict=strict,
        progress=progress,
    )
