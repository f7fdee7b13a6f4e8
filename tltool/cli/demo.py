"""`tltool demo`."""

from pathlib import Path

import click

from tltool.cli import options


@click.command(short_help="Paint a survey and make the whole journey over it.")
@options.out("Folder for everything the demo makes.")
@options.option(
    "--weights",
    "Weights of MobileNet with alpha 0.25 [imagenet, or none where they cannot be had].",
    "imagenet|none|PATH",
    default="imagenet",
)
@options.seed
@options.overwrite
def demo(out: Path, weights: str, seed: int | None, overwrite: bool) -> None:
    """Paint aerial photographs with animals and make the whole journey over them.

    patches, finetune, convert, mine, heatmap, count tune and count run on the
    painted survey; the last two photographs are counted, which nothing was
    trained or tuned on. No network is needed; ImageNet weights are used where
    they can be had.
    """
    import tltool
    from tltool.cli import show

    result = tltool.demo(
        out, weights=weights, seed=7 if seed is None else seed, overwrite=overwrite
    )

    from tltool.conversion.agreement import describe_fidelity

    steps = [(name, f"{seconds:.1f} s") for name, seconds in result.seconds.items()]
    show.table(("step", "time"), steps, numbers=(1,))
    show.line("")
    for made in result.rounds:
        show.mining_round(made)
    show.line("")
    show.table(
        ("", ""),
        [
            ("weights", result.weights),
            ("accuracy (test)", show.percent(result.accuracy)),
            ("fidelity", describe_fidelity(result.sidecar)),
            *(("picture", each.overlay_path) for each in result.maps),
            *(("map", each.map_path) for each in result.maps),
        ],
    )
    show.line("")
    show.survey(result.survey)
