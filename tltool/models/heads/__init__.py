"""Heads: features in, class probabilities or numbers out."""

from collections.abc import Callable, Sequence
from typing import Any

from tltool.errors import UsageError
from tltool.models.heads.dense import cam_head, fc_head, gap_head, gmp_head
from tltool.models.heads.nin import nin_head
from tltool.recipe import HeadRecipe
from tltool.tasks.task import Task

Head = Callable[[Any, Sequence[Task], HeadRecipe], list[Any]]

# One table for dispatch, the error's list of choices and the command line.
HEADS: dict[str, Head] = {
    "gap": gap_head,
    "gmp": gmp_head,
    "fc": fc_head,
    "nin": nin_head,
    "cam": cam_head,
}


def apply_head(features: Any, tasks: Sequence[Task], recipe: HeadRecipe) -> Any:
    """Put the recipe's head on a feature map, a branch for each task.

    The branches share the pooling (in ``nin``, which pools last, only the
    features) and have hidden and output layers of their own.

    Parameters
    ----------
    features : (b, h, w, c) KerasTensor
    tasks : sequence of Task
    recipe : HeadRecipe

    Returns
    -------
    (b, outputs) KerasTensor for a single task; for several a dict of them by
    the tasks' names. The output layer is called ``probabilities``, of kinds
    without these ``values``; ``<task>_probabilities`` where there are several.

    Raises
    ------
    UsageError
        A head that there is not, no task, or two of the same name.
    """
    if recipe.name not in HEADS:
        raise UsageError(f"head: expected one of {', '.join(HEADS)}; received {recipe.name}")
    outputs = HEADS[recipe.name](features, tasks, recipe)
    if len(tasks) == 1:
        return outputs[0]
    return {task.name: output for task, output in zip(tasks, outputs, strict=True)}
