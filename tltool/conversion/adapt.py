"""A classifier trained on bare patches learns to see their surroundings in place of zeros."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import keras
from keras import layers

from tltool.conversion.check_image import open_check_image
from tltool.conversion.convert import Conversion, convert
from tltool.conversion.fidelity import measure
from tltool.data.dataset import PatchFacts, read_facts
from tltool.data.folders import read_dataset
from tltool.data.patch_folder import cut_again
from tltool.data.stream import load_patches
from tltool.errors import DataError, UsageError
from tltool.fcn.geometry import Geometry, trace
from tltool.fcn.surgery import to_fcn
from tltool.inference.image_opening import ImageSource
from tltool.inference.network import LoadedNetwork, ModelHints, Openable, fcn_sidecar, open_network
from tltool.models.graph import Copier, replay
from tltool.models.network import Classifier
from tltool.raster import as_zoom
from tltool.recipe import Recipe, StageRecipe
from tltool.run.folder import RECIPE_NAME, check_folder
from tltool.tasks.task import Task
from tltool.training.finetune import finetune
from tltool.training.prepare import Network, Sizes
from tltool.training.split_metrics import split_metrics

logger = logging.getLogger(__name__)

# Of all layers, gently; the head alone learns ten times as fast before.
RATE = 3e-4
EPOCHS = 10


@dataclass(frozen=True)
class Adaptation:
    """A classifier before and after it saw surroundings.

    Attributes
    ----------
    context : int
        Margin of real image that it sees now, px.
    split : str
        Split that was evaluated.
    accuracy : (float, float)
        Before and after, 0..1.
    before, after : dict or None
        The fidelity on the same image, before and after.
    conversion : Conversion
        What was written.
    """

    context: int
    split: str
    accuracy: tuple[float, float]
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    conversion: Conversion


def with_context(model: keras.Model, cells: int, stride: int) -> keras.Model:
    """Let a classifier see real surroundings of its patch.

    Parameters
    ----------
    model : keras.Model
        From (b, side, side, bands) to (b, classes); one that converts.
    cells : int
        Width of the surroundings in strides of the network.
    stride : int
        Stride of the network, px of its input.

    Returns
    -------
    keras.Model
        From (b, side + 2 * cells * stride, the same, bands) to (b, classes):
        the converted network's cell over the middle. With the same weights it
        says what the map says there.
    """
    _, side, _, bands = model.inputs[0].shape
    inputs = keras.Input((side + 2 * cells * stride,) * 2 + (bands,), name="image")
    copy = Copier()
    cells_of_map = replay(to_fcn(model), inputs, copy)
    middle = layers.Cropping2D(cells, name=copy.unique("context_crop"))(cells_of_map)
    outputs = layers.Flatten(name=copy.unique("cell"))(middle)
    return keras.Model(inputs, outputs, name=model.name)


def _context(network: LoadedNetwork, geometry: Geometry, context: int | None) -> int:
    """Check the context that is wanted: more than the classifier has, and one it can have."""
    sidecar, zoom = network.sidecar, as_zoom(network.zoom)
    # Surroundings are whole strides wide and whole pixels of the image.
    step = (geometry.stride / zoom).numerator
    exact = sidecar.context + math.ceil(geometry.missing_context / zoom / step) * step
    if geometry.missing_context == 0:
        raise UsageError(
            f"`adapt`: {network.name} sees no padding, its context of {sidecar.context} px covers"
            " the receptive field; there is nothing to adapt"
        )
    wanted = exact if context is None else context
    if wanted <= sidecar.context:
        raise UsageError(
            f"`context`: expected more than the {sidecar.context} px that {network.name} sees"
            f" already, {exact} for an exact map; received {wanted}"
        )
    if (wanted - sidecar.context) % step:
        raise UsageError(
            f"`context`: expected {sidecar.context} and a multiple of {step} px, in which the"
            f" network's stride is whole; received {wanted}"
        )
    return wanted


def _data(network: LoadedNetwork, data: str | Path | None, context: int) -> tuple[Path, PatchFacts]:
    """Find patches that know their surroundings: those given, or the run's own."""
    if data is None:
        known = network.sidecar.data or {}
        if "folder" not in known:
            raise UsageError(
                f"`adapt`: {network.name} does not say what it was trained on. Pass patches of it,"
                f" cut with `tltool.patches(context={context})`, as `data`"
            )
        data = Path(known["folder"])
        data = data.parent if data.is_file() else data
    data = Path(data)
    facts = read_facts(data) if data.is_dir() else None
    if facts is None:
        raise DataError(
            f"{data}: expected patches that tltool patches cut, which know their surroundings;"
            " images in class folders have none. Cut patches with"
            f" `tltool.patches(size={network.sidecar.patch}, context={context})` and pass them as"
            " `data`"
        )
    return data, facts


def _recipe(network: LoadedNetwork, context: int, epochs: int) -> Recipe:
    sidecar, own = network.sidecar, network.recipe
    recipe = own or Recipe(augment=[], zoom=sidecar.zoom)
    stages = [
        # On other features the head begins anew; a frozen backbone computes them once a draw.
        StageRecipe(train="head", epochs=10, learning_rate=10 * RATE, draws=2),
        StageRecipe(train="all", epochs=epochs, learning_rate=RATE, patience=max(1, epochs)),
    ]
    weights = str(network.path.resolve()) if own and network.path else "none"
    return recipe.model_copy(
        update={
            "patch": sidecar.patch,
            "context": context,
            "task": sidecar.tasks[0].kind if sidecar.tasks else recipe.task,
            "background": sidecar.background or recipe.background,
            "backbone": recipe.backbone.model_copy(update={"weights": weights}),
            "training": recipe.training.model_copy(update={"stages": stages}),
        }
    )


def _builder(network: LoadedNetwork, geometry: Geometry, context: int) -> Network | None:
    """Give the classifier its surroundings; None: its recipe's backbone does."""
    if network.recipe is not None:
        return None
    cells = int((context - network.sidecar.context) * as_zoom(network.zoom)) // geometry.stride

    def build(tasks: Sequence[Task], sizes: Sizes) -> Classifier:
        model = with_context(network.model, cells, geometry.stride)
        *names, _ = [layer.name for layer in model.layers if layer.weights]
        return Classifier(model, [names], tuple(tasks))

    return build


def adapt(
    model: Openable,
    out: str | Path | None = None,
    *,
    data: str | Path | None = None,
    context: int | None = None,
    epochs: int = EPOCHS,
    check_image: ImageSource | None = None,
    windows: int = 1024,
    overwrite: bool = False,
    **hints: Unpack[ModelHints],
) -> Adaptation:
    """Train a classifier on for a few epochs with real surroundings, and convert it.

    A classifier trained on bare patches saw zeros around them; its map sees
    the image there. This one sees the image too, so that map and classifier
    agree.

    Parameters
    ----------
    model : str, Path, Network or keras.Model
        A run folder, a Keras classifier in a file or in memory, of one task.
    out : str or Path, optional
        Run folder to write, with ``fcn.keras`` in it. Default: the run's name
        with ``-adapted``. Where patches are cut anew they go beside it,
        ``<out>-data``.
    data : str or Path, optional
        Patches that `tltool.patches` cut. Default: those of the run. They are
        cut anew from their images if they have too little context.
    context : int, optional
        px. Default: from where on the map is exact.
    epochs : int
        Epochs of all layers; the head alone trains before.
    check_image, windows, **hints
        As of `tltool.convert`.
    overwrite : bool
        Replace an earlier run in `out`.

    Returns
    -------
    Adaptation

    Raises
    ------
    UsageError
        There is nothing to adapt, several tasks, or a context that the network
        cannot have.
    DataError
        Patches that do not know their surroundings.
    ConversionError, ModelError, ImageError, OutputError
    """
    network = open_network(model, **hints)
    sidecar, name = network.sidecar, network.name
    if len(sidecar.tasks) > 1:
        raise UsageError(
            f"`adapt`: expected one task, {name} has {len(sidecar.tasks)}. Train it anew on patches"
            " with context"
        )
    if sidecar.scores:
        raise UsageError(
            f"`adapt`: expected probabilities, which losses are made for; the outputs of {name} are"
            " scores. `activation='softmax'` (or sigmoid) adds what is missing"
        )
    fcn, geometry = to_fcn(network.model), trace(network.model)
    context = _context(network, geometry, context)
    if out is not None:
        folder = Path(out)
    elif network.path is None:
        raise UsageError("`out`: expected a folder, for a model in memory is adapted")
    elif network.foreign:
        folder = Path(f"{network.path.stem}-adapted")
    else:
        folder = network.path.parent.with_name(f"{network.path.parent.name}-adapted")
    check_folder(folder, overwrite)
    (patches, facts), recipe = _data(network, data, context), _recipe(network, context, epochs)
    classes = list(sidecar.tasks[0].classes if sidecar.tasks else sidecar.classes)
    found = list(read_dataset(patches, recipe).tasks[0].classes)
    if found != classes:
        raise UsageError(
            f"`data`: expected the classes of {name} in their order, {', '.join(classes)};"
            f" received {', '.join(found)}. `classes` names the outputs"
        )
    # Larger patches have some of the context inside.
    wanted = context - (facts.patch - sidecar.patch) // 2
    if facts.context < wanted:
        wider = folder.with_name(f"{folder.name}-data")
        logger.info("%s: the patches are cut anew, with %d px of context", wider, wanted)
        cut_again(patches, wider, wanted, overwrite=overwrite)
        patches = wider
    # The classifier as it is, on the patches without what they show around it.
    samples = read_dataset(patches, recipe).samples
    split = next(name for name in ("test", "valid", "train") if samples[name])
    bare = load_patches(samples[split], sidecar.window, crop=True, bands=recipe.bands)
    metrics = split_metrics(network, bare, recipe.training.batch_size, recipe.tta == "d4")
    before = None
    converted = fcn_sidecar(sidecar, geometry).model_copy(update={"data": {"folder": str(patches)}})
    with open_check_image(check_image, network, converted) as (shown, pixels):
        if pixels is not None:
            before = measure(fcn, network.model, converted, (shown, pixels), windows).fidelity
    builder = _builder(network, geometry, context)
    run = finetune(patches, folder, recipe, overwrite=overwrite, network=builder)
    if builder is not None:
        # It names a backbone, and this is none of them.
        (folder / RECIPE_NAME).unlink()
    after = convert(folder, check_image=check_image, windows=windows, overwrite=overwrite)
    accuracies = (float(metrics["accuracy"]), float(run.metrics[split]["accuracy"]))
    return Adaptation(context, split, accuracies, before, after.sidecar.fidelity, after)
