"""Fidelity: how far the heatmap says what the classifier says of the same windows."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tltool.fcn.single import as_single
from tltool.maps.engines import Engine, TensorFlowEngine
from tltool.maps.inference import pixel_type, run_tiles
from tltool.maps.tiles import Grid, Tile, make_grid
from tltool.raster import Image, as_zoom, enlarge
from tltool.sidecar import Sidecar, TaskFacts

# Cells along a side of the blocks in which windows are compared.
_BLOCK = 16
_FEWEST_BLOCKS = 4


def _chosen(grid: Grid, sidecar: Sidecar, windows: int, rng: np.random.Generator) -> list[Tile]:
    zoomed = sidecar.input_side + (_BLOCK - 1 + grid.y.before + grid.y.after) * grid.y.stride
    tiles = list(grid.tiles(zoomed))
    # Twice as many blocks as would hold the windows, so that these lie scattered.
    wanted = max(_FEWEST_BLOCKS, -(-2 * windows // _BLOCK**2))
    order = rng.permutation(len(tiles))[:wanted]
    return [tiles[i] for i in sorted(order)]


def _cells_of(
    tile: Tile, share: int, step: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    rows = np.arange(0, tile.y.cells, step[0])
    columns = np.arange(0, tile.x.cells, step[1])
    pairs = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    return pairs[rng.permutation(len(pairs))[:share]]


def _windows(image: Image, grid: Grid, tile: Tile, cells: np.ndarray, side: int) -> Iterator[Any]:
    for row, column in cells:
        top = int(grid.y.window_start(tile.y.cell + row))
        left = int(grid.x.window_start(tile.x.cell + column))
        yield image.read(left, top, side, side)


def compare(
    fcn: keras.Model | Engine,
    classifier: keras.Model,
    sidecar: Sidecar,
    image: Image,
    windows: int = 1024,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of map and classifier for the same windows of an image.

    Parameters
    ----------
    fcn : keras.Model or Engine
        What makes the map.
    classifier : keras.Model
    sidecar : Sidecar
        Of the FCN.
    image : Image
    windows : int
        How many windows to compare at most, drawn in blocks all over the
        image.
    seed : int

    Returns
    -------
    Two (n, classes) arrays: the map's and the classifier's.
    """
    rng = np.random.default_rng(seed)
    grid, zoom = make_grid(sidecar, image.width, image.height), as_zoom(sidecar.zoom)
    tiles = _chosen(grid, sidecar, windows, rng)
    share = -(-windows // len(tiles))
    if len(classifier.outputs) > 1:
        classifier = as_single(classifier, [task.name for task in sidecar.tasks])
    pixels_as = pixel_type(zoom)
    engine = TensorFlowEngine(fcn, pixels_as) if isinstance(fcn, keras.Model) else fcn
    judge = TensorFlowEngine(classifier, pixels_as)
    of_map, of_classifier = [], []
    for tile, values in run_tiles(image, tiles, zoom, engine):
        cells = _cells_of(tile, share, (grid.y.step, grid.x.step), rng)
        of_map.append(values[:, cells[:, 0], cells[:, 1]].T)
        for pixels in _windows(image, grid, tile, cells, sidecar.window):
            of_classifier.append(judge(enlarge(pixels, zoom)).reshape(1, -1))
    return np.concatenate(of_map)[:windows], np.concatenate(of_classifier)[:windows]


def _tasks(sidecar: Sidecar) -> list[TaskFacts]:
    if sidecar.tasks:
        return sidecar.tasks
    if len(sidecar.classes) > 1:
        return [TaskFacts(classes=sidecar.classes)]
    return [TaskFacts(kind="binary", classes=["", *sidecar.classes])]


def _agreement(received: np.ndarray, expected: np.ndarray, sidecar: Sidecar) -> dict[str, Any]:
    tasks, same, start = _tasks(sidecar), {}, 0
    for task in tasks:
        stop = start + (1 if task.kind == "binary" else len(task.classes))
        one, other = received[:, start:stop], expected[:, start:stop]
        if task.kind == "multi-class":
            same[task.name] = one.argmax(1) == other.argmax(1)
        else:
            same[task.name] = ((one >= 0.5) == (other >= 0.5)).all(1)
        start = stop
    shares = {name: float(agreed.mean()) for name, agreed in same.items()}
    if len(tasks) > 1:
        every = np.all(list(same.values()), axis=0)
        return {"agreement": float(every.mean()), "tasks": shares}
    key = "argmax_agreement" if tasks[0].kind == "multi-class" else "agreement"
    return {key: shares[tasks[0].name]}


def measure_fidelity(
    fcn: keras.Model | Engine,
    classifier: keras.Model,
    sidecar: Sidecar,
    image: Image,
    windows: int = 1024,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure how far the map agrees with the classifier, window by window.

    Parameters
    ----------
    fcn : keras.Model or Engine
        What makes the map: an FCN, a dense one, or an engine of
        `tltool.maps.engines`.
    classifier : keras.Model
    sidecar : Sidecar
        Of the FCN.
    image : Image
        Anything with `width`, `height` and `read`, such as `tltool.raster.Raster`.
    windows : int
        How many windows to compare at most.
    seed : int
        Of the choice of windows.

    Returns
    -------
    dict
        ``windows`` (number compared), the agreement, and ``mean_difference``,
        ``p99_difference`` and ``max_difference`` of probabilities, over all
        classes. The agreement is the share (0..1) of windows of which both say
        the same: as ``argmax_agreement`` that one class is the most probable;
        of a binary or multi-label task as ``agreement`` that every output is
        on the same side of 0.5. Of several tasks ``agreement`` is the share of
        windows where they all agree, ``tasks`` that of each by its name.
    """
    received, expected = compare(fcn, classifier, sidecar, image, windows, seed)
    difference = np.abs(received - expected)
    return {
        "windows": len(expected),
        **_agreement(received, expected, sidecar),
        "mean_difference": float(difference.mean()),
        "p99_difference": float(np.quantile(difference, 0.99)),
        "max_difference": float(difference.max()),
    }


def describe_fidelity(sidecar: Sidecar) -> str:
    """The measured fidelity in one line."""
    measured = sidecar.fidelity
    if not measured:
        return "not measured"
    own_class = "argmax_agreement" in measured
    share = measured["argmax_agreement" if own_class else "agreement"]
    answer = "class" if own_class else "side of 0.5 in every output"
    if "tasks" in measured:
        answer = "answer in every task"
    each = [f"{name} {100 * part:.2f} %" for name, part in measured.get("tasks", {}).items()]
    parts = f" ({', '.join(each)})" if each else ""
    return (
        f"{100 * share:.2f} % of {measured['windows']} windows of {measured['image']} get the"
        f" classifier's own {answer}{parts}; probabilities differ by"
        f" {measured['mean_difference']:.2g} on average, {measured['max_difference']:.2g} at"
        " most"
    )
