"""`tltool explain`."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import tltool
from tltool.cli import options, show
from tltool.explanation.choices import DEFAULT_METHOD, METHOD_NAMES, stored_layers, stored_tasks

if TYPE_CHECKING:
    from tltool.explanation.compare import MethodComparison
    from tltool.explanation.explain import Explanation


def _run(ctx: click.Context) -> Path:
    """The run on an unfinished line: behind an option without value click leaves it unsorted."""
    return Path(ctx.params.get("run") or next(iter(ctx.args), "."))


def _classes(ctx: click.Context) -> list[str]:
    tasks, task = stored_tasks(_run(ctx)), ctx.params.get("task")
    return tasks.get(task, []) if task else [name for own in tasks.values() for name in own]


def _among(names: Callable[[click.Context], Iterable[str]]) -> Any:
    """Complete a word by the names that begin with it."""
    return lambda ctx, param, begun: [name for name in names(ctx) if name.startswith(begun)]


@click.command(short_help="Show where in images the network sees what it predicts.")
@options.run
@click.argument("images", nargs=-1, metavar="IMAGE...|DIR", type=click.Path(path_type=Path))
@options.option(
    "--method",
    "Method that makes the map; cam needs global average pooling and one linear layer.",
    type=click.Choice(METHOD_NAMES),
    shown=DEFAULT_METHOD,
)
@options.option(
    "--class label",
    "Class to explain [of each image the most probable].",
    "NAME",
    shell_complete=_among(_classes),
)
@options.option(
    "--task",
    "Name of the task, where the run has several.",
    "NAME",
    shell_complete=_among(lambda ctx: stored_tasks(_run(ctx))),
)
@options.option(
    "--layer",
    "Whose map is looked at [the last before the head with 5 cells or more a side].",
    "NAME",
    shell_complete=_among(lambda ctx: stored_layers(_run(ctx))),
)
@options.flag("--list-layers", "List the layers that have maps, and end.")
@options.choice(
    "--raw", "npy|tiff", "Write the map too, in px of what the network sees of the image."
)
@options.flag(
    "--boxes", "Put a box around the largest part of the map; boxes.csv and boxes.json (COCO)."
)
@options.option(
    "--box-threshold",
    "Share of the map's maximum from which a cell is in the box [0.2].",
    "SHARE",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
)
@options.path(
    "--truth",
    "Positions of things: boxes (CSV: image,xmin,ymin,xmax,ymax and perhaps label); with"
    " --compare points too.",
    "FILE",
)
@options.flag(
    "--compare",
    "Measure how faithful the maps of each method are, to choose one; methods.csv, .json.",
)
@options.batch_size
@options.strict
@options.overwrite
@options.path("-o --out", "Folder to write into.")
def explain(
    run: Path,
    images: tuple[Path, ...],
    out: Path | None,
    method: str,
    raw: str | None,
    boxes: bool,
    box_threshold: float | None,
    list_layers: bool,
    compare: bool,
    task: str | None,
    **choices: Any,
) -> None:
    """Show where in each IMAGE the network of RUN sees what it predicts.

    <stem>.METHOD.png gets the image beside itself under the heat. IMAGEs are
    files or folders, which are gone through at any depth. They are read as the
    run reads its patches: those that `tltool patches` cut are cut to what the
    network sees, every other image is resized to it.
    """
    if list_layers:
        _list_layers(run, task)
        return
    if not images or out is None:
        raise click.UsageError("expected IMAGE... and -o FOLDER, or --list-layers")
    if box_threshold is not None and not boxes:
        raise click.UsageError("--box-threshold goes with --boxes")
    if compare and (boxes or raw):
        raise click.UsageError(f"--compare: expected no {'--boxes' if boxes else '--raw'}")
    if compare:
        _show_comparison(tltool.compare_methods(run, images, out, task=task, **choices))
        return
    threshold = {} if box_threshold is None else {"box_threshold": box_threshold}
    more = {**choices, **threshold, "method": method, "raw": raw, "boxes": boxes}
    _show(tltool.explain(run, images, out, task=task, **more), out)


def _list_layers(run: Path, task: str | None) -> None:
    from tltool.runtime import quiet_import

    quiet_import("keras")
    from tltool.explanation.explainer import list_layers

    rows = []
    for layer in list_layers(run, task):
        size, default = " x ".join(map(str, layer.shape)), "default" if layer.default else ""
        rows.append((layer.path, layer.kind, size, f"{layer.cell_size:g}", default))
    show.table(("layer", "class", "map", "px a cell", ""), rows, numbers=(2, 3))


def _show(done: "Explanation", out: Path) -> None:
    boxes = bool(done.files)
    header = ["picture", "class", "probability"] + ["box", "IoU"] * boxes
    rows = []
    for each in done.images:
        name = f"{each.picture.relative_to(out) if each.picture else ''}"
        rows.append([name, each.label, f"{each.probability:.3f}"])
        if each.located is not None:
            box, iou = each.located.box, each.located.iou
            corners = (box.left, box.top, box.right, box.bottom) if box else ()
            rows[-1].append(" ".join(f"{corner:.0f}" for corner in corners) or "none")
            rows[-1].append("-" if iou is None else f"{iou:.2f}")
    show.table(header, rows, numbers=(2, 4))
    down, across = done.cells
    show.line(f"{done.method}, layer {done.layer}, {down} x {across} cells")
    empty = sum(not (each.map > 0).any() for each in done.images)
    if empty:
        show.line(f"{empty} maps are empty: nothing speaks for the class at this layer")
    if found := done.localisation:
        show.line(
            f"boxes of {found.images} images: mean IoU {found.mean_iou:.3f}, IoU 0.5 or more"
            f" {show.percent(found.accuracy)}, and of the right class"
            f" {show.percent(found.accuracy_with_class)}"
        )
    _show_unreadable(len(done.images), len(done.unreadable))
    for path in (*done.files, out):
        show.line(f"{path}")


def _show_unreadable(read: int, unreadable: int) -> None:
    if unreadable:
        show.line(f"{unreadable} of {read + unreadable} images cannot be read")


def _show_comparison(done: "MethodComparison") -> None:
    first = done.methods[0]
    header = ("method", "insertion", "deletion", "points at it", "ms", "layer")
    rows = []
    for each in done.methods:
        curves = f"{each.insertion:.3f}", f"{each.deletion:.3f}"
        time = f"{1000 * each.seconds:.0f}"
        rows.append((each.method, *curves, show.percent(each.pointing), time, each.layer))
    show.table(header, rows, numbers=(1, 2, 3, 4))
    show.line(
        f"{first.images} images, {first.things} of things; high insertion and low deletion are"
        " good, ms is the time an image; (centre) and (chance) look at no image"
    )
    for reason in done.refused.values():
        show.line(f"left out: {reason}")
    _show_unreadable(first.images, len(done.unreadable))
    for path in done.files:
        show.line(f"{path}")
