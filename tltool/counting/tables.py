"""Results of counting as tables and sentences, for the terminal and the summary."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tltool.counting.survey import ANY, Count, Survey, shown_labels, validation_of
from tltool.counting.tune import Tuning
from tltool.points.scoring import Score

# Images that a terminal lists; all are in counts.csv.
_LISTED = 30


@dataclass(frozen=True)
class Table:
    """Rows of text under a header.

    Attributes
    ----------
    header : tuple of str
    rows : list of tuple
    numbers : tuple of int
        Columns that hold numbers.
    """

    header: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    numbers: tuple[int, ...]


def _table(header: Sequence[str], rows: list[tuple[Any, ...]]) -> Table:
    """A table whose first column is text and all others numbers."""
    return Table(tuple(header), rows, tuple(range(1, len(header))))


def share(value: float | None) -> str:
    """Three decimals; a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"


def estimate(count: Count) -> str:
    """The corrected number."""
    return "unknown" if count.interval is None else f"{count.interval.estimate:.1f}"


def interval(count: Count) -> str:
    """Text of both ends of a count's interval."""
    found = count.interval
    return "unknown" if found is None else f"{found.lower} to {found.upper}"


def level(survey: Survey) -> str:
    """Level of the intervals, in words."""
    return f"{100 * survey.level:g} % interval"


def totals(survey: Survey) -> Table:
    """A row a class over all images."""
    rows = [(*row, survey.without(row[0])) for row in count_rows(survey.totals)]
    return _table(("class", "points", "estimate", level(survey), "images without"), rows)


def count_rows(counts: Iterable[Count]) -> list[tuple[Any, ...]]:
    """Class, number, estimate and interval of counts."""
    return [(c.label, c.detections, estimate(c), interval(c)) for c in counts]


def by_image(survey: Survey) -> Table:
    """A row an image, of all classes together."""
    totals = count_rows(each.total for each in survey.images)
    rows = [(e.image.name, *row[1:]) for e, row in zip(survey.images, totals, strict=True)]
    return _table(("image", "points", "estimate", level(survey)), rows)


def score_lines(score: Score) -> list[str]:
    """Lines on what no table holds."""
    found, lines = score.localisation, [f"matched within {score.radius:g} px"]
    if found.mean is not None:
        text = f"distance of matched points: mean {found.mean:.1f} px, median {found.median:.1f} px"
        if found.mean_metres is not None:
            text += f"; mean {found.mean_metres:.3g} m, median {found.median_metres:.3g} m"
        lines.append(text)
    if score.mean_columnwise_rmse is not None and len(score.names) > 1:
        lines.append(f"mean columnwise RMSE: {score.mean_columnwise_rmse:.3f}")
    return lines


def score_tables(score: Score) -> list[Table]:
    """Tables of a comparison with the truth: points, counts an image, confusion."""
    points: list[tuple[Any, ...]] = []
    for name, one in [*score.classes.items(), (ANY, score.any)]:
        shares = map(share, (one.precision, one.recall, one.f1, one.average_precision))
        points.append((name, one.tp + one.fn, one.tp + one.fp, one.tp, *shares))
    errors: list[tuple[Any, ...]] = [
        (name, f"{error.mae:.2f}", f"{error.rmse:.2f}", f"{error.bias:+.2f}")
        for name, error in [*score.counts.items(), (ANY, score.any_count)]
        if error is not None
    ]
    header = ("class", "true", "points", "matched", "precision", "recall", "F1", "AP")
    counts = _table(("count error an image", "MAE", "RMSE", "bias"), errors)
    tables = [_table(header, points), counts]
    if len(score.names) > 1 and score.any.tp:
        # Of the pairs matched whatever their label.
        rows = [(name, *row) for name, row in zip(score.names, score.confusion, strict=True)]
        tables.append(_table(("matched: true \\ predicted", *score.names), rows))
    return tables


def survey_tables(survey: Survey) -> list[Table]:
    """Tables that a terminal shows, that of the classes last."""
    tables = [] if survey.score is None else score_tables(survey.score)
    if 1 < len(survey.images) <= _LISTED:
        tables.append(by_image(survey))
    return [*tables, totals(survey)]


def doubt_lines(survey: Survey) -> list[str]:
    """Reasons why intervals are unknown, a line each."""
    reasons: dict[str, list[str]] = {}
    for label, reason in survey.doubts.items():
        reasons.setdefault(reason, []).append(label)
    every = len(survey.totals)
    return [
        f"interval unknown{'' if len(labels) == every else ' of ' + ', '.join(labels)}: {reason}"
        for reason, labels in reasons.items()
    ]


def survey_lines(survey: Survey) -> list[str]:
    """Lines that a terminal shows below the tables."""
    score = [] if survey.score is None else score_lines(survey.score)
    outside = sum(each.outside for each in survey.images)
    left_out = [f"{outside} points lie outside the area and are left out"] if outside else []
    return [*score, *left_out, *doubt_lines(survey), *(str(path) for path in survey.files)]


def tuning_table(tuning: Tuning) -> Table:
    """The rule of each class, and how it did."""
    header = ("class", "true", "threshold", "distance", "precision", "recall", "F1", "rule")
    rows = []
    for label in shown_labels(tuning.classes):
        parameters = tuning.parameters
        rule, found = parameters.rule_of(label), validation_of(parameters, label)
        shares = (found.precision, found.recall, found.f1) if found else (None,) * 3
        true = found.tp + found.fn if found else 0
        chosen = f"{rule.threshold:.3f}", f"{rule.distance:.1f} px"
        own = "" if label == ANY else "its own" if label in parameters.classes else "common"
        cells = ("", "") if label == ANY else chosen
        rows.append((label, true, *cells, *map(share, shares), own))
    return Table(header, rows, tuple(range(1, len(header) - 1)))


def tuning_lines(tuning: Tuning) -> list[str]:
    """Lines that a terminal shows below the table."""
    parameters = tuning.parameters
    images = "image" if tuning.images == 1 else "images"
    goal = "the best F1" if parameters.goal == "f1" else "unbiased counts"
    how = f" in {tuning.folds} folds" if tuning.folds > 1 else ""
    first = (
        f"chosen for {goal} on {tuning.points} points of {tuning.images} {images}, matched within"
        f" {parameters.matching_radius:g} px, validated{how}"
    )
    files = " and ".join(str(path) for path in tuning.files)
    return [first, *tuning.notes, f"stored in {files}"]
