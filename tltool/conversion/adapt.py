"""A classifier trained on bare patches learns to see their surroundings in place of zeros."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras import layers

from tltool.conversion.agreement import compare
from tltool.conversion.check_image import check_image as open_check_image
from tltool.conversion.convert import Conversion, convert, fcn_sidecar
from tltool.data.dataset import PatchFacts, read_facts
from tltool.data.folders import read_dataset
from tltool.data.patch_folder import cut_again
from tltool.data.stream import load_patches
from tltool.errors import DataError, UsageError
from tltool.fcn.geometry import Geometry, trace
from tltool.fcn.surgery import to_fcn
from tltool.inference.foreign import ModelHints
from tltool.inference.source import Source, read_source
from tltool.models.graph import Copier, replay
from tltool.models.network import Classifier
from tltool.raster import as_zoom
from tltool.recipe import Recipe, StageRecipe, load_recipe
from tltool.run.folder import RECIPE_NAME, check_folder
from tltool.tasks.task import Task
from tltool.training.finetune import finetune
from tltool.training.prepare import Network, Sizes
from tltool.training.split_metrics import split_metrics

logger = logging.getLogger("tltool")

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
        That the accuracies are of.
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
        Of the network, px of its input.

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


def _context(source: Source, geometry: Geometry, context: int | None) -> int:
    """The context that is wanted, checked: more than the classifier has, and one it can have."""
    sidecar, zoom = source.sidecar, as_zoom(source.sidecar.zoom)
    # Surroundings are whole strides wide and whole pixels of the image.
    step = (geometry.stride / zoom).numerator
    exact = sidecar.context + math.ceil(geometry.missing_context / zoom / step) * step
    if geometry.missing_context == 0:
        raise UsageError(
            f"--adapt: {source.path} sees no padding, its context of {sidecar.context} px covers"
            " the receptive field; there is nothing to adapt"
        )
    wanted = exact if context is None else context
    if wanted <= sidecar.context:
        raise UsageError(
            f"--context: expected more than the {sidecar.context} px that {source.path} sees"
            f" already, {exact} for an exact map; received {wanted}"
        )
    if (wanted - sidecar.context) % step:
        raise UsageError(
            f"--context: expected {sidecar.context} and a multiple of {step} px, in which the"
            f" network's stride is whole; received {wanted}"
        )
    return wanted


def _data(source: Source, data: str | Path | None, context: int) -> tuple[Path, PatchFacts]:
    """Patches that know their surroundings: those given, or the run's own."""
    if data is None:
        if not source.sidecar.data:
            raise UsageError(
                f"--adapt: {source.path} does not say what it was trained on. Pass patches of it,"
                f" cut with tltool patches --context {context}, as --data"
            )
        data = Path(source.sidecar.data["folder"])
        data = data.parent if data.is_file() else data
    data = Path(data)
    facts = read_facts(data) if data.is_dir() else None
    if facts is None:
        raise DataError(
            f"{data}: expected patches that tltool patches cut, which know their surroundings;"
            f" images in class folders have none. Cut patches with tltool patches --size"
            f" {source.sidecar.patch} --context {context} and pass them as --data"
        )
    return data, facts


def _wide_enough(
    source: Source,
    data: tuple[Path, PatchFacts],
    context: int,
    folder: Path,
    overwrite: bool,
) -> Path:
    """Patches with that context: the same, or cut anew."""
    patches, facts = data
    # Larger patches have some of it inside.
    context -= (facts.patch - source.sidecar.patch) // 2
    if facts.context >= context:
        return patches
    wider = folder.with_name(f"{folder.name}-data")
    logger.info("%s: the patches are cut anew, with %d px of context", wider, context)
    cut_again(patches, wider, context, overwrite=overwrite)
    return wider


def _recipe(source: Source, context: int, epochs: int) -> Recipe:
    path = source.path.with_name(RECIPE_NAME)
    own = not source.foreign and path.exists()
    recipe = load_recipe(path) if own else Recipe(augment=[], zoom=source.sidecar.zoom)
    stages = [
        # On other features the head begins anew; a frozen backbone computes them once a draw.
        StageRecipe(train="head", epochs=10, learning_rate=10 * RATE, draws=2),
        StageRecipe(train="all", epochs=epochs, learning_rate=RATE, patience=max(1, epochs)),
    ]
    weights = str(source.path.resolve()) if own else "none"
    return recipe.model_copy(
        update={
            "patch": source.sidecar.patch,
            "context": context,
            "task": source.sidecar.tasks[0].kind if source.sidecar.tasks else recipe.task,
            "background": source.sidecar.background or recipe.background,
            "backbone": recipe.backbone.model_copy(update={"weights": weights}),
            "training": recipe.training.model_copy(update={"stages": stages}),
        }
    )


def _network(source: Source, geometry: Geometry, context: int) -> Network | None:
    """What gives the classifier its surroundings; None: its recipe's backbone does."""
    if not source.foreign and source.path.with_name(RECIPE_NAME).exists():
        return None
    zoom = as_zoom(source.sidecar.zoom)
    cells = int((context - source.sidecar.context) * zoom) // geometry.stride

    def build(tasks: Sequence[Task], sizes: Sizes) -> Classifier:
        model = with_context(source.model, cells, geometry.stride)
        *names, _ = [layer.name for layer in model.layers if layer.weights]
        return Classifier(model, [names], tuple(tasks))

    return build


def _check_classes(source: Source, tasks: Sequence[Task]) -> None:
    told = source.sidecar.tasks[0].classes if source.sidecar.tasks else source.sidecar.classes
    found = list(tasks[0].classes)
    if found != list(told):
        raise UsageError(
            f"--data: expected the classes of {source.path} in their order, {', '.join(told)};"
            f" received {', '.join(found)}. --classes names the outputs"
        )


def _accuracy(source: Source, data: Path, recipe: Recipe) -> tuple[str, float]:
    """Of the classifier as it is, on the patches without what they show around it."""
    dataset = read_dataset(data, recipe)
    split = next(name for name in ("test", "valid", "train") if dataset.samples[name])
    patches = load_patches(
        dataset.samples[split], source.sidecar.window, crop=True, bands=recipe.bands
    )
    batch, zoom = recipe.training.batch_size, as_zoom(source.sidecar.zoom)
    judged = split_metrics(source.whole, patches, dataset.tasks, batch, zoom, recipe.tta == "d4")
    return split, float(judged["accuracy"])


def _fidelity(
    source: Source,
    fcn: keras.Model,
    geometry: Geometry,
    data: Path,
    image: Path | None,
    windows: int,
) -> dict[str, Any] | None:
    """Of the classifier as it is."""
    sidecar = fcn_sidecar(source.sidecar, geometry)
    sidecar = sidecar.model_copy(update={"data": {"folder": str(data)}})
    with open_check_image(image, source.path.parent, sidecar) as (name, pixels):
        if pixels is None:
            return None
        compared = compare(fcn, source.model, sidecar, pixels, windows)
        return {"image": name, **compared.numbers()}


def _home(source: Source) -> Path:
    if not source.foreign:
        return source.path.parent.with_name(f"{source.path.parent.name}-adapted")
    return Path(f"{source.path.stem}-adapted")


def adapt(
    model: str | Path,
    out: str | Path | None = None,
    *,
    data: str | Path | None = None,
    context: int | None = None,
    epochs: int = EPOCHS,
    told: ModelHints | None = None,
    architecture: str | Path | None = None,
    check_image: str | Path | None = None,
    windows: int = 1024,
    overwrite: bool = False,
) -> Adaptation:
    """Train a classifier on for a few epochs with real surroundings, and convert it.

    A classifier trained on bare patches saw zeros around them; its map sees
    the image there. This one sees the image too, so that map and classifier
    agree.

    Parameters
    ----------
    model : str or Path
        A run folder, or a Keras classifier in a file, of one task.
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
        Of all layers; the head alone trains before.
    told, architecture, check_image, windows
        As `tltool.convert`.
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
    source = read_source(model, told, architecture)
    if len(source.sidecar.tasks) > 1:
        raise UsageError(
            f"--adapt: expected one task, {source.path} has {len(source.sidecar.tasks)}. Train it"
            " anew on patches with context"
        )
    if source.sidecar.scores:
        raise UsageError(
            f"--adapt: expected probabilities, which losses are made for; the outputs of"
            f" {source.path} are scores. --activation softmax (or sigmoid) adds what is missing"
        )
    fcn, geometry = to_fcn(source.model), trace(source.model)
    context = _context(source, geometry, context)
    folder = _home(source) if out is None else Path(out)
    check_folder(folder, overwrite)
    found, recipe = _data(source, data, context), _recipe(source, context, epochs)
    _check_classes(source, read_dataset(found[0], recipe).tasks)
    patches = _wide_enough(source, found, context, folder, overwrite)
    split, accuracy = _accuracy(source, patches, recipe)
    image = None if check_image is None else Path(check_image)
    before = _fidelity(source, fcn, geometry, patches, image, windows)
    network = _network(source, geometry, context)
    run = finetune(patches, folder, recipe, overwrite=overwrite, network=network)
    if network is not None:
        # It names a backbone, and this is none of them.
        (folder / RECIPE_NAME).unlink()
    after = convert(folder, check_image=check_image, windows=windows, overwrite=overwrite)
    accuracies = (accuracy, float(run.metrics[split]["accuracy"]))
    return Adaptation(context, split, accuracies, before, after.sidecar.fidelity, after)
