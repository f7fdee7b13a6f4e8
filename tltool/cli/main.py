"""The `tltool` command: finds its subcommands when they are asked for, and reports errors."""

import importlib
import logging
import sys
import traceback
from typing import Any, NoReturn

import click

from tltool import __version__
from tltool.cli.flags import to_flags
from tltool.errors import TltoolError

# Name -> one line of help. The module of the same name, with _ for -, is imported when used.
COMMANDS = {
    "patches": "Cut labelled patches around annotated points.",
    "augment-preview": "Show what a recipe's augmentation does to images.",
    "lr-find": "Find the learning rate of a stage.",
    "finetune": "Fine-tune a pretrained backbone on labelled images.",
    "upgrade": "Save a model of an older Keras as a current .keras file.",
    "convert": "Turn a classifier into a fully convolutional network.",
    "fidelity": "Measure how far a map says what its classifier says.",
    "export": "Write an FCN for other tools: ONNX, OpenVINO, SavedModel.",
    "heatmap": "Map class probabilities over images of any size.",
    "mine": "Train again with a run's false detections as background.",
    "count": "Count animals on images: points, numbers, intervals.",
    "evaluate": "Evaluate a run on labelled images: numbers with intervals.",
    "predict": "Predict the classes of images, as CSV or JSON lines.",
    "explain": "Show where in images the network sees what it predicts.",
    "recipes": "List the installed recipes, or show one.",
    "demo": "Paint a survey and make the whole journey over it.",
}


# The command whose options messages speak of.
_running: dict[str, click.Command] = {}

# Options of before that have Keras's names now.
_RENAMED = {"--rate": "--learning-rate", "--batch": "--batch-size"}


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = name.replace("-", "_")
        _running["command"] = command = getattr(
            importlib.import_module(f"tltool.cli.{module}"), module
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tltool")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Fine-tune a Keras backbone on patches and map huge aerial images with it.

    The usual way: patches, finetune, convert, heatmap, count. `tltool COMMAND --help`
    lists the options of each.
    """


def _fail(message: str, status: int) -> NoReturn:
    click.echo(f"tltool: {message}", err=True)
    sys.exit(status)


def _explain_os_error(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _in_flags(message: str) -> str:
    return to_flags(message, _running.get("command"))


class _InFlags(logging.Formatter):
    """Messages of the library in the words of the command line."""

    def format(self, record: logging.LogRecord) -> str:
        return _in_flags(record.getMessage())


def _show_messages() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_InFlags())
    logger = logging.getLogger("tltool")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line.

    Exits with 0: done, 1: the work could not be done, 2: wrong usage; in one
    line on standard error, with the traceback only where --debug asks for it.
    """
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    # Welcome anywhere on the line, not only before the command.
    given = (["--debug"] if debug else []) + [word for word in given if word != "--debug"]
    _show_messages()
    try:
        cli.main(given, prog_name="tltool", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        if isinstance(error, click.NoSuchOption) and error.option_name in _RENAMED:
            old, new = error.option_name, _RENAMED[error.option_name]
            error = click.UsageError(f"No such option {old!r}: it is called {new} now.", error.ctx)
        error.show()
        sys.exit(error.exit_code)
    except BaseException as error:
        if isinstance(error, SystemExit):
            raise
        if debug:
            traceback.print_exc()
        _report(error)


def _report(error: BaseException) -> NoReturn:
    if isinstance(error, TltoolError):
        _fail(_in_flags(str(error)), error.exit_status)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        _fail("stopped; no unfinished file has a final name", 1)
    if isinstance(error, OSError):
        _fail(_explain_os_error(error), 1)
    if isinstance(error, MemoryError):
        _fail("not enough memory. Take a smaller --batch-size or --tile", 1)
    reason = " ".join(str(error).split())[:300]
    _fail(f"unexpected {type(error).__name__}: {reason}. --debug shows where", 1)
