"""The numbers of a task as a report shows them: tiles, tables and charts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tltool.evaluation import paths
from tltool.evaluation.comparison import Compared
from tltool.evaluation.report.charts import Chart, Line, Matrix, line_chart, matrix_chart, room_for

NONE, _MINUS, _TO = "\N{EN DASH}", "\N{MINUS SIGN}", "\N{EN DASH}"
# Classes whose curves are told apart in one chart.
_CURVES = 8
_CONFUSED = 6

_PERCENT = "\N{NO-BREAK SPACE}%"

Ends = Sequence[float] | None


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage; a dash where there is none."""
    return NONE if value is None else f"{100 * value:.{digits}f}{_PERCENT}"


def decimal(value: float | None) -> str:
    """A number with three decimals; a dash where there is none."""
    return NONE if value is None else f"{value:.3f}"


def points(value: float) -> str:
    """A difference of shares in percentage points, signed."""
    return f"{100 * value:+.1f}".replace("-", _MINUS)


def percent_ends(ends: Ends) -> str:
    """An interval of shares."""
    return "" if ends is None else f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}{_PERCENT}"


def points_ends(ends: Ends) -> str:
    """An interval of differences of shares."""
    return "" if ends is None else f"{points(ends[0])} to {points(ends[1])}"


def decimal_ends(ends: Ends) -> str:
    """An interval of numbers."""
    return "" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"


@dataclass(frozen=True)
class Number:
    """A headline number: `meaning` says what it is in a few words."""

    name: str
    value: str
    interval: str
    meaning: str


@dataclass(frozen=True)
class _Known:
    """How a number of the metrics is shown."""

    path: str
    name: str
    meaning: str
    share: bool = True


_OF_CLASSES = [
    _Known("accuracy", "Accuracy", "share of images that get the right class"),
    _Known("balanced_accuracy", "Balanced accuracy", "mean recall of the classes"),
    _Known("macro.f1", "F1, mean of classes", "balance of precision and recall, every class alike"),
    _Known(
        "macro.roc_auc",
        "ROC AUC, mean of classes",
        "chance that an image of a class ranks above one of another; 0.5 is guessing",
        share=False,
    ),
    _Known(
        "kappa", "Cohen's kappa", "agreement beyond chance; 0 is chance, 1 is perfect", share=False
    ),
]
_OF_LABELS = [
    _Known("accuracy", "Label accuracy", "share of all labels, there or not, that are right"),
    _Known("subset_accuracy", "Subset accuracy", "share of images with every label right"),
    _Known("macro.f1", "F1, mean of labels", "balance of precision and recall, every label alike"),
    _Known(
        "mean_average_precision",
        "Mean average precision",
        "area under the precision-recall curve, mean of labels",
        share=False,
    ),
]
_MORE = [
    _Known(
        "macro.precision",
        "Precision, mean of classes",
        "of images told a class, the share that has it",
    ),
    _Known(
        "macro.recall", "Recall, mean of classes", "of images of a class, the share that is told it"
    ),
    _Known("macro.f_beta", "F-beta, mean of classes", "as F1, recall counts beta times as much"),
    _Known(
        "macro.specificity",
        "Specificity, mean of classes",
        "of images without a class, the share that is not told it",
    ),
    _Known(
        "macro.average_precision",
        "Average precision, mean of classes",
        "area under the precision-recall curve",
        share=False,
    ),
    _Known("weighted.f1", "F1, weighted", "mean of classes by their number of images"),
    _Known(
        "log_loss", "Log loss", "how surprised the network is by the truth; 0 is best", share=False
    ),
    _Known("brier", "Brier score", "squared error of the probabilities; 0 is best", share=False),
    _Known("ece", "Calibration error (ECE)", "mean gap of probability and frequency; 0 is best"),
]


def numbers_of(metrics: dict[str, Any], task: str) -> dict[str, Any]:
    """The numbers of a task, whether it is the only one or one of several."""
    return metrics["tasks"][task] if "tasks" in metrics else metrics


def find(numbers: dict[str, Any], path: str) -> float | None:
    """The number at a path such as ``macro.f1``; None where there is none."""
    try:
        return paths.find(numbers, path)
    except KeyError:
        return None


def _shown(numbers: dict[str, Any], known: _Known) -> Number:
    value, ends = find(numbers, known.path), numbers["intervals"].get(known.path)
    text, between = (percent, percent_ends) if known.share else (decimal, decimal_ends)
    return Number(known.name, text(value), between(ends), known.meaning)


def headline(numbers: dict[str, Any]) -> list[Number]:
    """The few numbers to remember."""
    rows = _OF_LABELS if numbers["kind"] == "multi-label" else _OF_CLASSES
    return [_shown(numbers, known) for known in rows]


def more_numbers(numbers: dict[str, Any], beta: float) -> list[Number]:
    """The others, for a table."""
    top = [
        _Known(f"top_k.{k}", f"Top-{k} accuracy", f"the right class is among the {k} most probable")
        for k in numbers.get("top_k") or ()
    ]
    hamming = _Known("hamming_loss", "Hamming loss", "share of labels that are wrong")
    extra = [hamming] if numbers["kind"] == "multi-label" else top
    named = [
        _Known(
            k.path,
            k.name.replace("beta", f"{beta:g}"),
            k.meaning.replace("beta", f"{beta:g}"),
            k.share,
        )
        if k.path.endswith("f_beta")
        else k
        for k in _MORE
    ]
    return [_shown(numbers, known) for known in [*extra, *named]]


@dataclass(frozen=True)
class ClassRow:
    """A class of the table: its values with their intervals, in the order of the header."""

    name: str
    samples: int
    cells: list[tuple[str, str]]


_COLUMNS = ("precision", "recall", "f1", "f_beta", "specificity")
_AREAS = ("roc_auc", "average_precision")


def class_header(beta: float) -> list[str]:
    """Columns of the class table."""
    return [
        "Precision",
        "Recall",
        "F1",
        f"F{beta:g}",
        "Specificity",
        "ROC AUC",
        "Average precision",
    ]


def class_rows(numbers: dict[str, Any]) -> list[ClassRow]:
    """Every class with its numbers."""
    intervals = numbers["intervals"]

    def cell(name: str, key: str, told: dict[str, Any]) -> tuple[str, str]:
        ends = intervals.get(f"classes.{name}.{key}")
        if key in _AREAS:
            return decimal(told[key]), "" if ends is None else f"{ends[0]:.2f}{_TO}{ends[1]:.2f}"
        short = "" if ends is None else f"{100 * ends[0]:.0f}{_TO}{100 * ends[1]:.0f}"
        return percent(told[key]), short

    return [
        ClassRow(name, told["samples"], [cell(name, key, told) for key in (*_COLUMNS, *_AREAS)])
        for name, told in numbers["classes"].items()
    ]


def confusion_chart(names: Sequence[str], numbers: dict[str, Any]) -> Matrix | None:
    """The confusion matrix, with its text alternative; None of a multi-label task."""
    if "confusion" not in numbers:
        return None
    counts = np.array(numbers["confusion"])
    shares = np.array(numbers["confusion_normalised"], float)
    shares = np.where(counts.sum(axis=1, keepdims=True) > 0, shares, np.nan)
    right, total = int(np.trace(counts)), int(counts.sum())
    text = f"Confusion matrix: {right} of {total} images on the diagonal, which is right."
    worst = confusions(names, numbers)
    if worst:
        text += f" Most often {worst[0]}"
    return matrix_chart(text, names, counts, shares)


def confusions(names: Sequence[str], numbers: dict[str, Any]) -> list[str]:
    """The most frequent mistakes as sentences."""
    counts = np.array(numbers.get("confusion") or np.zeros((0, 0)), int)
    totals = counts.sum(axis=1) if counts.size else counts
    wrong = [
        (int(counts[i, j]), i, j)
        for i in range(len(counts))
        for j in range(len(counts))
        if i != j and counts[i, j]
    ]
    wrong.sort(key=lambda found: (-found[0], found[1], found[2]))
    return [
        f"{names[i]} taken for {names[j]}: {number} of {totals[i]}."
        for number, i, j in wrong[:_CONFUSED]
    ]


def _chosen(names: Sequence[str], numbers: dict[str, Any], key: str) -> list[str]:
    """The classes with the lowest areas, in their order, where they are too many."""
    known = [n for n in names if numbers["classes"][n][key] is not None]
    if len(known) <= _CURVES:
        return known
    worst = sorted(known, key=lambda name: numbers["classes"][name][key])[:_CURVES]
    return [name for name in known if name in worst]


@dataclass(frozen=True)
class _Curve:
    """A kind of curve in the metrics, and how it is told."""

    key: str
    axes: tuple[str, str]
    area: str
    title: str
    labels: tuple[str, str]


_ROC = _Curve(
    "roc",
    ("fpr", "tpr"),
    "roc_auc",
    "ROC curve and the area under it",
    ("false alarms among images without the class", "found among images of it"),
)
_PR = _Curve(
    "precision_recall",
    ("recall", "precision"),
    "average_precision",
    "Precision-recall curve and average precision",
    ("recall", "precision"),
)


def _curve_chart(
    names: Sequence[str], colours: dict[str, str], numbers: dict[str, Any], kind: _Curve
) -> Chart | None:
    told = numbers["curves"][kind.key]
    chosen = _chosen(names, numbers, kind.area)
    lines = []
    for name in [*chosen, "micro"]:
        curve = told.get(name)
        if curve is None:
            continue
        both = np.array([curve[axis] for axis in kind.axes], float).T
        # The class "micro" would not be told from the average; it has its own colour.
        average = name == "micro" and "micro" not in names
        area = (numbers["micro"] if average else numbers["classes"][name])[kind.area]
        lines.append(
            Line(
                "all classes together" if average else name,
                "currentColor" if average else colours[name],
                both,
                "" if area is None else f"{area:.2f}",
                dashed=average,
                stepped=kind is _PR,
            )
        )
    if not lines:
        return None
    areas = ", ".join(f"{line.label} {line.value}" for line in lines)
    text = f"{kind.title}: {areas}."
    if len(chosen) < len(names):
        text += f" The {len(chosen)} classes with the lowest of {len(names)} are shown."
    return line_chart(kind.title, text, kind.labels, lines, diagonal=kind is _ROC)


def curve_charts(
    names: Sequence[str], colours: dict[str, str], numbers: dict[str, Any]
) -> list[Chart]:
    """ROC and precision-recall curves, where there are any."""
    found = [_curve_chart(names, colours, numbers, kind) for kind in (_ROC, _PR)]
    return [chart for chart in found if chart is not None]


def _bins(bins: Sequence[dict[str, Any]], label: str, colour: str, value: str) -> Line:
    places = np.array([(b["confidence"], b["frequency"]) for b in bins], float).reshape(-1, 2)
    samples = np.array([b["samples"] for b in bins], float)
    sizes = 2 + 7 * np.sqrt(samples / max(1, samples.max(initial=1)))
    return Line(label, colour, places, value, sizes=sizes)


def calibration_chart(numbers: dict[str, Any]) -> Chart | None:
    """Probability against frequency, before and after temperature scaling."""
    lines = []
    if numbers["calibration"]:
        label = "the network's own"
        lines.append(
            _bins(numbers["calibration"], label, "var(--before)", f"ECE {percent(numbers['ece'])}")
        )
    after = numbers.get("calibrated")
    if after and after["calibration"]:
        label = f"at temperature {after['temperature']:.2f}"
        lines.append(
            _bins(after["calibration"], label, "var(--after)", f"ECE {percent(after['ece'])}")
        )
    if not lines:
        return None
    told = "; ".join(f"{line.label}: {line.value}" for line in lines)
    text = f"Calibration curve, on the diagonal probabilities would be true. {told}."
    return line_chart(
        "Calibration curve",
        text,
        ("mean probability of the answers", "share of them that is right"),
        lines,
        diagonal=True,
    )


def calibration_rows(numbers: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name, before and after temperature scaling."""
    after = numbers.get("calibrated") or {}
    return [
        ("Log loss", decimal(numbers["log_loss"]), decimal(after.get("log_loss"))),
        ("Brier score", decimal(numbers["brier"]), decimal(after.get("brier"))),
        ("Calibration error (ECE)", percent(numbers["ece"]), percent(after.get("ece"))),
    ]


def threshold_chart(name: str, rows: Sequence[dict[str, Any]]) -> Chart | None:
    """Precision, recall and F1 of a class against the probability from which on it is told."""
    ordered = sorted(rows, key=lambda row: row["threshold"])
    keys = {"precision": "var(--before)", "recall": "var(--after)", "f1": "currentColor"}
    lines = []
    for key, colour in keys.items():
        pairs = [(row["threshold"], np.nan if row[key] is None else row[key]) for row in ordered]
        lines.append(
            Line("F1" if key == "f1" else key, colour, np.array(pairs, float), dashed=key == "f1")
        )
    best = next((row for row in rows if row["best"]), None)
    if best is None:
        return None
    text = (
        f"Precision, recall and F1 of {name} by threshold; F1 is highest,"
        f" {percent(best['f1'])}, at {best['threshold']:.2f}."
    )
    return line_chart(
        f"Threshold of {name}",
        text,
        ("told from this probability on", "share"),
        lines,
        marks=[(best["threshold"], f"best F1: {best['threshold']:.2f}")],
    )


def threshold_rows(numbers: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Each class with F1 at 0.5, and the threshold of the best F1 with what it gives."""
    found = []
    for name, rows in (numbers.get("thresholds") or {}).items():
        best = next((row for row in rows if row["best"]), None)
        half = [row for row in rows if math.isclose(row["threshold"], 0.5)]
        if best is not None:
            texts = [percent(best[key]) for key in ("precision", "recall", "f1")]
            found.append(
                (
                    name,
                    [percent(half[0]["f1"] if half else None), f"{best['threshold']:.2f}", *texts],
                )
            )
    return found


def _history_charts_of(rows: Sequence[dict[str, float]], names: Sequence[str]) -> list[Chart]:
    epochs = np.arange(1, len(rows) + 1)
    stages = [int(row["stage"]) for row in rows]
    marks = [
        (epoch - 0.5, f"stage {stage}")
        for epoch, stage, before in zip(epochs[1:], stages[1:], stages, strict=False)
        if stage != before
    ]
    charts = []
    for name in names:
        lines = [
            Line(label, colour, np.stack([epochs, [row.get(key, np.nan) for row in rows]], axis=1))
            for key, label, colour in (
                (name, "training", "var(--before)"),
                (f"val_{name}", "validation", "var(--after)"),
            )
            if key in rows[0]
        ]
        title = name.replace("_", " ").capitalize()
        share = name.endswith("accuracy")
        every = np.concatenate([line.points[:, 1] for line in lines])
        ends = [f"{line.label} ends at {line.points[-1, 1]:.3f}" for line in lines]
        text = f"{title} over {len(rows)} epochs: {', '.join(ends)}."
        charts.append(
            line_chart(
                title,
                text,
                ("epoch", title.lower()),
                lines,
                (1, max(2, len(rows))),
                (0, 1) if share else room_for(every),
                marks=marks,
                whole=True,
            )
        )
    return charts


def history_charts(rows: Sequence[dict[str, float]]) -> list[Chart]:
    """Loss, then every accuracy, over the epochs of all stages.

    Parameters
    ----------
    rows : sequence of dict
        Those of ``history.csv``.
    """
    if not rows:
        return []
    accuracies = [k for k in rows[0] if k.endswith("accuracy") and not k.startswith("val_")]
    return _history_charts_of(rows, ["loss", *accuracies[:5]] if "loss" in rows[0] else accuracies)


def gain_sentence(rows: Sequence[Compared], pretrained: bool) -> str:
    """What fine-tuning has brought over the best baseline, in words."""
    best = max(rows[:-1], key=lambda row: row.accuracy)
    assert best.gain is not None
    better = "above" if best.gain >= 0 else "below"
    text = (
        f"The network is {abs(100 * best.gain):.1f} percentage points {better} the best of them,"
        f" {best.name}"
    )
    if best.gain_interval is not None:
        text += f" (95 % interval {points_ends(best.gain_interval)})"
        if best.gain_interval[0] <= 0 <= best.gain_interval[1]:
            text += "; so few images do not tell whether there is a difference at all"
    return text + "." if pretrained else text + ", which learnt on the network's own features."


def summary(numbers: dict[str, Any], split: str) -> str:
    """The first sentence to read."""
    share, number = numbers["accuracy"], numbers["samples"]
    if share is None:
        return "No image is labelled."
    ends = numbers["intervals"].get("accuracy")
    sure = "" if ends is None else f" (95 % interval {percent_ends(ends)})"
    images = f"{number} image{'s' * (number != 1)}"
    where = "" if split == "all" else f" of the {split} split"
    if numbers["kind"] == "multi-label":
        return f"Of all labels of {images}{where}, {percent(share)} are right{sure}."
    return f"Of {images}{where}, {percent(share)} get the right class{sure}."


_AVERAGED = [
    _Known("accuracy", "Accuracy", ""),
    _Known("balanced_accuracy", "Balanced accuracy", ""),
    _Known("subset_accuracy", "Subset accuracy", ""),
    _Known("macro.f1", "F1, mean of classes", ""),
    _Known("log_loss", "Log loss", "", share=False),
    _Known("ece", "Calibration error (ECE)", ""),
]


def averaged_rows(metrics: dict[str, Any], task: str) -> list[tuple[str, str, str, str, str]]:
    """Name, without, with, gain and its interval of test-time augmentation, where it was made."""
    if "averaged" not in metrics:
        return []
    before, after = numbers_of(metrics, task), numbers_of(metrics["averaged"], task)
    gains = metrics["tta"]["gain"]
    gains = gains.get(task, {}) if "tasks" in metrics else gains
    rows = []
    for known in _AVERAGED:
        pair = find(before, known.path), find(after, known.path)
        if pair[0] is None or pair[1] is None:
            continue
        show = percent if known.share else decimal
        scale, digits = (100, 1) if known.share else (1, 3)
        ends = (gains.get(known.path) or {}).get("interval")
        texts = [
            f"{scale * value:+.{digits}f}".replace("-", _MINUS)
            for value in (pair[1] - pair[0], *(ends or ()))
        ]
        between = f"{texts[1]} to {texts[2]}" if ends else ""
        rows.append((known.name, show(pair[0]), show(pair[1]), texts[0], between))
    return rows
