import keras
import numpy as np
import pytest
from keras import layers

from tltool.errors import UsageError
from tltool.explanation.cell_layout import Axis, default_map, layout_of
from tltool.explanation.flat import lay_flat


def flat_of(*stack, side=48):
    model = keras.Sequential([keras.Input((side, side, 3)), *stack])
    return lay_flat(model, (side, side, 3))


def conv(name, strides=1, padding="same"):
    return layers.Conv2D(4, 3, strides, padding, name=name)


def test_cells_lie_in_the_middle_at_the_pitch_of_the_strides():
    flat = flat_of(conv("a", 2), layers.ZeroPadding2D(((0, 1), (0, 1))), conv("b", 2, "valid"))
    layout = layout_of(flat, flat.find("b"))
    assert (layout.rows.cells, layout.rows.cell_size, layout.rows.cropped) == (
        12,
        4,
        False,
    )
    # Of the 48 px, pixel 0 lies 1.5 px before the first cell's centre, at 2 px.
    assert layout.rows.positions[[0, 47]] == pytest.approx([-0.375, 11.375])


def test_a_valid_convolution_does_not_stretch_the_map():
    flat = flat_of(conv("a", 1, "valid"), conv("b", 1, "valid"))
    layout = layout_of(flat, flat.find("b"))
    maps = np.zeros((1, 44, 44))
    maps[0, 10, 20] = 1
    heat = layout.enlarge(maps)
    # Its centre sees pixels 10 to 14 and 20 to 24.
    assert np.unravel_index(heat[0].argmax(), (48, 48)) == (12, 22)


def test_what_is_cropped_off_is_dark():
    flat = flat_of(conv("a", 2), layers.Cropping2D(6, name="crop"))
    layout = layout_of(flat, flat.find("crop"))
    heat = layout.enlarge(np.ones((1, 12, 12)))[0]
    assert (heat[12:36, 12:36] == 1).all()
    assert heat.sum() == 24**2


def test_upsampling_and_unknown_layers():
    flat = flat_of(
        conv("a", 2), layers.UpSampling2D(name="up"), layers.Resizing(6, 6, name="other")
    )
    assert layout_of(flat, flat.find("up")).rows.cell_size == 1
    assert layout_of(flat, flat.find("other")).rows.cell_size == 8


def test_enlarging_keeps_constants_and_interpolates_linearly():
    axis = Axis(3, 12, 4.0)
    weights = axis.enlarging()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    # Centres at 2, 6 and 10 px; pixel 3's centre is 3.5.
    np.testing.assert_allclose(weights[3], [0.625, 0.375, 0], atol=1e-6)
    np.testing.assert_allclose(weights[0], [1, 0, 0])


def test_without_a_layer_the_last_map_with_cells_enough_is_taken():
    coarse = [conv("a", 2), conv("b", 4), layers.MaxPooling2D(2), conv("c")]
    flat = flat_of(*coarse, layers.Flatten(), layers.Dense(2))
    # c has 3 x 3 cells of 16 px, b 6 x 6 of 8 px.
    assert default_map(flat).path == "b"
    flat = flat_of(*coarse, layers.Flatten(), layers.Dense(2), side=96)
    assert default_map(flat).path == "c"


def test_where_no_map_is_fine_enough_the_last_is_taken():
    flat = flat_of(conv("a", 16), layers.Flatten(), layers.Dense(2))
    assert default_map(flat).path == "a"


def test_a_network_without_maps():
    flat = flat_of(layers.Flatten(), layers.Dense(2))
    with pytest.raises(UsageError, match="expected a layer whose output is a map"):
        default_map(flat)


def test_layers_by_name():
    pooled = [layers.GlobalAveragePooling2D(name="pool"), layers.Dense(2, name="end")]
    flat = flat_of(conv("conv_early", 2), conv("conv_late", 2), *pooled)
    assert flat.find("conv_late").shape == (12, 12, 4)
    with pytest.raises(UsageError, match=r"received conv_latest\. The nearest: conv_late"):
        flat.find("conv_latest")
    with pytest.raises(UsageError, match=r"end gives 2\. The last one with a map is conv_late 12"):
        flat.find("end")


def test_a_layer_of_another_task():
    inputs = keras.Input((16, 16, 3))
    x = conv("shared", 2)(inputs)
    ends = {n: layers.GlobalAveragePooling2D()(conv(n, 1)(x)) for n in ("left", "right")}
    flat = lay_flat(keras.Model(inputs, ends), (16, 16, 3))
    assert flat.find("left", "left").path == "left"
    assert default_map(flat, "right").path == "right"
    with pytest.raises(UsageError, match="left has no part in the output right"):
        flat.find("left", "right")
