import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tltool.augment import ImageDataGenerator
from tltool.augment.keras2 import affine
from tltool.augment.keras2.affine import quick_matrix
from tltool.augment.pipeline import Augmenter, _random_state
from tltool.augment.presets import saturate
from tltool.errors import RecipeError

IMAGE = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)
MOVES = {
    "rotation_range": 40,
    "width_shift_range": 0.2,
    "height_shift_range": [3, 5],
    "shear_range": 15,
    "zoom_range": [0.7, 1.4],
    "horizontal_flip": True,
    "vertical_flip": True,
}
COLOURS = {"brightness_range": [0.5, 1.5], "channel_shift_range": 30}


def augmenter(**settings):
    return Augmenter([{"image_data_generator": settings}])


def by_the_class(settings, image, key):
    """What ImageDataGenerator itself makes of the same numbers, rounded."""
    generator = ImageDataGenerator(**settings, data_format="channels_last", dtype="float32")
    rng, _ = _random_state(key)
    moved = generator.apply_transform(image.astype(np.float32), generator._draw(image.shape, rng))
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"fill_mode": "reflect"},
        {"fill_mode": "constant", "cval": 300},
        {"fill_mode": "wrap"},
        {"interpolation_order": 0},
        {"interpolation_order": 3},
        COLOURS,
    ],
)
def test_pixels_are_those_of_the_class(bands, extra):
    given_settings = {**MOVES, **extra}
    ours = augmenter(**given_settings)
    image = np.random.default_rng(bands).integers(0, 256, (24, 31, bands), dtype=np.uint8)
    for place in range(4):
        found = ours(image, (1, place))
        expected = by_the_class(given_settings, image, (1, place))
        assert found.shape == image.shape
        off = np.abs(found.astype(int) - expected)
        # Halves may be rounded either way.
        assert off.max() <= 1
        assert (off > 0).mean() < 0.01


@settings(max_examples=50, deadline=None)
@given(
    st.tuples(st.integers(1, 500), st.integers(1, 500)),
    st.tuples(
        st.floats(-360, 360),
        st.floats(-50, 50),
        st.floats(-50, 50),
        st.floats(-80, 80),
        st.floats(0.1, 5),
        st.floats(0.1, 5),
    ),
)
def test_the_quick_matrix_is_that_of_the_class(size, moves):
    expected = affine.affine_matrix(size, *moves)[np.ix_([1, 0], [1, 0, 2])]
    np.testing.assert_allclose(quick_matrix(size, *moves), expected, atol=1e-8)


def test_what_normalises_is_told_and_not_applied():
    told = {"rescale": 1 / 255, "samplewise_center": True, "zca_epsilon": 1e-5}
    ours = augmenter(**told, rotation_range=0, featurewise_center=False)
    assert ours.normalising == told
    np.testing.assert_array_equal(ours(IMAGE, (0,)), IMAGE)
    assert Augmenter(["D4", {"image_data_generator": MOVES}]).normalising == {}


def test_nested_and_with_a_probability():
    never = {"image_data_generator": {"brightness_range": [0, 0], "p": 0}}
    black = {"image_data_generator": {"brightness_range": [0, 0]}}
    np.testing.assert_array_equal(Augmenter([never])(IMAGE, (0,)), IMAGE)
    sometimes = Augmenter([{"OneOf": {"transforms": [never, black], "p": 0.5}}])
    levels = {int(sometimes(IMAGE, (place,)).max()) for place in range(20)}
    assert levels == {0, int(IMAGE.max())}


@pytest.fixture
def functions(monkeypatch):
    module = types.ModuleType("their_functions")
    module.invert = lambda image: 255 - image
    module.double = lambda image: 2 * image
    module.crop = lambda image: image[1:]
    module.divide = lambda image: image / 0 * 0
    module.fail = lambda image: image.no_such_thing
    module.number = 3
    monkeypatch.setitem(sys.modules, "their_functions", module)


@pytest.mark.usefixtures("functions")
class TestPreprocessingFunction:
    @pytest.mark.parametrize("name", ["their_functions.invert", "their_functions:invert"])
    def test_is_applied(self, name):
        ours = augmenter(preprocessing_function=name)
        np.testing.assert_array_equal(ours(IMAGE, (0,)), 255 - IMAGE)

    def test_is_clipped(self):
        ours = augmenter(preprocessing_function="their_functions.double")
        expected = np.minimum(2 * IMAGE.astype(int), 255)
        np.testing.assert_array_equal(ours(IMAGE, (0,)), expected)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("crop", r"to give \(30, 30, 3\) finite numbers .* received shape \(29, 30, 3\)"),
            ("fail", "failed on an image of shape .30, 30, 3.: AttributeError: "),
            ("divide", ".*received values that are not finite"),
        ],
    )
    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    def test_that_gives_something_else_is_named(self, name, message):
        ours = augmenter(preprocessing_function=f"their_functions.{name}")
        where = "^augment.0.image_data_generator.preprocessing_function: "
        with pytest.raises(RecipeError, match=where + f".*their_functions.{name} {message}"):
            ours(IMAGE, (0,))

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("their_functions.none", "their_functions.none cannot be imported: "),
            ("no_such_module.f", "no_such_module.f cannot be imported: No module named"),
            ("their_functions.number", "expected a function, their_functions.number is int"),
        ],
    )
    def test_that_is_none_is_refused_early(self, name, message):
        with pytest.raises(RecipeError, match=message):
            augmenter(preprocessing_function=name)


@pytest.mark.parametrize("bands", [1, 3, 6])
def test_saturate_rounds_and_clips(bands):
    values = np.array([-300, -0.6, 0.4, 0.6, 254.6, 255.4, 1e6], np.float32)
    image = np.repeat(values, bands).reshape(7, 1, bands)
    assert saturate(image)[:, 0, -1].tolist() == [0, 0, 0, 1, 255, 255, 255]
