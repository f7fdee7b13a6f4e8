"""All that a report shows of a task: numbers as text, charts, and the pictures of its images."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from tltool.errors import ModelError, UsageError
from tltool.explanation.methods import as_heat, maps_of_subject
from tltool.explanation.picture import as_seen, lay_over
from tltool.explanation.subject import open_subject
from tltool.pictures.pages import data_uri
from tltool.pictures.values import value_colours
from tltool.report import plots, tables
from tltool.report.charts import Chart
from tltool.report.comparison import Compared
from tltool.report.feature_map import (
    MOST_IMAGES,
    MOST_THUMBNAILS,
    Layout,
    draw_layout,
    neighbourhoods,
    principal_components,
)
from tltool.report.material import Material, Pretrained
from tltool.report.pictures import GREY, THUMBNAIL, colours_of, thumbnail
from tltool.report.whiskers import Whiskers, whiskers
from tltool.tasks.display import Example
from tltool.tasks.task import Task
from tltool.tasks.words import percent, value

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


class TaskView:
    """View of a task: everything that the report shows of it.

    Parameters
    ----------
    metrics : dict
        As `tltool.evaluate` writes them.
    task : Task
    colours : dict of class to str
        CSS variables.
    frames : list of str
        CSS colours of the classes' thumbnails, on any ground.

    Attributes
    ----------
    numbers : dict
        Of the metrics.
    summary : str
        The first sentence to read.
    scatters : list of Chart
        What the numbers do not hold.
    compared, whiskers, gain, pretrained
        The network and its baselines: rows, their chart, what fine-tuning
        brought, what made the features.
    examples : list of (str, list of Card)
        Titles, and what stands under each.
    cells : tuple of int, or None
        Of the class activation maps, down and across.
    no_heat, map_note : str
        Why there are no maps; what is to know of the feature map.
    maps : list of MapPicture
    """

    def __init__(
        self, metrics: dict[str, Any], task: Task, colours: dict[str, str], frames: list[str]
    ):
        numbers, names = tables.numbers_of(metrics, task.name), task.classes
        self.task, self.numbers, self.colours, self.frames = task, numbers, colours, frames
        number, split = numbers["samples"], metrics["split"]
        images = f"{number} image{'s' * (number != 1)}"
        images += "" if split == "all" else f" of the {split} split"
        self.summary = task.summary(numbers, images)
        self.headline = tables.shown_numbers(numbers, task.headline)
        self.more = tables.shown_numbers(numbers, task.more_numbers(numbers, metrics["beta"]))
        self.classes = tables.class_rows(numbers)
        self.confusion = plots.confusion_chart(names, numbers)
        self.confusions = tables.confusions(names, numbers)
        self.curves = plots.curve_charts(names, colours, numbers)
        self.calibration = plots.calibration_chart(numbers)
        self.calibration_rows = tables.calibration_rows(numbers)
        thresholds = (numbers.get("thresholds") or {}).items()
        charts = [plots.threshold_chart(name, rows) for name, rows in thresholds]
        self.threshold_charts = [chart for chart in charts if chart is not None][:_THRESHOLDS]
        self.threshold_rows = tables.threshold_rows(numbers)
        self.averaged = tables.averaged_rows(metrics, task)
        # What is more than the numbers, added below.
        self.scatters: list[Chart] = []
        self.compared: list[Compared] = []
        self.whiskers: Whiskers | None = None
        self.pretrained: Pretrained | None = None
        self.examples: list[tuple[str, list[Card]]] = []
        self.cells: tuple[int, ...] | None = None
        self.maps: list[MapPicture] = []
        self.gain = self.no_heat = self.map_note = ""


def add_baselines(view: TaskView, rows: list[Compared], pretrained: Pretrained) -> None:
    """Put the network beside its baselines."""
    scoring = view.task.scoring
    view.compared, view.pretrained = rows, pretrained
    view.gain = tables.gain_sentence(rows, scoring)
    title, shown = ("Accuracies", percent) if scoring.share else (scoring.name, value)
    texts = ", ".join(f"{row.name} {shown(row.score)}" for row in rows)
    view.whiskers = whiskers(
        f"{title} with their 95 % intervals: {texts}.",
        [(row.name, row.score, row.interval, row is rows[-1]) for row in rows],
        scoring.share,
    )


def add_examples(view: TaskView, material: Material) -> None:
    """Show the images that the task finds worth looking at, with their maps."""
    targets, outputs = material.values(view.task)
    groups = view.task.examples(outputs, targets, _EXAMPLES)
    found = [example for group in groups for example in group.examples]
    if not found:
        return
    images = material.images([example.index for example in found])
    asked, name = np.array([example.target for example in found]), None
    if isinstance(material.model.output, dict):
        name = view.task.name
    else:
        # The outputs of several tasks stand side by side.
        before = sum(t.outputs for t in material.tasks[: material.tasks.index(view.task)])
        asked = np.where(asked < 0, asked - before, asked + before)
    heats: Any = [None] * len(found)
    try:
        prepared = material.as_input(images)
        subject = open_subject(material.model, prepared.shape[1:], task=name)
        heats = as_heat(subject, maps_of_subject(subject, prepared, asked, METHOD, batch_size=8))
        view.cells = subject.cells
    except (ModelError, UsageError) as error:
        view.no_heat = f"There are no maps of what the network looks at: {error}"
    paths = material.evaluation.predictions.paths
    cards = [
        Card(
            example,
            "/".join(paths[example.index].parts[-2:]),
            thumbnail(image),
            "" if heat is None or not heat.any() else thumbnail(lay_over(image, heat, THUMBNAIL)),
        )
        for example, image, heat in zip(found, images, heats, strict=True)
    ]
    remaining = iter(cards)
    view.examples = [(group.title, [next(remaining) for _ in group.examples]) for group in groups]


def add_maps(view: TaskView, material: Material) -> None:
    """Lay out the evaluated images by what the last layer sees of them."""
    labelled = material.labelled(view.task)
    rows = np.flatnonzero(labelled[material.asked])[:MOST_IMAGES]
    if not len(rows):
        return
    features = material.last_features[view.task.name][rows]
    images = as_seen(material.evaluated_patches.images[rows])
    # Of the true class, of several labels the first one; or of true numbers.
    targets = material.values(view.task)[0][material.asked[rows]]
    values = view.task.frame_values(targets)
    if values is not None:
        colours = value_colours(values).astype(int).tolist()
    else:
        known = [*colours_of(view.task.classes, material.sidecar.background), GREY]
        colours = [known[index] for index in view.task.class_indices(targets)]
    for lay_out in (neighbourhoods, principal_components):
        layout = lay_out(features, material.seed)
        if layout is not None:
            picture = draw_layout(layout.points, images, colours, seed=material.seed)
            alt = (
                f"{layout.method} of {len(rows)} images by what the last layer sees of them;"
                " frames have the colour of the true class"
            )
            uri = data_uri(picture, "WEBP", quality=80)
            view.maps.append(MapPicture(layout, picture, uri, alt))
    number = int(labelled.sum())
    drawn = "" if len(rows) == number else f"{len(rows)} of {number} images, drawn at random. "
    dots = "Those beyond are dots. " if len(rows) > MOST_THUMBNAILS else ""
    view.map_note = f"{drawn}{dots}Thumbnails are moved apart so that none hides another."
