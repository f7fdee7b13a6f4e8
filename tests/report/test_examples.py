import numpy as np

from tltool.report.examples import Examples
from tltool.tasks.answers import answers
from tltool.tasks.task import Task

ZOO = Task("zoo", ("bird", "none", "seal"))
ALIVE = Task("alive", ("no", "yes"), "binary")
SEEN = Task("seen", ("boat", "person"), "multi-label")


def examples(task, probabilities, labels):
    return Examples(answers(task, np.float32(probabilities), task.encode(labels)))


def test_mistakes_come_by_their_probability():
    rows = [[0.6, 0.3, 0.1], [0.9, 0.1, 0], [0.1, 0.1, 0.8], [0.05, 0.9, 0.05]]
    found = examples(ZOO, rows, [(1,), (0,), (0,), (2,)]).mistakes(2)
    assert [(e.place, e.said, e.true, e.target) for e in found] == [
        (3, "none", "seal", 1),
        (2, "seal", "bird", 2),
    ]
    assert [round(e.probability, 3) for e in found] == [0.9, 0.8]


def test_least_certain_ones_may_be_right():
    rows = [[0.4, 0.3, 0.3], [0.9, 0.1, 0], [0.5, 0.25, 0.25]]
    found = examples(ZOO, rows, [(0,), (0,), (1,)]).least_certain(2)
    assert [(e.place, e.right) for e in found] == [(0, True), (2, False)]


def test_places_are_among_all_images():
    rows = [[1, 0, 0], [0, 0, 1], [1, 0, 0]]
    found = examples(ZOO, rows, [None, None, (2,)]).mistakes(5)
    assert [e.place for e in found] == [2]


def test_the_negative_class_is_asked_about_against_the_output():
    found = examples(ALIVE, [[0.1], [0.8]], [(1,), (0,)]).mistakes(2)
    assert [(e.said, e.true, e.target) for e in found] == [("no", "yes", ~0), ("yes", "no", 0)]


def test_of_several_labels_each_is_an_answer():
    found = examples(SEEN, [[0.9, 0.2], [0.4, 0.55]], [(), (0,)])
    assert [(e.place, e.said, e.true, e.target) for e in found.mistakes(9)] == [
        (0, "boat", "not boat", 0),
        (1, "not boat", "boat", 0),
        (1, "person", "not person", 1),
    ]
    # Each image once, by its least certain label.
    assert [(e.place, e.said) for e in found.least_certain(9)] == [(1, "person"), (0, "not person")]


def test_no_image_and_no_mistake_are_no_error():
    assert examples(ZOO, np.zeros((0, 3)), []).least_certain(3) == []
    assert examples(ZOO, [[1, 0, 0]], [(0,)]).mistakes(3) == []
