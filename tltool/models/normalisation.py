"""What an ImageDataGenerator normalises, as frozen layers in front of the backbone."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from keras import layers

from tltool.augment import ImageDataGenerator
from tltool.errors import RecipeError
from tltool.raster import enlarge

# A whitening matrix has as many rows and columns as an image has numbers.
_MOST_WHITENED = 4096
_TINY = 1e-6


def normalisation_layers(
    settings: Mapping[str, Any], images: np.ndarray, zoom: Fraction = Fraction(1)
) -> Callable[[Any], Any]:
    """Build what every image goes through in place of the backbone's own preprocessing.

    Parameters
    ----------
    settings : mapping
        ``rescale``, ``featurewise_*``, ``samplewise_*``, ``zca_*`` as in
        `tltool.augment.ImageDataGenerator`.
    images : (n, side, side, bands) uint8 array
        Training images, of which means, deviations and whitening are found.
    zoom : Fraction
        Enlargement before the network.

    Returns
    -------
    Function of a (b, h, w, bands) KerasTensor in 0..255 to the normalised one.

    Raises
    ------
    RecipeError
        Whitening of images with more than 4096 numbers.
    """
    generator: Any = ImageDataGenerator(**settings)
    if generator.zca_whitening:
        images = np.stack([enlarge(image, zoom) for image in images])
        numbers = int(np.prod(images.shape[1:]))
        if numbers > _MOST_WHITENED:
            side = int((_MOST_WHITENED / images.shape[3]) ** 0.5)
            raise RecipeError(
                f"augment: zca_whitening needs a matrix of {numbers} x {numbers} numbers for images"
                f" of {images.shape[1]} px; expected {side} px or fewer. Take smaller patches or"
                " leave it out"
            )
    fitted = generator.featurewise_center or generator.zca_whitening
    if fitted:
        generator.fit(images)

    def normalise(inputs: Any) -> Any:
        x, bands = inputs, inputs.shape[-1]
        if generator.rescale:
            x = layers.Rescaling(generator.rescale, name="normalisation_rescale")(x)
        if generator.samplewise_std_normalization:
            # Its centring is part of it.
            plain = {"center": False, "scale": False, "epsilon": _TINY**2}
            x = layers.LayerNormalization((1, 2, 3), name="normalisation_image", **plain)(x)
        elif generator.samplewise_center:
            mean = layers.GlobalAveragePooling2D(keepdims=True, name="normalisation_mean")(x)
            every = np.full((bands, bands), 1 / bands)
            mean = _fixed_convolution(mean, every, np.zeros(bands), "normalisation_mean_of_bands")
            x = layers.Subtract(name="normalisation_centre")([x, mean])
        if fitted:
            mean = np.broadcast_to(np.ravel(generator.mean), bands).astype(float)
            scale = np.ones(bands)
            if generator.featurewise_std_normalization:
                scale = 1 / (np.ravel(generator.std).astype(float) + _TINY)
            x = _fixed_convolution(x, np.diag(scale), -mean * scale, "normalisation_bands")
        if generator.zca_whitening:
            shape, matrix = x.shape[1:], generator.zca_whitening_matrix
            dense = layers.Dense(
                len(matrix), use_bias=False, name="normalisation_whitening", trainable=False
            )
            x = dense(layers.Flatten(name="normalisation_flat")(x))
            dense.set_weights([matrix.astype("float32")])
            x = layers.Reshape(shape, name="normalisation_image_again")(x)
        return x

    return normalise


def _fixed_convolution(x: Any, kernel: np.ndarray, bias: np.ndarray, name: str) -> Any:
    layer = layers.Conv2D(kernel.shape[1], 1, name=name, trainable=False)
    outputs = layer(x)
    layer.set_weights([kernel[None, None].astype("float32"), bias.astype("float32")])
    return outputs
