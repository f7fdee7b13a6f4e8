"""Any number of classes at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tltool.metrics.classification import multi_label_metrics
from tltool.tasks.classification import Classification
from tltool.tasks.display import Shown, shown_table
from tltool.tasks.task import Names
from tltool.tasks.words import text_of

# Content of a cell that says that an image has none of the classes.
NONE_OF_THEM = "none"


@dataclass(frozen=True)
class MultiLabel(Classification):
    """Any number of classes at once, each an output by itself, said from 0.5 on."""

    kind: ClassVar[str] = "multi-label"
    exclusive: ClassVar[bool] = False
    from_folders: ClassVar[bool] = False
    fewest: ClassVar[int] = 1
    expected: ClassVar[str] = "one class or more"

    @classmethod
    def recognises(cls, cells: Sequence[str]) -> bool:
        """Any cell has several classes."""
        return any("|" in cell for cell in cells)

    @classmethod
    def read_cell(cls, cell: str) -> Names:
        """Classes such as ``boat|person``, or ``none`` alone."""
        parts = tuple(dict.fromkeys(part.strip() for part in cell.split("|") if part.strip()))
        nothing = NONE_OF_THEM in parts
        if (cell and not parts) or (nothing and len(parts) > 1):
            raise ValueError(
                f"expected classes such as boat|person, or {NONE_OF_THEM} alone; received {cell}"
            )
        return None if not cell else () if nothing else parts

    @classmethod
    def folder_problem(cls, names: Sequence[str]) -> str | None:
        """An image in a class folder has one class."""
        return (
            "an image in a class folder has one class, but the recipe says"
            " task: multi-label. List the images in a CSV manifest whose label column has all"
            " classes of an image, such as boat|person"
        )

    @property
    def asked(self) -> tuple[int, ...]:
        """Every class."""
        return tuple(range(len(self.classes)))

    def decide(self, values: np.ndarray) -> np.ndarray:
        """(n, classes) probabilities or targets to 0 and 1."""
        return (values >= 0.5).astype(int)

    def decided_classes(self, values: np.ndarray) -> list[tuple[int, ...]]:
        """Classes of each of (n, classes) probabilities or targets."""
        return [tuple(np.flatnonzero(row).tolist()) for row in self.decide(values)]

    def decided_text(self, classes: tuple[int, ...]) -> str:
        """Classes as a manifest has them: ``boat|person``, ``none``."""
        return self.label_text(classes) or NONE_OF_THEM

    def basic_metrics(self, outputs: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """Numbers of training, as `multi_label_metrics`."""
        found = self.answers(outputs, targets)
        return multi_label_metrics(found.scores, found.truth, self.classes)

    def columns(self, top_k: int = 1) -> list[str]:
        """``label`` (``boat|person``, ``none``) and ``p_<class>``."""
        return ["label", *(f"p_{name}" for name in self.classes)]

    def cells(self, outputs: np.ndarray, top_k: int = 1) -> list[str]:
        """Cells of `columns` for (outputs,) of an image."""
        (classes,) = self.decided_classes(outputs[None])
        return [self.decided_text(classes), *map(text_of, outputs)]

    def record(self, outputs: np.ndarray, top_k: int = 1) -> dict[str, Any]:
        """``labels`` and ``probabilities``."""
        (classes,) = self.decided_classes(outputs[None])
        every = dict(zip(self.classes, map(float, outputs), strict=True))
        return {"labels": [self.classes[index] for index in classes], "probabilities": every}

    headline: ClassVar[Sequence[Shown]] = shown_table("""
        accuracy | Label accuracy | share | share of all labels, there or not, that are right
        subset_accuracy | Subset accuracy | share | share of images with every label right
        macro.f1 | F1, mean of labels | share | \
            balance of precision and recall, every label alike
        mean_average_precision | Mean average precision | decimal | \
            area under the precision-recall curve, mean of labels
    """)

    def more_numbers(self, numbers: dict[str, Any], beta: float) -> Sequence[Shown]:
        """Numbers for a table, the Hamming loss first."""
        hamming = Shown("hamming_loss", "Hamming loss", "share of labels that are wrong")
        return [hamming, *super().more_numbers(numbers, beta)]

    sentence: ClassVar[str] = "Of all labels of {images}, {number} are right{interval}."
