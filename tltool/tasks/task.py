"""The base of all kinds of answer: what is to be said of an image, and all that depends on it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tltool.errors import DataError
from tltool.metrics.baselines import (
    Baseline,
    feature_neighbours,
    linear_probe,
    majority,
    pixel_neighbour,
)
from tltool.metrics.paths import get
from tltool.metrics.regression import draw_regression, regression_metrics
from tltool.recipe import LossRecipe
from tltool.tasks.display import Example, ExampleGroup, Scatter, Scoring, Shown, shown_table
from tltool.tasks.measuring import Choices, Measured, Temperature, intervals, task_draws
from tltool.tasks.words import FORMS, text_of, value

# Label of a sample: indices of classes, or numbers; None: not labelled.
Label = tuple[Any, ...] | None
# Content of a manifest's cell; None: not labelled.
Names = tuple[str, ...] | None

# Share of the spread of a map's values within which classifier and map say the same.
_SAME = 0.01


@dataclass(frozen=True)
class Task:
    """One thing to say of an image.

    As it stands, a number for each output, learnt by the squared error. A new
    kind of answer is a child that overrides what differs, in a file of its
    own, and an entry of `tltool.tasks.kinds.KINDS`. Everything a kind does not
    override must fit it: `probabilistic` kinds have outputs in 0..1.

    Attributes
    ----------
    name : str
        ``label`` for class folders, else the column of the manifest.
    classes : tuple of str
        What can be said: class names, or the names of numbers.
    kind : str
        Name in recipes and sidecars.
    activation : str
        Of the network's last layer with weights.
    losses : tuple of str
        Names that a recipe may give; the first is the default.
    metric_name : str
        Of the metric of training.
    unlabelled : float
        Target of what is not labelled.
    exclusive : bool
        Whether exactly one class is true of an image.
    probabilistic : bool
        Whether outputs are probabilities.
    from_folders : bool
        Whether class folders can label images.
    gain_paths : tuple of str
        Numbers that test-time augmentation is compared by.
    scoring : Scoring
        How baselines are compared.
    agreement_key : str
        Of a map's fidelity, the share of windows where `same` is true.
    headline, more, averaged : sequence of Shown
        The few numbers of a report to remember, the others, and those to show
        without and with test-time augmentation.
    sentence : str
        The first one to read, of the first number of `headline`.

    A kind that says where things are (masks, boxes, keypoints) has a method
    ``encode_targets(targets, size)`` too, which `tltool.data.stream.Batches`
    calls with a list of `tltool.data.targets.Targets` or None and the images'
    size in place of `encode`.
    """

    name: str
    classes: tuple[str, ...] = ("value",)

    kind: ClassVar[str] = "numbers"
    activation: ClassVar[str] = "linear"
    losses: ClassVar[tuple[str, ...]] = ("squared-error", "huber")
    metric_name: ClassVar[str] = "mean_absolute_error"
    unlabelled: ClassVar[float] = np.nan
    exclusive: ClassVar[bool] = False
    probabilistic: ClassVar[bool] = False
    from_folders: ClassVar[bool] = False
    gain_paths: ClassVar[tuple[str, ...]] = ("mean_absolute_error", "rmse", "r2")
    scoring: ClassVar[Scoring] = Scoring("Mean absolute error", "R2", False, False)

    # How labels are read and encoded.

    @classmethod
    def recognises(cls, cells: Sequence[str]) -> bool:
        """Whether a manifest's column is of this kind, where nothing says what it is."""
        return False

    @classmethod
    def read_cell(cls, cell: str) -> Names:
        """Content of a cell of a manifest; a `ValueError` says what was expected instead."""
        if not cell:
            return None
        try:
            if np.isfinite(float(cell)):
                return (cell,)
        except ValueError:
            pass
        raise ValueError(f"expected a number for a {cls.kind} task, received {cell}")

    @classmethod
    def strata(cls, column: Sequence[Names]) -> list[Names]:
        """Compute strata to spread rows over the splits by: the fifth of the values each is in."""
        known = np.array([np.nan if names is None else float(names[0]) for names in column])
        if np.isnan(known).all():
            return [None] * len(column)
        ends = np.nanquantile(known, [0.2, 0.4, 0.6, 0.8])
        fifth = np.searchsorted(ends, known)
        return [
            None if names is None else (f"fifth {each}",)
            for names, each in zip(column, fifth, strict=True)
        ]

    @classmethod
    def learn(cls, name: str, column: Sequence[Names], background: str | None = None) -> "Task":
        """The task of a column's training rows.

        Parameters
        ----------
        name : str
        column : sequence of tuple of str, or None
            As `read_cell`, of the training split alone.
        background : str, optional
            The class that means "nothing here".
        """
        return cls(name)

    @classmethod
    def folder_problem(cls, names: Sequence[str]) -> str | None:
        """Reason why class folders of these names cannot be of this kind; None where they can."""
        if cls.from_folders:
            return None
        return (
            f"a class folder says which class an image has, and the recipe says task: {cls.kind}."
            " List the images in a CSV manifest whose label column has the values"
        )

    @classmethod
    def unknown(cls, names: Sequence[str], known: Collection[str]) -> list[str]:
        """Find the labels of a cell that are none of the known classes; numbers may be any."""
        return []

    def label(self, names: tuple[str, ...]) -> tuple[Any, ...]:
        """Label of a sample from what its cell says."""
        return tuple(float(name) for name in names)

    def label_text(self, label: tuple[Any, ...]) -> str:
        """A label as a manifest has it."""
        return "|".join(f"{number:g}" for number in label)

    def class_of(self, label: Label) -> str | None:
        """The one class that a sample has; None where there is not just one."""
        return None

    def members(self, label: tuple[Any, ...]) -> tuple[int, ...]:
        """Indices of the classes that a sample counts in; of numbers, all."""
        return tuple(range(len(self.classes)))

    def counts(self, labels: Sequence[Label]) -> dict[str, int]:
        """Samples of each class; one of several classes counts in each."""
        indices = [index for label in labels if label for index in self.members(label)]
        numbers = np.bincount(np.array(indices, int), minlength=len(self.classes))
        return {name: int(n) for name, n in zip(self.classes, numbers, strict=True)}

    def encode(self, labels: Sequence[Label]) -> np.ndarray:
        """Targets of the network.

        Parameters
        ----------
        labels : (n,) sequence of tuple, or None
            None: not labelled.

        Returns
        -------
        (n, outputs) float32 array; a row of `unlabelled` where not labelled.
        """
        targets = np.full((len(labels), self.outputs), self.unlabelled, np.float32)
        for row, label in enumerate(labels):
            if label is not None:
                targets[row] = label
        return targets

    def labelled(self, targets: np.ndarray) -> np.ndarray:
        """Test which rows of (n, outputs) targets are labelled: (n,) bool array."""
        return ~np.isnan(targets).any(axis=1)

    def lacking(self, targets: np.ndarray) -> list[str]:
        """Classes that no row of (n, outputs) targets has."""
        return [] if self.labelled(targets).any() else list(self.classes)

    # The network's end.

    @property
    def outputs(self) -> int:
        """Number of output channels of the network."""
        return len(self.output_names)

    @property
    def output_names(self) -> list[str]:
        """Names of the output channels, and of a map's bands."""
        return list(self.classes)

    def finish(self, tensor: Any, name: str) -> Any:
        """(b, outputs) KerasTensor behind the last layer with weights to the network's output.

        `name` : of a layer, if one is needed.
        """
        return tensor

    def from_scores(self, scores: np.ndarray) -> np.ndarray:
        """(n, outputs) outputs of a network without its activation to those with it."""
        return scores

    # Training.

    def loss(self, recipe: LossRecipe, targets: np.ndarray | None = None) -> Any:
        """Loss as a recipe has it: a `keras.losses.Loss`, the mean over the labelled rows.

        Parameters
        ----------
        recipe : LossRecipe
        targets : (n, outputs) array, optional
            Of all training samples, to count class weights from.
        """
        from tltool.tasks.losses import number_loss

        return number_loss(self, recipe)

    def metric(self) -> Any:
        """A `keras.metrics.Metric` over the labelled rows, called `metric_name`."""
        from tltool.tasks.losses import labelled_error

        return labelled_error(self.metric_name)

    @classmethod
    def loss_words(cls, loss: LossRecipe) -> list[str]:
        """Describe a loss in a report, in pieces of a sentence."""
        huber = loss.name == "huber"
        return ["Huber, squared up to one standard deviation" if huber else "Squared error"]

    # What outputs mean, and the numbers that evaluate them.

    def decide(self, values: np.ndarray) -> np.ndarray:
        """(n, outputs) outputs or targets to answers: (n,) where there is one output."""
        values = np.asarray(values, np.float64)
        return values[:, 0] if self.outputs == 1 else values

    def class_scores(self, outputs: np.ndarray) -> np.ndarray:
        """(n, outputs) to (n, classes): how strongly each of `classes` is said."""
        return outputs

    def basic_metrics(self, outputs: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """Numbers of training and its splits, of the labelled rows of (n, outputs) arrays."""
        known = self.labelled(targets)
        return regression_metrics(self.decide(targets[known]), self.decide(outputs[known]))

    def measure(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        groups: Sequence[str] = (),
        choices: Choices | None = None,
        temperature: Temperature | None = None,
    ) -> Measured:
        """Compute all numbers of an evaluation, with their intervals.

        Parameters
        ----------
        outputs, targets : (n, outputs) arrays
        groups : (n,) sequence of str
            Images of one group are drawn together; empty: each by itself.
        choices : Choices, optional
        temperature : Temperature, optional
            To give the numbers at it too, where the kind knows it.
        """
        known = self.labelled(targets)
        draws = task_draws(known, groups, choices or Choices())
        truth, predicted = self.decide(targets[known]), self.decide(outputs[known])
        numbers: dict[str, Any] = {"kind": self.kind, **regression_metrics(truth, predicted)}
        drawn = draw_regression(truth, predicted, draws) if known.any() else {}
        numbers["intervals"] = intervals(drawn, draws, numbers)
        return Measured(numbers, drawn, draws)

    def fit_temperature(self, outputs: np.ndarray, targets: np.ndarray) -> float | None:
        """The temperature of (n, outputs) arrays; None where they do not determine it."""
        return None

    def at_temperature(self, outputs: np.ndarray, temperature: float) -> np.ndarray:
        """(n, outputs) outputs as a temperature makes them."""
        return outputs

    def baselines(
        self,
        targets: np.ndarray,
        images: tuple[np.ndarray, np.ndarray],
        features: tuple[np.ndarray, np.ndarray],
        seed: int = 0,
    ) -> list[Baseline]:
        """Predictions of simple methods.

        The commonest class, or the mean; nearest neighbours; a linear probe.

        Parameters
        ----------
        targets : (n, outputs) array
            Of the training images; rows that are not labelled are left out.
        images : two (n, side, side, bands) uint8 arrays
            Training and evaluated.
        features : two (n, features) arrays
            Of the same images.
        seed : int

        Raises
        ------
        DataError
            No training image is labelled for the task.
        """
        labelled = np.flatnonzero(self.labelled(targets))
        if not len(labelled):
            raise DataError(
                f"task {self.name}: no training image is labelled; baselines learn of them"
            )
        truth, known = self.decide(targets[labelled]), features[0][labelled]
        return [
            majority(truth, len(images[1])),
            pixel_neighbour(images[0], truth, images[1], seed, labelled),
            feature_neighbours(known, truth, features[1]),
            linear_probe(known, truth, features[1], seed),
        ]

    def score_images(self, truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """Score each answer by the first number of `scoring`: (n,) array."""
        return np.abs(truth - answers).reshape(len(truth), -1).mean(axis=1)

    def score_all(self, truth: np.ndarray, answers: np.ndarray) -> float:
        """The second number of `scoring`."""
        found = regression_metrics(truth, answers)["r2"]
        return float("nan") if found is None else float(found)

    # Rows of predictions.

    def columns(self, top_k: int = 1) -> list[str]:
        """Columns of a table of predictions."""
        return self.output_names

    def cells(self, outputs: np.ndarray, top_k: int = 1) -> list[str]:
        """Cells of `columns` for (outputs,) of an image."""
        return [text_of(number) for number in outputs]

    def record(self, outputs: np.ndarray, top_k: int = 1) -> dict[str, Any]:
        """Convert to an object of JSON."""
        return dict(zip(self.output_names, map(float, outputs), strict=True))

    def evaluated_columns(self, averaged: bool) -> list[str]:
        """Columns of a table of labelled images; `averaged`: with test-time augmentation."""
        kinds = ("true_", "", "error_", *["averaged_"] * averaged)
        return [kind + name for kind in kinds for name in self.output_names]

    def evaluated_cells(
        self, target: np.ndarray, outputs: np.ndarray, averaged: np.ndarray | None = None
    ) -> list[str]:
        """Cells of `evaluated_columns` for (outputs,) arrays of an image."""
        labelled = bool(self.labelled(target[None])[0])
        true = [text_of(n) if labelled else "" for n in target]
        errors = [text_of(n) if labelled else "" for n in outputs - target]
        means = map(text_of, averaged if averaged is not None else ())
        return [*true, *map(text_of, outputs), *errors, *means]

    # Maps and explanations.

    def best(self, values: np.ndarray) -> np.ndarray:
        """Index of the class of each cell: (outputs, rows, columns) to (1, rows, columns).

        Of `exclusive` kinds only.
        """
        raise NotImplementedError(f"{self.kind}: no class excludes the others")

    def same(self, one: np.ndarray, other: np.ndarray, scores: bool = False) -> np.ndarray:
        """Whether map and classifier say the same of each window: (n,) bool array.

        Parameters
        ----------
        one, other : (n, outputs) arrays
            Map and classifier.
        scores : bool
            Whether they lack their activation.
        """
        spread = np.maximum(other.std(axis=0), np.finfo(np.float32).tiny)
        return (np.abs(one - other) <= _SAME * spread).all(axis=1)

    agreement_key: ClassVar[str] = "agreement"

    @classmethod
    def agreement_words(cls, half: str) -> str:
        """Describe what is the same where `same` is; `half`: where yes and no meet."""
        return "value within 1 % of the spread"

    def output_of(self, classes: np.ndarray) -> np.ndarray:
        """Output that speaks for each class: (n,) int array; ~output where it speaks against.

        `classes` : (n,) int array of indices.
        """
        return np.asarray(classes)

    # The report.

    headline: ClassVar[Sequence[Shown]] = shown_table("""
        mean_absolute_error | Mean absolute error | value | how far off on average
        rmse | Root mean squared error | value | large errors count more
        r2 | R2 | decimal | share of the variance explained; 1 is best
        bias | Bias | value | mean of predicted minus true
    """)
    more: ClassVar[Sequence[Shown]] = shown_table("""
        median_absolute_error | Median absolute error | value | half are nearer
        p90_absolute_error | 90 % of errors | value | nine in ten are nearer
        mean_true | Mean, true | value | of all images
        mean_predicted | Mean, predicted | value | of all images
    """)
    averaged: ClassVar[Sequence[Shown]] = headline
    sentence: ClassVar[str] = "Of {images}, values are off by {number} on average{interval}."

    def more_numbers(self, numbers: dict[str, Any], beta: float) -> Sequence[Shown]:
        """Numbers for a table that are not among the few of `headline`."""
        return self.more

    def summary(self, numbers: dict[str, Any], images: str) -> str:
        """The first sentence to read; `images` such as "12 images of the test split"."""
        path, (text, between) = self.headline[0].path, FORMS[self.headline[0].form]
        if (number := get(numbers, path)) is None:
            return "No image is labelled."
        ends = numbers["intervals"].get(path)
        sure = "" if ends is None else f" (95 % interval {between(ends)})"
        return self.sentence.format(images=images, number=text(number), interval=sure)

    def charts(self, outputs: np.ndarray, targets: np.ndarray) -> list[Scatter]:
        """Charts of an evaluation that its numbers do not hold, from (n, outputs) arrays."""
        known = self.labelled(targets)
        truth = self.decide(targets[known]).reshape(known.sum(), -1)[:, 0]
        said = self.decide(outputs[known]).reshape(known.sum(), -1)[:, 0]
        return [
            Scatter("Predicted against true", ("true", "predicted"), truth, said, "same"),
            Scatter("Residuals", ("predicted", "predicted minus true"), said, said - truth, "zero"),
        ]

    def examples(self, outputs: np.ndarray, targets: np.ndarray, number: int) -> list[ExampleGroup]:
        """Images worth looking at, from (n, outputs) arrays; at most `number` a group."""
        rows = np.flatnonzero(self.labelled(targets))
        truth, said = self.decide(targets[rows]), self.decide(outputs[rows])
        errors = self.score_images(truth, said)
        order = np.argsort(-errors, kind="stable").tolist()
        best = order[number:][::-1][:number]

        def example(k: int) -> Example:
            answer, true = (" ".join(map(value, np.atleast_1d(each[k]))) for each in (said, truth))
            off = f"off by {value(float(errors[k]))}"
            return Example(int(rows[k]), answer, true, off, False, 0)

        return [
            ExampleGroup("The largest errors", [example(k) for k in order[:number]]),
            ExampleGroup("The smallest errors", [example(k) for k in best]),
        ]

    def frame_values(self, targets: np.ndarray) -> np.ndarray | None:
        """Number in 0..1 that colours each image of (n, outputs) targets; None: its class does."""
        values = self.decide(targets).reshape(len(targets), -1)[:, 0]
        spread = np.ptp(values)
        return (values - values.min()) / spread if spread else np.zeros(len(values))

    def class_indices(self, targets: np.ndarray) -> np.ndarray:
        """First class of each row of (n, outputs) targets: (n,) int array, -1 without any."""
        return np.full(len(targets), -1)
