import re

import numpy as np
import pytest

from tltool.report.charts import (
    HEIGHT,
    WIDTH,
    Line,
    line_chart,
    room_for,
)
from tltool.report.matrix import matrix_chart
from tltool.report.whiskers import whiskers


def chart(points, **more):
    line = Line("a", "red", np.array(points, float), **more)
    return line_chart("title", "text", ("x", "y"), [line])


def numbers(path):
    return [float(text) for text in re.findall(r"-?[\d.]+", path)]


def test_corners_of_the_axes_are_corners_of_the_frame():
    found = chart([(0, 0), (1, 1)])
    assert found.lines[0].path == f"M{found.left}.0 {found.bottom}.0L{found.right}.0 {found.top}.0"
    assert 0 < found.left < found.right < WIDTH
    assert 0 < found.top < found.bottom < HEIGHT


def test_steps_go_level_then_upright():
    path = chart([(0, 1), (0.5, 0.5)], stepped=True).lines[0].path
    assert re.fullmatch(r"M\S+ \S+H\S+V\S+", path)


def test_points_that_nobody_tells_apart_are_left_out():
    x = np.linspace(0, 1, 20_000)
    found = chart(np.stack([x, x**2], axis=1)).lines[0]
    assert len(numbers(found.path)) < 4 * WIDTH
    assert numbers(found.path)[-2:] == [chart([(0, 0)]).right, chart([(0, 0)]).top]


def test_a_line_without_numbers_is_left_out_and_gaps_are_bridged():
    assert chart([(np.nan, 1)]).lines == []
    assert len(numbers(chart([(0, 0), (0.5, np.nan), (1, 1)]).lines[0].path)) == 4


def test_dots_have_their_sizes():
    found = chart([(0, 0), (1, 1)], sizes=np.array([3.0, 5.0])).lines[0]
    assert [dot[2] for dot in found.dots] == [3.0, 5.0]


def test_ticks_are_round_and_inside():
    found = line_chart("", "", ("", ""), [], (1, 43), (0, 2.7), whole=True)
    assert all(float(text) == int(float(text)) for _, text in found.x_ticks)
    assert [text for _, text in found.y_ticks] == ["0", "0.5", "1", "1.5", "2", "2.5"]
    assert all(found.left <= x <= found.right for x, _ in found.x_ticks)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], (0.0, 1.0)),
        ([np.nan], (0.0, 1.0)),
        ([2.0, 2.0], (1.5, 2.5)),
        ([0.5, 2.0], (0.0, 2.08)),
        ([-1.0, 1.0], (-1.0, 1.08)),
    ],
)
def test_axes_have_room_for_all_numbers(values, expected):
    assert room_for(values) == pytest.approx(expected)


def test_a_matrix_has_share_and_count_where_there_is_room():
    counts = np.array([[3, 1], [0, 0]])
    shares = np.array([[0.75, 0.25], [np.nan, np.nan]])
    cells = matrix_chart("", ["a", "b"], counts, shares).cells
    assert [(cell.strong, cell.small) for cell in cells] == [
        ("75 %", "3"),
        ("25 %", "1"),
        ("", "0"),
        ("", "0"),
    ]
    assert [cell.right for cell in cells] == [True, False, False, True]


@pytest.mark.parametrize(("classes", "texts"), [(15, 15), (40, 0)])
def test_a_matrix_of_many_classes_has_counts_or_no_text(classes, texts):
    names = [f"class {k}" for k in range(classes)]
    eye = np.eye(classes, dtype=int)
    found = matrix_chart("", names, 7 * eye, eye.astype(float))
    assert sum(cell.strong == "7" for cell in found.cells) == texts
    assert found.width < 900


def test_long_names_are_shortened_beside_a_matrix():
    found = matrix_chart("", ["x" * 50, "y"], np.eye(2, dtype=int), np.eye(2))
    assert found.names[0] == "x" * 17 + "\N{HORIZONTAL ELLIPSIS}"


def test_whiskers_lie_on_one_scale():
    found = whiskers("", [("a", 0.5, (0.25, 1.0), False), ("b", 0.0, None, True)])
    first, second = found.rows
    middle = (found.left + found.right) / 2
    assert (first.point, second.point) == (middle, found.left)
    assert first.ends == ((found.left + middle) / 2, found.right)
    assert (second.ends, second.text, second.strong) == (None, "0.0 %", True)
    assert second.y > first.y
