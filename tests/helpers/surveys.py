"""Simulated surveys: objects in a grid of windows, and what a network expects in them."""

import numpy as np

ROWS, COLUMNS = 25, 40
OBJECTS, NETWORKS = ("spread", "clustered"), ("good", "biased", "useless")


def objects(rng, kind, mean=1.0):
    """Numbers in 1,000 windows: Poisson, or about 12 around each of a few centres."""
    if kind == "spread":
        return rng.poisson(mean, ROWS * COLUMNS)
    clusters = rng.poisson(mean * ROWS * COLUMNS / 12) + 1
    sizes = rng.poisson(12, clusters)
    table = np.zeros((ROWS, COLUMNS), int)
    rows, columns = (
        np.repeat(rng.uniform(0, side, clusters), sizes) + rng.normal(0, 0.8, sizes.sum())
        for side in (ROWS, COLUMNS)
    )
    np.add.at(
        table, (np.floor(rows).astype(int) % ROWS, np.floor(columns).astype(int) % COLUMNS), 1
    )
    return table.ravel()


def network(rng, truth, kind):
    """Detections in each window.

    good: 0.9 of the objects, and 0.05 false for each; biased: 0.4 of them, and half as many false
    ones as there are objects, on a tenth of the ground; useless: those of a good one, elsewhere.
    """
    number, mean = len(truth), truth.mean()
    if kind == "biased":
        false = np.where(rng.random(number) < 0.1, rng.poisson(5 * mean, number), 0)
        return rng.binomial(truth, 0.4) + false
    found = rng.binomial(truth, 0.9) + rng.poisson(0.05 * mean, number)
    return rng.permutation(found) if kind == "useless" else found
