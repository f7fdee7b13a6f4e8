"""Parameters in messages become options, in one place."""

import click
import pytest

from tltool.cli.flags import to_flags


@click.command()
@click.argument("images", nargs=-1, metavar="IMAGE...")
@click.option("--class", "class_name")
@click.option("-o", "--out")
@click.option("--resume/--no-resume")
def command():
    """Do nothing."""


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("`aoi`: expected polygons", "--aoi: expected polygons"),
        ("allow it with `overwrite=True`", "allow it with --overwrite"),
        ("`mode='patches'` slides", "--mode patches slides"),
        ("take `bands=[4, 3, 2]`", "take --bands 4,3,2"),
        ("give `scale=(0, 3000)` or `scale=(MIN, MAX)`", "give --scale 0:3000 or --scale MIN:MAX"),
        ("which `tltool.compare_methods` takes", "which tltool explain --compare takes"),
        ("`class_name`: received gull", "--class: received gull"),
        ("`images`: received none", "IMAGE: received none"),
        ("`out` is a file", "--out is a file"),
        ("`resume`", "--resume"),
        ("`tltool.patches(size=96, context=64)`", "tltool patches --size 96 --context 64"),
        ("`tltool.tune_count(run)`", "tltool count tune run"),
        ("`tltool.finetune(data, overwrite=True)`", "tltool finetune data --overwrite"),
        ("a file called `my file.png` stays", "a file called `my file.png` stays"),
        ("no parameter", "no parameter"),
    ],
)  # fmt: skip
def test_parameters_are_told_as_options(message, expected):
    assert to_flags(message, command) == expected


def test_without_a_command_the_usual_form_is_taken():
    assert to_flags("`class_name` and `shift_and_stitch`") == "--class-name and --shift-and-stitch"
