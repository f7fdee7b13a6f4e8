"""CAM and Score-CAM: maps without gradients."""

from typing import Any

import numpy as np
from keras import layers
from scipy.special import softmax

from tltool.errors import UsageError
from tltool.explanation.flat import Call, Flat
from tltool.explanation.gradients import weighted
from tltool.explanation.scores import score_maker
from tltool.explanation.subject import Subject

# They change nothing at inference.
_IDLE = (layers.Reshape, layers.Flatten, layers.Identity, layers.Dropout, layers.SpatialDropout2D)


def _behind(flat: Flat, call: Call) -> Call | None:
    """What made a call's input, past layers that change nothing."""
    found = flat.maker(call.inputs[0])
    while found is not None and isinstance(found.layer, _IDLE):
        found = flat.maker(found.inputs[0])
    return found


def _pools_all(call: Call) -> bool:
    if isinstance(call.layer, layers.AveragePooling2D):
        return call.layer.pool_size == tuple(call.inputs[0].shape[1:3])
    return isinstance(call.layer, layers.GlobalAveragePooling2D)


def gap_head(flat: Flat, output: Any) -> tuple[Call, np.ndarray | None]:
    """The map that the head pools, and its linear layer's (channels, outputs) weights.

    Parameters
    ----------
    flat : Flat
    output : KerasTensor
        One of `flat`'s.

    Returns
    -------
    Call, and array or None
        None: the pooled channels are the scores themselves.

    Raises
    ------
    UsageError
        Another head, naming the layer in the way.
    """
    last = score_maker(flat, output)
    # Each of its outputs is a weighted sum of the inputs, but for softmax or sigmoid.
    linear = last is not None and (
        isinstance(last.layer, layers.Dense)
        or (isinstance(last.layer, layers.Conv2D) and tuple(last.layer.kernel_size) == (1, 1))
    )
    pool = _behind(flat, last) if last is not None and linear else last
    pooled = _behind(flat, pool) if pool is not None and _pools_all(pool) else None
    if last is None or pooled is None:
        found = f"{pool.path} ({type(pool.layer).__name__})" if pool else "several branches"
        raise UsageError(
            "`method='cam'`: expected a head of global average pooling and one linear layer;"
            f" received {found} where the pooling should be. `method='gradcam'` takes any head"
        )
    if not linear:
        return pooled, None
    kernel = last.layer.get_weights()[0]
    return pooled, kernel.reshape(-1, kernel.shape[-1])


def at_pool(subject: Subject) -> Subject:
    """The classifier opened at the map that its head pools.

    Raises
    ------
    UsageError
        Another head, or another layer was given.
    """
    call, _ = gap_head(subject.flat, subject.output)
    if call is subject.call:
        return subject
    if subject.given:
        raise UsageError(
            f"`method='cam'`: expected `layer={call.path}`, which the head pools; received"
            f" {subject.layer}. Leave `layer` out, or take `method='gradcam'`"
        )
    return subject.at(call)


def cam(subject: Subject, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """CAM: the linear layer behind global average pooling, applied to every cell instead.

    M = sum_k w_k A^k, w the weights of the class. It may be negative, and
    Grad-CAM is its positive part divided by the number of cells.

    References
    ----------
    B. Zhou et al., "Learning Deep Features for Discriminative Localization",
    CVPR 2016, eq. 2.
    """
    features, _ = subject.see(images, targets)
    _, kernel = gap_head(subject.flat, subject.output)
    weights = np.eye(features.shape[-1]) if kernel is None else kernel
    outputs = np.where(targets < 0, -1 - targets, targets)
    signs = np.where(targets < 0, -1, 1)
    return weighted(features, weights.T[outputs] * signs[:, None])


_BATCH = 32


def _masked_scores(
    subject: Subject, image: np.ndarray, target: int, features: np.ndarray
) -> np.ndarray:
    """The score of the image under each channel as a mask, (k,); empty masks share one pass."""
    maps = np.moveaxis(features, -1, 0)
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    # Scaled to 0..1, one that is the same everywhere to 0.
    masks = (maps - low) / np.where(high > low, high - low, 1)
    empty = ~masks.any(axis=(1, 2))
    scores = np.empty(len(masks), np.float32)
    places = [*np.flatnonzero(~empty).tolist(), *np.flatnonzero(empty)[:1].tolist()]
    for start in range(0, len(places), _BATCH):
        part = places[start : start + _BATCH]
        masked = image * subject.layout.enlarge(masks[part])[..., None]
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
        softmax(_masked_scores(subject, image, int(target), own))
        for image, target, own in zip(images, targets, features, strict=True)
    ]
    return np.maximum(weighted(features, np.stack(weights)), 0)
