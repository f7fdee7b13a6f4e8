"""Which samples an epoch shows, and how often: classes balanced, or not."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tltool.errors import UsageError

SAMPLINGS = ("as-is", "over", "under", "square-root")


def sample_indices(
    labels: Sequence[tuple[int, ...] | None], mode: str, rng: np.random.Generator
) -> np.ndarray:
    """Draw the samples of one epoch.

    A sample belongs to the rarest class it has, the first of equally rare
    ones; samples without any (multi-label) are a class of their own. Those
    not labelled come once each, whatever the mode, and count for no class.

    Parameters
    ----------
    labels : (n,) sequence of tuple of int, or None
        Classes of each sample, as `tltool.tasks.task.Task.encode` takes them.
    mode : str
        ``as-is``: every sample once. ``over``: every class as often as the
        commonest. ``under``: every class as often as the rarest.
        ``square-root``: as many in all as are labelled, shared out by the
        square roots of the classes' counts.
    rng : numpy.random.Generator

    Returns
    -------
    (m,) int array
        Indices into `labels`, shuffled. How often two samples of a class come
        differs by one at most.

    Raises
    ------
    UsageError
        A mode that there is not.
    """
    if mode not in SAMPLINGS:
        raise UsageError(f"sampling: expected one of {', '.join(SAMPLINGS)}; received {mode}")
    frequency = Counter(index for label in labels for index in label or ())
    members: dict[int, list[int]] = {}
    rest = [sample for sample, label in enumerate(labels) if label is None]
    for sample, label in enumerate(labels):
        if label is not None:
            own = min(label, key=lambda index: (frequency[index], index), default=-1)
            members.setdefault(own, []).append(sample)
    groups = [np.array(members[key], int) for key in sorted(members)]
    wanted = counts = np.array([len(group) for group in groups], int)
    if mode == "square-root" and groups:
        wanted = _share_out(int(counts.sum()), np.sqrt(counts))
    elif mode != "as-is" and groups:
        wanted = np.full_like(counts, counts.max() if mode == "over" else counts.min())
    drawn: list[np.ndarray] = []
    for group, number in zip(groups, wanted, strict=True):
        # All of the group as often as it goes, the remainder without replacement.
        rounds, remainder = divmod(int(number), len(group))
        drawn += [np.tile(group, rounds), rng.choice(group, remainder, replace=False)]
    return rng.permutation(np.concatenate([*drawn, np.array(rest, int)]))


def _share_out(total: int, weights: np.ndarray) -> np.ndarray:
    """Whole numbers near `weights` scaled to `total`, which they add up to (largest remainders)."""
    exact = total * weights / weights.sum()
    whole = np.floor(exact).astype(int)
    # Rounded first: a remainder that is nothing but rounding must not decide.
    order = np.argsort(-np.round(exact - whole, 9), kind="stable")
    whole[order[: total - whole.sum()]] += 1
    return whole
