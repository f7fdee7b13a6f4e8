from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tltool.augment.pipeline import Augmenter
from tltool.data.dataset import Sample
from tltool.data.targets import UNLABELLED, Targets
from tltool.errors import ImageError, OutputError, TltoolError
from tltool.raster import enlarge
from tltool.tasks.kinds import make_task
from tltool.tasks.multi_class import MultiClass

SIDE = 12
TASKS = [make_task("label", ("a", "b", "c"))]


@pytest.fixture(scope="module")
def stream(keras):
    from tltool.data import stream

    return stream


@pytest.fixture
def samples(tmp_path):
    """Seven noisy patches of three classes."""
    rng = np.random.default_rng(1)
    paths = [tmp_path / f"{i}.png" for i in range(7)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(path)
    return [Sample(path, ((i % 3,),)) for i, path in enumerate(paths)]


def decoded(samples):
    return np.stack([np.asarray(Image.open(sample.path)) for sample in samples])


def labels_of(patches):
    return [label for sample in patches.samples for told in sample.labels for label in told]


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def pixels_of(batches):
    return np.concatenate([batches[i][0] for i in range(len(batches))])


def test_all_images_of_a_split_are_decoded_in_order(stream, samples):
    patches = stream.load_patches(samples, SIDE)
    np.testing.assert_array_equal(patches.images, decoded(samples))
    assert labels_of(patches) == [0, 1, 2, 0, 1, 2, 0]
    assert (len(patches), patches.unreadable) == (7, [])


def test_no_room_for_the_file_is_told(stream, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stream.os, "posix_fallocate", full)
    with pytest.raises(OutputError, match=r"of room .*: No space left on device. Free some, .*TMP"):
        stream.room_for((3, 4), np.uint8, limit=1)


def test_epochs_differ_by_augmentation_mixing_and_sampling(stream, samples):
    patches = stream.load_patches(samples, SIDE)

    def differs(entries, **more):
        return stream.Batches(patches, TASKS, 4, augmenter=Augmenter(entries), **more).differs

    assert differs(["D4"])
    assert differs([{"mixup": {"alpha": 0.2}}])
    assert differs([], sampling="under")
    assert not differs([])
    assert not stream.Batches(patches, TASKS, 4).differs


def test_crop_keeps_the_scale(stream, samples):
    patches = stream.load_patches(samples, 6, crop=True)
    np.testing.assert_array_equal(patches.images, decoded(samples)[:, 3:9, 3:9])


@pytest.mark.parametrize("shape", [(9, 14), (12, 1), (1, 12), (3, 3)])
def test_crop_of_a_smaller_image_is_refused(stream, samples, shape):
    Image.fromarray(np.zeros((*shape, 3), np.uint8)).save(samples[2].path)
    with pytest.raises(TltoolError, match=r"2\.png"):
        stream.load_patches(samples, SIDE, crop=True, strict=True)


@pytest.mark.parametrize("damage", [truncate, lambda path: path.write_bytes(b"no image")])
def test_unreadable_image_is_left_out_and_named(stream, samples, damage):
    expected = decoded(samples)[[0, 1, 3, 4, 5]]
    damage(samples[2].path)
    samples[6].path.unlink()
    patches = stream.load_patches(samples, SIDE)
    np.testing.assert_array_equal(patches.images, expected)
    assert labels_of(patches) == [0, 1, 0, 1, 2]
    assert [Path(str(error).split()[0]).name for error in patches.unreadable] == ["2.png", "6.png"]


def test_strict_stops_at_the_first_unreadable_image(stream, samples):
    truncate(samples[4].path)
    samples[5].path.unlink()
    with pytest.raises(ImageError, match=r"4\.png cannot be read"):
        stream.load_patches(samples, SIDE, strict=True)


def test_no_sample_readable_is_no_patch(stream, samples):
    for sample in samples:
        sample.path.unlink()
    patches = stream.load_patches(samples, SIDE)
    assert (len(patches), patches.images.shape) == (0, (0, SIDE, SIDE, 3))
    assert len(stream.load_patches([], SIDE)) == 0


@pytest.mark.parametrize("unreadable", [False, True])
def test_too_many_patches_live_in_a_file(stream, samples, monkeypatch, unreadable):
    monkeypatch.setattr(stream, "room_for", partial(stream.room_for, limit=1000))
    expected = decoded(samples)
    if unreadable:
        samples[3].path.unlink()
        expected = np.delete(expected, 3, axis=0)
    patches = stream.load_patches(samples, SIDE)
    np.testing.assert_array_equal(patches.images, expected)
    assert isinstance(patches.images, np.memmap)


def test_without_augmentation_the_images_come_in_order(stream, samples):
    patches = stream.load_patches(samples, SIDE)
    batches = stream.Batches(patches, TASKS, batch_size=3)
    assert len(batches) == 3
    assert [len(batches[i][0]) for i in range(3)] == [3, 3, 1]
    images, targets = batches[1]
    assert images.dtype == targets.dtype == np.float32
    np.testing.assert_array_equal(images, patches.images[3:6])
    np.testing.assert_array_equal(targets, np.eye(3)[[0, 1, 2]])
    batches.on_epoch_end()
    np.testing.assert_array_equal(pixels_of(batches), patches.images)


@pytest.mark.parametrize(("batch", "number"), [(1, 7), (6, 2), (7, 1), (100, 1)])
def test_last_batch_holds_the_rest(stream, samples, batch, number):
    batches = stream.Batches(stream.load_patches(samples, SIDE), TASKS, batch)
    assert len(batches) == number
    assert sum(len(batches[i][1]) for i in range(number)) == 7


@pytest.mark.parametrize("zoom", [Fraction(3, 2), Fraction(2), Fraction(8, 3)])
def test_images_are_enlarged_after_augmentation(stream, samples, zoom):
    patches = stream.load_patches(samples, SIDE)
    found = pixels_of(stream.Batches(patches, TASKS, 4, zoom))
    assert found.shape == (7, int(SIDE * zoom), int(SIDE * zoom), 3)
    np.testing.assert_array_equal(found[5], enlarge(patches.images[5], zoom))
    plain = stream.Batches(patches, TASKS, 7, augmenter=Augmenter(["D4"]), seed=4)[0][0]
    large = stream.Batches(patches, TASKS, 7, zoom, Augmenter(["D4"]), seed=4)[0][0]
    np.testing.assert_array_equal(large, [enlarge(image, zoom) for image in plain])


@pytest.fixture
def drawn(stream, samples):
    """Batches of augmented images for a seed."""
    patches = stream.load_patches(samples, SIDE)
    augment = ["D4", {"RandomBrightnessContrast": {"p": 1.0}}]

    def make(seed=0, **workers):
        return stream.Batches(patches, TASKS, 2, augmenter=Augmenter(augment), seed=seed, **workers)

    return make


def test_same_seed_same_pixels_in_every_epoch(drawn):
    first, second = drawn(seed=5), drawn(seed=5)
    for _ in range(3):
        np.testing.assert_array_equal(pixels_of(first), pixels_of(second))
        np.testing.assert_array_equal(first[1][1], second[1][1])
        first.on_epoch_end()
        second.on_epoch_end()


def test_another_seed_or_epoch_has_other_pixels_and_order(drawn):
    batches = drawn(seed=5)
    first = pixels_of(batches)
    assert not np.array_equal(first, pixels_of(drawn(seed=6)))
    batches.on_epoch_end()
    assert not np.array_equal(first, pixels_of(batches))


def test_another_epoch_transforms_the_same_image_otherwise(stream, samples):
    patches = stream.load_patches(samples[:1] * 7, SIDE)
    noise = Augmenter([{"GaussNoise": {"p": 1.0}}])
    batches = stream.Batches(patches, TASKS, 7, augmenter=noise, seed=5)
    first = {image.tobytes() for image in pixels_of(batches)}
    batches.on_epoch_end()
    second = {image.tobytes() for image in pixels_of(batches)}
    assert len(first) == len(second) == 7
    assert not first & second


def test_every_epoch_has_every_sample_once(stream, samples):
    patches = stream.load_patches(samples, SIDE)
    batches = stream.Batches(patches, TASKS, 2, augmenter=Augmenter([]), seed=1)
    orders = []
    for _ in range(3):
        found = pixels_of(batches)
        order = [
            int(np.flatnonzero((patches.images == image).all((1, 2, 3)))[0]) for image in found
        ]
        targets = np.concatenate([batches[i][1] for i in range(len(batches))])
        assert targets.argmax(axis=1).tolist() == [labels_of(patches)[place] for place in order]
        orders.append(order)
        batches.on_epoch_end()
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert orders[0] != orders[1]


def test_pixels_do_not_depend_on_who_reads_in_which_order(drawn):
    expected = pixels_of(drawn(seed=2))
    batches = drawn(seed=2)
    places = [3, 0, 2, 1] * 6
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda place: batches[place][0], places))
    for place, images in zip(places, found, strict=True):
        np.testing.assert_array_equal(images, expected[2 * place : 2 * place + 2])


def test_keras_sees_the_same_images_however_many_workers(keras, drawn):
    inputs = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    found = [model.predict(drawn(seed=3, workers=n), verbose=0) for n in (1, 3)]
    np.testing.assert_array_equal(found[0], pixels_of(drawn(seed=3)))
    np.testing.assert_array_equal(found[1], found[0])


def test_decoded_patches_stay_as_they_are(drawn, stream, samples):
    batches = drawn()
    before = decoded(samples)
    for _ in range(3):
        pixels_of(batches)
        batches.on_epoch_end()
    np.testing.assert_array_equal(batches._patches.images, before)


class MaskTask(MultiClass):
    """A task that says where: a mask a sample, as a kind to come may have it."""

    def encode_targets(self, targets, size):
        empty = np.full(size, UNLABELLED, np.uint8)
        return np.stack([empty if own is None else own.mask for own in targets])[..., None]


@pytest.mark.parametrize(("side", "crop"), [(SIDE, False), (6, True), (24, False)])
def test_masks_boxes_and_keypoints_stay_with_their_image(stream, tmp_path, side, crop):
    samples = []
    for index in range(5):
        pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
        pixels[3 : 6 + index, 4:8] = 255
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
        mask = (pixels[..., 0] > 0).astype(int)
        boxes, corner = [(4, 3, 8, 6 + index)], [(4, 3)]
        targets = None if index == 4 else Targets(mask, boxes, [1], corner)
        samples.append(Sample(tmp_path / f"{index}.png", (None,), targets=targets))
    patches = stream.load_patches(samples, side, crop=crop)
    task = MaskTask("where", ("ground", "seal"))
    augmenter = Augmenter(["D4"])
    batches = stream.Batches(patches, [task], 5, Fraction(2), augmenter, seed=3)
    images, masks = batches[0]
    assert images.shape == (5, 2 * side, 2 * side, 3)
    assert masks.shape == (5, 2 * side, 2 * side, 1)
    unknown = (masks == UNLABELLED).all(axis=(1, 2, 3))
    assert unknown.sum() == 1
    agree = (images[~unknown, :, :, :1] > 127) == (masks[~unknown] == 1)
    assert agree.mean() > 0.95
    assert (masks[~unknown] == 1).any(axis=(1, 2, 3)).all()
    again, same = stream.Batches(patches, [task], 5, Fraction(2), augmenter, seed=3)[0]
    np.testing.assert_array_equal(again, images)
    np.testing.assert_array_equal(same, masks)


def test_targets_follow_a_resized_and_cut_image(stream, tmp_path):
    Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(tmp_path / "a.png")
    targets = Targets(boxes=[(10, 0, 30, 20)], keypoints=[(15, 10), (5, 5)])
    sample = Sample(tmp_path / "a.png", (None,), targets=targets)
    found = stream.load_patches([sample], 40).samples[0].targets
    assert found.boxes.tolist() == [[0, 0, 40, 40]]
    np.testing.assert_array_equal(found.keypoints, [(10, 20), (np.nan, np.nan)])
    found = stream.load_patches([sample], 10, crop=True).samples[0].targets
    assert found.boxes.tolist() == [[0, 0, 10, 10]]
    np.testing.assert_array_equal(found.keypoints, [(0, 5), (np.nan, np.nan)])
