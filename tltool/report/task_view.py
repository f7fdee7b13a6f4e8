"""All that a report shows of a task: numbers as text, charts, and the pictures of its images."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from tltool.errors import ModelError, UsageError
from tltool.explanation.methods import as_heat, maps_of_subject
from tltool.explanation.picture import as_seen, lay_over
from tltool.explanation.subject import open_subject
from tltool.pictures.pages import data_uri
from tltool.report import plots, tables
from tltool.report.charts import Chart
from tltool.report.comparison import Compared
from tltool.report.examples import Example, Examples
from tltool.report.feature_map import (
    MOST_IMAGES,
    MOST_THUMBNAILS,
    Layout,
    draw_layout,
    neighbourhoods,
    principal_components,
)
from tltool.report.material import Material, Pretrained
from tltool.report.matrix import Matrix
from tltool.report.pictures import GREY, THUMBNAIL, colours_of, thumbnail
from tltool.report.whiskers import Whiskers, whiskers
from tltool.report.words import percent
from tltool.tasks.task import Task

# Of class activation maps. On fine layers, which small patches ask for, Grad-CAM has nothing
# positive for every fifth image of the sea lions; LayerCAM was made for such layers.
METHOD = "layercam"
# Examples of each kind.
_EXAMPLES = 12
# Charts of thresholds, a class each; of more classes the table tells enough.
_THRESHOLDS = 4


@dataclass(frozen=True)
class Card:
    """An example with its pictures, data URIs; `heat` is empty where a map is nothing but 0."""

    example: Example
    name: str
    image: str
    heat: str


@dataclass(frozen=True)
class MapPicture:
    """A feature map, and its text alternative."""

    layout: Layout
    picture: Image.Image
    uri: str
    alt: str


@dataclass
class TaskView:
    """View of a task: everything that the report shows of it.

    Attributes
    ----------
    task : Task
    numbers : dict
        Of the metrics.
    colours : dict of class to str
        CSS.
    summary : str
        The first sentence to read.
    compared, whiskers, gain, pretrained
        The network and its baselines: rows, their chart, what fine-tuning
        brought, what made the features.
    mistakes, uncertain : list of Card
    cells : tuple of int, or None
        Of the class activation maps, down and across.
    no_heat, map_note : str
        Why there are no maps; what is to know of the feature map.
    maps : list of MapPicture
    """

    task: Task
    numbers: dict[str, Any]
    colours: dict[str, str]
    summary: str
    headline: list[tables.Number]
    more: list[tables.Number]
    classes: list[tables.ClassRow]
    confusion: Matrix | None
    confusions: list[str]
    curves: list[Chart]
    calibration: Chart | None
    calibration_rows: list[tuple[str, str, str]]
    threshold_charts: list[Chart]
    threshold_rows: list[tuple[str, list[str]]]
    averaged: list[tuple[str, str, str, str, str]]
    compared: list[Compared] = field(default_factory=list)
    whiskers: Whiskers | None = None
    gain: str = ""
    pretrained: Pretrained | None = None
    mistakes: list[Card] = field(default_factory=list)
    uncertain: list[Card] = field(default_factory=list)
    no_heat: str = ""
    cells: tuple[int, ...] | None = None
    maps: list[MapPicture] = field(default_factory=list)
    map_note: str = ""


def view_of(metrics: dict[str, Any], task: Task, colours: dict[str, str]) -> TaskView:
    """The numbers of a task as a report shows them.

    Parameters
    ----------
    metrics : dict
        As `tltool.evaluate` writes them.
    task : Task
    colours : dict of class to str
        CSS.
    """
    numbers, names = tables.numbers_of(metrics, task.name), task.classes
    thresholds = numbers.get("thresholds") or {}
    charts = [plots.threshold_chart(name, rows) for name, rows in thresholds.items()]
    return TaskView(
        task=task,
        numbers=numbers,
        colours=colours,
        summary=tables.summary(numbers, metrics["split"]),
        headline=tables.headline(numbers),
        more=tables.more_numbers(numbers, metrics["beta"]),
        classes=tables.class_rows(numbers),
        confusion=plots.confusion_chart(names, numbers),
        confusions=tables.confusions(names, numbers),
        curves=plots.curve_charts(names, colours, numbers),
        calibration=plots.calibration_chart(numbers),
        calibration_rows=tables.calibration_rows(numbers),
        threshold_charts=[c for c in charts if c is not None][:_THRESHOLDS],
        threshold_rows=tables.threshold_rows(numbers),
        averaged=tables.averaged_rows(metrics, task.name),
    )


def add_baselines(view: TaskView, rows: list[Compared], pretrained: Pretrained) -> None:
    """Put the network beside its baselines."""
    view.compared, view.pretrained = rows, pretrained
    view.gain = tables.gain_sentence(rows)
    told = ", ".join(f"{row.name} {percent(row.accuracy)}" for row in rows)
    view.whiskers = whiskers(
        f"Accuracies with their 95 % intervals: {told}.",
        [(row.name, row.accuracy, row.interval, row is rows[-1]) for row in rows],
    )


def _heat(
    material: Material, task: Task, images: np.ndarray, found: Sequence[Example]
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Class activation maps for the answers, and how many cells they have."""
    targets = np.array([example.target for example in found])
    name = None
    if isinstance(material.model.output, dict):
        name = task.name
    else:
        # The outputs of several tasks stand side by side.
        before = sum(t.outputs for t in material.tasks[: material.tasks.index(task)])
        targets = np.where(targets < 0, targets - before, targets + before)
    prepared = material.as_input(images)
    subject = open_subject(material.model, prepared.shape[1:], task=name)
    maps = maps_of_subject(subject, prepared, targets, METHOD, batch_size=8)
    return as_heat(subject, maps), subject.cells


def add_examples(view: TaskView, material: Material) -> None:
    """Show the most confident mistakes and the least certain answers, with their maps."""
    examples = Examples(material.answers(view.task))
    mistakes, uncertain = examples.mistakes(_EXAMPLES), examples.least_certain(_EXAMPLES)
    found = [*mistakes, *uncertain]
    if not found:
        return
    images = material.images([example.place for example in found])
    heats: Any = [None] * len(found)
    try:
        heats, view.cells = _heat(material, view.task, images, found)
    except (ModelError, UsageError) as error:
        view.no_heat = f"There are no maps of what the network looks at: {error}"
    paths = material.evaluation.judged.paths
    cards = [
        Card(
            example,
            "/".join(paths[example.place].parts[-2:]),
            thumbnail(image),
            "" if heat is None or not heat.any() else thumbnail(lay_over(image, heat, THUMBNAIL)),
        )
        for example, image, heat in zip(found, images, heats, strict=True)
    ]
    view.mistakes, view.uncertain = cards[: len(mistakes)], cards[len(mistakes) :]


def true_colours(
    view: TaskView, material: Material, rows: np.ndarray
) -> list[tuple[int, int, int]]:
    """Colours of the true class of images; of several labels the first one, grey without any."""
    known = colours_of(view.task.classes, material.sidecar.background)
    truth = material.answers(view.task).truth[rows]
    return [known[int(row.argmax())] if row.any() else GREY for row in truth]


def add_maps(view: TaskView, material: Material) -> None:
    """Lay out the judged images by what the last layer sees of them."""
    told = material.answers(view.task)
    rows = np.flatnonzero(told.labelled[material.asked])[:MOST_IMAGES]
    if not len(rows):
        return
    features = material.last_features[view.task.name][rows]
    images = as_seen(material.evaluated_patches.images[rows])
    # From places among all images to rows of the labelled ones.
    colours = true_colours(view, material, np.cumsum(told.labelled)[material.asked[rows]] - 1)
    layouts = [
        neighbourhoods(features, material.seed),
        principal_components(features, material.seed),
    ]
    for layout in layouts:
        if layout is not None:
            picture = draw_layout(layout.points, images, colours, seed=material.seed)
            alt = (
                f"{layout.method} of {len(rows)} images by what the last layer sees of them;"
                " frames have the colour of the true class"
            )
            view.maps.append(
                MapPicture(layout, picture, data_uri(picture, "WEBP", quality=80), alt)
            )
    number = len(told)
    drawn = "" if len(rows) == number else f"{len(rows)} of {number} images, drawn at random. "
    dots = "Those beyond are dots. " if len(rows) > MOST_THUMBNAILS else ""
    view.map_note = f"{drawn}{dots}Thumbnails are moved apart so that none hides another."
