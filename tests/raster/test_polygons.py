import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from tltool.raster import Area
from tltool.raster.areas import Polygon, Ring

SQUARE = np.array([(2, 2), (8, 2), (8, 8), (2, 8), (2, 2)], float)
HOLE = np.array([(4, 4), (4, 6), (6, 6), (6, 4), (4, 4)], float)

places = st.integers(0, 12).map(float)
corners = st.tuples(places, places)
rings = st.lists(corners, min_size=3, max_size=7, unique=True).map(np.array)


def by_hand(ring, x, y):
    """Whether a point lies in a ring: crossings of a ray, edge by edge, in whole numbers."""
    inside = False
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, 0), strict=True):
        if (y0 <= y) != (y1 <= y):
            # x < x0 + (y - y0) (x1 - x0) / (y1 - y0)
            side = (x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)
            inside ^= bool(side < 0) if y1 > y0 else bool(side > 0)
    return inside


def area(*outers, holes=()):
    return Area([Polygon(Ring(outer), [Ring(hole) for hole in holes]) for outer in outers])


@settings(deadline=None)
@given(
    rings, st.lists(st.tuples(st.integers(-2, 28), st.integers(-2, 28)), min_size=1, max_size=40)
)
def test_any_ring_is_that_of_counting_crossings(ring, halves):
    xs, ys = np.array(halves).T / 2
    expected = [by_hand(ring, x, y) for x, y in zip(xs, ys, strict=True)]
    assert area(ring).covers(xs, ys).tolist() == expected


@settings(deadline=None)
@given(st.integers(3, 40), st.integers(0, 999))
def test_agrees_with_matplotlib_off_the_edges(number, seed):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, number))
    reach = rng.uniform(5, 50, number)
    star = 50 + np.stack([np.cos(angles) * reach, np.sin(angles) * reach], 1)
    points = rng.uniform(-5, 105, (500, 2))
    expected = Outline(np.vstack([star, star[:1]]), closed=True).contains_points(points)
    # It counts by windings; these agree with crossings where no edge crosses another.
    np.testing.assert_array_equal(area(star).covers(*points.T), expected)


def test_holes_are_out_and_upper_left_edges_in():
    hollow = area(SQUARE, holes=[HOLE])
    points = {
        (5, 3): True,
        (5, 5): False,
        (2, 2): True,
        (2, 5): True,
        (5, 2): True,
        (8, 5): False,
        (5, 8): False,
        (4, 4): False,
        (4, 5): False,
        (6, 5): True,
        (5, 6): True,
        (6, 6): True,
        (1, 5): False,
        (9, 5): False,
    }
    xs, ys = np.array(list(points)).T
    assert dict(zip(points, hollow.covers(xs, ys).tolist(), strict=True)) == points


def test_hole_that_reaches_out_adds_nothing():
    outside = HOLE + np.array([3, 0])
    found = area(SQUARE, holes=[outside])
    assert found.covers([7.5, 8.5, 5], [5, 5, 5]).tolist() == [False, False, True]


@given(corners, corners, places, places)
def test_neighbours_share_no_point_and_leave_none_out(first, second, left, right):
    if first[1] == second[1]:
        return
    # A line, what is left of it and what is right of it.
    down, up = (first, second) if first[1] < second[1] else (second, first)
    west = np.array([down, up, (-5 - left, up[1]), (-5 - left, down[1])])
    east = np.array([up, down, (20 + right, down[1]), (20 + right, up[1])])
    ys = np.linspace(down[1], up[1], 13)[:-1]
    along = down[0] + (ys - down[1]) / (up[1] - down[1]) * (up[0] - down[0])
    for xs in (along, np.nextafter(along, 99), np.nextafter(along, -99)):
        both = area(west).covers(xs, ys).astype(int) + area(east).covers(xs, ys)
        assert (both == 1).all()


def test_overlapping_polygons_do_not_cancel():
    both = area(SQUARE, SQUARE + 3)
    assert both.covers([6, 3, 10, 12], [6, 3, 10, 6]).tolist() == [True, True, True, False]
    assert both.bounds == (2, 2, 11, 11)


def test_points_keep_their_shape():
    found = area(SQUARE).covers(np.full((2, 3), 5.0), 5)
    assert found.shape == (2, 3)
    assert found.all()
    assert area(SQUARE).covers([], []).shape == (0,)


@settings(deadline=None)
@given(
    rings,
    st.fractions(-5, 5, max_denominator=3),
    st.fractions("1/3", 4, max_denominator=3),
    st.fractions("1/3", 4, max_denominator=3),
    st.integers(1, 12),
    st.integers(1, 12),
)
def test_cells_are_those_whose_centre_is_covered(ring, start, wide, high, rows, columns):
    place = area(ring, ring + 6)
    found = place.on_cells(start, -start, wide, high, rows, columns)
    xs = float(start) + (np.arange(columns) + 0.5) * float(wide)
    ys = float(-start) + (np.arange(rows) + 0.5) * float(high)
    assert found.shape == (rows, columns)
    np.testing.assert_array_equal(found, place.covers(*np.meshgrid(xs, ys)))


def test_cells_of_a_large_map_are_taken_in_parts(monkeypatch):
    place = area(SQUARE * 10, holes=[HOLE * 10])
    whole = place.on_cells(0, 0, 1, 1, 100, 90)
    monkeypatch.setattr("tltool.raster.areas._POINTS", 200)
    np.testing.assert_array_equal(place.on_cells(0, 0, 1, 1, 100, 90), whole)
    assert whole.sum() == 60**2 - 20**2


@settings(deadline=None, max_examples=150)
@given(rings, places, places, st.integers(1, 5), st.integers(1, 5))
def test_window_that_does_not_overlap_has_no_point_of_the_area(ring, x, y, width, height):
    place = area(ring)
    xs, ys = np.meshgrid(np.linspace(x, x + width, 23), np.linspace(y, y + height, 23))
    if place.covers(xs, ys).any():
        assert place.overlaps(x, y, width, height)


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ((0, 0, 20, 20), True),
        ((2.5, 2.5, 1, 1), True),
        ((4.5, 4.5, 1, 1), False),
        ((3, 3, 4, 4), True),
        ((9, 0, 5, 20), False),
        ((0, 0, 1.9, 20), False),
        ((0, 0, 2, 2), True),
        ((7.5, 7.5, 5, 5), True),
    ],
)
def test_overlap_of_a_hollow_square(window, expected):
    assert area(SQUARE, holes=[HOLE]).overlaps(*window) is expected


def test_box_beside_a_slanting_edge_does_not_overlap():
    triangle = np.array([(0, 0), (10, 0), (0, 10)], float)
    assert not area(triangle).overlaps(6, 6, 3, 3)
    assert area(triangle).overlaps(4, 4, 3, 3)
