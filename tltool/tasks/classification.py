"""What kinds of answer with classes have in common: probabilities in, decisions and numbers out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from tltool.errors import DataError
from tltool.metrics.answers import Answers
from tltool.metrics.bootstrap import draw_losses, draw_measures
from tltool.metrics.calibration import at_temperature, calibration, fit_temperature, soften
from tltool.metrics.classification import classification_metrics
from tltool.metrics.curves import curves, threshold_tables
from tltool.metrics.measures import losses, measures
from tltool.recipe import LossRecipe
from tltool.tasks.display import Example, ExampleGroup, Scatter, Scoring, Shown, shown_table
from tltool.tasks.measuring import Choices, Measured, Temperature, intervals, task_draws
from tltool.tasks.task import Label, Names, Task
from tltool.tasks.words import percent, text_of


@dataclass(frozen=True)
class Classification(Task):
    """A task with classes; a child says how many of them an image has.

    Attributes
    ----------
    classes : tuple of str
        Sorted, without repeats.
    fewest, most : int, int or None
        How many classes there may be; `expected` says so in words.

    Raises
    ------
    DataError
        Too few or too many classes for the kind, or one that is there twice.
    """

    classes: tuple[str, ...]

    losses: ClassVar[tuple[str, ...]] = ("cross-entropy", "focal")
    metric_name: ClassVar[str] = "accuracy"
    activation: ClassVar[str] = "sigmoid"
    unlabelled: ClassVar[float] = -1.0
    exclusive: ClassVar[bool] = True
    probabilistic: ClassVar[bool] = True
    from_folders: ClassVar[bool] = True
    gain_paths: ClassVar[tuple[str, ...]] = (
        "accuracy",
        "balanced_accuracy",
        "subset_accuracy",
        "macro.f1",
        "log_loss",
    )
    scoring: ClassVar[Scoring] = Scoring("Accuracy", "F1, mean of classes")
    fewest: ClassVar[int] = 2
    most: ClassVar[int | None] = None
    expected: ClassVar[str] = "two classes or more"

    def __post_init__(self) -> None:
        number = len(self.classes)
        if number < self.fewest or (self.most is not None and number > self.most):
            raise DataError(
                f"task {self.name}: expected {self.expected} for a {self.kind} task; received"
                f" {number}: {', '.join(self.classes) or 'none'}. Check its labels, or give it"
                " another kind"
            )
        twice = sorted({c for c in self.classes if self.classes.count(c) > 1})
        if twice:
            raise DataError(
                f"task {self.name}: expected every class once; received {', '.join(twice)} more"
                " often. Rename or remove the repeats"
            )

    @classmethod
    def read_cell(cls, cell: str) -> Names:
        """The class of a cell; one class only."""
        if "|" in cell:
            raise ValueError(
                f"expected one class for a {cls.kind} task, received {cell}. Keep one, or make"
                " the task multi-label in the recipe"
            )
        return (cell,) if cell else None

    @classmethod
    def strata(cls, column: Sequence[Names]) -> list[Names]:
        """The labels themselves."""
        return list(column)

    @classmethod
    def learn(cls, name: str, column: Sequence[Names], background: str | None = None) -> "Task":
        """The task of the classes that training rows have, sorted."""
        labels = {label for names in column for label in names or ()}
        return cls(name, cls.order(labels, background))

    @classmethod
    def order(cls, names: set[str], background: str | None) -> tuple[str, ...]:
        """Order of the classes: sorted."""
        return tuple(sorted(names))

    @classmethod
    def unknown(cls, names: Sequence[str], known: Collection[str]) -> list[str]:
        """Find the labels that are none of the known classes."""
        return [name for name in names if name not in known]

    def label(self, names: tuple[str, ...]) -> tuple[Any, ...]:
        """Indices of classes, sorted."""
        return tuple(sorted(self.classes.index(name) for name in names))

    def label_text(self, label: tuple[Any, ...]) -> str:
        """Names of the classes, with ``|`` between."""
        return "|".join(self.classes[index] for index in label)

    def class_of(self, label: Label) -> str | None:
        """The one class that a sample has; None where there is not just one."""
        return self.classes[label[0]] if label and len(label) == 1 else None

    def members(self, label: tuple[Any, ...]) -> tuple[int, ...]:
        """Indices of the classes that a sample counts in."""
        return label

    def encode(self, labels: Sequence[Label]) -> np.ndarray:
        """Targets of the network.

        Parameters
        ----------
        labels : (n,) sequence of tuple of int, or None
            Indices into `classes`: one for a multi-class or binary sample, any
            number for a multi-label one, where none means that it has none of
            them. None: not labelled.

        Returns
        -------
        (n, outputs) float32 array
            One-hot (multi-class), multi-hot (multi-label) or the positive's 0
            or 1 (binary); a row of -1 where not labelled.

        Raises
        ------
        DataError
            A label that is no class's index, or not one where one is expected.
        """
        hot = np.zeros((len(labels), len(self.classes)), np.float32)
        for row, label in enumerate(labels):
            if label is None:
                hot[row] = self.unlabelled
                continue
            if any(not 0 <= index < len(self.classes) for index in label):
                raise DataError(
                    f"task {self.name}: expected indices from 0 to {len(self.classes) - 1}; sample"
                    f" {row} has {label}"
                )
            if self.exclusive and len(label) != 1:
                raise DataError(
                    f"task {self.name}: expected one class for each sample of a {self.kind} task;"
                    f" sample {row} has {len(label)}. Give it one, leave it unlabelled, or make the"
                    " task multi-label"
                )
            hot[row, list(label)] = 1
        return hot[:, len(self.classes) - self.outputs :]

    def labelled(self, targets: np.ndarray) -> np.ndarray:
        """Test which rows of (n, outputs) targets are labelled: (n,) bool array."""
        return np.all(targets >= 0, axis=1)

    def lacking(self, targets: np.ndarray) -> list[str]:
        """Classes that no row of (n, outputs) targets has."""
        has = (self.class_scores(targets[self.labelled(targets)]) > 0).any(axis=0)
        return [self.classes[index] for index in np.flatnonzero(~np.atleast_1d(has)).tolist()]

    def from_scores(self, scores: np.ndarray) -> np.ndarray:
        """(n, outputs) scores to probabilities, each by itself."""
        from scipy.special import expit

        return expit(scores)

    def loss(self, recipe: LossRecipe, targets: np.ndarray | None = None) -> Any:
        """Cross-entropy or focal loss; see `tltool.tasks.losses.make_loss`."""
        from tltool.tasks.losses import make_loss

        return make_loss(recipe, self, targets)

    def metric(self) -> Any:
        """Share of the labelled rows that are right, see `tltool.tasks.losses`."""
        from tltool.tasks.losses import labelled_accuracy

        return labelled_accuracy(self)

    @classmethod
    def loss_words(cls, loss: LossRecipe) -> list[str]:
        """Describe a loss in a report, in pieces of a sentence."""
        parts = [f"Focal, gamma {loss.gamma:g}" if loss.name == "focal" else "Cross-entropy"]
        if loss.alpha is not None:
            alpha = loss.alpha if isinstance(loss.alpha, list) else [loss.alpha]
            texts = [f"{weight:g}" for weight in alpha]
            parts.append(f"alpha {' to '.join(texts) if len(texts) == 2 else ', '.join(texts)}")
        return parts

    # Decisions and numbers.

    def decide(self, values: np.ndarray) -> np.ndarray:
        """(n, outputs) probabilities or targets to the index of a class: (n,) int array."""
        return self.class_scores(values).argmax(axis=1)

    def decided_classes(self, values: np.ndarray) -> list[tuple[int, ...]]:
        """Classes of each of (n, outputs) probabilities or targets, as `Sample` has them."""
        return [(int(index),) for index in self.decide(values)]

    @property
    def asked(self) -> tuple[int, ...]:
        """Classes that have a threshold of their own, as of `Answers`."""
        return ()

    def answers(self, probabilities: np.ndarray, targets: np.ndarray) -> Answers:
        """Take the images that are labelled for the task.

        Parameters
        ----------
        probabilities, targets : (n, outputs) arrays
            Targets as `encode` gives them: rows of -1 are not labelled.
        """
        labelled = self.labelled(targets)
        truth = self.class_scores(targets[labelled]) >= 0.5
        scores = self.class_scores(probabilities[labelled].astype(np.float64))
        if self.exclusive:
            # Those of single precision add up to 1 only nearly.
            total = scores.sum(axis=1, keepdims=True)
            scores = np.divide(scores, total, out=scores, where=total > 0)
        return Answers(self.classes, truth, scores, labelled, self.exclusive, self.asked)

    def basic_metrics(self, outputs: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """Numbers of training, as `classification_metrics`."""
        found = self.answers(outputs, targets)
        return classification_metrics(found.scores, found.labels, self.classes)

    def measure(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        groups: Sequence[str] = (),
        choices: Choices | None = None,
        temperature: Temperature | None = None,
    ) -> Measured:
        """Compute all numbers of an evaluation, see `tltool.evaluate`."""
        choices = choices or Choices()
        answers = self.answers(outputs, targets)
        draws = task_draws(answers.labelled, groups, choices)
        error, curve = calibration(answers)
        numbers: dict[str, Any] = {
            "kind": self.kind,
            "samples": len(answers),
            **measures(answers, choices.beta, choices.top_k),
            "ece": error,
            "calibration": curve,
            "calibrated": None,
            "curves": curves(answers),
        }
        drawn = draw_measures(answers, draws, choices.beta, choices.top_k)
        if temperature is not None:
            softened = at_temperature(answers, temperature.value)
            error, curve = calibration(softened)
            numbers["calibrated"] = {
                "temperature": temperature.value,
                "fitted_on": temperature.fitted_on,
                **losses(softened),
                "ece": error,
                "calibration": curve,
            }
            after = draw_losses(softened, draws)
            drawn |= {f"calibrated.{path}": values for path, values in after.items()}
        if self.asked:
            numbers["thresholds"] = threshold_tables(answers)
        numbers["intervals"] = intervals(drawn, draws, numbers)
        return Measured(numbers, drawn, draws)

    def fit_temperature(self, outputs: np.ndarray, targets: np.ndarray) -> float | None:
        """The temperature of the lowest log loss; see `tltool.metrics.calibration`."""
        return fit_temperature(self.answers(outputs, targets))

    def at_temperature(self, outputs: np.ndarray, temperature: float) -> np.ndarray:
        """(n, outputs) probabilities at a temperature."""
        return soften(outputs, temperature, self.activation == "softmax")

    def score_images(self, truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """Share of right answers of each image: of labels for a multi-label task, else 0 or 1."""
        same = truth == answers
        return same.astype(float) if same.ndim == 1 else same.mean(axis=1)

    def score_all(self, truth: np.ndarray, answers: np.ndarray) -> float:
        """Mean F1 of the classes; that of a class without image and prediction counts as 0."""
        from sklearn.metrics import f1_score

        names = None if truth.ndim == 2 else np.arange(len(self.classes))
        return float(f1_score(truth, answers, labels=names, average="macro", zero_division=0))

    # Rows of predictions.

    def ranked(self, outputs: np.ndarray, number: int) -> list[tuple[str, float]]:
        """The most probable classes with their probabilities, of (outputs,) of an image."""
        scores = self.class_scores(outputs[None])[0]
        # Of equal ones the first, as argmax has it.
        order = np.argsort(-scores, kind="stable")[:number]
        return [(self.classes[index], float(scores[index])) for index in order]

    def columns(self, top_k: int = 1) -> list[str]:
        """``label``, ``probability`` and, up to `top_k`, ``label_2``, ``probability_2`` ..."""
        more = range(2, min(top_k, len(self.classes)) + 1)
        both = ("label", "probability")
        return [*both, *(f"{column}_{k}" for k in more for column in both)]

    def cells(self, outputs: np.ndarray, top_k: int = 1) -> list[str]:
        """Cells of `columns` for (outputs,) of an image."""
        pairs = self.ranked(outputs, max(1, top_k))
        return [cell for name, score in pairs for cell in (name, text_of(score))]

    def record(self, outputs: np.ndarray, top_k: int = 1) -> dict[str, Any]:
        """``label``, ``probability`` and from a `top_k` of 2 on ``top``, a list of the same."""
        pairs = self.ranked(outputs, max(1, top_k))
        found: dict[str, Any] = {"label": pairs[0][0], "probability": pairs[0][1]}
        if top_k > 1:
            found["top"] = [{"label": name, "probability": score} for name, score in pairs]
        return found

    def evaluated_columns(self, averaged: bool) -> list[str]:
        """Columns of a table of labelled images, see `tltool.evaluate`."""
        one = ["probability"] if self.exclusive else []
        mean = ["averaged_predicted", *(f"averaged_{name}" for name in one)] if averaged else []
        return ["label", "predicted", "correct", *one, *mean, *(f"p_{c}" for c in self.classes)]

    def evaluated_cells(
        self, target: np.ndarray, outputs: np.ndarray, averaged: np.ndarray | None = None
    ) -> list[str]:
        """Cells of `evaluated_columns` for (outputs,) arrays of an image."""

        def said(values: np.ndarray) -> list[str]:
            (classes,) = self.decided_classes(values[None])
            most = [text_of(self.class_scores(values[None]).max())] if self.exclusive else []
            return [self.decided_text(classes), *most]

        name, *most = said(outputs)
        true = right = ""
        if self.labelled(target[None])[0]:
            true = said(target)[0]
            same = self.decided_classes(target[None]) == self.decided_classes(outputs[None])
            right = str(int(same))
        means = said(averaged) if averaged is not None else ()
        scores = map(text_of, self.class_scores(outputs[None])[0])
        return [true, name, right, *most, *means, *scores]

    def decided_text(self, classes: tuple[int, ...]) -> str:
        """Classes as a manifest has them."""
        return self.label_text(classes)

    # Maps and explanations.

    def same(self, one: np.ndarray, other: np.ndarray, scores: bool = False) -> np.ndarray:
        """Whether every output is on the same side of 0.5, of 0 where they are scores."""
        half = 0.0 if scores else 0.5
        return ((one >= half) == (other >= half)).all(1)

    @classmethod
    def agreement_words(cls, half: str) -> str:
        """Describe what is the same where `same` is."""
        return f"side of {half} in every output"

    # The report.

    headline: ClassVar[Sequence[Shown]] = shown_table("""
        accuracy | Accuracy | share | share of images that get the right class
        balanced_accuracy | Balanced accuracy | share | mean recall of the classes
        macro.f1 | F1, mean of classes | share | \
            balance of precision and recall, every class alike
        macro.roc_auc | ROC AUC, mean of classes | decimal | \
            chance that an image of a class ranks above one of another; 0.5 is guessing
        kappa | Cohen's kappa | decimal | agreement beyond chance; 0 is chance, 1 is perfect
    """)
    more: ClassVar[Sequence[Shown]] = shown_table("""
        macro.precision | Precision, mean of classes | share | \
            of images told a class, the share that has it
        macro.recall | Recall, mean of classes | share | \
            of images of a class, the share that is told it
        macro.f_beta | F-{beta:g}, mean of classes | share | \
            as F1, recall counts {beta:g} times as much
        macro.specificity | Specificity, mean of classes | share | \
            of images without a class, the share that is not told it
        macro.average_precision | Average precision, mean of classes | decimal | \
            area under the precision-recall curve
        weighted.f1 | F1, weighted | share | mean of classes by their number of images
        log_loss | Log loss | decimal | how surprised the network is by the truth; 0 is best
        brier | Brier score | decimal | squared error of the probabilities; 0 is best
        ece | Calibration error (ECE) | share | mean gap of probability and frequency; 0 is best
    """)
    averaged: ClassVar[Sequence[Shown]] = shown_table("""
        accuracy | Accuracy | share |
        balanced_accuracy | Balanced accuracy | share |
        subset_accuracy | Subset accuracy | share |
        macro.f1 | F1, mean of classes | share |
        log_loss | Log loss | decimal |
        ece | Calibration error (ECE) | share |
    """)

    def more_numbers(self, numbers: dict[str, Any], beta: float) -> Sequence[Shown]:
        """Numbers for a table, with the top-k accuracies that there are."""
        among, ks = "the right class is among the {} most probable", numbers.get("top_k") or ()
        top = [Shown(f"top_k.{k}", f"Top-{k} accuracy", among.format(k)) for k in ks]
        texts = [
            replace(each, name=each.name.format(beta=beta), meaning=each.meaning.format(beta=beta))
            for each in self.more
        ]
        return [*top, *texts]

    sentence: ClassVar[str] = "Of {images}, {number} get the right class{interval}."

    def charts(self, outputs: np.ndarray, targets: np.ndarray) -> list[Scatter]:
        """None: what the numbers hold is drawn."""
        return []

    def examples(self, outputs: np.ndarray, targets: np.ndarray, number: int) -> list[ExampleGroup]:
        """The most confident mistakes, and the answers of the lowest probability."""
        answers = self.answers(outputs, targets)
        images = np.flatnonzero(answers.labelled)
        if answers.exclusive:
            rows = np.arange(len(answers))
            pairs = np.stack([rows, answers.predicted], axis=1)
            certain = answers.scores[rows, answers.predicted]
            wrong = answers.predicted != answers.labels
        else:
            # Every label of every image is an answer.
            pairs = np.indices(answers.decided.shape).reshape(2, -1).T
            certain = np.where(answers.decided, answers.scores, 1 - answers.scores).ravel()
            wrong = (answers.decided != answers.truth).ravel()

        def example(index: int) -> Example:
            row, column = pairs[index]
            name = self.classes[column]
            if answers.exclusive:
                said, true = name, self.classes[answers.labels[row]]
            else:
                both = answers.decided[row, column], answers.truth[row, column]
                said, true = (name if there else f"not {name}" for there in both)
            # A label that is not said too is asked about by what speaks for it.
            target = int(self.output_of(np.array([column]))[0])
            sure = percent(float(certain[index]), 0)
            return Example(int(images[row]), said, true, sure, said == true, target)

        mistakes = np.flatnonzero(wrong)
        mistakes = mistakes[np.argsort(-certain[mistakes], kind="stable")][:number]
        order = np.argsort(certain, kind="stable")
        # Each image once.
        first = np.sort(np.unique(pairs[order, 0], return_index=True)[1])[:number]
        return [
            ExampleGroup("The most confident mistakes", [example(k) for k in mistakes.tolist()]),
            ExampleGroup("The least certain answers", [example(k) for k in order[first].tolist()]),
        ]

    def frame_values(self, targets: np.ndarray) -> np.ndarray | None:
        """None: classes have colours."""
        return None

    def class_indices(self, targets: np.ndarray) -> np.ndarray:
        """First class of each row of (n, outputs) targets: (n,) int array, -1 without any."""
        truth = self.class_scores(targets) >= 0.5
        return np.where(truth.any(axis=1), truth.argmax(axis=1), -1)
