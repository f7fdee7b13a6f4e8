import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tltool.errors import DataError
from tltool.points.detections import Detections, suppress
from tltool.points.matching import match_points
from tltool.points.scoring import score_points
from tltool.points.tuning import TuningScene, best_cut, tune, validate
from tltool.run.detection_parameters import DetectionParameters, PeakRule

NAMES = ("sea", "pup", "bull")


def detections(xy, score, label):
    xy, score = np.asarray(xy, float).reshape(-1, 2), np.asarray(score, float)
    means = np.zeros((len(xy), 3))
    return Detections(NAMES, *xy.T, score, score, np.asarray(label, int), means)


def colony(seed, animals=60, false=60):
    """An image of animals that peak twice at times, and false peaks that are lower."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 900, (animals, 2))
    label = rng.integers(1, 3, animals)
    twice = rng.random(animals) < 0.4
    xy = [
        truth + rng.normal(0, 2, truth.shape),
        truth[twice] + [9, 0],
        rng.uniform(0, 900, (false, 2)),
    ]
    score = [rng.beta(6, 3, animals), rng.beta(5, 4, twice.sum()), rng.beta(2, 6, false)]
    told = np.concatenate([label, label[twice], rng.integers(1, 3, false)])
    candidates = detections(np.concatenate(xy), np.concatenate(score) + 1e-3, told)
    return TuningScene(candidates, truth, np.array(NAMES)[label])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**20), st.integers(1, 25), st.integers(0, 20), st.sampled_from(["f1", "count"])
)
def test_best_cut_is_the_best_of_all_thresholds(seed, number, more, goal):
    rng = np.random.default_rng(seed)
    score, right = rng.integers(1, 9, number) / 9, rng.random(number) < 0.5
    truth = int(right.sum()) + more
    found = best_cut(score, right, truth, goal)
    merits = []
    for threshold in np.unique(score)[::-1]:
        above = score >= threshold
        f1 = 2 * right[above].sum() / (above.sum() + truth)
        merits.append((f1,) if goal == "f1" else (-abs(above.sum() - truth), f1))
    above = score >= found.threshold
    assert found.merit(goal) == pytest.approx(max(merits))
    assert found.f1 == pytest.approx(2 * right[above].sum() / (above.sum() + truth))
    assert found.error == abs(above.sum() - truth)


def test_threshold_lies_between_what_it_keeps_and_drops():
    score, right = np.array([0.9, 0.6, 0.2]), np.array([True, True, False])
    assert best_cut(score, right, 2, "f1").threshold == pytest.approx(0.4)
    close = np.array([0.9, 0.9, np.nextafter(0.9, 0)])
    assert (close >= best_cut(close, right, 2, "f1").threshold).sum() == 2
    assert best_cut(score[:0], right[:0], 2, "f1") is None


@pytest.mark.parametrize("goal", ["f1", "count"])
def test_one_rule_is_the_best_of_a_grid_tried_one_by_one(goal):
    scenes = [colony(1), colony(2)]
    chosen = tune(scenes, 8.0, goal=goal, distances=(4.0, 12.0), per_class=False)

    def merit(rule):
        tp = told = 0
        for scene in scenes:
            kept = suppress(scene.candidates, DetectionParameters(rule=rule))
            tp, told = tp + len(match_points(kept.xy, scene.truth, 8.0)), told + len(kept)
        f1 = 2 * tp / (told + 120)
        return (f1,) if goal == "f1" else (-abs(told - 120), f1)

    scores = np.concatenate([scene.candidates.score for scene in scenes])
    levels = np.unique(scores)[::3]
    grid = [PeakRule(threshold=t, distance=d) for t in levels for d in (4.0, 12.0)]
    assert merit(chosen.rule) >= max(merit(rule) for rule in grid)
    assert chosen.rule.distance == 12.0
    assert (chosen.goal, chosen.classes, chosen.matching_radius) == (goal, {}, 8.0)


def test_of_distances_that_serve_as_well_the_middle_one_is_taken():
    # A second peak 5 px from the first, a neighbour 21 px away: 6 to 20 px are equally good.
    truth = np.array([[50.0, 50.0], [71.0, 50.0]])
    peaks = detections([*truth, (55.0, 50.0)], [0.9, 0.7, 0.8], [1, 1, 1])
    scene = TuningScene(peaks, truth, np.array(["pup", "pup"]))
    for distances, middle in (((4, 6, 8, 12, 16, 20, 24), 12), ((4, 6, 10, 24), 10)):
        chosen = tune([scene], 4.0, distances=distances, per_class=False)
        assert chosen.rule.distance == middle
        assert chosen.validation_any.f1 == 1


def test_stored_validation_is_what_scoring_finds():
    scenes = [colony(seed) for seed in range(3)]
    chosen = tune(scenes, 8.0, block=300.0)
    found = [scene.scene(suppress(scene.candidates, chosen)) for scene in scenes]
    score = score_points(found, 8.0, NAMES[1:])
    for stored, counted in [
        (chosen.validation_any, score.any),
        *((chosen.validation[name], score.classes[name]) for name in NAMES[1:]),
    ]:
        assert (stored.tp, stored.fp, stored.fn) == (counted.tp, counted.fp, counted.fn)
        assert (stored.precision, stored.f1) == (counted.precision, pytest.approx(counted.f1))
        assert np.sum(stored.blocks, axis=0).tolist() == [stored.tp, stored.fp, stored.fn]
        assert len(stored.blocks) > 15
    again = DetectionParameters.model_validate_json(chosen.model_dump_json())
    assert again == chosen


def test_classes_have_rules_of_their_own_where_they_have_enough_points():
    def scene(seed):
        rng = np.random.default_rng(seed)
        truth = np.stack([np.arange(40) * 100.0, np.zeros(40)], axis=1)
        # Bulls score low and peak twice 30 px apart; false pups score higher than true bulls.
        bull, pup = truth[:20], truth[20:]
        xy = [bull, bull + np.array([30, 0]), pup, pup + np.array([50, 40])]
        score = np.repeat([0.4, 0.35, 0.9, 0.6], 20) + rng.uniform(0, 0.04, 80)
        told = np.repeat([2, 2, 1, 1], 20)
        labels = np.repeat(["bull", "pup"], 20)
        return TuningScene(detections(np.concatenate(xy), score, told), truth, labels)

    chosen = tune([scene(0), scene(1)], 10.0, distances=(5, 20, 35))
    assert chosen.classes["bull"].distance == 35 or chosen.classes["bull"].threshold > 0.38
    assert chosen.classes["bull"].threshold < 0.4 + 0.01
    assert 0.6 < chosen.classes["pup"].threshold < 0.9
    assert [chosen.validation[name].f1 for name in ("bull", "pup")] == [1, 1]
    few = TuningScene(scene(0).candidates, scene(0).truth[12:], scene(0).truth_labels[12:])
    assert list(tune([few], 10.0).classes) == ["pup"]


def test_validation_on_other_images_replaces_that_of_the_tuning():
    chosen, other = tune([colony(1)], 8.0), [colony(7), colony(8)]
    judged = validate(other, chosen, 8.0)
    assert judged.validation_any.tp + judged.validation_any.fn == 120
    assert len(judged.validation_any.blocks) == 2
    assert (judged.rule, judged.classes) == (chosen.rule, chosen.classes)


def test_folds_validate_each_image_with_what_the_others_chose():
    scenes = [colony(seed, animals=12, false=30) for seed in range(4)]
    options = {"per_class": False, "distances": (4.0, 12.0)}
    chosen, folded = (tune(scenes, 8.0, folds=folds, **options) for folds in (1, 4))
    assert folded.rule == chosen.rule
    expected = []
    for k, scene in enumerate(scenes):
        others = tune([other for other in scenes if other is not scene], 8.0, **options)
        expected += validate([scenes[k]], others, 8.0).validation_any.blocks
    assert folded.validation_any.blocks == expected
    assert folded.validation_any.f1 < chosen.validation_any.f1
    with pytest.raises(DataError, match=r"`folds`: expected 1 to 4, .* received 5"):
        tune(scenes, 8.0, folds=5)


def test_nothing_to_tune_on_is_refused():
    empty = detections([], [], [])
    truth, labels = np.zeros((1, 2)), np.array(["pup"])
    with pytest.raises(DataError, match="expected peaks in the validation maps, received none"):
        tune([TuningScene(empty, truth, labels)], 5.0)
    with pytest.raises(DataError, match="expected true points in the validation images"):
        tune([TuningScene(colony(1).candidates, truth[:0], labels[:0])], 5.0)
    with pytest.raises(DataError, match="`goal`: expected one of f1, count; received best"):
        tune([colony(1)], 5.0, goal="best")
    with pytest.raises(DataError, match="`distances`: expected some px from 0 on, received none"):
        tune([colony(1)], 5.0, distances=[])
