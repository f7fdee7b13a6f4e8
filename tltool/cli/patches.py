"""`tltool patches`."""

from pathlib import Path
from typing import Any

import click

import tltool
from tltool.cli import options, show


@click.command(short_help="Cut labelled patches around annotated points.")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("points", metavar="POINTS", type=click.Path(path_type=Path))
@options.whole("--size", "Side of a patch [96].", "PX")
@options.context
@options.columns
@options.option("--background", "Class of patches away from every point.", shown="backgrounds")
@options.option(
    "--backgrounds",
    "Background patches for each point.",
    "RATIO",
    type=click.FloatRange(min=0),
    shown=1.0,
)
@options.option(
    "--distance",
    "Least distance of a background from every point [the patch's side].",
    "PX",
    type=click.FloatRange(min=0),
)
@options.option(
    "--split",
    "Shares of the splits.",
    "TRAIN,VALID,TEST",
    type=options.Numbers(float, 3),
    shown="0.6,0.2,0.2",
)
@options.choice(
    "--split-by",
    "auto|image|block",
    "By whole image, or by blocks of each image with a gap between them.",
    shown="auto",
)
@options.aoi
@options.ignore
@options.path("--run", "Cut as this run wants it: its size, context and classes.")
@options.seed
@options.overwrite
@options.out("Folder to write: class folders, manifest.csv, patches.json.")
def patches(images: tuple[Path, ...], points: Path, seed: int | None, **more: Any) -> None:
    """Cut labelled patches around points, and backgrounds away from them.

    IMAGES are files or folders. POINTS has a row a point: image, x (right) and
    y (down) in pixels, label. Known by their content are CSV of that and of the
    layouts of Kaggle's sea lions, HerdNet and DeepForest, COCO, and in any CRS
    GeoJSON and GeoPackages. No pixel gets into two splits; a patch that crosses
    the image's edge sees it reflected. Patches are PNG, or GeoTIFF with all
    bands where an image has other than grey or RGB of 8 bits.
    """
    result = tltool.patches(images, points, seed=1 if seed is None else seed, **more)

    from tltool.data.splits import SPLITS

    labels = sorted({label for counts in result.counts.values() for label in counts})
    counts = {split: result.counts.get(split, {}) for split in SPLITS}
    rows = [(label, *(counts[s].get(label, 0) for s in SPLITS)) for label in labels]
    rows.append(("together", *(sum(counts[s].values()) for s in SPLITS)))
    show.table(("class", *SPLITS), rows, numbers=(1, 2, 3))
    reflected = f"{result.reflected} patches reach over an edge"
    show.line(f"{result.folder}: split by {result.split_by}; {reflected}")
    if result.outside:
        show.line(f"{result.outside} points lie outside the area and are left out")
    if result.dropped:
        show.line(f"{result.dropped} points lie in the gap between splits and are left out")
