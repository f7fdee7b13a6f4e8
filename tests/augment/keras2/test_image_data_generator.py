import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tltool.augment import ImageDataGenerator
from tltool.augment.keras2 import affine
from tltool.errors import DataError, ImageError, UsageError

former_module = pytest.importorskip("keras.src.legacy.preprocessing.image")
Former = former_module.ImageDataGenerator

pytestmark = pytest.mark.filterwarnings("ignore:.*scipy.ndimage.interpolation.*")

RNG = np.random.default_rng(0)
BATCH = RNG.integers(0, 256, (10, 12, 15, 3)).astype("float32")
LABELS = np.array([0, 1] * 5)
AUGMENTING = {
    "rotation_range": 30,
    "width_shift_range": 0.2,
    "height_shift_range": 0.2,
    "shear_range": 10,
    "zoom_range": 0.2,
    "horizontal_flip": True,
    "vertical_flip": True,
    "channel_shift_range": 20.0,
    "brightness_range": (0.5, 1.5),
}


def noise(height, width, channels, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels))
    return pixels.astype("float32")


def difference(image, wanted, **options):
    """Mean and largest difference from the former class."""
    ours = ImageDataGenerator(**options).apply_transform(image.copy(), wanted)
    theirs = Former(**options).apply_transform(image.copy(), wanted)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    distance = np.abs(ours.astype(float) - theirs.astype(float))
    return distance.mean(), distance.max()


moves = st.fixed_dictionaries(
    {
        "theta": st.floats(-180, 180),
        "tx": st.floats(-30, 30),
        "ty": st.floats(-30, 30),
        "shear": st.floats(-45, 45),
        "zx": st.floats(0.4, 2.5),
        "zy": st.floats(0.4, 2.5),
    }
)
colours = st.fixed_dictionaries(
    {
        "flip_horizontal": st.booleans(),
        "flip_vertical": st.booleans(),
        "channel_shift_intensity": st.none() | st.floats(-50, 50),
        "brightness": st.none() | st.floats(0, 3),
    }
)
sizes = st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3, 4]))


class TestPixels:
    # A hundredth of a pixel off would show as 0.8 in noise.
    @pytest.mark.parametrize("fill_mode", affine.FILL_MODES)
    @settings(max_examples=120, deadline=None)
    @given(moves, sizes)
    def test_geometry_is_that_of_the_former_class(self, fill_mode, wanted, size):
        mean, largest = difference(noise(*size), wanted, fill_mode=fill_mode, cval=77.0)
        assert mean < 0.01
        assert largest < 0.1

    @settings(max_examples=150, deadline=None)
    @given(st.sampled_from(affine.FILL_MODES), moves, colours, sizes)
    def test_all_together_agree(self, fill_mode, wanted, colours, size):
        mean, _ = difference(noise(*size), wanted | colours, fill_mode=fill_mode, cval=77.0)
        assert mean <= 0.5

    @pytest.mark.parametrize("fill_mode", [*affine.FILL_MODES, *affine.SPLINE_FILL_MODES])
    @pytest.mark.parametrize("order", [0, 1, 3])
    @pytest.mark.parametrize("size", [(21, 21, 3), (20, 20, 1), (20, 33, 3), (41, 16, 2)])
    def test_quarter_turns_and_whole_shifts_end_on_the_same_pixels(self, fill_mode, order, size):
        cases = [{"theta": angle} for angle in (90, 180, 270, -90, 360)]
        cases += [{"tx": 3}, {"tx": -size[1] + 1, "ty": size[0] - 1}, {"zx": 0.5, "zy": 3}]
        for wanted in cases:
            _, largest = difference(
                noise(*size), wanted, fill_mode=fill_mode, interpolation_order=order, cval=9.0
            )
            assert largest < 0.02, wanted

    @pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
    def test_any_number_of_channels(self, channels):
        wanted = {"theta": 20, "tx": 2.3, "flip_horizontal": True}
        assert difference(noise(20, 27, channels), wanted)[1] < 0.02

    def test_numbers_of_another_type(self):
        for dtype, bound in (("float64", 0.02), ("uint8", 1), ("int32", 1), ("float32", 0.02)):
            image = noise(20, 27, 3).astype(dtype)
            for order in (0, 1):
                mean, largest = difference(
                    image, {"theta": 20, "zx": 0.8}, interpolation_order=order
                )
                assert largest <= bound
                assert mean < 0.01

    def test_a_constant_image_stays_constant(self):
        image = np.full((31, 24, 3), 100, "float32")
        wanted = {"theta": 33, "tx": 4.4, "shear": 9, "brightness": 0.5}
        for fill_mode in ("nearest", "reflect", "wrap"):
            result = ImageDataGenerator(fill_mode=fill_mode).apply_transform(image, wanted)
            assert (result == 50).all()

    def test_shift_along_the_columns_is_tx(self):
        image = np.zeros((7, 11, 1), "float32")
        image[3, 5] = 1
        moved = ImageDataGenerator().apply_transform(image, {"tx": 2})
        assert np.argwhere(moved[..., 0]).tolist() == [[3, 3]]

    def test_nothing_wanted_changes_nothing(self):
        image = noise(9, 8, 3)
        assert (ImageDataGenerator().apply_transform(image, {}) == image).all()

    @pytest.mark.parametrize("wanted", [{"theta": 30, "zy": 1.2}, {"flip_horizontal": True}])
    def test_channels_first(self, wanted):
        image = noise(20, 27, 3)
        first = ImageDataGenerator(data_format="channels_first")
        result = first.apply_transform(image.transpose(2, 0, 1), wanted)
        last = ImageDataGenerator().apply_transform(image, wanted)
        np.testing.assert_allclose(result.transpose(1, 2, 0), last, atol=1e-3)
        wanted = {**wanted, "brightness": 0.7}
        assert first.apply_transform(image.transpose(2, 0, 1), wanted).shape == (3, 20, 27)

    def test_both_spellings_of_the_channel_shift(self):
        image = noise(9, 8, 3)
        generator = ImageDataGenerator()
        now = generator.apply_transform(image, {"channel_shift_intensity": 20})
        former = generator.apply_transform(image, {"channel_shift_intencity": 20})
        assert (now == former).all()
        assert (now != image).any()

    @pytest.mark.parametrize("low_high", [(-1, 1), (-50, 350), (100, 900), (0, 1), (0, 255)])
    @pytest.mark.parametrize("factor", [0, 0.4, 1, 1.7])
    def test_brightness_of_any_range(self, low_high, factor):
        low, high = low_high
        for channels in (1, 3, 4):
            image = noise(16, 9, channels) / 255 * (high - low) + low
            mean, _ = difference(image, {"brightness": factor})
            assert mean / max(high - low, 255) * 255 < 0.1


CONFIGURATIONS = [
    AUGMENTING,
    {"width_shift_range": 5, "height_shift_range": [-3, 1, 4]},
    {"width_shift_range": [0.1, 0.3], "height_shift_range": 2.5},
    {"width_shift_range": 1, "zoom_range": (0.5, 2.0), "vertical_flip": True},
    {"rotation_range": 90, "brightness_range": [0.1, 0.2]},
    {},
]


class TestDraws:
    @pytest.mark.parametrize("configuration", CONFIGURATIONS)
    def test_same_numbers_as_the_former_class(self, configuration):
        ours, theirs = ImageDataGenerator(**configuration), Former(**configuration)
        for seed in range(20):
            drawn = ours.get_random_transform((12, 15, 3), seed)
            assert drawn == theirs.get_random_transform((12, 15, 3), seed)

    def test_numpy_seed_counts_and_is_left_alone(self):
        ours = ImageDataGenerator(**AUGMENTING)
        np.random.seed(3)
        drawn = ours.get_random_transform((12, 15, 3))
        assert drawn == Former(**AUGMENTING).get_random_transform((12, 15, 3), 3)
        np.random.seed(3)
        ours.get_random_transform((12, 15, 3), 7)
        assert drawn == ours.get_random_transform((12, 15, 3))

    def test_random_transform_is_the_former_image(self):
        ours = ImageDataGenerator(**AUGMENTING).random_transform(BATCH[0], 5)
        theirs = Former(**AUGMENTING).random_transform(BATCH[0], 5)
        assert np.abs(ours - theirs).mean() < 0.1


@pytest.mark.filterwarnings("ignore")
class TestNormalisation:
    @pytest.mark.parametrize(
        "options",
        [
            {"rescale": 1 / 255},
            {"samplewise_center": True},
            {"samplewise_std_normalization": True},
            {"featurewise_center": True},
            {"featurewise_std_normalization": True, "rescale": 1 / 127.5},
            {"zca_whitening": True, "zca_epsilon": 1e-3},
            {"preprocessing_function": lambda x: 255 - x, "rescale": 0.5},
            {"zca_whitening": True, "featurewise_std_normalization": True},
        ],
    )
    def test_is_that_of_the_former_class(self, options):
        ours, theirs = ImageDataGenerator(**options), Former(**options)
        images = BATCH[:, :6, :5]
        for generator in (ours, theirs):
            generator.fit(images)
        for x in (images, images[0]):
            expected = theirs.standardize(x.copy())
            np.testing.assert_allclose(ours.standardize(x.copy()), expected, rtol=1e-4, atol=1e-4)
        for name in ("mean", "std", "zca_whitening_matrix"):
            a, b = getattr(ours, name), getattr(theirs, name)
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_allclose(a, b, rtol=1e-5)

    def test_fit_on_augmented_images(self):
        options = {"featurewise_std_normalization": True, "rotation_range": 40, "zoom_range": 0.3}
        ours, theirs = ImageDataGenerator(**options), Former(**options)
        for generator in (ours, theirs):
            generator.fit(BATCH, augment=True, rounds=3, seed=4)
        np.testing.assert_allclose(ours.mean, theirs.mean, atol=0.01)
        np.testing.assert_allclose(ours.std, theirs.std, atol=0.01)

    def test_mean_set_by_hand(self):
        generator = ImageDataGenerator(featurewise_center=True)
        generator.mean = np.array([1, 2, 3], "float32")
        assert generator.standardize(np.zeros((2, 2, 3), "float32"))[0, 0].tolist() == [-1, -2, -3]

    def test_channels_first(self):
        options = {"featurewise_std_normalization": True, "data_format": "channels_first"}
        ours, theirs = ImageDataGenerator(**options), Former(**options)
        for generator in (ours, theirs):
            generator.fit(BATCH.transpose(0, 3, 1, 2))
        np.testing.assert_allclose(ours.mean, theirs.mean)
        assert ours.mean.shape == (3, 1, 1)

    def test_whole_numbers_become_floats_and_floats_change_in_place(self):
        generator = ImageDataGenerator(rescale=1 / 255)
        assert generator.standardize(np.full((2, 2, 1), 255, "uint8")).dtype == np.float32
        x = np.full((2, 2, 1), 255, "float32")
        assert generator.standardize(x) is x
        fixed = np.full((2, 2, 1), 255, "float32")
        fixed.flags.writeable = False
        assert generator.standardize(fixed).max() == 1

    def test_switches_what_it_needs(self):
        with pytest.warns(UserWarning, match="switches on samplewise_center"):
            assert ImageDataGenerator(samplewise_std_normalization=True).samplewise_center
        with pytest.warns(UserWarning, match="zca_whitening switches on featurewise_center"):
            assert ImageDataGenerator(zca_whitening=True).featurewise_center

    def test_says_that_fit_is_missing(self):
        with pytest.warns(UserWarning, match=r"mean is not known yet.*call fit"):
            ImageDataGenerator(featurewise_center=True).standardize(BATCH.copy())


class TestFlow:
    @pytest.mark.parametrize("subset", [None, "training", "validation"])
    def test_samples_are_those_of_the_former_class(self, subset):
        options = {"batch_size": 3, "shuffle": False, "subset": subset}
        # The former class forgets to take the subset's part of the weights.
        weights = None if subset else np.arange(10.0)
        ours, theirs = (
            made(validation_split=0.4).flow(BATCH, LABELS, sample_weight=weights, **options)
            for made in (ImageDataGenerator, Former)
        )
        assert (len(ours), ours.n) == (len(theirs), theirs.n)
        for i in range(len(ours)):
            for a, b in zip(ours[i], theirs[i], strict=True):
                np.testing.assert_array_equal(a, b)

    def test_weights_follow_the_subset(self):
        flow = ImageDataGenerator(validation_split=0.4).flow(
            BATCH, LABELS, sample_weight=np.arange(10), subset="training", shuffle=False
        )
        assert next(flow)[2].tolist() == [4, 5, 6, 7, 8, 9]

    def test_same_seed_same_batches(self):
        flows = [
            ImageDataGenerator(**AUGMENTING).flow(BATCH, LABELS, batch_size=4, seed=3)
            for _ in range(2)
        ]
        for _ in range(7):
            (a, b), (c, d) = next(flows[0]), next(flows[1])
            assert (a == c).all()
            assert (b == d).all()
        other = ImageDataGenerator(**AUGMENTING).flow(BATCH, LABELS, batch_size=4, seed=4)
        assert any((flows[0][i][0] != other[i][0]).any() for i in range(2))

    def test_numpy_seed_makes_a_flow_repeatable(self):
        batches = []
        for _ in range(2):
            np.random.seed(1)
            batches.append(next(ImageDataGenerator(**AUGMENTING).flow(BATCH, batch_size=10)))
        assert (batches[0] == batches[1]).all()

    def test_a_sample_does_not_depend_on_the_order_of_asking(self):
        make = ImageDataGenerator(**AUGMENTING).flow
        first, second = make(BATCH, batch_size=4, seed=3), make(BATCH, batch_size=4, seed=3)
        forwards = [first[i] for i in range(3)]
        backwards = [second[i] for i in (2, 1, 0)][::-1]
        for a, b, c in zip(forwards, backwards, [next(first) for _ in range(3)], strict=True):
            assert (a == b).all()
            assert (a == c).all()
        assert (first[-1] == forwards[-1]).all()

    def test_batch_size_does_not_change_a_sample(self):
        make = ImageDataGenerator(**AUGMENTING).flow
        small = [make(BATCH, batch_size=5, seed=3, shuffle=False)[i] for i in range(2)]
        assert (np.concatenate(small) == make(BATCH, batch_size=10, seed=3, shuffle=False)[0]).all()

    def test_epochs_differ_and_each_has_every_sample(self):
        flow = ImageDataGenerator().flow(np.arange(10.0).reshape(10, 1, 1, 1), batch_size=4, seed=1)
        epochs = [np.concatenate([next(flow).ravel() for _ in range(3)]) for _ in range(3)]
        for epoch in epochs:
            assert sorted(epoch) == list(range(10))
        assert epochs[0].tolist() != epochs[1].tolist()
        turned = ImageDataGenerator(rotation_range=90).flow(BATCH, shuffle=False, seed=1)
        assert (next(turned) != next(turned)).any()

    def test_index_array_tells_the_order_of_the_pass_just_made(self):
        flow = ImageDataGenerator().flow(BATCH, np.arange(10), batch_size=5, seed=1)
        seen = np.concatenate([next(flow)[1] for _ in range(2)])
        assert flow.index_array.tolist() == seen.tolist()

    def test_reset_starts_the_pass_again(self):
        flow = ImageDataGenerator(**AUGMENTING).flow(BATCH, batch_size=4, seed=1)
        first = next(flow)
        flow.next()
        assert flow.batch_index == 2
        flow.reset()
        assert (flow.next() == first).all()

    def test_images_and_masks_side_by_side(self):
        options = {"rotation_range": 45, "zoom_range": 0.3, "horizontal_flip": True}
        images = ImageDataGenerator(brightness_range=(0.5, 1), **options).flow(BATCH, seed=2)
        masks = ImageDataGenerator(**options).flow(BATCH, seed=2)
        plain, dimmed = next(masks), next(images)
        assert np.corrcoef(plain[3].ravel(), dimmed[3].ravel())[0, 1] > 0.99

    def test_further_inputs(self):
        flow = ImageDataGenerator().flow([BATCH, [LABELS, LABELS + 5]], LABELS, shuffle=False)
        (images, first, second), labels = next(flow)
        assert images.shape == BATCH.shape
        assert (first == labels).all()
        assert (second == labels + 5).all()

    def test_a_uint8_array_is_not_copied_whole(self):
        x = BATCH.astype("uint8")
        flow = ImageDataGenerator(rescale=1 / 255).flow(x, shuffle=False)
        assert np.shares_memory(flow.x, x)
        np.testing.assert_allclose(next(flow), BATCH / 255, rtol=1e-6)

    def test_the_array_itself_is_left_alone(self):
        x = BATCH.copy()
        next(ImageDataGenerator(rescale=1 / 255).flow(x))
        assert (x == BATCH).all()

    def test_saves_what_it_gives(self, tmp_path):
        folder = tmp_path / "new"
        flow = ImageDataGenerator().flow(
            BATCH, batch_size=5, save_to_dir=folder, save_prefix="a", save_format="png"
        )
        next(flow), next(flow)
        names = sorted(path.name for path in folder.iterdir())
        assert len(names) == 10
        assert sorted(int(name.split("_")[1]) for name in names) == list(range(10))
        assert np.asarray(Image.open(folder / names[0])).shape == (12, 15, 3)

    def test_can_be_pickled(self):
        flow = ImageDataGenerator(**AUGMENTING).flow(BATCH, seed=2)
        assert (next(pickle.loads(pickle.dumps(flow))) == next(flow)).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Class folders cats (7), dogs (5, one deeper) and birds (4)."""
    root = tmp_path_factory.mktemp("classes")
    rng = np.random.default_rng(1)
    names = [f"cats/{i}.png" for i in (10, 9, 8, 2, 1, 0, 3)]
    names += ["dogs/b.jpg", "dogs/A.PNG", "dogs/deep/z.bmp", "dogs/a.png", "dogs/c.tif"]
    names += [f"birds/x{i}.png" for i in range(4)]
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (int(rng.integers(15, 30)), 20, 3)
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(path)
    (root / "cats" / "notes.txt").write_text("no image")
    (root / "stray.png").write_bytes(b"")
    return root


FLOWS = [
    {},
    {"class_mode": "sparse"},
    {"class_mode": "binary", "classes": ["dogs", "cats"]},
    {"class_mode": None},
    {"class_mode": "input", "color_mode": "grayscale"},
    {"color_mode": "rgba", "subset": "training"},
    {"subset": "validation", "interpolation": "bicubic", "keep_aspect_ratio": True},
    {"classes": ["dogs"], "class_mode": None, "target_size": (9, 31)},
]


def listed(batch):
    return list(batch) if isinstance(batch, tuple) else [batch]


class TestFolders:
    @pytest.mark.parametrize("options", FLOWS)
    def test_order_labels_and_pixels_are_those_of_the_former_class(self, folder, options):
        options = {"target_size": (16, 18), "batch_size": 4, "shuffle": False, **options}
        configuration = {"validation_split": 0.4, "rescale": 1 / 255}
        ours = ImageDataGenerator(**configuration).flow_from_directory(folder, **options)
        theirs = Former(**configuration).flow_from_directory(str(folder), **options)
        for name in ("filenames", "filepaths", "class_indices", "num_classes", "n", "samples"):
            assert getattr(ours, name) == getattr(theirs, name)
        assert ours.image_shape == theirs.image_shape
        assert ours.classes.tolist() == theirs.classes.tolist()
        assert ours.classes.dtype == theirs.classes.dtype
        assert len(ours) == len(theirs)
        for i in range(len(ours)):
            for a, b in zip(listed(ours[i]), listed(theirs[i]), strict=True):
                np.testing.assert_array_equal(a, b)
                assert a.dtype == b.dtype

    def test_images_without_classes(self, folder):
        flow = ImageDataGenerator().flow_from_directory(
            folder / "birds", classes=["."], class_mode=None
        )
        assert flow.filenames == [f"./x{i}.png" for i in range(4)]

    def test_says_how_many(self, folder, capsys):
        ImageDataGenerator().flow_from_directory(folder)
        assert capsys.readouterr().out == "Found 16 images belonging to 3 classes.\n"

    def test_a_class_without_images_is_told(self, folder):
        with pytest.warns(UserWarning, match="no image of class cows"):
            flow = ImageDataGenerator().flow_from_directory(folder, classes=["cats", "cows"])
        assert flow.num_classes == 2

    def test_a_file_that_is_no_image(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "broken.png").write_text("no")
        flow = ImageDataGenerator().flow_from_directory(tmp_path)
        with pytest.raises(ImageError, match=r"broken.png cannot be read as an image"):
            next(flow)


class Table:
    """What `flow_from_dataframe` needs of a pandas DataFrame, which tltool does not require."""

    def __init__(self, **columns):
        self._values = columns
        self.columns = list(columns)

    def __getitem__(self, name):
        return self._values[name]


NAMES = ["cats/0.png", "dogs/a.png", "cats/1.png", "birds/x0.png", "dogs/c.tif"]
TABLE = Table(
    filename=NAMES,
    **{"class": ["cat", "dog", "cat", "bird", "dog"]},
    several=[["cat"], ["dog", "pet"], ("cat", "pet"), ["bird"], ["pet"]],
    length=np.arange(5.0),
    width=np.arange(5) + 10,
    weight=np.array([1, 2, 3, 4, 5]),
)


class TestTables:
    def flow(self, folder, table=TABLE, split=0.0, **options):
        generator = ImageDataGenerator(validation_split=split)
        options = {"target_size": (8, 9), "shuffle": False, **options}
        return generator.flow_from_dataframe(table, folder, **options)

    def test_one_hot(self, folder):
        flow = self.flow(folder)
        images, targets = next(flow)
        assert flow.class_indices == {"bird": 0, "cat": 1, "dog": 2}
        assert images.shape == (5, 8, 9, 3)
        assert targets.argmax(1).tolist() == flow.classes == [1, 2, 1, 0, 2]

    def test_pixels_are_those_of_the_file(self, folder):
        images = self.flow(folder, target_size=(16, 18), class_mode=None)[0]
        same = ImageDataGenerator().flow_from_directory(
            folder, target_size=(16, 18), classes=["birds"], class_mode=None, shuffle=False
        )[0]
        assert (images[3] == same[0]).all()

    def test_several_labels(self, folder):
        targets = next(self.flow(folder, y_col="several"))[1]
        # bird, cat, dog, pet
        assert targets.tolist() == [
            [0, 1, 0, 0],
            [0, 0, 1, 1],
            [0, 1, 0, 1],
            [1, 0, 0, 0],
            [0, 0, 0, 1],
        ]

    def test_classes_choose_rows_and_order(self, folder):
        flow = self.flow(folder, classes=["dog", "cat"], class_mode="binary")
        assert flow.filenames == [NAMES[i] for i in (0, 1, 2, 4)]
        assert next(flow)[1].tolist() == [1, 0, 1, 0]
        several = self.flow(folder, y_col="several", classes=["pet"])
        assert several.classes == [[0], [0], [0]]

    def test_columns_as_they_are(self, folder):
        _, targets, weights = next(
            self.flow(folder, y_col="length", class_mode="raw", weight_col="weight")
        )
        assert targets.tolist() == [0, 1, 2, 3, 4]
        assert weights.tolist() == [1, 2, 3, 4, 5]
        both = next(self.flow(folder, y_col=["length", "width"], class_mode="raw"))[1]
        assert both.shape == (5, 2)
        outputs = next(self.flow(folder, y_col=["length", "width"], class_mode="multi_output"))[1]
        assert [o.tolist() for o in outputs] == [[0, 1, 2, 3, 4], [10, 11, 12, 13, 14]]

    def test_subsets(self, folder):
        training = self.flow(folder, split=0.4, subset="training")
        validation = self.flow(folder, split=0.4, subset="validation")
        assert validation.filenames == NAMES[:2]
        assert training.filenames == NAMES[2:]
        assert training.class_indices == validation.class_indices

    def test_missing_files_are_left_out_and_told(self, folder):
        table = Table(filename=["cats/0.png", "cats/none.png"], **{"class": ["a", "b"]})
        with pytest.warns(UserWarning, match="1 of 2 are no image file"):
            assert self.flow(folder, table).filenames == ["cats/0.png"]
        assert self.flow(folder, table, validate_filenames=False).n == 2

    def test_former_keywords(self, folder):
        with pytest.warns(DeprecationWarning, match="has_ext"):
            self.flow(folder, has_ext=True)
        with pytest.warns(DeprecationWarning, match="raw"):
            assert self.flow(folder, y_col="length", class_mode="other").class_mode == "raw"


@pytest.fixture(scope="module")
def model(keras):
    keras.utils.set_random_seed(1)
    layers = [keras.Input((12, 15, 3)), keras.layers.Flatten(), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile("sgd", "mse")
    return model


class TestKeras:
    def test_fit_evaluate_predict(self, model):
        generator = ImageDataGenerator(**AUGMENTING, rescale=1 / 255, validation_split=0.4)
        training = generator.flow(BATCH, LABELS, batch_size=2, subset="training", seed=1)
        validation = generator.flow(BATCH, LABELS, subset="validation", shuffle=False, seed=1)
        history = model.fit(training, validation_data=validation, epochs=2, verbose=0)
        assert len(history.history["val_loss"]) == 2
        # Keras ends an epoch too where it only looks at the first batch.
        assert training.epoch >= 2
        assert np.isfinite(model.evaluate(validation, verbose=0))
        assert model.predict(generator.flow(BATCH, shuffle=False), verbose=0).shape == (10, 1)

    def test_further_inputs_and_outputs(self, keras):
        image, number = keras.Input((12, 15, 3)), keras.Input((1,))
        joined = keras.layers.concatenate([keras.layers.Flatten()(image), number])
        model = keras.Model([image, number], keras.layers.Dense(1)(joined))
        model.compile("sgd", "mse")
        flow = ImageDataGenerator(rescale=1 / 255).flow([BATCH, LABELS[:, None]], LABELS)
        assert len(model.fit(flow, verbose=0).history["loss"]) == 1

    def images_seen(self, keras, workers):
        flow = ImageDataGenerator(**AUGMENTING).flow(BATCH, LABELS, batch_size=2, seed=1)
        flow.workers = workers
        seen = []

        def loss(labels, predictions):
            seen.append(np.asarray(predictions).ravel())
            return predictions

        model = keras.Sequential([keras.Input((12, 15, 3)), keras.layers.Flatten()])
        model.compile(loss=loss, run_eagerly=True)
        model.evaluate(flow, verbose=0)
        return np.concatenate(seen)

    def test_workers_do_not_change_the_batches(self, keras):
        assert (self.images_seen(keras, 1) == self.images_seen(keras, 3)).all()


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"fill_mode": "edge"}, "`fill_mode`: expected one of 'nearest'.*received 'edge'"),
            ({"zoom_range": (1, 2, 3)}, r"`zoom_range`: expected \(lowest, highest\)"),
            ({"zoom_range": "a"}, "`zoom_range`: expected"),
            ({"brightness_range": 0.5}, r"`brightness_range`: expected .*received 0.5"),
            ({"validation_split": 1.5}, "`validation_split`: expected 0 or more, below 1"),
            ({"data_format": "last"}, "`data_format`: expected one of"),
            ({"interpolation_order": 7}, "`interpolation_order`: expected one of"),
        ],
    )
    def test_arguments(self, options, message):
        with pytest.raises(UsageError, match=message):
            ImageDataGenerator(**options)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"x": BATCH[0]}, r"`x`: expected images on four axes.*\(12, 15, 3\)"),
            ({"y": LABELS[:3]}, "`y`: expected one for each of the 10 images, received 3"),
            ({"x": [BATCH, LABELS[:3]]}, "`x`: expected one for each of the 10 images"),
            ({"sample_weight": [1]}, "`sample_weight`: expected one for each"),
            ({"subset": "test"}, "`subset`: expected one of 'training'"),
            ({"subset": "validation"}, "validation_split=0.2"),
            ({"batch_size": 0}, "`batch_size`: expected 1 or more, received 0"),
            ({"seed": -1}, "`seed`: expected None, 0 or more, received -1"),
        ],
    )
    def test_flow(self, options, message):
        with pytest.raises(UsageError, match=message):
            ImageDataGenerator().flow(**{"x": BATCH, **options})

    def test_split_that_parts_the_classes(self):
        generator = ImageDataGenerator(validation_split=0.5)
        with pytest.raises(UsageError, match=r"same classes.*ignore_class_split=True"):
            generator.flow(BATCH, np.sort(LABELS), subset="training")
        flow = generator.flow(BATCH, np.sort(LABELS), subset="training", ignore_class_split=True)
        assert flow.n == 5

    def test_batch_out_of_range(self):
        with pytest.raises(ValueError, match="below 1, received 1"):
            ImageDataGenerator().flow(BATCH)[1]

    def test_transform_of_a_batch(self):
        with pytest.raises(UsageError, match="expected one image of three axes"):
            ImageDataGenerator().apply_transform(BATCH, {})

    def test_odd_channels_are_told(self):
        with pytest.warns(UserWarning, match="expected 1, 3 or 4 channels.*received 2"):
            ImageDataGenerator().flow(BATCH[..., :2])

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"class_mode": "raw"}, "`class_mode`: expected one of 'categorical'"),
            ({"color_mode": "bgr"}, "`color_mode`: expected one of 'rgb'"),
            ({"interpolation": "best"}, "`interpolation`: expected one of 'nearest'"),
            ({"target_size": (3,)}, r"`target_size`: expected \(height, width\)"),
        ],
    )
    def test_folder_arguments(self, folder, options, message):
        with pytest.raises(UsageError, match=message):
            ImageDataGenerator().flow_from_directory(folder, **options)

    def test_folders(self, folder, tmp_path):
        flow = ImageDataGenerator().flow_from_directory
        with pytest.raises(DataError, match="expected a folder of class folders"):
            flow(tmp_path / "none")
        with pytest.raises(DataError, match=r"classes=\['.'\] and class_mode=None"):
            flow(folder / "birds")
        (tmp_path / "empty" / "a.png").mkdir(parents=True)
        with (
            pytest.warns(match="no image of class empty"),
            pytest.raises(DataError, match="found none"),
        ):
            flow(tmp_path)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"x_col": "file"}, "expected a column 'file', the table has filename, class"),
            ({"x_col": "width"}, "column 'width', row 0: expected str, received .*10"),
            ({"y_col": "width"}, "column 'width', row 0: expected str or list or tuple"),
            ({"class_mode": "binary"}, "expected 2 classes, found 3"),
            ({"class_mode": "multi_output"}, "'multi_output' expects a list, received 'class'"),
            ({"weight_col": "class"}, "column 'class': expected numbers"),
            ({"surt": 1}, "expected one of 'has_ext'"),
        ],
    )
    def test_tables(self, folder, options, message):
        with pytest.raises((DataError, UsageError), match=message):
            ImageDataGenerator().flow_from_dataframe(TABLE, folder, **options)

    def test_not_a_table(self, folder):
        with pytest.raises(UsageError, match="such as a pandas DataFrame, received dict"):
            ImageDataGenerator().flow_from_dataframe({"filename": []}, folder)


def test_the_pipeline_needs_no_keras():
    code = "import sys, tltool.augment.pipeline; assert 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_are_refused():
    import tltool.augment

    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        tltool.augment.Nothing  # noqa: B018


def test_a_plain_generator_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        next(ImageDataGenerator(**AUGMENTING, rescale=1 / 255).flow(BATCH, LABELS))
