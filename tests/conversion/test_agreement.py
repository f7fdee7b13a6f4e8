import numpy as np
import pytest

from tltool.conversion import agreement as fidelity
from tltool.conversion.agreement import Comparison, describe_fidelity, measure_fidelity
from tltool.run.sidecar import Sidecar, TaskFacts

ZOO = TaskFacts(name="zoo", classes=["bird", "none", "seal"])
ALIVE = TaskFacts(name="alive", kind="binary", classes=["no", "yes"])
SEEN = TaskFacts(name="seen", kind="multi-label", classes=["boat", "person"])


def sidecar_of(classes, tasks):
    return Sidecar(classes=classes, tasks=tasks, patch=32, input_side=32)


def measured(monkeypatch, pairs, classes, *tasks):
    """The fidelity of (map, classifier) rows."""
    arrays = tuple(np.array(rows, np.float32) for rows in zip(*pairs, strict=True))
    sidecar = sidecar_of(classes, list(tasks))
    places = np.zeros((len(pairs), 2), int)
    found = Comparison(*arrays, places, sidecar)
    monkeypatch.setattr(fidelity, "compare", lambda *arguments: found)
    found = measure_fidelity(None, None, sidecar, None)
    told = sidecar.model_copy(update={"fidelity": {"image": "a.tif", **found}})
    return found, describe_fidelity(told)


@pytest.mark.parametrize("tasks", [(), (ZOO,)])
def test_one_class_of_several_agrees_by_the_most_probable(monkeypatch, tasks):
    pairs = [([0.4, 0.3, 0.3], [0.6, 0.2, 0.2]), ([0.1, 0.5, 0.4], [0.1, 0.4, 0.5])]
    found, line = measured(monkeypatch, pairs, list(ZOO.classes), *tasks)
    assert found["argmax_agreement"] == 0.5
    assert "agreement" not in found
    assert line.startswith("50.00 % of 2 windows of a.tif get the classifier's own class; ")


@pytest.mark.parametrize("tasks", [(), (ALIVE,)])
def test_a_single_output_agrees_on_its_side_of_a_half(monkeypatch, tasks):
    pairs = [([0.4], [0.6]), ([0.9], [0.6]), ([0.5], [0.51]), ([0.1], [0.49])]
    found, line = measured(monkeypatch, pairs, ["yes"], *tasks)
    assert found["agreement"] == 0.75
    assert "argmax_agreement" not in found
    assert "75.00 % of 4 windows of a.tif get the classifier's own side of 0.5" in line


def test_labels_agree_where_every_one_does(monkeypatch):
    pairs = [([0.9, 0.4], [0.8, 0.6]), ([0.2, 0.1], [0.1, 0.3]), ([0.6, 0.7], [0.7, 0.6])]
    found, _ = measured(monkeypatch, pairs, list(SEEN.classes), SEEN)
    assert found["agreement"] == pytest.approx(2 / 3)


def test_several_tasks_are_told_together_and_each(monkeypatch):
    pairs = [
        ([0.4, 0.3, 0.3, 0.9], [0.6, 0.2, 0.2, 0.4]),
        ([0.4, 0.3, 0.3, 0.9], [0.2, 0.6, 0.2, 0.7]),
        ([0.4, 0.3, 0.3, 0.9], [0.5, 0.3, 0.2, 0.7]),
        ([0.4, 0.3, 0.3, 0.2], [0.5, 0.3, 0.2, 0.1]),
    ]
    classes = ["zoo.bird", "zoo.none", "zoo.seal", "alive.yes"]
    found, line = measured(monkeypatch, pairs, classes, ZOO, ALIVE)
    assert found["agreement"] == 0.5
    assert found["tasks"] == {"zoo": 0.75, "alive": 0.75}
    assert "own answer in every task (zoo 75.00 %, alive 75.00 %); " in line
