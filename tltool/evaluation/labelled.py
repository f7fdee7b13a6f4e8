"""Predictions of the labelled images of a split."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tltool.data.dataset import Dataset, Sample
from tltool.data.folders import read_dataset
from tltool.data.splits import SPLITS
from tltool.errors import DataError, ImageError, UsageError
from tltool.inference.labelled_predictions import LabelledPredictions
from tltool.inference.network import LoadedNetwork, Probabilities
from tltool.inference.predict_batches import join, predict_batches
from tltool.inference.views import Views
from tltool.progress import progress_bar
from tltool.recipe import Recipe

logger = logging.getLogger(__name__)

ALL = "all"


def read_labelled(data: str | Path, network: LoadedNetwork) -> Dataset:
    """Read the labelled images of `data` with the classes of a run.

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
    recipe = network.recipe or Recipe()
    dataset = read_dataset(data, recipe, network.tasks)
    facts, sidecar = dataset.facts, network.sidecar
    if facts is not None and facts.patch + 2 * facts.context < sidecar.window:
        raise DataError(
            f"{dataset.folder} holds patches of {facts.patch} px with {facts.context} px of"
            f" context; {network.name} sees {sidecar.patch} px with {sidecar.context} px. Cut them"
            f" anew with `tltool.patches(size={sidecar.patch}, context={sidecar.context})`"
        )
    trained_on = (sidecar.data or {}).get("fingerprint")
    if not dataset.divided or dataset.summary()["fingerprint"] == trained_on:
        return replace(dataset, divided=False)
    everything = [sample for split in SPLITS for sample in dataset.samples[split]]
    everything.sort(key=lambda sample: sample.path)
    return replace(dataset, samples={"train": [], "valid": [], "test": everything})


def choose_samples(dataset: Dataset, split: str | None) -> tuple[str, list[Sample]]:
    """Choose the split to evaluate and its images.

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
        raise UsageError(f"`split`: expected one of {', '.join((*SPLITS, ALL))}; received {split}")
    if dataset.divided and split not in (None, ALL):
        raise DataError(
            f"{dataset.source}: expected splits for `split={split}`, and the data has none. Lay"
            " it out as DATA/{train,valid,test}/<class>/*, add a split column, or evaluate all"
        )
    if split == ALL or dataset.divided:
        return ALL, [sample for name in SPLITS for sample in dataset.samples[name]]
    name = split or "test"
    if not dataset.samples[name]:
        there = [f"{s} {len(dataset.samples[s])}" for s in SPLITS if dataset.samples[s]]
        raise DataError(
            f"{dataset.source}: expected images of the {name} split, found none. There are"
            f" {', '.join(there)}: choose with `split`"
        )
    return name, dataset.samples[name]


def predict_samples(
    network: LoadedNetwork,
    dataset: Dataset,
    split: str,
    samples: Sequence[Sample],
    views: Views | None = None,
    batch_size: int = 32,
    strict: bool = False,
) -> tuple[LabelledPredictions, np.ndarray]:
    """Predict the images of a split.

    Parameters
    ----------
    network : LoadedNetwork
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

    Returns
    -------
    LabelledPredictions, and a float64 array
        Seconds without reading: of the network alone and, with views, of all of them.

    Raises
    ------
    ImageError
        Where `strict`, or where no image can be read.
    ModelError
        Outputs that are no numbers.
    """
    cut = dataset.facts is not None
    indices: list[int] = []
    unreadable: list[ImageError] = []
    ways = [None] if views is None else [None, views]
    parts: list[list[Probabilities]] = [[] for _ in ways]
    seconds = np.zeros(len(ways))
    with progress_bar(f"evaluating {split}", len(samples), "images") as bar:
        for batch in predict_batches(
            network,
            [sample.path for sample in samples],
            batch_size=batch_size,
            views=ways,
            crop=lambda _: cut,
            strict=strict,
        ):
            unreadable += batch.unreadable
            bar.advance(len(batch))
            if batch.names:
                indices += batch.indices
                seconds += batch.seconds
                for part, found in zip(parts, batch.probabilities, strict=True):
                    part.append(found)
    if not indices:
        raise ImageError(f"not one of {len(samples)} images can be read: {unreadable[0]}")
    if unreadable:
        logger.warning(
            "%d of %d images cannot be read and are left out: %s%s",
            len(unreadable),
            len(samples),
            "; ".join(str(error) for error in unreadable[:3]),
            "; ..." if len(unreadable) > 3 else "",
        )
    kept = [samples[index] for index in indices]
    paths = [sample.path for sample in kept]
    plain, *means = [join(part) for part in parts]
    for found in (plain, *means):
        network.check_finite(paths, found)
    targets = {
        task.name: task.encode([sample.labels[place] for sample in kept])
        for place, task in enumerate(network.tasks)
    }
    labelled = LabelledPredictions(
        split,
        paths,
        network.tasks,
        targets,
        plain,
        means[0] if means else None,
        [sample.group for sample in kept],
        unreadable,
    )
    return labelled, seconds
