"""What docstrings, messages and the documents beside the code promise."""

import ast
import doctest
import importlib
import inspect
import re
import shlex
import typing
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import test_rooms
import yaml

import tltool
from tltool.cli.main import cli
from tltool.recipe import Recipe

PACKAGE = Path(tltool.__file__).parent
ROOT = PACKAGE.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = sorted(PACKAGE.rglob("*.py"))
LIBRARY = [path for path in MODULES if path.parent.name != "cli"]

# A docstring begins with a noun (an article, a number or a shape before it) or a verb; "Whether"
# is fine for truth values.
REFUSED = {
    "About", "After", "All", "Always", "As", "At", "Before", "Behind", "Between", "Both", "By",
    "Each", "For", "From", "How", "If", "In", "Like", "Of", "On", "See", "Such", "That", "The same",
    "Those", "To", "Up", "What", "When", "Where", "Which", "Why", "With", "Without",
}  # fmt: skip
OPTION = re.compile(r"(?<![\w(-])--[a-z][\w-]*")
# A report says by which commands it was made, and has variables of CSS.
COMMANDS_WRITTEN = {"report/run_facts.py", "report/writing.py"}


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


def test_docstrings_begin_with_a_noun_or_a_verb():
    assert [line for path in MODULES for line in badly_begun(path)] == []


def test_a_module_logs_under_its_own_name():
    assert [line for path in LIBRARY for line in named_loggers(path)] == []


def test_only_the_command_line_names_options():
    assert [line for path in LIBRARY for line in options_named(path)] == []


@pytest.mark.parametrize("text", ["Of the map.", "As given.", "What is left.", "The same as `a`."])
def test_docstrings_that_begin_badly_are_found(text, tmp_path, monkeypatch):
    monkeypatch.setattr("test_docs.PACKAGE", tmp_path)
    path = tmp_path / "room.py"
    path.write_text(f'class A:\n    def f(self):\n        """{text}"""\n', encoding="utf-8")
    assert badly_begun(path) == [f"room.py A.f: {text}"]


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """What stands in a page's fenced blocks of a language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )


def commands_of(page: Path) -> Iterator[list[str]]:
    for line in "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines():
        for command in re.split(r"\s\|\s|&&|;", line):
            words = shlex.split(command, comments=True)
            if words and words[0] == "tltool":
                yield words[1:]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_in_the_documents_are_understood(page):
    for words in commands_of(page):
        context = click.Context(cli, info_name="tltool")
        command: click.Command | None = cli
        while isinstance(command, click.Group) and words[0] in command.list_commands(context):
            command, words = command.get_command(context, words[0]), words[1:]
        assert command is not cli, words
        command.make_context(" ".join(words), list(words))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_options_in_the_documents_exist(page):
    known = {"--help", "--debug", "--no-deps"}
    for name in cli.list_commands(click.Context(cli)):
        commands = [cli.get_command(click.Context(cli), name)]
        for command in commands:
            commands += getattr(command, "subcommands", {}).values()
            for parameter in command.params:
                known |= {*parameter.opts, *parameter.secondary_opts}
    named = set(OPTION.findall(page.read_text("utf-8")))
    assert named <= known


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_recipes_in_the_documents_are_recipes(page):
    for block in blocks(page, "yaml"):
        Recipe.model_validate(yaml.safe_load(block))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_functions_in_the_documents_take_what_they_are_given(page):
    for block in blocks(page, "python"):
        code = doctest.script_from_examples(block) if ">>>" in block else block
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module == "tltool":
                assert {alias.name for alias in node.names} <= set(tltool.__all__)
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if isinstance(node.func.value, ast.Name) and node.func.value.id == "tltool":
                function = getattr(tltool, node.func.attr)
                keywords = {keyword.arg: None for keyword in node.keywords}
                signature = inspect.signature(function)
                signature.bind(*node.args, **keywords)
                rest = [p for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD]
                typed = [each for p in rest for each in typing.get_args(p.annotation)]
                known = {*signature.parameters}.union(*map(typing.get_type_hints, typed))
                assert not typed or {*keywords} <= known


@pytest.mark.parametrize("page", [ROOT / "CONTRIBUTING.md", ROOT / "docs/design.md"], ids=page_id)
def test_files_named_in_the_documents_exist(page):
    # Names in capitals are for the reader to fill in; files of a run folder stand without a folder.
    path = r"`((?:[a-z0-9_.-]+/)+(?:[a-z0-9_.-]+)?|[a-z0-9_]+\.py)`"
    named = re.findall(path, page.read_text("utf-8"))
    gone = [n for n in named if not any((base / n).exists() for base in (ROOT, PACKAGE))]
    assert named
    assert not gone


def test_the_map_of_the_rooms_is_the_house():
    text = blocks(ROOT / "CONTRIBUTING.md", "text")[0]
    lines = [re.match(r"\w+(?:  \w+)*(?=   |$)", line)[0].split() for line in text.splitlines()]
    assert [*filter(None, lines)] == test_rooms.HOUSE


def test_the_design_lists_the_rooms_as_they_lie():
    lines = (ROOT / "docs/design.md").read_text("utf-8").splitlines()
    cells = [
        line.split("|")[1] for line in lines if re.match(r"\| `[a-z_]+/?`( `[a-z_]+/?`)* \|", line)
    ]
    rooms = [re.findall(r"`([a-z_]+)/?`", cell) for cell in cells]
    assert [room for line in rooms for room in line] == test_rooms.ORDER


@pytest.mark.parametrize("name", tltool.__all__)
def test_public_functions_say_what_goes_in_comes_out_and_goes_wrong(name):
    function = getattr(tltool, name)
    if not inspect.isfunction(function):
        pytest.skip("no function")
    signature = inspect.signature(function)
    _, *parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", f"\n{inspect.getdoc(function)}", flags=re.M)
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    lines = re.findall(r"^(\S[^:\n]*)(?: :.*)?$", sections.get("Parameters", ""), re.M)
    documented = {word.strip().lstrip("*") for line in lines for word in line.split(",")}
    undocumented = {*signature.parameters} - documented
    assert not undocumented
    assert not signature.parameters or "Raises" in sections
    assert signature.return_annotation in (None, "None") or "Returns" in sections


def objects_with_examples() -> list[str]:
    """Names such as ``tltool.room.module:Class.method`` of what has an example in its docstring."""
    found = []
    for path in MODULES:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        definitions = public_definitions(ast.parse(path.read_text("utf-8")))
        found += [f"{module}:{name}" for name, text in definitions if ">>>" in text]
    return found


def run_examples(text: str) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    said: list[str] = []
    runner.run(doctest.DocTestParser().get_doctest(text, {}, "it", None, 0), out=said.append)
    assert not runner.failures, "".join(said)


@pytest.mark.parametrize("where", objects_with_examples())
def test_examples_give_what_they_say(where, tmp_path, monkeypatch, keras):
    monkeypatch.chdir(tmp_path)
    module, _, name = where.partition(":")
    thing = importlib.import_module(module)
    for part in name.split("."):
        thing = getattr(thing, part)
    run_examples(inspect.getdoc(thing))


@pytest.mark.parametrize("page", [p for p in PAGES if ">>>" in p.read_text("utf-8")], ids=page_id)
def test_examples_in_the_documents_give_what_they_say(page, tmp_path, monkeypatch, keras):
    monkeypatch.chdir(tmp_path)
    run_examples("\n".join(block for block in blocks(page, "python") if ">>>" in block))


def test_the_functions_used_most_have_examples():
    assert len(objects_with_examples()) >= 20
