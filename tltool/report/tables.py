"""The numbers of a task as a report shows them: tiles, tables and sentences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tltool.metrics import paths
from tltool.report.comparison import Compared
from tltool.report.words import (
    MINUS,
    TO,
    decimal,
    decimal_ends,
    percent,
    percent_ends,
    points_ends,
)

_CONFUSED = 6


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
            return decimal(told[key]), "" if ends is None else f"{ends[0]:.2f}{TO}{ends[1]:.2f}"
        short = "" if ends is None else f"{100 * ends[0]:.0f}{TO}{100 * ends[1]:.0f}"
        return percent(told[key]), short

    return [
        ClassRow(name, told["samples"], [cell(name, key, told) for key in (*_COLUMNS, *_AREAS)])
        for name, told in numbers["classes"].items()
    ]


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


def calibration_rows(numbers: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name, before and after temperature scaling."""
    after = numbers.get("calibrated") or {}
    return [
        ("Log loss", decimal(numbers["log_loss"]), decimal(after.get("log_loss"))),
        ("Brier score", decimal(numbers["brier"]), decimal(after.get("brier"))),
        ("Calibration error (ECE)", percent(numbers["ece"]), percent(after.get("ece"))),
    ]


def threshold_rows(numbers: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Rows of each class with F1 at 0.5, and the threshold of the best F1 with what it gives."""
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


def gain_sentence(rows: Sequence[Compared]) -> str:
    """Sentence on how far the network is above the best baseline."""
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
    return text + "."


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
            f"{scale * value:+.{digits}f}".replace("-", MINUS)
            for value in (pair[1] - pair[0], *(ends or ()))
        ]
        between = f"{texts[1]} to {texts[2]}" if ends else ""
        rows.append((known.name, show(pair[0]), show(pair[1]), texts[0], between))
    return rows
