"""`tltool evaluate`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

import tltool
from tltool.cli import options, show

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
@options.choice(
    "--split",
    "train|valid|test|all",
    "Images to evaluate on [test, or all of data without splits].",
)
@options.option(
    "--beta",
    "Beta of F-beta: how many times as much recall counts as precision.",
    type=click.FloatRange(min=0, min_open=True),
    shown=2.0,
)
@options.whole("--top-k", "Most probable classes among which the right one may be.", "K", shown=3)
@options.views
@options.whole(
    "--resamples", "Resamples of the bootstrap that the intervals come from.", shown=1000
)
@options.option(
    "--assert required",
    'What a number of metrics.json is to be, such as "accuracy>=0.6" or'
    ' "classes.pups.recall>0.5"; exit status 1 where it is not. Repeatable.',
    "EXPRESSION",
    multiple=True,
)
@options.option(
    "--report/--no-report", "Write report.html, which takes longer than the numbers.", shown=True
)
@options.option(
    "--feature-map/--no-feature-map",
    "Lay the images out by their features in it (t-SNE: some seconds).",
    shown=True,
)
@options.batch_size
@options.seed
@options.strict
@options.overwrite
@options.path("-o --out", "Folder to write [RUN/evaluation].")
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
    done = tltool.evaluate(run, data, out, seed=seed or 0, **choices)
    _show(done.metrics)
    for path in done.files:
        show.line(f"{path}")
    check_requirements(done.metrics, requirements)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _show(metrics: Mapping[str, Any]) -> None:
    from tltool.metrics.paths import find

    averaged = show.by_task(metrics["averaged"]) if "averaged" in metrics else {}
    for task, numbers in show.by_task(metrics).items():
        title = f"{metrics['split']}, {task}" if task else metrics["split"]
        rows: list[Sequence[Any]] = [
            (name, each["samples"], *(_number(each[key]) for key in _CLASS_COLUMNS))
            for name, each in numbers.get("classes", {}).items()
        ]
        if rows:
            columns = ("samples", "precision", "recall", "F1", "ROC AUC", "AP")
            show.table((title, *columns), rows, numbers=range(1, 7))
            show.line("")

        intervals = numbers["intervals"]
        names = {key: name.format(beta=metrics["beta"]) for key, name in _ROWS.items()}
        # Kinds without classes have numbers of their own.
        names |= {k: k.replace("_", " ") for k in intervals if "." not in k and k not in names}
        names |= {f"top_k.{k}": f"among the {k} most probable" for k in numbers.get("top_k", {})}
        given = {"averaged": averaged.get(task), "calibrated": numbers.get("calibrated")}
        others = {name: other for name, other in given.items() if other is not None}
        rows = []
        for path, name in names.items():
            if path not in intervals:
                continue
            limits = intervals[path]
            between = "" if limits is None else f"{limits[0]:.3f} .. {limits[1]:.3f}"
            row = [name, _number(find(numbers, path)), between]
            for other in others.values():
                try:
                    row.append(_number(find(other, path)))
                except KeyError:
                    row.append("")
            rows.append(row)
        show.table(
            [f"{numbers['samples']} images", "", "95 %", *others], rows, numbers=(1, 2, 3, 4)
        )

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
        show.line("")
    _show_remarks(metrics)


def _show_remarks(metrics: Mapping[str, Any]) -> None:
    """What is to be said beside the numbers."""
    several = "tasks" in metrics
    for task, names in metrics["lacking"].items():
        show.line(f"without an image: {', '.join(names)}" + (f" ({task})" if several else ""))
    for task, numbers in show.by_task(metrics).items():
        if (after := numbers.get("calibrated")) is not None:
            fitted = after["fitted_on"]
            how = f"fitted on {fitted} validation images" if fitted else "stored before"
            show.line(f"{task} temperature {after['temperature']:.3f}, {how}".lstrip())
    if (tta := metrics.get("tta")) is None:
        return
    what = "flips and rotations" if tta["kind"] == "d4" else "random draws"
    cost = f"{tta['cost']:.1f} times the network's time"
    show.line(f"averaged over {tta['views']} {what}, for {cost}:")
    for task, gain in (tta["gain"] if several else {"": tta["gain"]}).items():
        # Of a task without a labelled image there is none.
        if "accuracy" in gain:
            value, limits = gain["accuracy"]["value"], gain["accuracy"]["interval"]
            within = "" if limits is None else f", 95 % {' .. '.join(map(_points, limits))}"
            show.line(f"  {f'{task} accuracy'.lstrip()} {_points(value)} points{within}")
        elif gain:
            path, change = next(iter(gain.items()))
            show.line(f"  {task} {path.replace('_', ' ')} {change['value']:+.3g}".lstrip(" "))


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
