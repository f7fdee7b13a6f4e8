import numpy as np

from tltool.tasks.kinds import make_task

ZOO = make_task("zoo", ("bird", "none", "seal"))
ALIVE = make_task("alive", ("no", "yes"), "binary")
SEEN = make_task("seen", ("boat", "person"), "multi-label")


def mistakes(task, probabilities, labels, number):
    return groups(task, probabilities, labels, number)[0].examples


def least_certain(task, probabilities, labels, number):
    return groups(task, probabilities, labels, number)[1].examples


def groups(task, probabilities, labels, number):
    return task.examples(np.float32(probabilities), task.encode(labels), number)


def test_mistakes_come_by_their_probability():
    rows = [[0.6, 0.3, 0.1], [0.9, 0.1, 0], [0.1, 0.1, 0.8], [0.05, 0.9, 0.05]]
    found = mistakes(ZOO, rows, [(1,), (0,), (0,), (2,)], 2)
    assert [(e.index, e.said, e.true, e.target) for e in found] == [
        (3, "none", "seal", 1),
        (2, "seal", "bird", 2),
    ]
    assert [e.note.split()[0] for e in found] == ["90", "80"]


def test_least_certain_ones_may_be_right():
    rows = [[0.4, 0.3, 0.3], [0.9, 0.1, 0], [0.5, 0.25, 0.25]]
    found = least_certain(ZOO, rows, [(0,), (0,), (1,)], 2)
    assert [(e.index, e.right) for e in found] == [(0, True), (2, False)]


def test_places_are_among_all_images():
    rows = [[1, 0, 0], [0, 0, 1], [1, 0, 0]]
    found = mistakes(ZOO, rows, [None, None, (2,)], 5)
    assert [e.index for e in found] == [2]


def test_the_negative_class_is_asked_about_against_the_output():
    found = mistakes(ALIVE, [[0.1], [0.8]], [(1,), (0,)], 2)
    assert [(e.said, e.true, e.target) for e in found] == [("no", "yes", ~0), ("yes", "no", 0)]


def test_of_several_labels_each_is_an_answer():
    case = SEEN, [[0.9, 0.2], [0.4, 0.55]], [(), (0,)], 9
    assert [(e.index, e.said, e.true, e.target) for e in mistakes(*case)] == [
        (0, "boat", "not boat", 0),
        (1, "not boat", "boat", 0),
        (1, "person", "not person", 1),
    ]
    # Each image once, by its least certain label.
    assert [(e.index, e.said) for e in least_certain(*case)] == [(1, "person"), (0, "not person")]


def test_no_image_and_no_mistake_are_no_error():
    assert least_certain(ZOO, np.zeros((0, 3)), [], 3) == []
    assert mistakes(ZOO, [[1, 0, 0]], [(0,)], 3) == []
