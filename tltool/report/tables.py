"""The numbers of a task as a report shows them: tiles, tables and sentences."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tltool.metrics.paths import get
from tltool.report.comparison import Compared
from tltool.tasks.display import Scoring, Shown
from tltool.tasks.task import Task
from tltool.tasks.words import (
    FORMS,
    MINUS,
    NONE,
    TO,
    decimal,
    percent,
    points,
    points_ends,
    value,
    value_ends,
)

_CONFUSED = 6


def numbers_of(metrics: dict[str, Any], task: str) -> dict[str, Any]:
    """The numbers of a task, whether it is the only one or one of several."""
    return metrics["tasks"][task] if "tasks" in metrics else metrics


# Form of a number -> by how much a difference is multiplied, and its format.
_GAINS = {"share": (100, "+.1f"), "decimal": (1, "+.3f"), "value": (1, "+.3g")}


def shown_numbers(
    numbers: dict[str, Any], chosen: Sequence[Shown]
) -> list[tuple[str, str, str, str]]:
    """Numbers of a task as text: name, value, interval, and what it is in a few words."""
    found = []
    for each in chosen:
        text, between = FORMS[each.form]
        ends = numbers["intervals"].get(each.path)
        found.append((each.name, text(get(numbers, each.path)), between(ends), each.meaning))
    return found


_COLUMNS = ("precision", "recall", "f1", "f_beta", "specificity")
_AREAS = ("roc_auc", "average_precision")


def class_header(beta: float) -> list[str]:
    """Columns of the class table."""
    rates = ["Precision", "Recall", "F1", f"F{beta:g}", "Specificity"]
    return [*rates, "ROC AUC", "Average precision"]


def class_rows(numbers: dict[str, Any]) -> list[tuple[str, int, list[tuple[str, str]]]]:
    """Every class with its images and its values with intervals, in the order of the header."""
    intervals = numbers["intervals"]

    def cell(name: str, key: str, own: dict[str, Any]) -> tuple[str, str]:
        ends = intervals.get(f"classes.{name}.{key}")
        if key in _AREAS:
            return decimal(own[key]), "" if ends is None else f"{ends[0]:.2f}{TO}{ends[1]:.2f}"
        short = "" if ends is None else f"{100 * ends[0]:.0f}{TO}{100 * ends[1]:.0f}"
        return percent(own[key]), short

    return [
        (name, own["samples"], [cell(name, key, own) for key in (*_COLUMNS, *_AREAS)])
        for name, own in numbers.get("classes", {}).items()
    ]


def confusions(names: Sequence[str], numbers: dict[str, Any]) -> list[str]:
    """The most frequent mistakes as sentences."""
    counts = np.array(numbers.get("confusion") or np.zeros((0, 0)), int)
    wrong = [(i, j) for i, j in np.argwhere(counts).tolist() if i != j]
    wrong.sort(key=lambda pair: -counts[pair])
    return [
        f"{names[i]} taken for {names[j]}: {counts[i, j]} of {counts[i].sum()}."
        for i, j in wrong[:_CONFUSED]
    ]


def calibration_rows(numbers: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name, before and after temperature scaling; nothing where outputs are no probabilities."""
    if "calibration" not in numbers:
        return []
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
        half = next((row["f1"] for row in rows if math.isclose(row["threshold"], 0.5)), None)
        if best is not None:
            texts = [percent(best[key]) for key in ("precision", "recall", "f1")]
            found.append((name, [percent(half), f"{best['threshold']:.2f}", *texts]))
    return found


def comparison_texts(row: Compared, scoring: Scoring) -> tuple[str, str, str, str, str]:
    """Score and its interval, the other number, gain and its interval."""
    text, between = FORMS["share" if scoring.share else "value"]
    gain, gain_between = (points, points_ends) if scoring.share else (value, value_ends)
    other = row.other if math.isfinite(row.other) else None
    return (
        text(row.score),
        between(row.interval),
        percent(other) if scoring.share else decimal(other),
        NONE if row.gain is None else gain(row.gain),
        gain_between(row.gain_interval),
    )


def gain_sentence(rows: Sequence[Compared], scoring: Scoring) -> str:
    """Sentence on how far the network is above or below the best baseline."""
    best = (max if scoring.higher else min)(rows[:-1], key=lambda row: row.score)
    assert best.gain is not None
    better = "above" if best.gain >= 0 else "below"
    if scoring.share:
        text = f"The network is {abs(100 * best.gain):.1f} percentage points {better}"
    else:
        text = f"The network's {scoring.name.lower()} is {value(abs(best.gain))} {better} that of"
    text += f" the best of them, {best.name}"
    if best.gain_interval is not None:
        between = points_ends if scoring.share else value_ends
        text += f" (95 % interval {between(best.gain_interval)})"
        if best.gain_interval[0] <= 0 <= best.gain_interval[1]:
            text += "; so few images do not tell whether there is a difference at all"
    return text + "."


def averaged_rows(metrics: dict[str, Any], task: Task) -> list[tuple[str, str, str, str, str]]:
    """Name, without, with, gain and its interval of test-time augmentation, where it was made."""
    if "averaged" not in metrics:
        return []
    before, after = numbers_of(metrics, task.name), numbers_of(metrics["averaged"], task.name)
    gains = metrics["tta"]["gain"]
    gains = gains.get(task.name, {}) if "tasks" in metrics else gains
    rows = []
    for known in task.averaged:
        old, new = get(before, known.path), get(after, known.path)
        if old is None or new is None:
            continue
        show, _ = FORMS[known.form]
        scale, form = _GAINS[known.form]
        ends = (gains.get(known.path) or {}).get("interval") or ()
        gain, *limits = [
            format(scale * number, form).replace("-", MINUS) for number in (new - old, *ends)
        ]
        rows.append((known.name, show(old), show(new), gain, " to ".join(limits)))
    return rows
