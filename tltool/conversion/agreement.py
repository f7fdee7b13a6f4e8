"""Fidelity: how far the heatmap says what the classifier says of the same windows."""

from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image as PillowImage

from tltool.fcn.single import as_single
from tltool.inference.image_opening import ImageSource, open_image
from tltool.raster import Image, as_zoom, enlarge
from tltool.run.sidecar import Sidecar
from tltool.tasks.kinds import tasks_of
from tltool.tiling.engines import AveragedEngine, Engine, TensorFlowEngine
from tltool.tiling.pipeline import EnginePredictor, predict_tiles
from tltool.tiling.tiles import make_grid, pixel_type

# Cells along a side of the blocks in which windows are compared.
_BLOCK = 16
_FEWEST_BLOCKS = 4


@dataclass(frozen=True)
class Comparison:
    """Comparison of map and classifier on the same windows of an image.

    Attributes
    ----------
    received, expected : (n, outputs) arrays
        The map's and the classifier's.
    cells : (n, 2) int array
        Row and column of the window's cell.
    sidecar : Sidecar
        Sidecar of the FCN.
    """

    received: np.ndarray
    expected: np.ndarray
    cells: np.ndarray
    sidecar: Sidecar

    @property
    def differences(self) -> np.ndarray:
        """Differences of each output of each window: (n, outputs)."""
        return np.abs(self.received - self.expected)

    @cached_property
    def agreed(self) -> dict[str, np.ndarray]:
        """Task name to the windows of which both say the same: (n,) bool arrays."""
        same, start = {}, 0
        for task in tasks_of(self.sidecar):
            stop = start + task.outputs
            one, other = self.received[:, start:stop], self.expected[:, start:stop]
            same[task.name] = task.same(one, other, self.sidecar.scores)
            start = stop
        return same

    @property
    def all_agree(self) -> np.ndarray:
        """Windows of which both say the same in every task: (n,) bool array."""
        return np.all(list(self.agreed.values()), axis=0)

    def numbers(self) -> dict[str, Any]:
        """The fidelity, as `measure_fidelity` gives it."""
        differences = self.differences
        shares = {name: float(agreed.mean()) for name, agreed in self.agreed.items()}
        if len(shares) > 1:
            agreement = {"agreement": float(self.all_agree.mean()), "tasks": shares}
        else:
            (task,) = tasks_of(self.sidecar)
            agreement = {task.agreement_key: shares[task.name]}
        return {
            "windows": len(self.expected),
            **agreement,
            "mean_difference": float(differences.mean()),
            "p99_difference": float(np.quantile(differences, 0.99)),
            "max_difference": float(differences.max()),
        }


def compare(
    fcn: keras.Model | Engine,
    classifier: keras.Model,
    sidecar: Sidecar,
    image: Image,
    windows: int = 1024,
    seed: int = 0,
) -> Comparison:
    """Outputs of map and classifier for the same windows of an image.

    Parameters
    ----------
    fcn : keras.Model or Engine
        What makes the map.
    classifier : keras.Model
    sidecar : Sidecar
        Sidecar of the FCN.
    image : Image
    windows : int
        Number of windows to compare at most, drawn in blocks all over the
        image.
    seed : int

    Returns
    -------
    Comparison
    """
    rng = np.random.default_rng(seed)
    grid, zoom = make_grid(sidecar, image.width, image.height), as_zoom(sidecar.zoom)
    margin = grid.y.before + grid.y.after
    tiles = list(grid.tiles(sidecar.input_side + (_BLOCK - 1 + margin) * grid.y.stride))
    # Twice as many blocks as would hold the windows, so that these lie scattered.
    wanted = max(_FEWEST_BLOCKS, -(-2 * windows // _BLOCK**2))
    tiles = [tiles[index] for index in sorted(rng.permutation(len(tiles))[:wanted])]
    share = -(-windows // len(tiles))
    if len(classifier.outputs) > 1:
        classifier = as_single(classifier, [task.name for task in sidecar.tasks])
    pixels_as = pixel_type(zoom)
    engine = TensorFlowEngine(fcn, pixels_as) if isinstance(fcn, keras.Model) else fcn
    patchwise: Engine = TensorFlowEngine(classifier, pixels_as)
    if isinstance(engine, AveragedEngine):
        patchwise = AveragedEngine(patchwise)
    of_map, of_classifier, positions = [], [], []
    with closing(predict_tiles(image, tiles, EnginePredictor(engine, zoom))) as predicted:
        for tile, values in predicted:
            assert values is not None  # every tile has data without a cover
            rows = np.arange(0, tile.y.cells, grid.y.step)
            columns = np.arange(0, tile.x.cells, grid.x.step)
            cells = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
            cells = cells[rng.permutation(len(cells))[:share]]
            of_map.append(values[:, cells[:, 0], cells[:, 1]].T)
            positions.append(cells + np.array((tile.y.cell, tile.x.cell)))
            for row, column in cells:
                top = int(grid.y.window_start(tile.y.cell + row))
                left = int(grid.x.window_start(tile.x.cell + column))
                pixels = image.read(left, top, sidecar.window, sidecar.window)
                of_classifier.append(patchwise(enlarge(pixels, zoom)).reshape(1, -1))
    received, expected = np.concatenate(of_map)[:windows], np.concatenate(of_classifier)[:windows]
    return Comparison(received, expected, np.concatenate(positions)[:windows], sidecar)


def measure_fidelity(
    fcn: keras.Model | Engine,
    classifier: keras.Model,
    sidecar: Sidecar,
    image: ImageSource | Image,
    windows: int = 1024,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure how far the map agrees with the classifier, window by window.

    Parameters
    ----------
    fcn : keras.Model or Engine
        What makes the map: an FCN, a dense one, or an engine of
        `tltool.tiling.engines`.
    classifier : keras.Model
    sidecar : Sidecar
        Sidecar of the FCN.
    image : str, Path, array, PIL image or Image
        Anything that opens, or that has `width`, `height` and `read`.
    windows : int
        Number of windows to compare at most.
    seed : int
        Seed of the choice of windows.

    Returns
    -------
    dict
        ``windows`` (number compared), the agreement, and ``mean_difference``,
        ``p99_difference`` and ``max_difference`` of probabilities, over all
        classes. The agreement is the share (0..1) of windows of which both say
        the same: as ``argmax_agreement`` that one class is the most probable;
        of a binary or multi-label task as ``agreement`` that every output is
        on the same side of 0.5 (of 0 where the outputs are scores). Of several
        tasks ``agreement`` is the share of windows where they all agree,
        ``tasks`` that of each by its name.

    Raises
    ------
    ImageError
        The image cannot be read, or has other bands than the network takes.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> import tltool
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((16, 16, 3)),
    ...         keras.layers.Conv2D(4, 3, activation="relu"),
    ...         keras.layers.GlobalAveragePooling2D(),
    ...         keras.layers.Dense(2, activation="softmax"),
    ...     ]
    ... )
    >>> network = tltool.open(model)
    >>> image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), "uint8")
    >>> network.fidelity(image, windows=64)["argmax_agreement"]
    1.0
    """
    if not isinstance(image, str | Path | np.ndarray | PillowImage.Image):
        return compare(fcn, classifier, sidecar, image, windows, seed).numbers()
    with open_image(image, sidecar) as raster:
        return compare(fcn, classifier, sidecar, raster, windows, seed).numbers()


def describe_fidelity(sidecar: Sidecar) -> str:
    """The measured fidelity in one line."""
    measured = sidecar.fidelity
    if not measured:
        return "not measured"
    tasks = tasks_of(sidecar)
    several = len(tasks) > 1
    share = measured["agreement" if several else tasks[0].agreement_key]
    half = "0" if sidecar.scores else "0.5"
    answer = "answer in every task" if several else tasks[0].agreement_words(half)
    each = [f"{name} {100 * part:.2f} %" for name, part in measured.get("tasks", {}).items()]
    parts = f" ({', '.join(each)})" if each else ""
    what = "scores" if sidecar.scores else "probabilities"
    if not all(task.probabilistic for task in tasks):
        what = "values"
    return (
        f"{100 * share:.2f} % of {measured['windows']} windows of {measured['image']} get the"
        f" classifier's own {answer}{parts}; {what} differ by"
        f" {measured['mean_difference']:.2g} on average, {measured['max_difference']:.2g} at"
        " most"
    )
