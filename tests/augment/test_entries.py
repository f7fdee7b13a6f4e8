import subprocess
import sys
import textwrap

import pytest

from tltool.augment.entries import check_entries, parse_entries
from tltool.errors import RecipeError

MIXUP, GENERATOR = {"mixup": {}}, "image_data_generator"


def refusal(*entries):
    with pytest.raises(RecipeError) as caught:
        check_entries(entries)
    message = str(caught.value)
    assert "\n" not in message
    return message


def refused(name, **settings):
    return refusal({name: settings}).removeprefix(f"augment.0.{name}")


def test_everything_in_one_list():
    nodes = parse_entries(
        [
            "defocus",
            {GENERATOR: {"rotation_range": 40, "zoom_range": [0.8, 1.2], "rescale": 0.5}},
            {"OneOf": {"transforms": ["D4", {"SomeOf": {"transforms": ["bad_exposure"], "n": 1}}]}},
            {"Sequential": ["HorizontalFlip", "sensor_noise"]},
            {"superimpose": {"targets": "nowhere", "classes": ["a"], "scale": 1}},
            {"swap_background": {"cutouts": "nowhere", "backgrounds": "nowhere"}},
            {"cutmix": {"alpha": 1, "p": 0.5}},
            "mixup",
        ]
    )
    assert [leaf.where for node in nodes[2:4] for leaf in node.leaves()] == [
        "augment.2.OneOf.transforms.0",
        "augment.2.OneOf.transforms.1.SomeOf.transforms.0",
        "augment.3.Sequential.0",
        "augment.3.Sequential.1",
    ]
    assert nodes[4].settings.scale == (1, 1)


def test_one_number_stands_for_both_ends():
    (node,) = parse_entries([{"defocus": {"radius": 2}}])
    assert node.settings.radius == (2, 2)


@pytest.mark.parametrize("entries", ["D4", {"D4": {}}, 3])
def test_a_list_is_expected(entries):
    with pytest.raises(RecipeError, match="augment: expected a list of transforms, received"):
        check_entries(entries)


def test_misspelt_key_lists_the_allowed_and_the_nearest():
    message = refused(GENERATOR, rotation=40)
    assert message.startswith(".rotation: no such key. Allowed: brightness_range, channel_shift_")
    assert message.endswith("zoom_range. Did you mean rotation_range?")


def test_misspelt_required_key_is_told_before_the_missing_one():
    assert ".target: no such key." in refused("superimpose", target="here")
    assert refused("superimpose") == ".targets: expected a value, received none"


def test_misspelt_entry_of_ours_names_the_nearest():
    assert refusal({"mixupp": {}}).endswith("has no transform mixupp. Did you mean mixup?")
    assert "tltool's own are image_data_generator, superimpose" in refusal("qqqqq")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rotation_range": -1}, ".rotation_range: expected greater than or equal to 0"),
        ({"rotation_range": "40"}, ".rotation_range: expected a number. YAML knows no fractions"),
        ({"rescale": "1/255"}, "write 0.0039 or 1.0e-6, received '1/255'"),
        ({"rotation_range": True}, ".rotation_range: expected a number, received True"),
        ({"rotation_range": float("nan")}, ".rotation_range: expected a number, received nan"),
        ({"horizontal_flip": "yes"}, ".horizontal_flip: expected a valid boolean, received 'yes'"),
        ({"brightness_range": 0.5}, ".brightness_range: expected [lowest, highest] factor"),
        ({"brightness_range": [1.5, 0.5]}, "factor, from 0, received [1.5, 0.5]"),
        ({"zoom_range": 1}, ".zoom_range: expected z from 0 to below 1"),
        ({"zoom_range": [0, 1]}, "or [lowest, highest], received [0, 1]"),
        ({"width_shift_range": []}, ".width_shift_range: expected a share of the side, px, or a"),
        ({"height_shift_range": -2}, "0 or more: the shift goes either way, received -2"),
        ({"fill_mode": "mirrored"}, ".fill_mode: expected one of nearest, constant, reflect, wrap"),
        ({"interpolation_order": 6}, ".interpolation_order: expected less than or equal to 5"),
        ({"zca_epsilon": 0}, ".zca_epsilon: expected greater than 0, received 0"),
        ({"preprocessing_function": "f"}, ": expected package.module.function or package.module:"),
        ({"preprocessing_function": "a.b c"}, "package.module:function, received 'a.b c'"),
    ],
)
def test_value_of_the_generator_out_of_range(settings, message):
    assert message in refused(GENERATOR, **settings)


@pytest.mark.parametrize(
    "name",
    [
        "keras.applications.vgg16.preprocess_input",
        "tensorflow.keras.applications.resnet50:preprocess_input",
        "tf.keras.applications.imagenet_utils.preprocess_input",
    ],
)
def test_preprocessing_of_keras_is_in_the_network(name):
    message = refused(GENERATOR, preprocessing_function=name)
    assert "the backbone's own preprocessing is built into the network" in message
    assert message.endswith(f"Leave preprocessing_function out, received '{name}'")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("defocus", {"radius": [2, 1]}, ".radius: expected [lowest, highest], numbers between 0"),
        ("defocus", {"p": 2}, ".p: expected less than or equal to 1, received 2"),
        ("bad_exposure", {"stops": "x"}, ".stops: expected [lowest, highest], numbers between -10"),
        ("sensor_noise", {"full_well": 0}, ".full_well: expected [lowest, highest]"),
        ("mixup", {"alpha": 0}, ".alpha: expected greater than 0, received 0"),
        ("superimpose", {"targets": "x", "number": [0.5, 1]}, ", whole numbers between 0 and 1000"),
        ("superimpose", {"targets": "x", "classes": []}, ".classes: List should have at least 1"),
        ("OneOf", {"transforms": []}, ".transforms: List should have at least 1"),
        (
            "OneOf",
            {"transform": ["D4"]},
            ".transform: no such key. Allowed: p, transforms. Did you",
        ),
        (
            "OneOf",
            {"transforms": [{"D4": {"p": 0}}]},
            ": p of the transforms are weights; expected",
        ),
        ("SomeOf", {"transforms": ["D4"], "n": 2}, ": expected n of at most 1, the number of"),
    ],
)
def test_value_of_ours_out_of_range(name, settings, message):
    assert message in refused(name, **settings)


def test_bare_list_in_a_container_is_its_transforms():
    assert refusal("D4", {"OneOf": ["D4", {"D5": {}}]}).startswith("augment.1.OneOf.1: Albument")


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ({"HorizontalFlop": {}}, ": Albumentations 2."),
        ({"HorizontalFlip": {"q": 1}}, ": HorizontalFlip takes no q. It takes p"),
        ({"defocus": {"radius": -1}}, ".defocus.radius: expected [lowest, highest]"),
        ({"OneOf": {"transforms": [3]}}, ".OneOf.transforms.0: expected a transform's name or"),
        (MIXUP, ": mixup works on whole batches and cannot stand in augment.1.SomeOf. Put it at"),
        ({GENERATOR: {"rescale": 0.5}}, ": rescale apply to every image and cannot stand in"),
    ],
)
def test_errors_inside_a_container_carry_the_path(inner, message):
    text = refusal("D4", {"SomeOf": {"transforms": ["D4", inner]}})
    assert text.startswith(f"augment.1.SomeOf.transforms.1{message}")


def test_batch_entries_come_last():
    message = refusal("D4", MIXUP, "HorizontalFlip")
    assert message.startswith("augment.2: HorizontalFlip works on one image, but comes after mixup")
    assert message.endswith("Put mixup last")
    check_entries(["D4", MIXUP, "cutmix"])


def test_one_entry_normalises():
    centred, scaled = {"samplewise_center": True}, {"rescale": 0.5}
    check_entries([{GENERATOR: centred}, {GENERATOR: {"rotation_range": 3}}])
    message = refusal({GENERATOR: centred}, {GENERATOR: scaled})
    assert message.startswith("augment.1: rescale normalise, and so does augment.0 already.")


def test_argument_that_albumentations_does_not_understand_is_not_ignored():
    assert "GaussianBlur" in refusal({"GaussianBlur": {"blur_limit": "wide"}})


def test_checking_imports_neither_keras_nor_tensorflow():
    code = """
        import sys
        from tltool.augment.pipeline import Augmenter, check_entries
        entries = [
            {"image_data_generator": {"rotation_range": 40, "rescale": 0.5}},
            {"OneOf": ["D4", "defocus"]}, "bad_exposure", "mixup",
        ]
        check_entries(entries)
        assert Augmenter(entries).normalising == {"rescale": 0.5}
        assert not {"keras", "tensorflow"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_checking_ours_imports_not_even_albumentations():
    code = """
        import sys
        from tltool.augment import check_entries
        check_entries([{"image_data_generator": {"rotation_range": 40}}, "defocus", "cutmix"])
        assert not {"keras", "tensorflow", "albumentations", "cv2"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
