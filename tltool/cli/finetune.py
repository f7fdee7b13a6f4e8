"""`tltool finetune`."""

from pathlib import Path
from typing import Any

import click

import tltool
from tltool.cli import options, show
from tltool.cli.recipe_options import read_recipe, recipe_options


@click.command(short_help="Fine-tune a pretrained backbone on labelled images.")
@click.argument("data", required=False, type=click.Path(path_type=Path))
@recipe_options
@options.option(
    "--steps",
    "Most batches of each stage, instead of --epochs.",
    "N[,N...]",
    type=options.Numbers(int),
)
@options.strict
@options.path(
    "--resume",
    "Go on with a run that was stopped; DATA and the recipe are those it began with.",
    "RUN",
)
@options.overwrite
@options.path("-o --out", "Run folder to write.")
def finetune(
    data: Path | None,
    out: Path | None,
    strict: bool,
    resume: Path | None,
    overwrite: bool,
    **choices: Any,
) -> None:
    """Fine-tune a pretrained backbone on the images in DATA.

    DATA holds class folders, {train,valid,test}/<class>/* or <class>/*, is
    what `tltool patches` wrote, or is a CSV manifest with the columns path and
    label (several label columns are several tasks, a|b in one are several
    labels, an empty cell is not labelled). The run folder gets model.keras and
    what belongs to it; its recipe.yaml repeats the run.
    """
    if resume is not None:
        if out is not None or overwrite or strict:
            raise click.UsageError(
                "--resume RUN goes on in RUN: leave out -o, --overwrite and --strict"
            )
        given = any(value not in (None, ()) for value in choices.values())
        stored = resume / "recipe.yaml"
        if given and choices["recipe"] is None and stored.exists():
            choices["recipe"] = str(stored)
        recipe = read_recipe(**choices) if given else None
        run = tltool.resume(resume, recipe, data, show=_show_report)
    elif data is None or out is None:
        raise click.UsageError("expected DATA and -o RUN, or --resume RUN")
    else:
        recipe = read_recipe(**choices)
        run = tltool.finetune(
            data, out, recipe, strict=strict, overwrite=overwrite, show=_show_report
        )
    _show(run)


def _show_report(report: Any) -> None:
    from tltool.data.overview import report_table

    show.table(*report_table(report))
    for warning in report.warnings:
        show.line(f"warning: {warning}")
    show.line("")


def _show(run: Any) -> None:
    from tltool.tasks.kinds import metric_text

    evaluated = {split: run.metrics[split] for split in ("valid", "test") if split in run.metrics}
    if not evaluated:
        show.line(f"{run.folder}: trained; there is no valid or test split to evaluate it on")
        return
    last = list(evaluated)[-1]
    for task, numbers in show.by_task(evaluated[last]).items():
        rows = [
            (name, each["samples"], show.percent(each["precision"]), show.percent(each["recall"]))
            for name, each in numbers.get("classes", {}).items()
        ]
        if rows:
            title = f"{last}, {task}" if task else last
            show.table((title, "samples", "precision", "recall"), rows, numbers=(1, 2, 3))
    for task, numbers in show.by_task(evaluated[last]).items():
        texts = []
        for split, metrics in evaluated.items():
            text = f"{split} {metric_text(show.by_task(metrics)[task])[1]}"
            if "averaged" in metrics:
                mean = metric_text(show.by_task(metrics["averaged"])[task])[1]
                text += f" ({mean} averaged over flips and rotations)"
            texts.append(text)
        show.line(f"{task} {metric_text(numbers)[0]}: {', '.join(texts)}".lstrip())
    show.line(f"{run.folder} written in {run.metrics['seconds']:.0f} s")
