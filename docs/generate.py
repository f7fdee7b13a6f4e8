"""Pages that MkDocs makes of the code: the commands, the reference of the library, CONTRIBUTING."""

import re
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File, Files

import tltool
from tltool.cli.main import COMMANDS, cli

ROOT = Path(__file__).parent.parent


def on_config(config: Any) -> Any:
    """List the pages of the public names in the navigation."""
    for section in config.nav:
        if isinstance(section, dict) and "Library" in section:
            section["Library"] += [f"reference/{name}.md" for name in tltool.__all__]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages before navigation is laid out."""
    pages = {
        "commands.md": commands(),
        "contributing.md": beside_the_documents((ROOT / "CONTRIBUTING.md").read_text("utf-8")),
        "reference/index.md": reference(),
        **{f"reference/{name}.md": f"::: tltool.{name}\n" for name in tltool.__all__},
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def beside_the_documents(text: str) -> str:
    """Links of a page of the repository's root, from within docs/."""
    return re.sub(r"\]\(docs/", "](", text)


def reference() -> str:
    """A table of the public names with the first line of each."""
    rows = [f"| [`{name}`]({name}.md) | {summary(name)} |" for name in tltool.__all__]
    lines = [
        "# Library",
        "",
        "`import tltool` costs nothing; Keras is imported by what needs it. Everything listed here"
        " is public and stays; what is not listed may change.",
        "",
        "| name | |",
        "|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


def summary(name: str) -> str:
    """The first line of a docstring, for a cell of a table."""
    text = (getattr(tltool, name).__doc__ or "").strip().partition("\n\n")[0]
    return " ".join(text.split()).replace("|", "\\|")


def commands() -> str:
    """Every command with its options, as click has them."""
    lines = ["# Commands", "", "```", cli.get_help(click.Context(cli, info_name="tltool")), "```"]
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        lines += section(command, f"tltool {name}")
    return "\n".join(lines) + "\n"


def section(command: click.Command, path: str) -> list[str]:
    """One command: usage, what it says of itself, a table of its options, its subcommands."""
    context = click.Context(command, info_name=path)
    lines = ["", f"## {path}", "", "```", command.get_usage(context), "```", ""]
    lines += [(command.help or "").replace("\b\n", ""), "", "| option | |", "|---|---|"]
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record:
            names, text = record[0], record[1].replace("|", "\\|").replace("<", "&lt;")
            lines.append(f"| `{names}` | {' '.join(text.split())} |")
    for name, inner in getattr(command, "subcommands", {}).items():
        lines += section(inner, f"{path} {name}")
    return lines
