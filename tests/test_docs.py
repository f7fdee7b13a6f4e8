"""What docstrings, messages and the documents beside the code promise."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import tltool

PACKAGE = Path(tltool.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# A docstring begins with a noun (an article, a number or a shape before it) or a verb; "Whether"
# is fine for truth values.
REFUSED = {
    "About", "After", "All", "Always", "As", "At", "Before", "Behind", "Between", "Both", "By",
    "Each", "For", "From", "How", "If", "In", "Like", "Of", "On", "See", "Such", "That", "The same",
    "Those", "To", "Up", "What", "When", "Where", "Which", "Why", "With", "Without",
}  # fmt: skip
OPTION = re.compile(r"(?<![\w(-])--[a-z][\w-]*")
# A report says by which commands it was made.
COMMANDS_WRITTEN = {"report/run_facts.py"}

# How many are left over in each room; nothing may be added.
DOCSTRINGS_LEFT: dict[str, int] = {
    "annotations": 3,
    "augment": 3,
    "cli": 3,
    "conversion": 5,
    "counting": 31,
    "data": 17,
    "demonstration": 2,
    "evaluation": 5,
    "explanation": 20,
    "fcn": 2,
    "inference": 7,
    "mapping": 10,
    "metrics": 7,
    "models": 8,
    "points": 17,
    "raster": 29,
    "recipe": 7,
    "report": 17,
    "run": 5,
    "tasks": 1,
    "tiling": 21,
    "training": 7,
}
LOGGERS_LEFT: dict[str, int] = {
    "annotations": 4,
    "augment": 1,
    "conversion": 3,
    "counting": 7,
    "data": 4,
    "demonstration": 1,
    "evaluation": 2,
    "explanation": 3,
    "inference": 3,
    "mapping": 3,
    "progress": 1,
    "report": 1,
    "tiling": 2,
    "training": 4,
}
OPTIONS_LEFT: dict[str, int] = {
    "annotations": 7,
    "conversion": 32,
    "counting": 22,
    "data": 6,
    "evaluation": 6,
    "explanation": 23,
    "fcn": 4,
    "files": 1,
    "inference": 20,
    "mapping": 10,
    "models": 11,
    "points": 2,
    "raster": 7,
    "recipe": 5,
    "report": 5,
    "run": 2,
    "tiling": 24,
    "training": 14,
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def public_definitions(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Names and docstrings of public functions, classes and their public methods."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if text := ast.get_docstring(node):
                yield node.name, text
            if isinstance(node, ast.ClassDef):
                for name, inner in public_definitions(node):
                    yield f"{node.name}.{name}", inner


def badly_begun(path: Path) -> list[str]:
    found = []
    for name, text in public_definitions(ast.parse(path.read_text(encoding="utf-8"))):
        words = text.split()
        if words[0] in REFUSED or " ".join(words[:2]) in REFUSED:
            found.append(f"{path.relative_to(PACKAGE)} {name}: {text.splitlines()[0]}")
    return found


def named_loggers(path: Path) -> list[str]:
    """Loggers that are not the module's own, but `tltool` or another."""
    return [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "getLogger"
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and str(node.args[0].value).startswith("tltool")
    ]


def options_named(path: Path) -> list[str]:
    """Strings that name an option of the command line, docstrings included."""
    return [
        f"{path.relative_to(PACKAGE)}:{node.lineno}: {found}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and path.relative_to(PACKAGE).as_posix() not in COMMANDS_WRITTEN
        # CSS has variables of the same form.
        for found in OPTION.findall(node.value.replace("var(--", "var("))
    ]


def assert_no_more_than(left: dict[str, int], found: dict[str, list[str]]) -> None:
    numbers = Counter({room: len(lines) for room, lines in found.items()})
    more = [line for room in numbers if numbers[room] > left.get(room, 0) for line in found[room]]
    assert not more, "\n".join(more)


def by_room(check) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in MODULES:
        if lines := check(path):
            found.setdefault(room_of(path), []).extend(lines)
    return found


def test_docstrings_begin_with_a_noun_or_a_verb():
    assert_no_more_than(DOCSTRINGS_LEFT, by_room(badly_begun))


def test_a_module_logs_under_its_own_name():
    found = by_room(named_loggers)
    found.pop("cli", None)
    assert_no_more_than(LOGGERS_LEFT, found)


def test_only_the_command_line_names_options():
    found = by_room(options_named)
    found.pop("cli", None)
    assert_no_more_than(OPTIONS_LEFT, found)


@pytest.mark.parametrize("text", ["Of the map.", "As given.", "What is left.", "The same as `a`."])
def test_docstrings_that_begin_badly_are_found(text, tmp_path, monkeypatch):
    monkeypatch.setattr("test_docs.PACKAGE", tmp_path)
    path = tmp_path / "room.py"
    path.write_text(f'class A:\n    def f(self):\n        """{text}"""\n', encoding="utf-8")
    assert badly_begun(path) == [f"room.py A.f: {text}"]
