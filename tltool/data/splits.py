"""Which sample goes to train, valid or test, such that no pixel is in two of them."""

from collections.abc import Sequence

import numpy as np

SPLITS = ("train", "valid", "test")

# What each of them may be called in folders and manifests.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation"),
    "test": ("test", "testing"),
}

Fractions = tuple[float, float, float]


def without_test(fractions: Fractions) -> Fractions:
    """Shares of what is left when test is given: valid gets a fifth where it has no share."""
    share = fractions[1] / (fractions[0] + fractions[1]) or 0.2
    return 1 - share, share, 0.0


def stratified_split(
    labels: Sequence[int] | Sequence[str], fractions: Fractions, seed: int
) -> np.ndarray:
    """Split so that each class has the same shares, rounded; train gets one of every class.

    Parameters
    ----------
    labels : (n,) sequence of int or str
    fractions : three floats
        Shares of `SPLITS`; they add up to 1.
    seed : int

    Returns
    -------
    (n,) int array of indices into `SPLITS`.
    """
    values = np.asarray(labels)
    result = np.zeros(len(values), int)
    rng = np.random.default_rng(seed)
    for label in np.unique(values):
        members = rng.permutation(np.flatnonzero(values == label))
        edges = np.round(np.cumsum(fractions)[:2] * len(members)).astype(int)
        edges = np.maximum(edges, 1 if fractions[0] > 0 else 0)
        for split, part in enumerate(np.split(members, edges)):
            result[part] = split
    return result


def split_by_group(sizes: Sequence[int], fractions: Fractions, seed: int) -> np.ndarray:
    """Deal whole groups (images) to the splits, largest first, to where most is missing.

    Parameters
    ----------
    sizes : (g,) sequence of int
        Samples in each group.

    Returns
    -------
    (g,) int array of indices into `SPLITS`. Each split with a share above 0
    gets a group before any gets its second, where there are enough groups.
    """
    shuffled = np.random.default_rng(seed).permutation(len(sizes)).tolist()
    return _deal(sorted(shuffled, key=lambda group: -sizes[group]), sizes, fractions)


def _deal(order: Sequence[int], sizes: Sequence[int], fractions: Fractions) -> np.ndarray:
    wanted = np.asarray(fractions)
    filled, groups = np.zeros(3), np.zeros(3, int)
    result = np.zeros(len(sizes), int)
    total = max(1, sum(sizes))
    for index, group in enumerate(order):
        missing = wanted - filled / total
        empty = (groups == 0) & (wanted > 0)
        if len(order) - index <= empty.sum():
            missing[~empty] = -np.inf
        missing[wanted == 0] = -np.inf
        split = int(np.argmax(missing))
        result[group] = split
        filled[split] += sizes[group]
        groups[split] += 1
    return result


def split_grouped(
    groups: Sequence[str], classes: np.ndarray, fractions: Fractions, seed: int
) -> np.ndarray:
    """Split so that each group stays whole and each class has about the same shares.

    The deal of `split_by_group` is compared with deals in random order: first
    counts how many classes train lacks, then how many valid and test lack,
    then how far samples and classes are from `fractions`.

    Parameters
    ----------
    groups : (n,) sequence of str
    classes : (n, k) bool array
        Which of all classes each sample has.
    fractions : three floats
        Shares of `SPLITS`; they add up to 1.
    seed : int

    Returns
    -------
    (n,) int array of indices into `SPLITS`.
    """
    _, of_sample, sizes = np.unique(
        np.asarray(groups, str), return_inverse=True, return_counts=True
    )
    # The first column counts the samples themselves.
    counts = np.zeros((len(sizes), 1 + classes.shape[1]))
    np.add.at(counts, of_sample, np.insert(np.asarray(classes, float), 0, 1, axis=1))
    rng = np.random.default_rng(seed)
    deals = [split_by_group(sizes.tolist(), fractions, seed)]
    # Fewer where there are very many groups.
    for _ in range(min(64, 50_000 // max(1, len(sizes)))):
        deals.append(_deal(rng.permutation(len(sizes)).tolist(), sizes.tolist(), fractions))
    best: np.ndarray = min(deals, key=lambda deal: _unevenness(deal, counts, fractions))
    return best[of_sample]


def _unevenness(
    deal: np.ndarray, counts: np.ndarray, fractions: Fractions
) -> tuple[int, int, float]:
    # counts: (groups, 1 + classes).
    of_split = np.stack([counts[deal == split].sum(axis=0) for split in range(3)])
    absent = (of_split == 0) & (np.asarray(fractions) > 0)[:, None]
    shares = of_split / np.maximum(1, of_split.sum(axis=0))
    far = np.abs(shares - np.asarray(fractions)[:, None]).sum(axis=0)
    return int(absent[0].sum()), int(absent[1:].sum()), float(far[0] + far[1:].mean())
