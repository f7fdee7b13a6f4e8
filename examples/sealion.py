"""From an aerial photograph with annotated animals to a heatmap, as a script.

    python examples/sealion.py PHOTOGRAPH POINTS.csv OUT [WEIGHTS]

PHOTOGRAPH is an image of any size; POINTS.csv has the columns image, x, y, label
(pixels, x to the right, y down). WEIGHTS are those of MobileNet with alpha 0.25 without its
top layers; without them Keras downloads ImageNet's.
"""

import logging
import sys
from pathlib import Path

from tltool import convert, finetune, heatmap, patches

# Side of a patch and the real image around it, px. With a context of half the network's
# receptive field the map says exactly what the classifier says.
SIZE, CONTEXT = 96, 160


def main(photograph: str, points: str, out: str, weights: str = "imagenet") -> None:
    """Make the journey from points to a map."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = Path(out)

    # 1. Labelled patches around the points, backgrounds away from them, no pixel in two splits.
    cut = patches([photograph], points, folder / "data", size=SIZE, context=CONTEXT)
    for split, counts in sorted(cut.counts.items()):
        print(split, counts)

    # 2. A head on the frozen backbone, then the top blocks at a lower learning rate.
    recipe = "sealion-mobilenet"
    run = finetune(folder / "data", folder / "run", recipe, weights=weights)
    print(f"accuracy on the test split: {run.metrics['test']['accuracy']:.3f}")

    # 3. A fully convolutional network, and how far it says what the classifier says.
    fidelity = convert(folder / "run").sidecar.fidelity
    if fidelity:
        print(f"fidelity: {100 * fidelity['argmax_agreement']:.2f} %")

    # 4. A band a class, in the coordinates of the photograph, and a picture to look at.
    for made in heatmap(folder / "run", [photograph], folder / "maps"):
        print(made.map_path, made.overlay_path, sep="\n")


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    main(*sys.argv[1:])
