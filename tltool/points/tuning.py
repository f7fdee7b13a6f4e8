"""Choice of threshold and distance of detections on validation images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tltool.errors import DataError
from tltool.points.block_bootstrap import count_blocks
from tltool.points.detections import Detections, suppress, suppress_near
from tltool.points.matching import enlarging_matches
from tltool.points.scoring import Scene
from tltool.run.detection_parameters import DetectionParameters, Goal, PeakRule, Surface, Validation

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
        What `find_candidates` gives for a low floor.
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
        found = detections.xy, detections.labels, detections.score
        return Scene(*found, truth, np.asarray(self.truth_labels))


class Cut(NamedTuple):
    """A threshold of a ranking, and what it gives.

    Attributes
    ----------
    threshold, f1 : float
    error : int
        Detections more or less than true points.
    """

    threshold: float
    f1: float
    error: int

    def merit(self, goal: Goal) -> tuple[float, ...]:
        """Merit for a goal: the larger the better."""
        return (self.f1,) if goal == "f1" else (-self.error, self.f1)


def best_cut(score: np.ndarray, right: np.ndarray, truth: int, goal: Goal) -> Cut | None:
    """Choose the threshold that serves a goal best.

    Parameters
    ----------
    score : (n,) array
    right : (n,) bool array
        See `enlarging_matches`.
    truth : int
        Number of true points.
    goal : 'f1' or 'count'
        Highest F1; or detections as many as true points, of equal ones the
        highest F1. Of thresholds as good the highest.

    Returns
    -------
    Cut or None
        Half way to the next lower score; None without detections.
    """
    if not len(score):
        return None
    order = np.argsort(-score, kind="stable")
    ranked, found = score[order], np.cumsum(right[order])
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    number = last + 1
    f1, error = 2 * found[last] / (number + truth), np.abs(number - truth)
    best = np.lexsort((np.arange(len(last)), -f1, *((error,) if goal == "count" else ())))[0]
    after = ranked[min(last[best] + 1, len(ranked) - 1)]
    # Half way between neighbouring numbers rounds to one of them: never to the lower one here.
    middle = (ranked[last[best]] + after) / 2
    threshold = middle if middle > after else ranked[last[best]]
    return Cut(float(threshold), float(f1[best]), int(error[best]))


@dataclass(frozen=True)
class _Tuner:
    """What stays the same while rules are sought."""

    scenes: Sequence[TuningScene]
    radius: float
    goal: Goal
    distances: Sequence[float]
    floor: float

    def best(self, rules: Sequence[PeakRule], label: int | None) -> PeakRule | None:
        """The best rule of a class beside those of the others, or (None) of all classes alike.

        Of distances that serve as well the middle one is taken, far from where it fails.
        """
        made: list[tuple[float, Cut]] = []
        for distance in self.distances:
            new = PeakRule(threshold=self.floor, distance=distance)
            tried = [new if label in (None, k) else rule for k, rule in enumerate(rules)]
            threshold, distances = np.array([(rule.threshold, rule.distance) for rule in tried]).T
            scores, rights, truth = [np.zeros(0)], [np.zeros(0, bool)], 0
            for scene in self.scenes:
                points = scene.candidates
                high = points.take(points.score >= threshold[points.label])
                kept = suppress_near(high.x, high.y, high.score, distances[high.label])
                one = scene.scene(high.take(kept))
                if label is not None:
                    one = one.of_class(scene.candidates.names[label])
                scores.append(one.score)
                rights.append(enlarging_matches(one.xy, one.truth, self.radius, one.score))
                truth += len(one.truth)
            cut = best_cut(np.concatenate(scores), np.concatenate(rights), truth, self.goal)
            made += [] if cut is None else [(distance, cut)]
        if not made:
            return None
        highest = max(cut.merit(self.goal) for _, cut in made)
        equal = [option for option in made if option[1].merit(self.goal) == highest]
        distance, cut = equal[len(equal) // 2]
        return PeakRule(threshold=cut.threshold, distance=distance)


def tune(
    scenes: Sequence[TuningScene],
    radius: float,
    *,
    goal: Goal = "f1",
    distances: Sequence[float] | None = None,
    per_class: bool = True,
    surface: Surface = "any",
    block: float | None = None,
    folds: int = 1,
) -> DetectionParameters:
    """Choose threshold and distance on validation images, per class.

    All cuts of the ranking by score are compared for each distance: greedy
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
        Distances to try, px; default: a quarter to one and a half of `radius`.
    per_class : bool
        A rule of its own for each class that has 10 true points or more,
        chosen by matches of the same label. Else one for all, by matches of
        any label.
    surface : 'any' or 'class'
    block : float, optional
        See `count_blocks`.
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
            f"`folds`: expected 1 to {max(1, len(scenes))}, the number of validation images;"
            f" received {folds}"
        )

    if goal not in GOALS:
        raise DataError(f"`goal`: expected one of {', '.join(GOALS)}; received {goal}")
    tried = sorted(distances if distances is not None else (radius * d for d in _DISTANCES))
    if not tried or tried[0] < 0:
        received = ", ".join(f"{distance:g}" for distance in tried) or "none"
        raise DataError(f"`distances`: expected some px from 0 on, received {received}")

    def choose(scenes: Sequence[TuningScene]) -> DetectionParameters:
        if not sum(len(scene.truth) for scene in scenes):
            raise DataError(
                "tuning: expected true points in the validation images, received none. Give images"
                " with annotated points"
            )
        if not sum(len(scene.candidates) for scene in scenes):
            raise DataError(
                "tuning: expected peaks in the validation maps, received none. Give maps of the"
                " run that was trained for these classes, or a lower floor"
            )
        names = scenes[0].candidates.names
        floor = min(s.candidates.score.min() for s in scenes if len(s.candidates))
        tuner = _Tuner(scenes, radius, goal, tried, float(floor))
        rule = tuner.best([PeakRule()] * len(names), None) or PeakRule()
        rules, own = [rule] * len(names), list[int]()
        if per_class:
            # Those with enough true points, the most frequent first.
            every = np.concatenate([np.asarray(scene.truth_labels, str) for scene in scenes])
            number = np.array([(every == name).sum() for name in names])
            order = np.argsort(-number, kind="stable").tolist()
            own = [k for k in order if number[k] >= _ENOUGH]
        for label in own * _ROUNDS:
            rules[label] = tuner.best(rules, label) or rules[label]
        return DetectionParameters(
            surface=surface,
            rule=rule,
            classes={names[label]: rules[label] for label in own},
            goal=goal,
            matching_radius=radius,
        )

    chosen = choose(scenes)
    if folds == 1:
        return validate(scenes, chosen, radius, block)
    found = []
    for fold in range(folds):
        others = choose([scene for k, scene in enumerate(scenes) if k % folds != fold])
        found += [s.scene(suppress(s.candidates, others)) for s in scenes[fold::folds]]
    return _with_validation(chosen, found, radius, block)


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
        See `count_blocks`.

    Returns
    -------
    DetectionParameters
        Classes without a true point and without a detection have no entry.
    """
    found = [scene.scene(suppress(scene.candidates, parameters)) for scene in scenes]
    return _with_validation(parameters, found, radius, block)


def _with_validation(
    parameters: DetectionParameters, scenes: Sequence[Scene], radius: float, block: float | None
) -> DetectionParameters:
    every = [labels for scene in scenes for labels in (scene.labels, scene.truth_labels)]
    names = sorted({str(label) for labels in every for label in labels})
    facts = {
        "matching_radius": radius,
        "validation_any": _validation(scenes, radius, block),
        "validation": {
            name: _validation([scene.of_class(name) for scene in scenes], radius, block)
            for name in names
        },
    }
    return parameters.model_copy(update=facts)


def _validation(scenes: Sequence[Scene], radius: float, block: float | None) -> Validation:
    blocks = count_blocks(scenes, radius, block)
    tp, fp, fn = np.array(blocks, int).reshape(-1, 3).sum(axis=0).tolist()
    return Validation(tp=tp, fp=fp, fn=fn, blocks=blocks)
