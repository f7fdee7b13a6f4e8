"""`tltool mine`."""

from pathlib import Path
from typing import Any

import click

from tltool.cli import options


@click.command(short_help="Train again with a run's false detections as background.")
@options.run
@options.images
@options.points
@options.whole("--rounds", "Number of times to mine and train again [1].", "N", default=1)
@options.number(
    "--ratio",
    "Patches that a round adds at most, for each animal of the training [16; less where there"
    " are many animals].",
    "X",
)
@options.number(
    "--distance", "Least distance of a new patch from every point [1.5 of the patch's side].", "PX"
)
@options.aoi
@options.counting
@options.out("The patches that RUN was trained on, to add to; or a new folder that gets them too.")
def mine(run: Path, images: tuple[Path, ...], points: Path, **more: Any) -> None:
    """Add to the backgrounds what RUN takes for animals, and train RUN again.

    IMAGES are those that its patches were cut from, POINTS their animals. What
    is found far from every point, where the annotation is complete (--aoi), is
    cut as background; then RUN's own recipe is trained anew. The best F1 that
    each network reaches on what is held out is printed, and the last one's
    threshold and distance are kept for tltool count.
    """
    import tltool
    from tltool.cli import show

    mined = tltool.mine(run, images, points, show=show.mining_round, **more)
    rule = mined.tuning.parameters.rule
    number = sum(made.mined + made.drawn for made in mined.rounds)
    if number:
        show.line(f"{mined.data}: {number} patches more. {mined.run}: trained on them")
    show.line(f"any animal: threshold {rule.threshold:.2f}, distance {rule.distance:g} px")
    for note in mined.tuning.notes:
        show.line(f"note: {note}")
