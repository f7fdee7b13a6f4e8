"""Choice of threshold and distance of detections on validation images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tltool.errors import DataError
from tltool.points.block_bootstrap import count_blocks
from tltool.points.detections import Detections, suppress, suppress_near
from tltool.points.matching import enlarging_matches
from tltool.points.scoring import Scene
from tltool.run.detection_parameters import (
    DetectionParameters,
    Goal,
    PeakRule,
    Surface,
    Validation,
)

# Tried distances, of the matching radius.
_DISTANCES = (0.25, 0.375, 0.5, 0.625, 0.75, 1.0, 1.25, 1.5)

# True points from which on a class has a rule of its own, and rounds over the classes: the rule
# of one changes what the others' rules leave.
_ENOUGH, _ROUNDS = 10, 2

GOALS = ("f1", "count")


@dataclass(frozen=True)
class TuningScene:
    """Candidates and true points of a validation image.

    Attributes
    ----------
    candidates : Detections
        As `find_candidates` gives them for a low floor.
    truth : (n, 2) array
        x and y, px.
    truth_labels : (n,) array of str
    """

    candidates: Detections
    truth: np.ndarray
    truth_labels: np.ndarray

    def scene(self, detections: Detections) -> Scene:
        """Scene to score: the truth and these detections."""
        truth = np.asarray(self.truth, float).reshape(-1, 2)
        told = detections.xy, detections.labels, detections.score
        return Scene(*told, truth, np.asarray(self.truth_labels))


@dataclass(frozen=True)
class _Cut:
    """Where to cut a ranking, and what that gives."""

    threshold: float
    f1: float
    error: int

    def merit(self, goal: Goal) -> tuple[float, ...]:
        """The larger the better."""
        return (self.f1,) if goal == "f1" else (-self.error, self.f1)


def best_cut(score: np.ndarray, right: np.ndarray, truth: int, goal: Goal) -> _Cut | None:
    """The threshold that serves a goal best.

    Parameters
    ----------
    score : (n,) array
    right : (n,) bool array
        As of `enlarging_matches`.
    truth : int
        Number of true points.
    goal : 'f1' or 'count'
        Highest F1; or detections as many as true points, of equal ones the
        highest F1. Of thresholds as good the highest.

    Returns
    -------
    _Cut, half way to the next lower score; None without detections.
    """
    if not len(score):
        return None
    order = np.argsort(-score, kind="stable")
    ranked, found = score[order], np.cumsum(right[order])
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    told = last + 1
    f1, error = 2 * found[last] / (told + truth), np.abs(told - truth)
    best = np.lexsort((np.arange(len(last)), -f1, *((error,) if goal == "count" else ())))[0]
    after = ranked[min(last[best] + 1, len(ranked) - 1)]
    # Half way between neighbouring numbers rounds to one of them: never to the lower one here.
    middle = (ranked[last[best]] + after) / 2
    threshold = middle if middle > after else ranked[last[best]]
    return _Cut(float(threshold), float(f1[best]), int(error[best]))


def _ranking(
    scenes: Sequence[TuningScene],
    rules: Sequence[PeakRule],
    radius: float,
    label: int | None,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Scores, whether right, and true points of a class, or of any, under these rules."""
    scores, rights, truth = [np.zeros(0)], [np.zeros(0, bool)], 0
    threshold = np.array([rule.threshold for rule in rules])
    distance = np.array([rule.distance for rule in rules])
    for scene in scenes:
        points = scene.candidates
        high = points.take(points.score >= threshold[points.label])
        kept = high.take(suppress_near(high.x, high.y, high.score, distance[high.label]))
        judged = scene.scene(kept)
        if label is not None:
            judged = judged.of_class(points.names[label])
        scores.append(judged.score)
        rights.append(enlarging_matches(judged.xy, judged.truth, radius, judged.score))
        truth += len(judged.truth)
    return np.concatenate(scores), np.concatenate(rights), truth


@dataclass(frozen=True)
class _Tuner:
    scenes: Sequence[TuningScene]
    radius: float
    goal: Goal
    distances: Sequence[float]
    floor: float

    def _best(self, options: Iterable[tuple[float, _Cut | None]]) -> PeakRule | None:
        """The best of tried distances; of equal ones the middle one, far from where it fails."""
        made = [(distance, cut) for distance, cut in options if cut is not None]
        if not made:
            return None
        highest = max(cut.merit(self.goal) for _, cut in made)
        equal = [option for option in made if option[1].merit(self.goal) == highest]
        distance, cut = equal[len(equal) // 2]
        return PeakRule(threshold=cut.threshold, distance=distance)

    def for_any(self, names: int) -> PeakRule | None:
        """One rule for all classes, whatever the label."""
        options = []
        for distance in self.distances:
            rules = [PeakRule(threshold=self.floor, distance=distance)] * names
            ranking = _ranking(self.scenes, rules, self.radius, None)
            options.append((distance, best_cut(*ranking, self.goal)))
        return self._best(options)

    def for_class(self, rules: Sequence[PeakRule], label: int) -> PeakRule:
        """The rule of a class beside those of the others."""
        options = []
        for distance in self.distances:
            tried = list(rules)
            tried[label] = PeakRule(threshold=self.floor, distance=distance)
            ranking = _ranking(self.scenes, tried, self.radius, label)
            options.append((distance, best_cut(*ranking, self.goal)))
        return self._best(options) or rules[label]


def _checked(
    scenes: Sequence[TuningScene], goal: Goal, distances: Sequence[float] | None, radius: float
) -> tuple[float, ...]:
    """The distances to try, where there is something to tune on."""
    if goal not in GOALS:
        raise DataError(f"goal: expected one of {', '.join(GOALS)}; received {goal}")
    if not sum(len(scene.truth) for scene in scenes):
        raise DataError(
            "tuning: expected true points in the validation images, received none. Give images"
            " with annotated points"
        )
    if not sum(len(scene.candidates) for scene in scenes):
        raise DataError(
            "tuning: expected peaks in the validation maps, received none. Give maps of the run"
            " that was trained for these classes, or a lower floor"
        )
    tried = sorted(distances if distances is not None else (radius * d for d in _DISTANCES))
    if not tried or tried[0] < 0:
        received = ", ".join(f"{distance:g}" for distance in tried) or "none"
        raise DataError(f"distances: expected some px from 0 on, received {received}")
    return tuple(tried)


def tune(
    scenes: Sequence[TuningScene],
    radius: float,
    *,
    goal: Goal = "f1",
    distances: Sequence[float] | None = None,
    per_class: bool = True,
    surface: Surface = "any",
    averaging: float | None = None,
    block: float | None = None,
    folds: int = 1,
) -> DetectionParameters:
    """Choose threshold and distance on validation images, per class.

    All cuts of the ranking by score are judged for each distance: greedy
    suppression decides from the top, so a higher threshold only cuts its
    result short, and so does matching, which grows by a detection at a time.
    Of distances that serve as well the middle one is taken.

    Parameters
    ----------
    scenes : sequence of TuningScene
        Images, or parts of some, that the network was not trained on.
    radius : float
        Within which a detection can stand for a true point, px.
    goal : 'f1' or 'count'
        Highest F1, or as many detections as true points.
    distances : sequence of float, optional
        To try, px; default: a quarter to one and a half of `radius`.
    per_class : bool
        A rule of its own for each class that has 10 true points or more,
        judged by matches of the same label. Else one for all, by matches of
        any label.
    surface : 'any' or 'class'
    averaging : float, optional
        How the candidates were found: as of `find_candidates`, where it is
        called radius.
    block : float, optional
        As of `count_blocks`.
    folds : int
        1: the validation that is returned is what the choice gives on these
        images, which is better than on new ones, the more so the fewer points
        there are. More, up to the number of scenes: each scene is validated
        with what is chosen on the scenes of the other folds.

    Returns
    -------
    DetectionParameters
        Chosen on all scenes, with their validation.

    Raises
    ------
    DataError
        Where there is nothing to tune on, in all or in a fold.
    """
    if not 1 <= folds <= max(1, len(scenes)):
        raise DataError(
            f"folds: expected 1 to {max(1, len(scenes))}, the number of validation images;"
            f" received {folds}"
        )
    options = radius, goal, distances, per_class, surface, averaging
    chosen = _choose(scenes, *options)
    if folds == 1:
        return validate(scenes, chosen, radius, block)
    judged = []
    for fold in range(folds):
        others = [scene for k, scene in enumerate(scenes) if k % folds != fold]
        judged += _judged(scenes[fold::folds], _choose(others, *options))
    return _with_validation(chosen, judged, radius, block)


def _choose(
    scenes: Sequence[TuningScene],
    radius: float,
    goal: Goal,
    distances: Sequence[float] | None,
    per_class: bool,
    surface: Surface,
    averaging: float | None,
) -> DetectionParameters:
    tried = _checked(scenes, goal, distances, radius)
    names = scenes[0].candidates.names
    floor = min(s.candidates.score.min() for s in scenes if len(s.candidates))
    tuner = _Tuner(scenes, radius, goal, tried, float(floor))
    rule = tuner.for_any(len(names)) or PeakRule()
    rules = [rule] * len(names)
    own = _own_rules(scenes, names) if per_class else []
    for _ in range(_ROUNDS):
        for label in own:
            rules[label] = tuner.for_class(rules, label)
    return DetectionParameters(
        surface=surface,
        rule=rule,
        classes={names[label]: rules[label] for label in own},
        radius=averaging,
        goal=goal,
        matching_radius=radius,
    )


def _own_rules(scenes: Sequence[TuningScene], names: Sequence[str]) -> list[int]:
    """Classes with enough true points, the most frequent first."""
    every = np.concatenate([np.asarray(scene.truth_labels, str) for scene in scenes])
    number = np.array([(every == name).sum() for name in names])
    return [int(k) for k in np.argsort(-number, kind="stable") if number[k] >= _ENOUGH]


def validate(
    scenes: Sequence[TuningScene],
    parameters: DetectionParameters,
    radius: float,
    block: float | None = None,
) -> DetectionParameters:
    """Add to parameters how their detections agree with the truth.

    Parameters
    ----------
    scenes : sequence of TuningScene
        Best of other images than those tuned on.
    parameters : DetectionParameters
    radius : float
        Within which a detection can stand for a true point, px.
    block : float, optional
        As of `count_blocks`.

    Returns
    -------
    DetectionParameters
        Classes without a true point and without a detection have no entry.
    """
    return _with_validation(parameters, _judged(scenes, parameters), radius, block)


def _judged(scenes: Sequence[TuningScene], parameters: DetectionParameters) -> list[Scene]:
    return [scene.scene(suppress(scene.candidates, parameters)) for scene in scenes]


def _with_validation(
    parameters: DetectionParameters, judged: Sequence[Scene], radius: float, block: float | None
) -> DetectionParameters:
    every = [scene.labels for scene in judged] + [scene.truth_labels for scene in judged]
    names = sorted({str(label) for labels in every for label in labels})
    facts = {
        "matching_radius": radius,
        "validation_any": _validation(judged, radius, block),
        "validation": {
            name: _validation([scene.of_class(name) for scene in judged], radius, block)
            for name in names
        },
    }
    return parameters.model_copy(update=facts)


def _validation(scenes: Sequence[Scene], radius: float, block: float | None) -> Validation:
    blocks = count_blocks(scenes, radius, block)
    tp, fp, fn = np.array(blocks, int).reshape(-1, 3).sum(axis=0).tolist()
    return Validation(tp=tp, fp=fp, fn=fn, blocks=blocks)
