"""The report of an evaluation: one HTML file that needs no network and no server."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from tltool.data.splits import SPLITS
from tltool.files import atomic_path, write_text
from tltool.inference.network import LoadedNetwork
from tltool.pictures.pages import render_page
from tltool.report import MAP_NAME, REPORT_NAME, plots, tables
from tltool.report.evaluation import Evaluation
from tltool.report.feature_map import draw_sheet
from tltool.report.material import Material
from tltool.report.pictures import colours_of
from tltool.report.recipe_words import describe_recipe
from tltool.report.run_facts import class_samples, commands, environment, fidelity, read_history
from tltool.report.task_view import TaskView, add_baselines, add_examples, add_maps
from tltool.run.folder import HISTORY_NAME

logger = logging.getLogger(__name__)

# Lightness (OKLCH) of the classes' lines on white.
_ON_WHITE = 0.56


def _task_views(
    material: Material, feature_map: bool
) -> tuple[list[TaskView], list[tuple[str, str, str]]]:
    """Views of the tasks; CSS variables of their classes, on white and on black."""
    found: list[TaskView] = []
    variables: list[tuple[str, str, str]] = []
    background = material.sidecar.background
    pretrained = None if material.no_baselines() else material.pretrained()
    compared = {} if pretrained is None else material.baselines(pretrained)
    for task in material.tasks:
        light, dark = (
            ["#{:02x}{:02x}{:02x}".format(*c) for c in colours_of(task.classes, background, level)]
            for level in (_ON_WHITE, None)
        )
        names = [f"--k{len(variables) + place}" for place in range(len(light))]
        variables += zip(names, light, dark, strict=True)
        of_class = dict(zip(task.classes, (f"var({name})" for name in names), strict=True))
        view = TaskView(material.evaluation.metrics, task, of_class, dark)
        found.append(view)
        if pretrained is not None and task.name in compared:
            add_baselines(view, compared[task.name], pretrained)
        view.scatters = plots.scatter_charts(view.task, *material.values(view.task))
        if material.labelled(view.task).any():
            add_examples(view, material)
            if feature_map:
                add_maps(view, material)
    return found, variables


def _save_maps(found: Sequence[TaskView], material: Material, path: Path) -> bool:
    """Write the feature maps of all tasks as a picture; False where there are none."""
    several = len(found) > 1
    layouts: list[tuple[str, Image.Image]] = []
    legend: list[tuple[str, tuple[int, ...]]] = []
    for view in found:
        title = f"{view.task.name}: " if several else ""
        layouts += [(title + drawn.layout.method, drawn.picture) for drawn in view.maps]
        if view.task.probabilistic:
            colours = colours_of(view.task.classes, material.sidecar.background)
            legend += zip(view.task.classes, colours, strict=True)
    if not layouts:
        return False
    with atomic_path(path) as partial:
        draw_sheet(layouts, legend).save(partial)
    return True


def write_report(
    run: LoadedNetwork,
    evaluation: Evaluation,
    *,
    feature_map: bool = True,
    batch_size: int = 32,
    seed: int = 0,
) -> list[Path]:
    """Write ``report.html`` into the evaluation's folder, and ``feature_map.png``.

    Baselines are learnt on the training images of the data, and the evaluated
    images run through the network once more for their features: the report
    takes about as long as a few evaluations.

    Parameters
    ----------
    run : LoadedNetwork
    evaluation : Evaluation
        Of this run.
    feature_map : bool
        Whether images are laid out by their features; without, no t-SNE.
    batch_size : int
        Images that a network sees at a time.
    seed : int
        Of t-SNE, folds, the bootstrap, and of what is drawn.

    Returns
    -------
    list of Path
        What was written.
    """
    started = time.perf_counter()
    material = Material(run, evaluation, batch_size, seed)
    found, variables = _task_views(material, feature_map)
    metrics, folder = material.evaluation.metrics, material.path.parent
    tasks, recipe = material.tasks, material.recipe
    classes = sum(len(task.classes) for task in tasks if task.probabilistic)
    answers = f"{classes} classes" if classes else tasks[0].kind
    about = [
        *([recipe.backbone.name] if recipe is not None else []),
        f"{len(tasks)} tasks, {answers}" if len(tasks) > 1 else answers,
        f"{metrics['samples']} images judged",
        time.strftime("%Y-%m-%d"),
    ]
    page = render_page(
        "tltool.report",
        "report.html.j2",
        title=folder.resolve().name,
        about=about,
        metrics=metrics,
        views=found,
        several=len(found) > 1,
        variables=variables,
        class_header=tables.class_header(metrics["beta"]),
        no_baselines=material.no_baselines(),
        splits=SPLITS,
        samples=[class_samples(material, place) for place in range(len(tasks))],
        history=plots.history_charts(read_history(folder / HISTORY_NAME)),
        recipe=None if recipe is None else describe_recipe(recipe),
        fidelity=fidelity(folder),
        environment=environment(material),
        commands=commands(material),
        comparison_texts=tables.comparison_texts,
    )
    report, picture = material.folder / REPORT_NAME, material.folder / MAP_NAME
    write_text(report, page)
    written = [report]
    if feature_map and _save_maps(found, material, picture):
        written.append(picture)
    logger.info("report: %.1f s", time.perf_counter() - started)
    return written
