import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tltool.errors import DataError
from tltool.tasks.kinds import make_task

CLASSES = ("bird", "cat", "dog")


def test_one_class_of_several_is_one_hot():
    task = make_task("label", CLASSES)
    assert (task.kind, task.outputs, task.output_names) == ("multi-class", 3, list(CLASSES))
    targets = task.encode([(2,), None, (0,)])
    assert targets.dtype == np.float32
    np.testing.assert_array_equal(targets, [[0, 0, 1], [-1, -1, -1], [1, 0, 0]])


def test_one_class_of_two_has_one_output_that_says_the_positive():
    task = make_task("ripe", ("no", "yes"), "binary")
    assert (task.outputs, task.output_names) == (1, ["yes"])
    np.testing.assert_array_equal(task.encode([(0,), (1,), None]), [[0], [1], [-1]])


def test_any_number_of_classes_is_multi_hot():
    task = make_task("seen", CLASSES, "multi-label")
    assert (task.outputs, task.output_names) == (3, list(CLASSES))
    targets = task.encode([(), (0, 2), None])
    np.testing.assert_array_equal(targets, [[0, 0, 0], [1, 0, 1], [-1, -1, -1]])


def test_no_sample_gives_no_row():
    assert make_task("label", CLASSES).encode([]).shape == (0, 3)
    assert make_task("ripe", ("no", "yes"), "binary").encode([]).shape == (0, 1)


@given(st.lists(st.none() | st.sets(st.integers(0, 2)).map(lambda s: tuple(sorted(s))), max_size=9))
def test_labels_can_be_read_back(labels):
    targets = make_task("seen", CLASSES, "multi-label").encode(labels)
    read = [None if row[0] < 0 else tuple(np.flatnonzero(row).tolist()) for row in targets]
    assert read == labels


@pytest.mark.parametrize(
    ("classes", "kind", "message"),
    [
        (("a",), "multi-class", r"task t: expected two classes or more for a multi-class.* 1: a\."),
        (("a",), "binary", r"task t: expected exactly two classes.*received 1: a"),
        (("a", "b", "c"), "binary", r"task t: expected exactly two .*received 3: a, b, c.*kind"),
        ((), "multi-label", r"task t: expected one class or more.*received 0: none"),
        (("a", "b", "a"), "multi-class", r"task t: expected every class once; received a more"),
        (("a", "b"), "ordinal", r"task t: expected a kind among multi-class.*received 'ordinal'"),
    ],
)
def test_illegal_tasks_are_refused_by_name(classes, kind, message):
    with pytest.raises(DataError, match=message):
        make_task("t", classes, kind)


@pytest.mark.parametrize(
    ("kind", "label", "message"),
    [
        ("multi-class", (3,), r"task t: expected indices from 0 to 2; sample 1 has \(3,\)"),
        ("multi-label", (0, -1), r"task t: expected indices from 0 to 2"),
        ("multi-class", (0, 1), r"expected one class for each sample.*sample 1 has 2"),
        ("multi-class", (), r"expected one class for each sample.*sample 1 has 0"),
    ],
)
def test_illegal_labels_are_refused(kind, label, message):
    with pytest.raises(DataError, match=message):
        make_task("t", CLASSES, kind).encode([(0,), label])


def test_tasks_do_not_import_keras():
    code = "import sys, tltool.tasks.task; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
