"""What decides which peaks of a map are detections; kept in a run's sidecar once tuned."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Surface = Literal["any", "class"]
Goal = Literal["f1", "count"]


class PeakRule(BaseModel):
    """Rule that says which peaks count.

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
    """Comparison of detections on validation images with the truth.

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
    """Parameters of how points are found in a run's maps, and how well that went in validation.

    Attributes
    ----------
    surface : 'any' or 'class'
        Where peaks are sought: in 1 - P(background), or in each class's
        probability.
    rule : PeakRule
        Of every class that has none of its own.
    classes : dict of str to PeakRule
    radius : float or None
        px of the image around a peak over whose cells score and label are
        averaged; 0: its own cell, None: 1.5 cells, which is 3 x 3 of them.
    goal : 'f1', 'count' or None
        What the rules were chosen for; None: not tuned.
    matching_radius : float or None
        px within which a validation detection could stand for a true point.
    seeing : dict or None
        How the images were seen that the rules were chosen on (stride, tta,
        scales, combine, resample): maps made otherwise have other peaks.
    validation_any : Validation or None
        Any label matched with any.
    validation : dict of str to Validation
        The same label matched, a class.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    surface: Surface = "any"
    rule: PeakRule = PeakRule()
    classes: dict[str, PeakRule] = Field(default_factory=dict)
    radius: float | None = Field(None, ge=0, allow_inf_nan=False)
    goal: Goal | None = None
    matching_radius: float | None = Field(None, gt=0, allow_inf_nan=False)
    seeing: dict[str, Any] | None = None
    validation_any: Validation | None = None
    validation: dict[str, Validation] = Field(default_factory=dict)

    def rule_of(self, label: str) -> PeakRule:
        """The rule of a class."""
        return self.classes.get(label, self.rule)

    @property
    def floor(self) -> float:
        """The lowest threshold of all."""
        return min(rule.threshold for rule in (self.rule, *self.classes.values()))
