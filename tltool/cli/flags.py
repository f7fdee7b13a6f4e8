"""From parameters of the library, as its messages name them, to what stands on a command line.

The library writes parameters in backticks: `` `aoi` ``, `` `mode='patches'` ``,
`` `tltool.patches(size=96)` ``. Only here do they become ``--aoi``, ``--mode
patches`` and ``tltool patches --size 96``.
"""

import ast
import re

import click

_QUOTED = re.compile(r"`([^`\n]+)`")
_PARAMETER = re.compile(r"([A-Za-z_]\w*)(?:=(.*))?", re.DOTALL)
# Public functions whose command has another name.
_VERBS = {
    "compare_methods": "explain --compare",
    "preview": "augment-preview",
    "resume": "finetune --resume",
    "tune_count": "count tune",
}
_CALL = re.compile(r"tltool\.(\w+)(?:\((.*)\))?", re.DOTALL)
# A pair is a range: ``(0, 3000)`` is ``0:3000``.
_PAIR = re.compile(r"\(([^,()]+), ([^,()]+)\)")


def _flag(name: str, command: click.Command | None) -> str:
    """The option or argument of a command that a parameter is."""
    if command is not None:
        for parameter in command.params:
            if parameter.name != name:
                continue
            if isinstance(parameter, click.Option):
                return max(parameter.opts, key=len)
            return str(parameter.make_metavar(click.Context(command))).rstrip(".").strip("[]")
    return "--" + name.replace("_", "-")


def _value(text: str) -> str:
    """A value as a command line has it: ``[4, 3]`` is ``4,3``, ``'d4'`` is ``d4``."""
    if pair := _PAIR.fullmatch(text):
        return f"{pair[1]}:{pair[2]}"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _assigned(name: str, text: str | None, command: click.Command | None) -> str:
    flag = _flag(name, command)
    return flag if text in (None, "True") else f"{flag} {_value(text or '')}"


def _call(verb: str, arguments: str) -> str:
    """A call of a public function as a command."""
    words = ["tltool", _VERBS.get(verb, verb.replace("_", "-"))]
    for argument in filter(None, (part.strip() for part in re.split(r",\s*(?=\w+=)", arguments))):
        name, _, text = argument.partition("=")
        words.append(_assigned(name, text, None) if text else name)
    return " ".join(words)


def to_flags(message: str, command: click.Command | None = None) -> str:
    """A message of the library in the words of the command line.

    Parameters
    ----------
    message : str
        Names parameters in backticks.
    command : click.Command, optional
        Whose options they are; others get the usual form, ``--like-this``.

    Returns
    -------
    str
        Quoted text that is no parameter keeps its backticks.
    """

    def turned(found: re.Match[str]) -> str:
        quoted = found.group(1)
        if call := _CALL.fullmatch(quoted):
            return _call(call[1], call[2] or "")
        if parameter := _PARAMETER.fullmatch(quoted):
            return _assigned(parameter[1], parameter[2], command)
        return found.group(0)

    return _QUOTED.sub(turned, message)
