"""The picture of a fidelity: where on an image map and classifier differ, and in which windows."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PatchCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image as PillowImage

from tltool.conversion.agreement import Comparison, describe_fidelity
from tltool.raster import Image, Raster
from tltool.run.sidecar import Sidecar
from tltool.tiling.tiles import Grid, make_grid

# Differences are shown between these: rounding below, none above.
_SHOWN = (1e-4, 1.0)
_LONGEST = 1600
_WORST = 6
# Cells between them.
_APART = 6
_COLOURS = "inferno"
_RING = "#35c5e8"


def draw_fidelity(compared: Comparison, image: Image, sidecar: Sidecar) -> PillowImage.Image:
    """Draw the compared windows on their image, and the windows that differ most.

    Parameters
    ----------
    compared : Comparison
    image : Image
        Image that it was measured on.
    sidecar : Sidecar
        Sidecar of the FCN, with its fidelity.

    Returns
    -------
    PIL.Image.Image
        RGB. Above: the image, each compared cell in the colour of its largest
        difference, those ringed where the two answer otherwise. Beside it how
        many windows differ by more than so much. Below: the worst windows with
        both answers.
    """
    figure = Figure(figsize=(13, 10.6), dpi=100, layout="constrained")
    title = describe_fidelity(sidecar).replace("; ", ";\n", 1)
    figure.suptitle(title, fontsize=12, x=0.01, ha="left")
    upper, lower = np.ravel(figure.subfigures(2, 1, height_ratios=(2.9, 1.25), squeeze=False))
    photograph, curve = upper.subplots(1, 2, width_ratios=(3.4, 1))
    grid = make_grid(sidecar, image.width, image.height)
    _draw_cells(photograph, compared, image, grid)
    largest = np.sort(compared.differences.max(1)).clip(*_SHOWN)
    above = 1 - np.arange(len(largest)) / len(largest)
    curve.step(largest, 100 * above, where="post", color="#b5367a", lw=2)
    curve.set(xscale="log", xlim=_SHOWN, ylim=(0, 101))
    curve.set_xlabel("difference", fontsize=9)
    curve.set_title("% of windows that differ by at least", fontsize=10, loc="left")
    curve.grid(alpha=0.3)
    curve.tick_params(labelsize=8)
    _draw_worst(lower.subplots(1, _WORST), compared, image, grid, sidecar)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return PillowImage.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _seen(pixels: np.ndarray) -> np.ndarray:
    """Three bands to look at."""
    return pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)


def _draw_cells(axes: Axes, compared: Comparison, image: Image, grid: Grid) -> None:
    if isinstance(image, Raster):
        photograph = image.thumbnail(_LONGEST)
    else:
        step = -(-max(image.width, image.height) // _LONGEST)
        photograph = _seen(image.read(0, 0, image.width, image.height)[::step, ::step])
    pale = 255 - (255 - photograph.astype(float)) * 0.75
    axes.imshow(pale.astype(np.uint8), extent=(0, image.width, image.height, 0))
    cell_size = float(grid.y.cell_size)
    lefts = float(grid.x.origin) + compared.cells[:, 1] * cell_size
    tops = float(grid.y.origin) + compared.cells[:, 0] * cell_size
    squares = [Rectangle(corner, cell_size, cell_size) for corner in zip(lefts, tops, strict=True)]
    cells = PatchCollection(squares, cmap=_COLOURS, norm=LogNorm(*_SHOWN, clip=True), lw=0)
    cells.set_array(compared.differences.max(1).clip(*_SHOWN))
    axes.add_collection(cells)
    wrong = ~compared.all_agree
    rings = [square for square, ring in zip(squares, wrong, strict=True) if ring]
    axes.add_collection(PatchCollection(rings, facecolor="none", edgecolor=_RING, lw=1.2))
    axes.set_title(
        f"the compared windows' cells; ringed: another answer ({wrong.sum()} of {len(wrong)})",
        fontsize=10,
        loc="left",
    )
    axes.tick_params(labelsize=8)
    bar = axes.figure.colorbar(cells, ax=axes, orientation="horizontal", shrink=0.5, aspect=40)
    bar.set_label("largest difference of any output", fontsize=9)
    bar.ax.tick_params(labelsize=8)


def _worst(compared: Comparison) -> list[int]:
    """Windows that answer otherwise, then those that differ most; no two neighbours if possible."""
    order = np.lexsort((-compared.differences.max(1), compared.all_agree))
    chosen: list[int] = []
    for apart in (_APART, 0):
        for index in order.tolist():
            distances = np.abs(compared.cells[chosen] - compared.cells[index]).max(1)
            if len(chosen) < _WORST and index not in chosen and (distances >= apart).all():
                chosen.append(index)
    return chosen


def _draw_worst(
    row: np.ndarray, compared: Comparison, image: Image, grid: Grid, sidecar: Sidecar
) -> None:
    largest, worst = compared.differences.max(1), _worst(compared)
    for axes, index in zip(row, worst, strict=False):
        y, x = compared.cells[index]
        left, top = int(grid.x.window_start(x)), int(grid.y.window_start(y))
        axes.imshow(_seen(image.read(left, top, sidecar.window, sidecar.window)))
        corner, patch = (sidecar.context - 0.5,) * 2, sidecar.patch
        if sidecar.context:
            axes.add_patch(Rectangle(corner, patch, patch, fill=False, ec="white", lw=1))
        lines = [
            f"map: {_answer(compared.received[index], sidecar)}",
            f"classifier: {_answer(compared.expected[index], sidecar)}",
            f"difference {largest[index]:.2g}",
        ]
        axes.set_title("\n".join(lines), fontsize=8, loc="left")
        axes.set_xlabel(f"x {left}, y {top}", fontsize=7)
        axes.set(xticks=[], yticks=[])
    for axes in row[len(worst) :]:
        axes.set_axis_off()


def _answer(outputs: np.ndarray, sidecar: Sidecar) -> str:
    """The strongest output with its number."""
    best = int(outputs.argmax())
    name = sidecar.classes[best]
    return f"{name if len(name) < 20 else name[:19] + '…'} {outputs[best]:.2f}"
