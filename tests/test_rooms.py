"""The house: a room imports rooms of the lines above its own, and rooms to its left."""

import ast
import configparser
from pathlib import Path

import pytest

import tltool

PACKAGE = Path(tltool.__file__).parent

# Read downwards; what stands on one line, from left to right.
HOUSE = [
    ["errors", "text", "progress", "prefetch", "files", "runtime"],
    ["recipe"],
    ["raster"],
    ["run"],
    ["pictures"],
    ["annotations"],
    ["metrics", "points"],
    ["tasks"],
    ["data"],
    ["augment"],
    ["models", "fcn"],
    ["inference"],
    ["tiling"],
    ["training"],
    ["conversion"],
    ["explanation", "report", "evaluation", "mapping", "counting"],
    ["network"],
    ["demonstration"],
    ["cli"],
]
ORDER = [room for line in HOUSE for room in line]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_rooms(path: Path) -> set[str]:
    """Rooms that a file imports anywhere, also inside functions and for types alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("tltool.")}
    return found & set(ORDER)


def test_every_room_has_its_place_in_the_house():
    there = {room_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__", "recipes"}
    assert there == set(ORDER)


@pytest.mark.parametrize("room", ORDER)
def test_a_room_imports_only_what_stands_above_it_or_to_its_left(room):
    above = set(ORDER[: ORDER.index(room) + 1])
    files = [path for path in PACKAGE.rglob("*.py") if room_of(path) == room]
    wrong = {
        str(path.relative_to(PACKAGE)): sorted(imported_rooms(path) - above)
        for path in files
        if imported_rooms(path) - above
    }
    assert not wrong


def test_every_package_is_installed():
    """What `setup.cfg` lists is what there is: an editable install would not notice."""
    config = configparser.ConfigParser()
    config.read(PACKAGE.parent / "setup.cfg", encoding="utf-8")
    listed = set(config["options"]["packages"].split())
    there = {
        ".".join(("tltool", *path.parent.relative_to(PACKAGE).parts))
        for path in PACKAGE.rglob("__init__.py")
    }
    assert listed == there | {"tltool.recipes"}
    templates = {path.parent.parent for path in PACKAGE.rglob("templates/*")}
    data = set(config["options.package_data"])
    assert {".".join(("tltool", *path.relative_to(PACKAGE).parts)) for path in templates} <= data
