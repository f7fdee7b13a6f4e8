"""Score-CAM: no gradients; a channel weighs what the image keeps of its score under it."""

import numpy as np
from scipy.special import softmax

from tltool.explanation.gradients import weighted
from tltool.explanation.subject import Subject

_BATCH = 32


def _masks(features: np.ndarray) -> np.ndarray:
    """Each channel scaled to 0..1, one that is the same everywhere to 0: (h, w, k) -> (k, h, w)."""
    maps = np.moveaxis(features, -1, 0)
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return (maps - low) / np.where(high > low, high - low, 1)


def _masked_scores(
    subject: Subject, image: np.ndarray, target: int, masks: np.ndarray
) -> np.ndarray:
    """The score of the image under each mask, (k,); empty masks share one pass."""
    empty = ~masks.any(axis=(1, 2))
    scores = np.empty(len(masks), np.float32)
    places = [*np.flatnonzero(~empty).tolist(), *np.flatnonzero(empty)[:1].tolist()]
    for start in range(0, len(places), _BATCH):
        part = places[start : start + _BATCH]
        masked = image * subject.placement.enlarge(masks[part])[..., None]
        scores[part] = subject.see(masked, np.full(len(part), target))[1]
    scores[empty] = scores[places[-1]]
    return scores


def scorecam(subject: Subject, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Score-CAM: channels weighted by the score of the image masked with them.

    L = ReLU(sum_k a_k A^k), a = softmax over k of C(A^k), where C(A^k) =
    y(X * s(Up(A^k))) - y(X_b), Up enlarges to the image, s scales to 0..1, y is
    the score before softmax or sigmoid. The baseline's y(X_b) is the same for
    all k and cancels in the softmax. What is masked is black.

    A forward pass for each channel: slow for wide layers.

    References
    ----------
    H. Wang et al., "Score-CAM: Score-Weighted Visual Explanations for
    Convolutional Neural Networks", CVPR Workshops 2020, definition 3 and
    algorithm 1.
    """
    features, _ = subject.see(images, targets)
    weights = [
        softmax(_masked_scores(subject, image, int(target), _masks(own)))
        for image, target, own in zip(images, targets, features, strict=True)
    ]
    return np.maximum(weighted(features, np.stack(weights)), 0)
