"""`tltool count` and `tltool count tune`."""

from pathlib import Path
from typing import Any

import click

from tltool.cli import options
from tltool.cli.count_tune import tune


class _Counting(click.Command):
    """A command of its own, whose first word may name another."""

    subcommands = {"tune": tune}  # noqa: RUF012

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> click.Context:
        if args and args[0] in self.subcommands:
            name = f"{info_name} {args[0]}"
            return self.subcommands[args[0]].make_context(name, args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_usage(ctx, formatter)
        for command in self.subcommands.values():
            pieces = command.collect_usage_pieces(ctx)
            name = f"{ctx.command_path} {command.name}"
            formatter.write_usage(name, " ".join(pieces), prefix="   or: ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        with formatter.section("Commands"):
            rows = [(name, c.get_short_help_str(80)) for name, c in self.subcommands.items()]
            formatter.write_dl(rows)


@click.command(cls=_Counting, short_help="Count animals on images: points, numbers, intervals.")
@options.run
@options.images
@options.maps
@options.number("--threshold", "Least score of a point, in place of the tuned ones.", "P")
@options.number("--distance", "Least distance of two points, in place of the tuned ones.", "PX")
@options.path(
    "--aoi",
    "Areas to count in, in any CRS (in pixels, y down, where the image has none).",
    "GEOJSON",
)
@options.path(
    "--truth", "Annotated points to score against; any format of tltool patches.", "POINTS"
)
@options.number("--level", "Confidence level of the intervals.", "P", shown=0.95)
@options.option(
    "--interval",
    "Method of the intervals; bootstrap needs a tuning with --blocks or many images"
    " [beta-binomial].",
    "beta-binomial|bootstrap",
    default="beta-binomial",
)
@options.option(
    "--points-format points_formats",
    "Write the points in this format too, beside CSV and GeoJSON.",
    "gpkg|coco",
    multiple=True,
)
@options.counting
@options.overwrite
@options.out("Folder for points, counts, pictures, the summary and the maps.")
def count(run: Path, images: tuple[Path, ...], **more: Any) -> None:
    """Count what the network of RUN finds on IMAGEs.

    RUN is a run folder or an fcn.keras with its fcn.json; IMAGEs are files,
    folders or patterns. Each point is a peak of the heatmap above a threshold,
    away from higher ones. How sure a count is comes from validation images:
    `tltool count tune` chooses threshold and distance on them.
    """
    import tltool
    from tltool.cli import show
    from tltool.errors import CountError

    try:
        survey = tltool.count(run, images, **more)
    except CountError as error:
        show.survey(error.survey)
        raise
    show.survey(survey)
