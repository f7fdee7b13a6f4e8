"""Registry of the kinds of answer."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from tltool.errors import DataError, RecipeError
from tltool.recipe import LossRecipe, Recipe
from tltool.run.sidecar import Sidecar, TaskFacts
from tltool.tasks.binary import Binary
from tltool.tasks.multi_class import MultiClass
from tltool.tasks.multi_label import MultiLabel
from tltool.tasks.regression import Regression
from tltool.tasks.task import Task

logger = logging.getLogger(__name__)

# One table for dispatch and for the error's list of choices. Where nothing says what a column
# is, it is of the first kind that recognises it, else of the first.
KINDS: dict[str, type[Task]] = {
    kind.kind: kind for kind in (MultiClass, Binary, MultiLabel, Regression)
}


def kind_of(name: str, where: str = "task") -> type[Task]:
    """The kind of that name.

    Raises
    ------
    DataError
        There is none.
    """
    if name not in KINDS:
        raise DataError(f"{where}: expected a kind among {', '.join(KINDS)}; received {name!r}")
    return KINDS[name]


def make_task(name: str, classes: Sequence[str] = (), kind: str = "multi-class") -> Task:
    """A task of a kind.

    Parameters
    ----------
    name : str
    classes : sequence of str
        Class names, or names of numbers; empty: the kind's own.
    kind : str
        One of `KINDS`.

    Raises
    ------
    DataError
        No such kind, or classes that do not fit it.
    """
    cls = kind_of(kind, f"task {name}")
    needed = cls.from_folders or cls.probabilistic
    return cls(name, tuple(classes)) if classes or needed else cls(name)


def tasks_of(sidecar: Sidecar) -> tuple[Task, ...]:
    """Make the tasks of a network from the JSON beside it."""
    if sidecar.tasks:
        return tuple(make_task(each.name, each.classes, each.kind) for each in sidecar.tasks)
    if len(sidecar.classes) == 1:
        # The first class is what stays below the threshold.
        positive = sidecar.classes[0]
        nothing = sidecar.background or "background"
        names = [nothing if nothing != positive else "other", positive]
        return (make_task("label", names, "binary"),)
    return (make_task("label", sidecar.classes),)


def task_facts(task: Task) -> TaskFacts:
    """A task as a sidecar has it."""
    return TaskFacts(name=task.name, kind=task.kind, classes=list(task.classes))


def guess_kind(name: str, cells: Sequence[str]) -> str:
    """The kind of a manifest's column that nothing says the kind of."""
    found = next((kind for kind, cls in KINDS.items() if cls.recognises(cells)), None)
    if found is not None and not KINDS[found].probabilistic:
        logger.warning(
            "column %s holds many different numbers and is read as task: %s; task: multi-class"
            " makes each of them a class",
            name,
            found,
        )
    return found or next(iter(KINDS))


def kind_of_outputs(number: int, activation: str) -> str:
    """The kind that a foreign network's output is likely of: a sigmoid or softmax of `number`."""
    if number == 1:
        return Binary.kind
    return MultiLabel.kind if activation == "sigmoid" else MultiClass.kind


def metric_names() -> list[str]:
    """Names of the metrics that training may have."""
    return list(dict.fromkeys(kind.metric_name for kind in KINDS.values()))


def metric_text(numbers: Mapping[str, Any]) -> tuple[str, str]:
    """Name and value of the metric of training among a task's basic numbers, as text."""
    kind = next(kind for kind in KINDS.values() if kind.metric_name in numbers)
    number = numbers[kind.metric_name]
    text = "-"
    if number is not None:
        text = f"{100 * number:.1f} %" if kind.probabilistic else f"{number:.4g}"
    return kind.metric_name.replace("_", " "), text


def check_kinds(recipe: Recipe) -> None:
    """Check a recipe's kinds of task and names of losses, before anything heavy is imported.

    Raises
    ------
    RecipeError
        One that there is not, or a loss that is not the kind's.
    """
    asked: dict[str, tuple[str | None, LossRecipe | None]] = {"task": (recipe.task, None)}
    asked |= {f"tasks.{name}.kind": (each.kind, each.loss) for name, each in recipe.tasks.items()}
    for key, (kind, own) in asked.items():
        if kind is not None and kind not in KINDS:
            raise RecipeError(f"{key}: expected one of {', '.join(KINDS)}; received {kind}")
        kinds = [KINDS[kind]] if kind is not None else list(KINDS.values())
        known = list(dict.fromkeys(loss for each in kinds for loss in each.losses))
        name = (own or recipe.training.loss).name
        if name is not None and name not in known:
            where = f"tasks.{key.split('.')[1]}.loss" if own else "training.loss"
            raise RecipeError(f"{where}.name: expected one of {', '.join(known)}; received {name}")
