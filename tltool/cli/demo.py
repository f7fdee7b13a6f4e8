"""`tltool demo`."""

from pathlib import Path

import click

from tltool.cli import options


@click.command(short_help="Paint a survey and make the whole journey over it.")
@options.out("Folder for everything the demo makes.")
@options.seed
@options.overwrite
def demo(out: Path, seed: int | None, overwrite: bool) -> None:
    """Paint aerial photographs with animals and make the whole journey over them.

    patches, finetune, convert and heatmap run on the painted survey. No
    network is needed; ImageNet weights are used where they can be had.
    """
    import tltool

    result = tltool.demo(out, seed=7 if seed is None else seed, overwrite=overwrite)

    from tltool.cli import show
    from tltool.fcn.fidelity import describe_fidelity

    assert result.sidecar is not None
    steps = [(name, f"{seconds:.1f} s") for name, seconds in result.seconds.items()]
    show.table(("step", "time"), steps, numbers=(1,))
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
