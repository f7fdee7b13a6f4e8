from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tltool.errors import UsageError
from tltool.runtime import quiet_import

quiet_import("keras")

import keras  # noqa: E402

from tltool.conversion.plugin_tiles import overlap_pixels, plan_tile, smallest_exact  # noqa: E402
from tltool.run.sidecar import Sidecar  # noqa: E402


@pytest.fixture(scope="module")
def fcn():
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, keras.layers.Conv2D(64, 3)(inputs))


@st.composite
def sidecars(draw, furthest=120):
    zoom = draw(st.sampled_from([Fraction(1), Fraction(3, 2), Fraction(2), Fraction(7, 3)]))
    side, stride = draw(st.integers(16, 120)), draw(st.sampled_from([1, 4, 16, 32]))
    return Sidecar(
        classes=["a"],
        patch=max(1, int(side / zoom)),
        input_side=side,
        zoom=float(zoom),
        stride=float(stride / zoom),
        offset=0.0,
        reach=(-draw(st.integers(-10, furthest)), side - 1 + draw(st.integers(-10, furthest))),
    )


@settings(max_examples=150, deadline=None)
@given(sidecars(), st.integers(0, 900))
def test_what_is_kept_lies_between_cells_that_saw_no_border(fcn, sidecar, more):
    length = smallest_exact(sidecar) + more
    try:
        plan = plan_tile(fcn, sidecar, length)
    except UsageError:
        # A larger tile that loses more of a stride at its end than it gains.
        return
    assert plan.exact
    zoom, stride = Fraction(sidecar.zoom).limit_denominator(8), round(plan.cell_size * sidecar.zoom)
    assert plan.size == sidecar.input_side + (plan.cells - 1) * stride <= plan.length * zoom
    half = overlap_pixels(plan.length, plan.overlap) // 2
    first, last = sidecar.reach
    whole = [
        row
        for row in range(plan.cells)
        if row * stride + first >= 0 and row * stride + last < plan.size
    ]
    centres = [plan.first_centre + row * plan.cell_size for row in whole]
    # The centres of the outermost pixels that are kept.
    assert centres[0] <= half + 0.5
    assert centres[-1] >= plan.length - half - 0.5


def test_a_network_that_sees_far_gets_tiles_within_memory_and_is_not_exact(fcn):
    far = Sidecar(classes=["a"], patch=96, input_side=96, stride=32, offset=0, reach=(-960, 1208))
    plan = plan_tile(fcn, far)
    assert not plan.exact
    assert plan.length <= 2048
    assert plan_tile(fcn, far, smallest_exact(far)).exact
    near = far.model_copy(update={"reach": (-100, 200)})
    assert plan_tile(fcn, near).exact


def test_a_tile_below_the_smallest_is_refused(fcn):
    sidecar = Sidecar(classes=["a"], patch=96, input_side=96, stride=32, offset=0, reach=(-94, 189))
    smallest = smallest_exact(sidecar)
    assert plan_tile(fcn, sidecar, smallest).length == smallest
    with pytest.raises(UsageError, match=f"`tile`: expected {smallest} px or more.*received"):
        plan_tile(fcn, sidecar, smallest - 1)
