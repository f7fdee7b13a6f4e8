"""From one annotated aerial photograph to a count that is scored, as a script.

    python examples/sealion_count.py PHOTOGRAPH POINTS.csv OUT [WEIGHTS] [SEEDS]

The left half of the photograph trains, its right half is scored; a strip between them belongs to
neither. POINTS.csv has the columns image, x, y, label (pixels, x to the right, y down); below the
row BOTTOM nothing is annotated. WEIGHTS are those of MobileNet with alpha 0.25 without its top
layers; without them Keras downloads ImageNet's. SEEDS is how many trainings tell the range [3].
"""

import json
import logging
import sys
from pathlib import Path

from tltool import MiningRound, count, finetune, load_recipe, mine, patches

# Columns where the halves end, and the row where the annotation does, px.
LEFT_ENDS, RIGHT_BEGINS, RIGHT_ENDS, BOTTOM = 2300, 2500, 4992, 2700

# A patch no larger than the smallest animal keeps neighbours apart; the context shows the rest.
SIZE, CONTEXT = 32, 64

# A detection stands for an animal within so many px: about its length, and about half of it.
RADII = (48, 24)


def write_area(path: Path, left: int, right: int) -> Path:
    """Write the columns from `left` to `right`, as far down as is annotated."""
    corners = [[left, 0], [right, 0], [right, BOTTOM], [left, BOTTOM], [left, 0]]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [corners]}))
    return path


def tell(made: MiningRound) -> None:
    """Print how good a network is, and what it took for animals."""
    f1 = "unknown" if made.f1 is None else f"{made.f1:.2f}"
    added = f"{made.mined} false detections and {made.drawn} drawn places become background"
    print(f"round {made.number}: F1 {f1} where it was tuned; {added}")


def train(photograph: str, points: str, folder: Path, area: Path, weights: str, seed: int) -> None:
    """Cut patches in an area, train on them, and again with what was taken for animals."""
    data, run = folder / "data", folder / "run"
    patches([photograph], points, data, size=SIZE, context=CONTEXT, aoi=area)
    settings = {"backbone": {"weights": weights}, "training": {"seed": seed}}
    finetune(data, run, load_recipe("sealion-count", settings))
    mine(run, [photograph], points, data, aoi=area, show=tell)


def score(photograph: str, points: str, folder: Path, area: Path) -> dict[int, float]:
    """Count in another area, print how that compares with its animals, and give F1 by radius."""
    found = {}
    for radius in RADII:
        out = folder / f"count-{radius}"
        options = {"maps": folder / "count-48" / "maps"} if found else {}
        survey = count(
            folder / "run", [photograph], out, truth=points, radius=radius, aoi=area, **options
        )
        told, error = survey.score.any, survey.score.any_count
        print(
            f"within {radius} px: F1 {told.f1:.2f}, precision {told.precision:.2f}, recall"
            f" {told.recall:.2f}; {told.tp + told.fp} counted, {told.tp + told.fn} there"
            f" (error {error.bias:+.0f})"
        )
        found[radius] = told.f1
    return found


def main(
    photograph: str, points: str, out: str, weights: str = "imagenet", seeds: str = "3"
) -> None:
    """Train and score with several seeds."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("tltool").setLevel(logging.INFO)
    # Of a photograph without coordinates GDAL says more than is of use.
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)
    folder = Path(out)
    left = write_area(folder / "left.geojson", 0, LEFT_ENDS)
    right = write_area(folder / "right.geojson", RIGHT_BEGINS, RIGHT_ENDS)
    every = []
    for seed in range(1, int(seeds) + 1):
        work = folder / f"seed-{seed}"
        train(photograph, points, work, left, weights, seed)
        every.append(score(photograph, points, work, right))
    for radius in RADII:
        values = sorted(f1[radius] for f1 in every)
        mean = sum(values) / len(values)
        print(f"F1 within {radius} px: {mean:.2f} ({values[0]:.2f} to {values[-1]:.2f})")


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5, 6):
        sys.exit(__doc__)
    main(*sys.argv[1:])
