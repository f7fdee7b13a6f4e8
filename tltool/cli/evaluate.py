"""`tltool evaluate`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from tltool.cli import options

# Path in the numbers of a task -> what it is called in the table.
_ROWS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "subset_accuracy": "all labels right",
    "hamming_loss": "Hamming loss",
    "mean_average_precision": "mean average precision",
    "kappa": "Cohen's kappa",
    "macro.precision": "precision, macro",
    "macro.recall": "recall, macro",
    "macro.f1": "F1, macro",
    "macro.f_beta": "F-beta {beta:g}, macro",
    "macro.specificity": "specificity, macro",
    "macro.roc_auc": "ROC AUC, macro",
    "macro.average_precision": "average precision, macro",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "calibration error",
}
_CLASS_COLUMNS = ("precision", "recall", "f1", "roc_auc", "average_precision")


@click.command(short_help="Evaluate a run on labelled images: numbers with intervals.")
@options.run
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--split",
    type=click.Choice(["train", "valid", "test", "all"]),
    help="Images to evaluate on [test, or all of data without splits].",
)
@click.option(
    "--beta",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    help="Beta of F-beta: how many times as much recall counts as precision.",
)
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="K",
    help="Most probable classes among which the right one may be.",
)
@options.views
@click.option(
    "--resamples",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Resamples of the bootstrap that the intervals come from.",
)
@click.option(
    "--assert",
    "required",
    multiple=True,
    metavar="EXPRESSION",
    help='What a number of metrics.json is to be, such as "accuracy>=0.6" or'
    ' "classes.pups.recall>0.5"; exit status 1 where it is not. Repeatable.',
)
@click.option(
    "--report/--no-report",
    default=True,
    show_default=True,
    help="Write report.html, which takes longer than the numbers.",
)
@click.option(
    "--feature-map/--no-feature-map",
    default=True,
    show_default=True,
    help="Lay the images out by their features in it (t-SNE: some seconds).",
)
@options.batch_size
@options.seed
@options.strict
@options.overwrite
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Folder to write [RUN/evaluation]."
)
def evaluate(
    run: Path,
    data: Path,
    out: Path | None,
    required: tuple[str, ...],
    seed: int | None,
    **choices: Any,
) -> None:
    """Evaluate RUN on the labelled images in DATA.

    DATA is what `tltool finetune` takes: class folders, what `tltool patches`
    wrote, or a CSV manifest. Its classes are those of RUN; some may be missing.
    metrics.json gets all numbers, predictions.csv a row an image, report.html
    what to show to others: one file that opens without a network.
    """
    from tltool.evaluation.requirements import check_requirements, parse_requirement

    requirements = [parse_requirement(text) for text in required]

    import tltool

    done = tltool.evaluate(run, data, out, seed=seed or 0, **choices)
    _show(done.metrics)

    from tltool.cli import show

    for path in done.files:
        show.line(f"{path}")
    check_requirements(done.metrics, requirements)


def _tasks(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Task or empty name to its numbers."""
    return numbers.get("tasks", {"": numbers})


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _found(numbers: Mapping[str, Any], path: str) -> str:
    """The number at a path, where there may be none."""
    from tltool.metrics.paths import find

    try:
        return _number(find(numbers, path))
    except KeyError:
        return ""


def _between(limits: Sequence[float] | None) -> str:
    return "" if limits is None else f"{limits[0]:.3f} .. {limits[1]:.3f}"


def _show(metrics: Mapping[str, Any]) -> None:
    from tltool.cli import show

    averaged = _tasks(metrics["averaged"]) if "averaged" in metrics else {}
    for name, numbers in _tasks(metrics).items():
        title = f"{metrics['split']}, {name}" if name else metrics["split"]
        _show_classes(title, numbers)
        if "classes" in numbers:
            show.line("")
        _show_whole(f"{numbers['samples']} images", numbers, averaged.get(name), metrics["beta"])
        _show_thresholds(numbers)
        show.line("")
    for line in _remarks(metrics):
        show.line(line)


def _show_classes(title: str, numbers: Mapping[str, Any]) -> None:
    from tltool.cli import show

    rows = [
        (name, each["samples"], *(_number(each[key]) for key in _CLASS_COLUMNS))
        for name, each in numbers.get("classes", {}).items()
    ]
    if not rows:
        return
    header = (title, "samples", "precision", "recall", "F1", "ROC AUC", "AP")
    show.table(header, rows, numbers=range(1, len(header)))


def _show_whole(
    title: str, numbers: Mapping[str, Any], averaged: Mapping[str, Any] | None, beta: float
) -> None:
    from tltool.cli import show
    from tltool.metrics.paths import find

    names = {key: name.format(beta=beta) for key, name in _ROWS.items()}
    # Kinds without classes have numbers of their own.
    names |= {
        k: k.replace("_", " ") for k in numbers["intervals"] if "." not in k and k not in names
    }
    for k in numbers.get("top_k", {}):
        names[f"top_k.{k}"] = f"among the {k} most probable"
    given = {"averaged": averaged, "calibrated": numbers.get("calibrated")}
    others = {name: other for name, other in given.items() if other is not None}
    rows = []
    for path, name in names.items():
        if path in numbers["intervals"]:
            shown = [_number(find(numbers, path)), _between(numbers["intervals"][path])]
            rows.append([name, *shown, *(_found(other, path) for other in others.values())])
    show.table([title, "", "95 %", *others], rows, numbers=(1, 2, 3, 4))


def _show_thresholds(numbers: Mapping[str, Any]) -> None:
    from tltool.cli import show

    rows = [
        (name, *(_number(row[key]) for key in ("threshold", "precision", "recall", "f1")))
        for name, table in numbers.get("thresholds", {}).items()
        for row in table
        if row["best"]
    ]
    if rows:
        show.line("")
        header = ("threshold of the best F1", "threshold", "precision", "recall", "F1")
        show.table(header, rows, numbers=range(1, 5))


def _remarks(metrics: Mapping[str, Any]) -> list[str]:
    """What is to be said beside the numbers, a line each."""
    lines = [
        f"without an image: {', '.join(names)}" + (f" ({task})" if "tasks" in metrics else "")
        for task, names in metrics["lacking"].items()
    ]
    for name, numbers in _tasks(metrics).items():
        after = numbers.get("calibrated")
        if after is not None:
            fitted = after["fitted_on"]
            how = f"fitted on {fitted} validation images" if fitted else "stored before"
            lines.append(f"{name} temperature {after['temperature']:.3f}, {how}".lstrip())
    if "tta" in metrics:
        gain = metrics["tta"]["gain"]
        lines += _gain(metrics["tta"], gain if "tasks" in metrics else {"": gain})
    return lines


def _gain(tta: Mapping[str, Any], gains: Mapping[str, Any]) -> list[str]:
    what = "flips and rotations" if tta["kind"] == "d4" else "random draws"
    lines = [
        f"averaged over {tta['views']} {what}, for {tta['cost']:.1f} times the network's time:"
    ]
    for name, gain in gains.items():
        # Of a task without a labelled image there is none.
        if "accuracy" in gain:
            value, limits = gain["accuracy"]["value"], gain["accuracy"]["interval"]
            within = "" if limits is None else f", 95 % {' .. '.join(map(_points, limits))}"
            label = f"{name} accuracy".lstrip()
            lines.append(f"  {label} {_points(value)} points{within}")
        elif gain:
            path, change = next(iter(gain.items()))
            lines.append(f"  {name} {path.replace('_', ' ')} {change['value']:+.3g}".lstrip(" "))
    return lines


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
