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


def test_entries_draw_numbers_of_their_own():
    # With a seed each instead of one generator, both would always flip or neither.
    augmenter = Augmenter(["HorizontalFlip", "VerticalFlip"])
    views = {
        (h, v): np.ascontiguousarray(IMAGE[:: -1 if v else 1, :: -1 if h else 1])
        for h in (False, True)
        for v in (False, True)
    }
    seen = {
        flips
        for place in range(40)
        for flips, view in views.items()
        if np.array_equal(augmenter(IMAGE, (place,)), view)
    }
    assert seen == set(views)


OURS = [
    {"image_data_generator": {"rotation_range": 20, "brightness_range": [0.8, 1.2], "p": 0.8}},
    {
        "SomeOf": {
            "transforms": ["defocus", "GaussNoise", {"OneOf": ["bad_exposure", "D4"]}],
            "n": 2,
        }
    },
    {"Sequential": {"transforms": ["sensor_noise", "HorizontalFlip"], "p": 0.7}},
    {"RandomOrder": {"transforms": ["Transpose", "CoarseDropout"], "n": 3, "replace": True}},
]


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_all_kinds_together_from_many_threads(bands):
    image = np.random.default_rng(1).integers(0, 256, (24, 24, bands), dtype=np.uint8)
    augmenter, fresh = Augmenter(OURS), Augmenter(OURS)
    keys = [(1, place) for place in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda key: augmenter(image, key), keys))
    np.testing.assert_array_equal(found, [fresh(image, key) for key in reversed(keys)][::-1])
    assert len({f.tobytes() for f in found}) == 40


def test_chance_of_a_container():
    augmenter = Augmenter([{"OneOf": {"transforms": [{"InvertImg": {"p": 1}}], "p": 0.25}}])
    inverted = [np.array_equal(augmenter(IMAGE, (i,)), 255 - IMAGE) for i in range(200)]
    assert 0.15 < np.mean(inverted) < 0.35


def test_batch_entries_go_to_the_mixer():
    assert Augmenter(["D4"]).mixer is None
    augmenter = Augmenter([{"VerticalFlip": {"p": 1}}, "mixup", "cutmix"])
    np.testing.assert_array_equal(augmenter(IMAGE, (0,)), IMAGE[::-1])
    images, targets = augmenter.mixer(
        np.zeros((4, 8, 8, 3), np.float32), {"label": np.eye(4, dtype=np.float32)}, (0, 0, 0)
    )
    assert images.shape == (4, 8, 8, 3)
    np.testing.assert_allclose(targets["label"].sum(1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("entry", "where"),
    [("HueSaturationValue", "augment.1"), ({"OneOf": ["HueSaturationValue"]}, "augment.1.OneOf.0")],
)
def test_transform_for_three_bands_alone_is_named(entry, where):
    augmenter = Augmenter(["D4", entry])
    augmenter.check_bands(3)
    with pytest.raises(RecipeError) as caught:
        augmenter.check_bands(5)
    message = f"{where}: HueSaturationValue works on images of 3 bands, these have 5. Take it out"
    assert str(caught.value).startswith(message)


def test_checking_bands_tries_what_is_rarely_applied():
    with pytest.raises(RecipeError, match=r"augment.0: ToSepia works on images of 3 bands"):
        Augmenter([{"ToSepia": {"p": 0.0001}}]).check_bands(7)


def test_size_counts_where_it_is_told():
    crop = Augmenter([{"RandomCrop": {"height": 100, "width": 100}}])
    crop.check_bands(3)
    crop.check_bands(3, side=100)
    with pytest.raises(RecipeError, match=r"augment.0: RandomCrop failed on an image of 32 x 32"):
        crop.check_bands(3, side=32)


@pytest.mark.parametrize("name", ["Normalize", "ToFloat"])
def test_change_of_type_is_named(name):
    with pytest.raises(RecipeError, match=rf"augment.1: expected {name} to give uint8 of shape"):
        Augmenter(["D4", {name: {"p": 1}}])(IMAGE, (0,))


def test_transform_that_fails_is_named():
    augmenter = Augmenter(["D4", {"ToSepia": {"p": 1}}])
    with pytest.raises(
        RecipeError, match=r"augment.1: ToSepia failed on an image of 9 x 7 px and 5"
    ):
        augmenter(np.zeros((7, 9, 5), np.uint8), (0,))
    # And the next image is done all the same.
    assert augmenter(IMAGE, (0,)).shape == IMAGE.shape
