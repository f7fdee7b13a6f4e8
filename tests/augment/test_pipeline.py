from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tltool.augment.pipeline import Augmenter
from tltool.errors import RecipeError

IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
ENTRIES = [
    "D4",
    {"Affine": {"rotate": [-30, 30], "scale": [0.8, 1.2], "p": 1.0}},
    {"RandomBrightnessContrast": {"brightness_limit": 0.3, "p": 1.0}},
    {"GaussNoise": {"p": 0.7}},
    {"CoarseDropout": {"p": 0.7}},
    {"ElasticTransform": None},
]


def refusal(*entries):
    with pytest.raises(RecipeError) as caught:
        Augmenter(entries)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_transform_is_the_image_itself():
    np.testing.assert_array_equal(Augmenter([])(IMAGE, (1, 2, 3)), IMAGE)


@pytest.mark.parametrize("entry", ["HorizontalFlip", {"HorizontalFlip": None}])
def test_name_alone_takes_the_defaults(entry):
    outcomes = [Augmenter([entry])(IMAGE, (0, 0, i)) for i in range(20)]
    flipped = [np.array_equal(image, IMAGE[:, ::-1]) for image in outcomes]
    same = [np.array_equal(image, IMAGE) for image in outcomes]
    assert any(flipped)
    assert any(same)
    assert all(a != b for a, b in zip(flipped, same, strict=True))


def test_arguments_are_passed_on():
    np.testing.assert_array_equal(
        Augmenter([{"VerticalFlip": {"p": 1.0}}])(IMAGE, (0,)), IMAGE[::-1]
    )
    np.testing.assert_array_equal(Augmenter([{"VerticalFlip": {"p": 0.0}}])(IMAGE, (0,)), IMAGE)


def test_transforms_run_in_their_order():
    dark = {"RandomBrightnessContrast": {"brightness_limit": [-0.5, -0.5], "p": 1}}
    invert = {"InvertImg": {"p": 1}}
    one, other = Augmenter([dark, invert]), Augmenter([invert, dark])
    assert one(IMAGE, (0,)).mean() > other(IMAGE, (0,)).mean() + 50


def test_unknown_transform_names_the_nearest():
    message = refusal("D4", {"HorizontalFlop": {}})
    assert message.startswith("augment.1: Albumentations 2.")
    assert "has no transform HorizontalFlop. Did you mean HorizontalFlip" in message


@pytest.mark.parametrize("name", ["qqqqq", "Compose", "numpy", "__version__"])
def test_what_is_no_transform_is_refused(name):
    assert f"has no transform {name}." in refusal(name)


def test_unknown_argument_names_the_allowed():
    message = refusal({"RandomBrightnessContrast": {"brightness": 0.1, "p": 1}})
    assert message.startswith("augment.0: RandomBrightnessContrast takes no brightness. It takes ")
    assert all(name in message for name in ("brightness_limit", "contrast_limit", "p"))


@pytest.mark.parametrize(
    "entry", [{"HorizontalFlip": {"p": 2}}, {"RandomBrightnessContrast": {"contrast_limit": "x"}}]
)
def test_impossible_argument_is_a_recipe_error(entry):
    assert f"augment.0: {next(iter(entry))}(" in refusal(entry)


@pytest.mark.parametrize("entry", [3, None, ["D4"], {}, {"D4": {}, "ToGray": {}}, {"D4": 3}])
def test_malformed_entry_is_named(entry):
    message = refusal("D4", "D4", entry)
    assert "augment.2: expected a transform's name or 'Name: {arguments}', received" in message
    assert repr(entry) in message


def test_result_has_the_shape_and_type_of_the_image():
    augmenter = Augmenter(ENTRIES)
    for place in range(10):
        result = augmenter(IMAGE, (1, 0, place))
        assert (result.shape, result.dtype) == (IMAGE.shape, np.uint8)


def test_same_key_same_pixels_whatever_came_before():
    one, other = Augmenter(ENTRIES), Augmenter(ENTRIES)
    for place in range(5):
        other(IMAGE, (9, 9, place))
    for place in (3, 1, 2):
        np.testing.assert_array_equal(one(IMAGE, (1, 0, place)), other(IMAGE, (1, 0, place)))


def test_global_generators_do_not_matter():
    np.random.seed(1)
    first = Augmenter(ENTRIES)(IMAGE, (1, 2, 3))
    np.random.seed(2)
    np.testing.assert_array_equal(Augmenter(ENTRIES)(IMAGE, (1, 2, 3)), first)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_every_part_of_the_key_matters(part):
    augmenter = Augmenter([{"GaussNoise": {"p": 1.0}}])
    keys = [tuple(7 if i == part else 1 for i in range(3)), (1, 1, 1)]
    assert (augmenter(IMAGE, keys[0]) != augmenter(IMAGE, keys[1])).any()


def test_same_key_same_pixels_from_many_threads():
    augmenter = Augmenter(ENTRIES)
    keys = [(1, epoch, place) for epoch in range(2) for place in range(20)]
    expected = [augmenter(IMAGE, key) for key in keys]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda key: augmenter(IMAGE, key), keys))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "name",
    ["D4", "CoarseDropout", "GridDropout", "PixelDropout", "GaussNoise", "InvertImg", "ToGray"],
)
def test_image_itself_stays_as_it_is(name):
    image = IMAGE.copy()
    augmenter = Augmenter([{name: {"p": 1.0}}])
    for place in range(5):
        augmenter(image, (0, 0, place))
    np.testing.assert_array_equal(image, IMAGE)
