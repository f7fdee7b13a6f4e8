"""`tltool count tune`."""

from pathlib import Path
from typing import Any

import click

from tltool.cli import options


@click.command(short_help="Choose threshold and distance on annotated images.")
@options.run
@options.images
@options.points
@options.option(
    "--for goal",
    "f1: the best F1 score; count: as many detections as there are animals [f1].",
    "f1|count",
    default="f1",
)
@options.flag(
    "--one-rule",
    "One threshold and distance for all classes, whatever the label [one for each class"
    " of 10 points or more].",
)
@options.aoi
@options.maps
@options.number(
    "--blocks", "Side of the squares that the bootstrap resamples [each image is one].", "PX"
)
@options.whole(
    "--folds",
    "Validate each part of the images by what is chosen on the others [5, or as many as there"
    " are images, from 3 on].",
    "N",
)
@options.counting
def tune(run: Path, images: tuple[Path, ...], points: Path, one_rule: bool, **more: Any) -> None:
    """Choose threshold and distance per class for RUN on annotated IMAGEs.

    POINTS are their animals, in any format of `tltool patches`. The choice goes
    into the run's model.json and fcn.json, with the precision and recall it
    gave, which tell `tltool count` how sure a count is. Take images that the
    network was not trained on; of those it was, only parts of the valid and
    test splits are used.
    """
    import tltool
    from tltool.cli import show
    from tltool.counting import tables

    tuning = tltool.tune_count(run, images, points, per_class=not one_rule, **more)
    table = tables.tuning_table(tuning)
    show.table(table.header, table.rows, table.numbers)
    for line in tables.tuning_lines(tuning):
        show.line(line)
