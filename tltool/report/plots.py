"""The numbers of a task as charts, and the history of a run."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tltool.report.charts import Chart, Line, line_chart, room_for
from tltool.report.matrix import Matrix, matrix_chart
from tltool.report.tables import confusions
from tltool.tasks.task import Task
from tltool.tasks.words import percent

# Classes whose curves are told apart in one chart.
_CURVES = 8
# Columns of the history that say where it is.
_NO_METRICS = ("stage", "epoch", "learning_rate", "rate")


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


# Kinds of curve: key and area in the metrics, title and labels of the chart.
_KINDS = (
    (
        "roc",
        "roc_auc",
        "ROC curve and the area under it",
        ("false alarms among images without the class", "found among images of it"),
    ),
    (
        "precision_recall",
        "average_precision",
        "Precision-recall curve and average precision",
        ("recall", "precision"),
    ),
)


def curve_charts(
    names: Sequence[str], colours: dict[str, str], numbers: dict[str, Any]
) -> list[Chart]:
    """ROC and precision-recall curves, where there are any."""
    charts = []
    for key, area, title, labels in _KINDS if "curves" in numbers else ():
        areas = {name: numbers["classes"][name][area] for name in names}
        known = [name for name in names if areas[name] is not None]
        # Those with the lowest areas, in their order, where they are too many.
        worst = sorted(known, key=areas.__getitem__)[:_CURVES]
        chosen = [name for name in known if name in worst]
        lines = []
        for name in [*chosen, "micro"]:
            curve = numbers["curves"][key].get(name)
            if curve is None:
                continue
            # The class "micro" would not be told from the average; it has its own colour.
            average = name == "micro" and "micro" not in names
            share = numbers["micro"][area] if average else areas[name]
            lines.append(
                Line(
                    "all classes together" if average else name,
                    "currentColor" if average else colours[name],
                    np.array(list(curve.values()), float).T,
                    "" if share is None else f"{share:.2f}",
                    dashed=average,
                    stepped=key == "precision_recall",
                )
            )
        if lines:
            text = f"{title}: {', '.join(f'{line.label} {line.value}' for line in lines)}."
            if len(chosen) < len(names):
                text += f" The {len(chosen)} classes with the lowest of {len(names)} are shown."
            charts.append(line_chart(title, text, labels, lines, diagonal=key == "roc"))
    return charts


def calibration_chart(numbers: dict[str, Any]) -> Chart | None:
    """Probability against frequency, before and after temperature scaling."""
    lines = []
    for found, colour in ((numbers, "var(--before)"), (numbers.get("calibrated"), "var(--after)")):
        if found and found.get("calibration"):
            bins = found["calibration"]
            places = np.array([(b["confidence"], b["frequency"]) for b in bins], float)
            samples = np.array([b["samples"] for b in bins], float)
            label = "the network's own"
            if found is not numbers:
                label = f"at temperature {found['temperature']:.2f}"
            sizes = 2 + 7 * np.sqrt(samples / samples.max())
            lines.append(Line(label, colour, places, f"ECE {percent(found['ece'])}", sizes=sizes))
    if not lines:
        return None
    texts = "; ".join(f"{line.label}: {line.value}" for line in lines)
    return line_chart(
        "Calibration curve",
        f"Calibration curve, on the diagonal probabilities would be true. {texts}.",
        ("mean probability of the answers", "share of them that is right"),
        lines,
        diagonal=True,
    )


def threshold_chart(name: str, rows: Sequence[dict[str, Any]]) -> Chart | None:
    """Precision, recall and F1 of a class against the probability from which on it is told."""
    best = next((row for row in rows if row["best"]), None)
    if best is None:
        return None
    ordered = sorted(rows, key=lambda row: row["threshold"])
    lines = [
        # None becomes NaN.
        Line(
            label,
            colour,
            np.array([(row["threshold"], row[label.lower()]) for row in ordered], float),
            dashed=label == "F1",
        )
        for label, colour in (
            ("precision", "var(--before)"),
            ("recall", "var(--after)"),
            ("F1", "currentColor"),
        )
    ]
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


def scatter_charts(task: Task, targets: np.ndarray, outputs: np.ndarray) -> list[Chart]:
    """Charts of a task's outputs that its numbers do not hold.

    Parameters
    ----------
    task : Task
    targets, outputs : (n, outputs) arrays
    """
    charts = []
    for each in task.charts(outputs, targets):
        if not len(each.x):
            continue
        points = np.stack([each.x, each.y], axis=1)
        x_range, y_range = room_for(each.x), room_for(each.y)
        if each.line == "same":
            x_range = y_range = (min(x_range[0], y_range[0]), max(x_range[1], y_range[1]))
        else:
            low, high = min(0, y_range[0]), max(0, y_range[1])
            y_range = (low, high if high > low else low + 1)
        ends = np.array(x_range)
        right = np.stack([ends, ends if each.line == "same" else np.zeros(2)], axis=1)
        sizes = np.full(len(points), 2.5)
        lines = [
            Line("images", "var(--before)", points, sizes=sizes, scattered=True),
            Line("without error", "currentColor", right, dashed=True),
        ]
        text = f"{each.title} of {len(points)} images."
        charts.append(line_chart(each.title, text, each.labels, lines, x_range, y_range))
    return charts


def history_charts(rows: Sequence[dict[str, float]]) -> list[Chart]:
    """Loss, then every metric, over the epochs of all stages.

    Parameters
    ----------
    rows : sequence of dict
        Those of ``history.csv``.
    """
    if not rows:
        return []
    metrics = [k for k in rows[0] if k not in _NO_METRICS and not k.startswith("val_")]
    metrics = [k for k in metrics if not k.endswith("loss")]
    epochs, stages = np.arange(1, len(rows) + 1), [int(row["stage"]) for row in rows]
    marks = [
        (epoch - 0.5, f"stage {stage}")
        for epoch, stage, before in zip(epochs[1:], stages[1:], stages, strict=False)
        if stage != before
    ]
    charts = []
    for name in ["loss", *metrics[:5]] if "loss" in rows[0] else metrics:
        lines = [
            Line(label, colour, np.stack([epochs, [row.get(key, np.nan) for row in rows]], axis=1))
            for key, label, colour in (
                (name, "training", "var(--before)"),
                (f"val_{name}", "validation", "var(--after)"),
            )
            if key in rows[0]
        ]
        title = name.replace("_", " ").capitalize()
        every = np.concatenate([line.points[:, 1] for line in lines])
        ends = [f"{line.label} ends at {line.points[-1, 1]:.3f}" for line in lines]
        charts.append(
            line_chart(
                title,
                f"{title} over {len(rows)} epochs: {', '.join(ends)}.",
                ("epoch", title.lower()),
                lines,
                (1, max(2, len(rows))),
                (0, 1) if name.endswith("accuracy") else room_for(every),
                marks=marks,
                whole=True,
            )
        )
    return charts
