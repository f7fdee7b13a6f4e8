"""A painted rectangle, its mask, its box and its corner stay together, whatever moves them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tltool.augment.pipeline import Augmenter
from tltool.data.targets import UNLABELLED, Targets
from tltool.errors import RecipeError

SIDE = 64
LEFT, TOP, RIGHT, BOTTOM = 22, 18, 38, 44
CORNERS = [(LEFT, TOP), (RIGHT, BOTTOM)]


def scene():
    """The rectangle in the first band, a spot around two of its corners in the others."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[TOP:BOTTOM, LEFT:RIGHT, 0] = 255
    for band, (x, y) in enumerate(CORNERS, 1):
        image[y - 3 : y + 3, x - 3 : x + 3, band] = 255
    mask = (image[..., 0] > 0).astype(np.uint8)
    keypoints = [*CORNERS, (np.nan, np.nan)]
    return image, Targets(mask, [(LEFT, TOP, RIGHT, BOTTOM)], [7], keypoints)


def alone(**settings):
    return {"image_data_generator": settings}


MOVES = {
    "rotation_range": 40,
    "width_shift_range": 0.2,
    "height_shift_range": [3, 5],
    "shear_range": 15,
    "zoom_range": [0.7, 1.4],
    "horizontal_flip": True,
    "vertical_flip": True,
}
RIGID = {
    "D4": "D4",
    "HorizontalFlip": {"HorizontalFlip": {"p": 1}},
    "VerticalFlip": {"VerticalFlip": {"p": 1}},
    "Transpose": {"Transpose": {"p": 1}},
    "RandomRotate90": {"RandomRotate90": {"p": 1}},
    "Affine": {
        "Affine": {
            "rotate": [-40, 40],
            "scale": [0.7, 1.4],
            "translate_percent": [-0.1, 0.1],
            "shear": [-10, 10],
            "p": 1,
        }
    },
    "Rotate": {"Rotate": {"limit": 90, "border_mode": 0, "p": 1}},
    "SafeRotate": {"SafeRotate": {"limit": 45, "border_mode": 0, "p": 1}},
    "ShiftScaleRotate": {"ShiftScaleRotate": {"border_mode": 0, "p": 1}},
    "Perspective": {"Perspective": {"p": 1}},
    "RandomResizedCrop": {"RandomResizedCrop": {"size": [SIDE, SIDE], "scale": [0.5, 1], "p": 1}},
    "RandomSizedCrop": {
        "RandomSizedCrop": {"min_max_height": [40, 60], "size": [SIDE, SIDE], "p": 1}
    },
    "CropAndPad": {"CropAndPad": {"percent": [-0.2, 0.2], "p": 1}},
    "nested": {"SomeOf": {"transforms": ["D4", alone(rotation_range=30), "defocus"], "n": 2}},
    "fill nearest": alone(**MOVES),
    "fill constant": alone(**MOVES, fill_mode="constant"),
    "order 3": alone(**MOVES, interpolation_order=3, fill_mode="constant"),
    "colours too": alone(**MOVES, fill_mode="constant", brightness_range=[0.8, 1.2]),
    "quarter turns": alone(rotation_range=180, horizontal_flip=True),
}
SUPPLE = {
    "ElasticTransform": {"ElasticTransform": {"alpha": 60, "sigma": 8, "p": 1}},
    "GridDistortion": {"GridDistortion": {"p": 1}},
    "OpticalDistortion": {"OpticalDistortion": {"p": 1}},
}
PHOTOMETRIC = [
    {"defocus": {"p": 1}},
    {"bad_exposure": {"p": 1}},
    {"sensor_noise": {"p": 1}},
    {"RandomBrightnessContrast": {"p": 1}},
    {"GaussNoise": {"p": 1}},
]
AUGMENTERS = {name: Augmenter([entry]) for name, entry in {**RIGID, **SUPPLE}.items()}
seeds = given(st.integers(0, 2**31))


def spot(image, band):
    """Middle of a spot, or None where it is not wholly in the image."""
    light = image[..., band].astype(float)
    edges = np.concatenate([light[:2], light[-2:], light[:, :2].T, light[:, -2:].T])
    if light.sum() < 255 * 8 or edges.max() > 10:
        return None
    rows, columns = np.indices(light.shape) + 0.5
    return np.array([(columns * light).sum(), (rows * light).sum()]) / light.sum()


def check_together(augmenter, seed, overlap, tolerance, turns=1, lossy=False):
    image, targets = scene()
    moved, found = augmenter.move(image, targets, (seed,))
    np.testing.assert_array_equal(moved, augmenter(image, (seed,)))
    painted, masked = moved[..., 0] > 127, found.mask == 1
    assert (painted & masked).sum() >= overlap * (painted | masked).sum()
    if len(found.boxes):
        rows, columns = np.nonzero(masked)
        hull = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        if turns == 1:
            np.testing.assert_allclose(found.boxes[0], hull, atol=1 + tolerance)
        # The hull of a hull is wider than what is in it.
        outwards = np.array([1, 1, -1, -1])
        assert (outwards * (found.boxes[0] - hull) <= 1 + tolerance).all()
        assert found.box_classes.tolist() == [7]
    else:
        assert masked.mean() < 0.1
    for band in (1, 2):
        middle = spot(moved, band)
        # Albumentations' GridDistortion loses one keypoint in a hundred.
        if middle is not None and not (lossy and np.isnan(found.keypoints[band - 1]).all()):
            np.testing.assert_allclose(found.keypoints[band - 1], middle, atol=tolerance)
    assert found.keypoints.shape == (3, 2)
    assert np.isnan(found.keypoints[2]).all()


@pytest.mark.parametrize("name", RIGID)
@settings(max_examples=15, deadline=None)
@seeds
def test_all_stay_together(name, seed):
    check_together(AUGMENTERS[name], seed, 0.75, 0.6)


@pytest.mark.parametrize("name", SUPPLE)
@settings(max_examples=15, deadline=None)
@seeds
def test_all_stay_together_where_space_is_bent(name, seed):
    check_together(AUGMENTERS[name], seed, 0.9, 2.5, lossy=name == "GridDistortion")


@settings(max_examples=15, deadline=None)
@seeds
def test_all_stay_together_through_several_entries(seed):
    check_together(LONG, seed, 0.6, 1.5, turns=2)


LONG = Augmenter([RIGID["Affine"], "D4", alone(rotation_range=20), PHOTOMETRIC[0]])


@pytest.mark.parametrize("entry", PHOTOMETRIC, ids=lambda entry: next(iter(entry)))
def test_what_changes_levels_alone_moves_nothing(entry):
    image, targets = scene()
    _, found = Augmenter([entry]).move(image, targets, (3,))
    np.testing.assert_array_equal(found.mask, targets.mask)
    np.testing.assert_array_equal(found.boxes, targets.boxes)
    np.testing.assert_array_equal(found.keypoints, targets.keypoints)


@pytest.mark.parametrize(
    "entry", [{"Affine": {"translate_px": [100, 100], "p": 1}}, alone(width_shift_range=[100])]
)
def test_what_leaves_the_image_is_gone(entry):
    image, targets = scene()
    augmenter = Augmenter([entry])
    _, found = augmenter.move(image, targets, (0,))
    assert found.boxes.shape == (0, 4)
    assert found.box_classes.shape == (0,)
    assert np.isnan(found.keypoints).all()
    assert not (found.mask == 1).any()


@pytest.mark.parametrize("shift", [10, 44, 47])
def test_boxes_are_clipped_and_dropped_by_what_is_left(shift):
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    targets = Targets(boxes=[(10, 10, 30, 30), (0, 0, 4, 4)], box_classes=[1, 2])
    step = {"Affine": {"translate_px": {"x": [shift, shift], "y": [0, 0]}, "p": 1}}
    _, found = Augmenter([step]).move(image, targets, (0,))
    left = min(SIDE, 30 + shift) - (10 + shift)
    expected = [(10 + shift, 10, 10 + shift + left, 30), (shift, 0, shift + 4, 4)]
    kept = [box for box, share in zip(expected, (left / 20, 1), strict=True) if share >= 0.5]
    if left >= 2:
        kept = expected
    np.testing.assert_allclose(found.boxes, kept, atol=1e-4)


def test_boxes_without_area_or_beyond_the_image():
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    boxes = [(5, 5, 5, 9), (-10, 0, 10, 20), (70, 0, 80, 9)]
    for entry in ({"HorizontalFlip": {"p": 1}}, alone(horizontal_flip=True, rotation_range=1e-9)):
        augmenter = Augmenter([entry])
        results = [
            augmenter.move(image, Targets(boxes=boxes), (k,))[1].boxes.tolist() for k in range(8)
        ]
        assert [[54, 0, 64, 20]] in [np.round(boxes, 4).tolist() for boxes in results]


def test_mask_is_unlabelled_beyond_the_image():
    image, targets = scene()
    for entry in (
        {"Affine": {"rotate": [45, 45], "p": 1}},
        {"Rotate": {"limit": [45, 45], "border_mode": 0, "p": 1}},
        alone(rotation_range=45, fill_mode="constant"),
    ):
        _, found = Augmenter([entry]).move(image, targets, (1,))
        assert set(np.unique(found.mask)) == {0, 1, UNLABELLED}
    given_colour = {"Affine": {"rotate": [45, 45], "fill_mask": 0, "p": 1}}
    assert Augmenter([given_colour]).move(image, targets, (1,))[1].mask.max() == 1
    # A hole is no other class.
    _, found = Augmenter([{"CoarseDropout": {"p": 1}}]).move(image, targets, (1,))
    np.testing.assert_array_equal(found.mask, targets.mask)


@pytest.mark.parametrize("kind", ["mask", "boxes", "keypoints"])
def test_kinds_come_alone_too(kind):
    image, targets = scene()
    _, all_found = LONG.move(image, targets, (5,))
    _, found = LONG.move(image, Targets(**{kind: getattr(targets, kind)}), (5,))
    assert found.kinds == {kind}
    np.testing.assert_array_equal(getattr(found, kind), getattr(all_found, kind))


def test_nothing_to_move_is_the_image_alone():
    image, _ = scene()
    moved, found = LONG.move(image, Targets(), (5,))
    np.testing.assert_array_equal(moved, LONG(image, (5,)))
    assert not found.kinds
    _, empty = LONG.move(image, Targets(boxes=[], keypoints=np.empty((0, 2))), (5,))
    assert (empty.boxes.shape, empty.keypoints.shape) == ((0, 4), (0, 2))


@pytest.mark.parametrize("kind", ["mask", "boxes", "keypoints"])
def test_entries_that_make_new_images_are_named(kind, tmp_path):
    from PIL import Image

    (tmp_path / "seal").mkdir()
    Image.fromarray(np.full((8, 8, 4), 255, np.uint8)).save(tmp_path / "seal" / "a.png")
    image, targets = scene()
    targets = Targets(**{kind: getattr(targets, kind)})
    folder = str(tmp_path)
    for entry in (
        {"superimpose": {"targets": folder}},
        {"swap_background": {"cutouts": folder, "backgrounds": folder}},
        "mixup",
        "cutmix",
    ):
        name = entry if isinstance(entry, str) else next(iter(entry))
        augmenter = Augmenter(["D4", entry])
        with pytest.raises(RecipeError, match=rf"augment.1: {name} cannot keep {kind} true"):
            augmenter.move(image, targets, (0,))
        augmenter(image, (0,), "seal")


@pytest.mark.parametrize("kind", ["boxes", "keypoints"])
def test_transform_that_cannot_move_a_kind_is_named(kind):
    augmenter = Augmenter(["OverlayElements"])
    augmenter.check_targets({"mask"})
    with pytest.raises(RecipeError, match=rf"augment.0: OverlayElements cannot keep {kind} true"):
        augmenter.check_targets({kind})
