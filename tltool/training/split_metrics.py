"""Evaluation of a trained classifier on the images of a split."""

from typing import Any

from tltool.data.stream import Patches
from tltool.inference.network import LoadedNetwork
from tltool.inference.predict_batches import join, predict_batches
from tltool.inference.views import FlipsAndRotations


def split_metrics(
    network: LoadedNetwork, patches: Patches, batch_size: int, averaged: bool
) -> dict[str, Any]:
    """Evaluate a network on the images of a split.

    Returns
    -------
    dict
        As `tltool.metrics.classification.basic_metrics`; where there are several
        tasks ``tasks``: name -> these. With `averaged` the key ``averaged``
        holds the same for the mean over flips and rotations.
    """
    tasks, targets = network.tasks, patches.targets(network.tasks)
    views = [None, FlipsAndRotations()] if averaged else [None]
    batches = predict_batches(network, patches.images, batch_size=batch_size, views=views)
    results = []
    for parts in zip(*(batch.probabilities for batch in batches), strict=True):
        found = join(parts)
        numbers = {t.name: t.basic_metrics(found[t.name], targets[t.name]) for t in tasks}
        results.append({"tasks": numbers} if len(tasks) > 1 else next(iter(numbers.values())))
    return results[0] | ({"averaged": results[1]} if averaged else {})
