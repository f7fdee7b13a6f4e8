"""A run's answers to the images of a split."""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tltool.data.dataset import Dataset, Sample
from tltool.data.folders import read_dataset
from tltool.data.splits import SPLITS
from tltool.errors import DataError, ImageError, UsageError
from tltool.inference.labelled_predictions import LabelledPredictions
from tltool.inference.network import Probabilities, check_finite, join
from tltool.inference.opened_run import OpenedRun
from tltool.inference.reading import Batch, WindowReader, read_batches
from tltool.inference.views import Views, mean_of_views
from tltool.progress import Bar, progress_bar
from tltool.recipe import Recipe

logger = logging.getLogger(__name__)

ALL = "all"


@dataclass(frozen=True)
class Timed:
    """What was judged, and the time that it took without reading, s.

    Attributes
    ----------
    judged : LabelledPredictions
    plain, averaged : float
        Of the network, and of all views with the network.
    """

    judged: LabelledPredictions
    plain: float
    averaged: float


def read_labelled(data: str | Path, run: OpenedRun) -> Dataset:
    """The labelled images of `data` with the classes of a run.

    Returns
    -------
    Dataset
        With the splits that the data has, or, where these are the images that
        the run was trained on, those drawn then. Else everything is in
        ``test``, and `Dataset.divided` is true.

    Raises
    ------
    DataError
        As `tltool.data.folders.read_dataset`; patches cut with less context
        than the run needs.
    """
    recipe = run.recipe or Recipe()
    dataset = read_dataset(data, recipe, run.tasks)
    _check_facts(dataset, run)
    trained_on = (run.sidecar.data or {}).get("fingerprint")
    if not dataset.divided or dataset.summary()["fingerprint"] == trained_on:
        return replace(dataset, divided=False)
    everything = [sample for split in SPLITS for sample in dataset.samples[split]]
    everything.sort(key=lambda sample: sample.path)
    return replace(dataset, samples={"train": [], "valid": [], "test": everything})


def _check_facts(dataset: Dataset, run: OpenedRun) -> None:
    facts, sidecar = dataset.facts, run.sidecar
    if facts is not None and facts.patch + 2 * facts.context < sidecar.window:
        raise DataError(
            f"{dataset.folder} holds patches of {facts.patch} px with {facts.context} px of"
            f" context; {run.path} sees {sidecar.patch} px with {sidecar.context} px. Cut them anew"
            f" with `tltool.patches(size={sidecar.patch}, context={sidecar.context})`"
        )


def choose_samples(dataset: Dataset, split: str | None) -> tuple[str, list[Sample]]:
    """The split to judge and its images.

    Parameters
    ----------
    dataset : Dataset
        As of `read_labelled`.
    split : 'train', 'valid', 'test', 'all' or None
        None: ``test``, or all of data without splits.

    Raises
    ------
    DataError
        No image in it, with the numbers of those that have some.
    UsageError
        Another name.
    """
    if split not in (None, ALL, *SPLITS):
        raise UsageError(f"split: expected one of {', '.join((*SPLITS, ALL))}; received {split}")
    if split == ALL or dataset.divided:
        if split not in (None, ALL):
            raise DataError(
                f"{dataset.source}: expected splits for `split={split}`, and the data has none. Lay"
                " it out as DATA/{train,valid,test}/<class>/*, add a split column, or judge all"
            )
        return ALL, [sample for name in SPLITS for sample in dataset.samples[name]]
    name = split or "test"
    if not dataset.samples[name]:
        there = [f"{s} {len(dataset.samples[s])}" for s in SPLITS if dataset.samples[s]]
        raise DataError(
            f"{dataset.source}: expected images of the {name} split, found none. There are"
            f" {', '.join(there)}: choose with `split`"
        )
    return name, dataset.samples[name]


class _Predictor:
    """Asks a network for batches and keeps what it says, and how long that took."""

    def __init__(self, run: OpenedRun, views: Views | None):
        self._run, self._views = run, views
        self._told: list[Probabilities] = []
        self._means: list[Probabilities] = []
        self.paths: list[Path] = []
        self.places: list[int] = []
        self.unreadable: list[ImageError] = []
        self.plain = self.averaged = 0.0

    def __call__(self, batch: Batch) -> None:
        self.unreadable += batch.unreadable
        if not batch.paths:
            return
        if self._views is not None and not self.paths:
            # Its graph is made in the first call, which would make the other look cheap.
            self._run.network(batch.prepared)
        self.paths += batch.paths
        self.places += batch.places
        started = time.perf_counter()
        self._told.append(self._run.network(batch.prepared))
        seen = time.perf_counter()
        if self._views is not None:
            self._means.append(
                mean_of_views(self._run.network, batch.images, self._views, batch.places)
            )
            self.averaged += time.perf_counter() - seen
        self.plain += seen - started

    def told(self) -> tuple[Probabilities, Probabilities | None]:
        """Probabilities, and those averaged over the views."""
        return join(self._told), join(self._means) if self._means else None


def _warn_unreadable(errors: Sequence[ImageError], images: int) -> None:
    if errors:
        shown = "; ".join(str(error) for error in errors[:3])
        logger.warning(
            "%d of %d images cannot be read and are left out: %s%s",
            len(errors),
            images,
            shown,
            "; ..." if len(errors) > 3 else "",
        )


def _ask(asker: _Predictor, samples: Sequence[Sample], batches: Iterable[Batch], bar: Bar) -> None:
    for batch in batches:
        asker(batch)
        bar.advance(len(batch.paths) + len(batch.unreadable))
    if not asker.paths:
        raise ImageError(f"not one of {len(samples)} images can be read: {asker.unreadable[0]}")
    _warn_unreadable(asker.unreadable, len(samples))


def predict_samples(
    run: OpenedRun,
    dataset: Dataset,
    split: str,
    samples: Sequence[Sample],
    views: Views | None = None,
    batch_size: int = 32,
    strict: bool = False,
) -> Timed:
    """Ask a run for the images of a split.

    Parameters
    ----------
    run : OpenedRun
    dataset : Dataset
        The samples' own.
    split : str
        Its name.
    samples : sequence of Sample
    views : Views, optional
        Also the mean over these.
    batch_size : int
        Images at a time.
    strict : bool
        Stop at an unreadable image instead of leaving it out.

    Raises
    ------
    ImageError
        Where `strict`, or where no image can be read.
    ModelError
        Outputs that are no numbers.
    """
    cut = dataset.facts is not None
    reader, asker = WindowReader(run.sidecar, lambda _: cut), _Predictor(run, views)
    paths = [sample.path for sample in samples]
    with progress_bar(f"judging {split}", len(paths), "images") as bar:
        batches = read_batches(paths, reader, run.network, batch_size, strict)
        _ask(asker, samples, batches, bar)
    told, means = asker.told()
    for answers in (told, means or {}):
        check_finite(run.path, asker.paths, answers)
    kept = [samples[place] for place in asker.places]
    targets = {
        task.name: task.encode([sample.labels[place] for sample in kept])
        for place, task in enumerate(run.tasks)
    }
    groups = [sample.group for sample in kept]
    judged = LabelledPredictions(
        split, asker.paths, run.tasks, targets, told, means, groups, asker.unreadable
    )
    return Timed(judged, asker.plain, asker.averaged)
