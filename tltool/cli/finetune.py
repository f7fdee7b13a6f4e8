"""`tltool finetune`."""

from pathlib import Path
from typing import Any

import click

from tltool.cli import options


@click.command(short_help="Fine-tune a pretrained backbone on class folders.")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--recipe", metavar="NAME|FILE", help="Installed recipe or YAML file to start from.")
@click.option("--backbone", metavar="NAME", help="A constructor of keras.applications [MobileNet].")
@click.option("--alpha", type=float, help="Width multiplier of the MobileNet families.")
@click.option(
    "--weights",
    metavar="imagenet|none|PATH",
    help="Where the backbone's weights come from; RUN/model.keras goes on from a run [imagenet].",
)
@click.option("--head", metavar="NAME", help="gap, gmp or fc [gap].")
@click.option(
    "--patch",
    type=click.IntRange(min=1),
    metavar="PX",
    help="Side of the judged square [as DATA says].",
)
@options.context
@click.option(
    "--zoom",
    type=float,
    metavar="FACTOR",
    help="Enlargement before the network sees the image [1].",
)
@click.option(
    "--epochs", type=options.Numbers(int), metavar="N[,N...]", help="Most epochs of each stage."
)
@click.option(
    "--rate", type=options.Numbers(float), metavar="X[,X...]", help="Learning rate of each stage."
)
@click.option("--batch", type=click.IntRange(min=1), help="Patches in a step [32].")
@options.seed
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set any key of the recipe, such as training.stages.1.epochs=5.",
)
@click.option(
    "--strict", is_flag=True, help="Stop at an unreadable image instead of leaving it out."
)
@options.overwrite
@options.out("Run folder to write.")
def finetune(data: Path, out: Path, strict: bool, overwrite: bool, **choices: Any) -> None:
    """Fine-tune a pretrained backbone on the images in DATA.

    DATA holds class folders, {train,valid,test}/<class>/* or <class>/*, or is
    what `tltool patches` wrote. The run folder gets model.keras and what
    belongs to it; its recipe.yaml repeats the run.
    """
    recipe = _recipe(**choices)

    import tltool

    run = tltool.finetune(data, out, recipe, strict=strict, overwrite=overwrite)
    _show(run)


def _recipe(
    recipe: str | None,
    epochs: tuple[int, ...] | None,
    rate: tuple[float, ...] | None,
    assignments: tuple[str, ...],
    **values: Any,
) -> Any:
    from tltool.recipe import load_recipe, stage_assignments

    backbone = {"name": values["backbone"], "alpha": values["alpha"], "weights": values["weights"]}
    changes = {
        "backbone": backbone,
        "head": {"name": values["head"]},
        "training": {"batch": values["batch"], "seed": values["seed"]},
        **{key: values[key] for key in ("patch", "context", "zoom")},
    }
    given = _given(changes)
    stages = len(load_recipe(recipe, given, assignments).training.stages)
    per_stage = stage_assignments(stages, epochs=epochs, rate=rate)
    return load_recipe(recipe, given, (*per_stage, *assignments))


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Only what was said on the command line."""
    inner = {k: _given(v) if isinstance(v, dict) else v for k, v in values.items()}
    return {k: v for k, v in inner.items() if v is not None and v != {}}


def _show(run: Any) -> None:
    from tltool.cli import show

    judged = {split: run.metrics[split] for split in ("valid", "test") if split in run.metrics}
    if not judged:
        show.line(f"{run.folder}: trained; there is no valid or test split to judge it on")
        return
    last = list(judged)[-1]
    rows = [
        (
            name,
            numbers["samples"],
            show.percent(numbers["precision"]),
            show.percent(numbers["recall"]),
        )
        for name, numbers in judged[last]["classes"].items()
    ]
    show.table((last, "samples", "precision", "recall"), rows, numbers=(1, 2, 3))
    accuracies = ", ".join(
        f"{split} {show.percent(numbers['accuracy'])}" for split, numbers in judged.items()
    )
    show.line(f"accuracy: {accuracies}")
    show.line(f"{run.folder} written in {run.metrics['seconds']:.0f} s")
