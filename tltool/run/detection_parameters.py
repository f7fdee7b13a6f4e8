"""Rules by which peaks of a map are detections; kept in a run's sidecar once tuned."""

from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

Surface = Literal["any", "class"]
Goal = Literal["f1", "count"]


class PeakRule(BaseModel):
    """A rule by which a peak counts.

    Attributes
    ----------
    threshold : float
        Least score, 0..1; a peak that reaches it counts.
    distance : float
        px of the image: of two peaks nearer than this the lower one goes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: float = Field(0.5, gt=0, le=1)
    distance: float = Field(0.0, ge=0, allow_inf_nan=False)


class Validation(BaseModel):
    """Comparison of the detections of validation images with the truth.

    Attributes
    ----------
    tp, fp, fn : int
        Matched, false and missed points.
    blocks : list of (int, int, int)
        The same for each image or block of one, for the block bootstrap; may
        be empty.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tp: int = Field(ge=0)
    fp: int = Field(ge=0)
    fn: int = Field(ge=0)
    blocks: list[tuple[int, int, int]] = Field(default_factory=list)

    @property
    def precision(self) -> float | None:
        """Share of the detections that are right; None where there are none."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float | None:
        """Share of the truth that is found; None where there is none."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of both; None where there is neither truth nor detection."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


class DetectionParameters(BaseModel):
    """Rules of finding points in the maps of a run, and how well they did on validation images.

    Attributes
    ----------
    surface : 'any' or 'class'
        Surface whose peaks are sought: 1 - P(background), or each class's
        probability.
    rule : PeakRule
        Rule of every class that has none of its own.
    classes : dict of str to PeakRule
    radius : float or None
        px of the image around a peak over whose cells score and label are
        averaged; 0: its own cell, None: 1.5 cells, which is 3 x 3 of them.
    goal : 'f1', 'count' or None
        Goal that the rules were chosen for; None: not tuned.
    matching_radius : float or None
        px within which a validation detection could stand for a true point.
    view : dict or None
        Options of the maps that the rules were chosen on (stride, tta, scales,
        combine, resample): maps made otherwise have other peaks. Older files
        call it ``seeing``.
    validation_any : Validation or None
        Any label matched with any.
    validation : dict of str to Validation
        The same label matched, a class.
    """

    model_config = ConfigDict(extra="forbid", validate_by_name=True)

    format: Literal[1] = 1
    surface: Surface = "any"
    rule: PeakRule = PeakRule()
    classes: dict[str, PeakRule] = Field(default_factory=dict)
    radius: float | None = Field(None, ge=0, allow_inf_nan=False)
    goal: Goal | None = None
    matching_radius: float | None = Field(None, gt=0, allow_inf_nan=False)
    view: dict[str, Any] | None = Field(None, validation_alias=AliasChoices("view", "seeing"))
    validation_any: Validation | None = None
    validation: dict[str, Validation] = Field(default_factory=dict)

    def rule_of(self, label: str) -> PeakRule:
        """The rule of a class."""
        return self.classes.get(label, self.rule)

    def without_validation(self) -> "DetectionParameters":
        """Drop the validation: of other rules or maps it says nothing."""
        return self.model_copy(update={"validation_any": None, "validation": {}})

    @property
    def floor(self) -> float:
        """The lowest threshold of all."""
        return min(rule.threshold for rule in (self.rule, *self.classes.values()))
