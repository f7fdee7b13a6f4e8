"""Maps from the gradient of the score by a layer's map: Grad-CAM, Grad-CAM++ and LayerCAM.

In the formulas A is the layer's map with channels k and cells ij, y the score
of the class, g = dy/dA.
"""

import numpy as np

from tltool.explanation.subject import Subject


def weighted(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum over the channels: (n, h, w, k) features, (n, k) weights -> (n, h, w)."""
    return (features @ weights[:, None, :, None])[..., 0]


def gradcam(subject: Subject, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Grad-CAM: channels weighted by their mean gradient.

    L = ReLU(sum_k a_k A^k), a_k = (1/Z) sum_ij g_ij^k, Z the number of cells.

    References
    ----------
    R. R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks
    via Gradient-based Localization", ICCV 2017, eq. 1 and 2.
    """
    features, gradients, _ = subject.differentiate(images, targets)
    return np.maximum(weighted(features, gradients.mean(axis=(1, 2))), 0)


def gradcam_plus_plus(subject: Subject, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Grad-CAM++: each cell's positive gradient counts by how much it alone changes the class.

    L = ReLU(sum_k w_k A^k), w_k = sum_ij a_ij^k ReLU(g_ij^k). For Y = exp(y),
    and a network that is linear between its kinks, the weights have the closed
    form a_ij = g_ij^2 / (2 g_ij^2 + sum_ab A_ab g_ij^3), 0 where g_ij is. The
    factor exp(y), which all w_k of an image share, is left out: it would
    overflow, and maps are compared with their own maximum.

    References
    ----------
    A. Chattopadhay et al., "Grad-CAM++: Generalized Gradient-based Visual
    Explanations for Deep Convolutional Networks", WACV 2018, eq. 5, 10 and,
    for the exponential, 15 to 19.
    """
    features, gradients, _ = subject.differentiate(images, targets)
    sums = features.sum(axis=(1, 2), keepdims=True)
    squares = gradients**2
    below = 2 * squares + sums * squares * gradients
    shares = np.divide(squares, below, out=np.zeros_like(squares), where=below != 0)
    weights = (shares * np.maximum(gradients, 0)).sum(axis=(1, 2))
    return np.maximum(weighted(features, weights), 0)


def layercam(subject: Subject, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """LayerCAM: each cell of each channel weighted by its own positive gradient.

    L = ReLU(sum_k w_ij^k A_ij^k), w_ij^k = ReLU(g_ij^k); good at early layers
    too, whose cells are small.

    References
    ----------
    P.-T. Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps
    for Localization", IEEE Transactions on Image Processing 30, 2021,
    pp. 5875-5888, eq. 5 to 7.
    """
    features, gradients, _ = subject.differentiate(images, targets)
    return np.maximum((np.maximum(gradients, 0) * features).sum(axis=3), 0)
