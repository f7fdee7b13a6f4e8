import numpy as np
import pytest
from PIL import Image

from tltool.augment.compose import cast_shadow, feather, paste, premultiply, resize, turn
from tltool.augment.pictures import Pictures
from tltool.augment.pipeline import Augmenter
from tltool.errors import ImageError, RecipeError

GROUND = np.full((24, 24, 3), 100, np.uint8)


def cutout(colour, alpha, side=6):
    pixels = np.full((side, side, 4), (*colour, alpha), np.uint8)
    return premultiply(pixels)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def targets(tmp_path):
    """Squares of 8 px in an empty frame: red ones in a/, blue ones deeper in b/."""
    for name, colour in (("a/1.png", (255, 0, 0)), ("b/x/2.png", (0, 0, 255))):
        pixels = np.zeros((12, 12, 4), np.uint8)
        pixels[2:10, 2:10] = (*colour, 255)
        save(tmp_path / "targets" / name, pixels)
    return tmp_path / "targets"


@pytest.fixture
def grounds(tmp_path):
    save(tmp_path / "grounds" / "1.png", np.full((40, 50, 3), (0, 200, 0), np.uint8))
    save(tmp_path / "grounds" / "small.png", np.full((5, 9, 3), (0, 200, 0), np.uint8))
    return tmp_path / "grounds"


class TestCompositing:
    def test_half_transparent_red_over_grey(self):
        ground = GROUND.astype(np.float32)
        paste(ground, cutout((200, 0, 0), 128), (12, 12))
        alpha = 128 / 255
        expected = [200 * alpha + 100 * (1 - alpha), 100 * (1 - alpha), 100 * (1 - alpha)]
        np.testing.assert_allclose(ground[12, 12], expected, rtol=1e-5)
        assert (ground[:9] == 100).all()
        assert (ground[9:15, 9:15, 0] > 100).all()
        assert (ground[15:] == 100).all()

    def test_a_dark_transparent_pixel_is_a_shadow(self):
        ground = GROUND.astype(np.float32)
        paste(ground, cutout((0, 0, 0), 51), (12, 12))
        np.testing.assert_allclose(ground[12, 12], 80, rtol=1e-5)

    def test_grey_images_get_the_brightness(self):
        ground = np.full((24, 24, 1), 100, np.float32)
        paste(ground, cutout((255, 0, 0), 255), (12, 12))
        assert ground[12, 12, 0] == pytest.approx(76.2, abs=0.1)

    @pytest.mark.parametrize("centre", [(0, 0), (24, 3), (-50, 12), (12, 90), (1, 23)])
    def test_reaching_over_the_edge(self, centre):
        ground = np.zeros((24, 24, 3), np.float32)
        paste(ground, cutout((255, 255, 255), 255), centre)
        rows, columns = ({p for p in range(24) if round(c - 3) <= p < round(c + 3)} for c in centre)
        assert (ground[..., 0] > 0).sum() == len(rows) * len(columns)

    def test_shadow_darkens_by_its_strength(self):
        ground = np.full((60, 60, 3), 100, np.float32)
        cast_shadow(ground, cutout((255, 0, 0), 255, 20), (30, 30), 0.4)
        np.testing.assert_allclose(ground[30, 30], 60, atol=0.1)
        np.testing.assert_allclose(ground[:10], 100)
        assert 60 < ground[30, 20, 0] < 100

    def test_feathered_edges_have_the_colour_of_the_target(self):
        pixels = np.zeros((20, 20, 4), np.uint8)
        # What is transparent is green: none of it may show.
        pixels[..., 1] = 255
        pixels[5:15, 5:15] = (200, 0, 0, 255)
        soft = feather(premultiply(pixels), 1.5)
        margin = (len(soft) - 20) // 2
        alpha = soft[..., 3]
        assert alpha.sum() == pytest.approx(100, rel=1e-3)
        assert alpha[margin + 10, margin + 10] > 0.99
        assert 0.2 < alpha[margin + 10, margin + 5] < 0.8
        assert 0 < alpha[margin + 10, margin + 3] < 0.3
        seen = alpha > 0.01
        np.testing.assert_allclose(soft[seen][:, 0] / alpha[seen], 200, rtol=0.01)
        np.testing.assert_allclose(soft[..., 1], 0, atol=1e-3)

    def test_no_feather_is_the_cutout_itself(self):
        one = cutout((1, 2, 3), 99)
        assert feather(one, 0) is one

    def test_turning_keeps_all_of_it(self):
        framed = np.pad(cutout((255, 0, 0), 255, 10), ((2, 2), (6, 6), (0, 0)))
        for degrees in (0, 30, 90, 200):
            assert turn(framed, degrees)[..., 3].sum() == pytest.approx(100, rel=0.02)
        assert turn(framed, 90).shape[:2] == (22, 14)

    @pytest.mark.parametrize("factor", [0.5, 2.0])
    def test_resizing(self, factor):
        scaled = resize(cutout((255, 0, 0), 255, 10), factor)
        assert scaled.shape == (10 * factor, 10 * factor, 4)
        np.testing.assert_allclose(scaled[..., 3], 1)


class TestSuperimpose:
    def augmenter(self, targets, **settings):
        settings = {"p": 1, "feather": 0, "rotate": False, "scale": 1, **settings}
        return Augmenter([{"superimpose": {"targets": str(targets), **settings}}])

    def covered(self, image):
        return (image != GROUND).any(2).sum()

    def test_number_and_place(self, targets):
        one, several = self.augmenter(targets), self.augmenter(targets, number=[2, 4])
        sizes = [self.covered(one(GROUND, (i,))) for i in range(30)]
        # The middle of a target is within the image, so a quarter of it at least is seen.
        assert max(sizes) == 64
        assert min(sizes) >= 16
        assert max(self.covered(several(GROUND, (i,))) for i in range(30)) > 130

    def test_given_classes_alone(self, targets):
        some = self.augmenter(targets, classes=["empty"])
        assert self.covered(some(GROUND, (0,), "empty")) > 0
        for label in ("a", None):
            np.testing.assert_array_equal(some(GROUND, (0,), label), GROUND)
        some.check_classes(["a", "empty"])
        with pytest.raises(RecipeError, match=r"superimpose.classes: the data has no class empty"):
            some.check_classes(["a", "b"])

    def test_targets_of_the_images_own_class(self, targets):
        own = self.augmenter(targets, by_class=True)
        for place in range(6):
            red, blue = own(GROUND, (place,), "a"), own(GROUND, (place,), "b")
            assert (red[..., 2] <= 100).all()
            assert (blue[..., 0] <= 100).all()
            assert red.max() == blue.max() == 255
        np.testing.assert_array_equal(own(GROUND, (0,), "c"), GROUND)
        own.check_classes(["a", "b", "c"])
        with pytest.raises(RecipeError, match=r"superimpose.targets: the data has no class b"):
            own.check_classes(["a"])

    def test_shadow_beside_the_target(self, targets):
        shaded = self.augmenter(targets, shadow=0.9, classes=["a"])(GROUND, (5,), "a")
        beside = shaded[(shaded[..., 0] == shaded[..., 1])]
        assert beside.min() < 90

    def test_same_key_same_pixels_in_a_container(self, targets):
        settings = {"targets": str(targets), "number": [1, 3], "shadow": 0.5}
        entry = {"OneOf": [{"superimpose": settings}, "defocus"]}
        one, other = Augmenter([entry]), Augmenter([entry])
        other(GROUND, (9,))
        for place in range(6):
            np.testing.assert_array_equal(one(GROUND, (place,)), other(GROUND, (place,)))

    def test_bands(self, targets):
        ours = self.augmenter(targets)
        ours.check_bands(1)
        assert ours(GROUND[..., :1], (0,)).shape == (24, 24, 1)
        with pytest.raises(RecipeError, match=r"superimpose works on images of 3 bands, these"):
            ours.check_bands(5)
        with pytest.raises(RecipeError, match="images of 1 or 3 bands; these have 2"):
            ours(GROUND[..., :2], (0,))

    def test_missing_or_empty_folder_is_named(self, tmp_path):
        with pytest.raises(RecipeError, match=r"augment.0.superimpose.targets: expected a folder"):
            self.augmenter(tmp_path / "none")
        (tmp_path / "empty").mkdir()
        with pytest.raises(RecipeError, match="empty holds no image, however deep"):
            self.augmenter(tmp_path / "empty")

    def test_file_without_alpha_is_named(self, targets):
        save(targets / "a" / "opaque.png", np.zeros((4, 4, 3), np.uint8))
        with pytest.raises(ImageError, match=r"opaque.png: expected a cut-out with an alpha chan"):
            self.augmenter(targets)

    def test_file_that_is_transparent_throughout_is_named(self, tmp_path):
        save(tmp_path / "t" / "clear.png", np.zeros((4, 4, 4), np.uint8))
        with pytest.raises(ImageError, match=r"clear.png: .* transparent throughout"):
            self.augmenter(tmp_path / "t")(GROUND, (0,))

    def test_broken_file_is_named(self, targets):
        (targets / "broken.png").write_bytes(b"no image")
        with pytest.raises(ImageError, match=r"broken.png cannot be read as an image"):
            self.augmenter(targets)

    def test_by_class_needs_class_folders(self, tmp_path):
        save(tmp_path / "flat" / "1.png", np.full((4, 4, 4), 255, np.uint8))
        with pytest.raises(RecipeError, match="by_class: expected a folder for each class in"):
            self.augmenter(tmp_path / "flat", by_class=True)


class TestSwapBackground:
    def augmenter(self, targets, grounds, **settings):
        settings = {"p": 1, "feather": 0, "rotate": False, "scale": 1, **settings}
        folders = {"cutouts": str(targets), "backgrounds": str(grounds)}
        return Augmenter([{"swap_background": {**folders, **settings}}])

    def test_cutout_of_the_class_in_the_middle_of_a_background(self, targets, grounds):
        swapped = self.augmenter(targets, grounds, jitter=0)(GROUND, (0,), "a")
        expected = np.full((24, 24, 3), (0, 200, 0), np.uint8)
        expected[8:16, 8:16] = (255, 0, 0)
        np.testing.assert_array_equal(swapped, expected)

    def test_jitter_is_a_share_of_the_side(self, targets, grounds):
        jittered = self.augmenter(targets, grounds, jitter=0.25)
        for place in range(20):
            rows, columns = np.nonzero(jittered(GROUND, (place,), "b")[..., 2])
            middle = np.array([rows.mean(), columns.mean()]) + 0.5
            assert (np.abs(middle - 12) <= 6.5).all()

    @pytest.mark.parametrize("label", ["c", None])
    def test_other_classes_stay(self, targets, grounds, label):
        swapping = self.augmenter(targets, grounds)
        np.testing.assert_array_equal(swapping(GROUND, (0,), label), GROUND)

    def test_classes_restrict(self, targets, grounds):
        swapping = self.augmenter(targets, grounds, classes=["a"])
        np.testing.assert_array_equal(swapping(GROUND, (0,), "b"), GROUND)
        assert (swapping(GROUND, (0,), "a") != GROUND).any()
        with pytest.raises(RecipeError, match="no cut-outs of c; there are folders of a, b"):
            self.augmenter(targets, grounds, classes=["c"])
        with pytest.raises(RecipeError, match=r"swap_background.cutouts: the data has no class b"):
            swapping.check_classes(["a"])

    def test_grey(self, targets, grounds):
        found = self.augmenter(targets, grounds)(GROUND[..., :1], (0,), "a")
        assert set(np.unique(found)) == {76, 117}


def test_pictures_beyond_the_memory_are_read_again(targets, monkeypatch):
    monkeypatch.setattr("tltool.augment.pictures._KEPT", 0)
    pictures = Pictures(targets, "here", cutouts=True)
    assert pictures[0] is not pictures[0]
    assert pictures[0].shape == (8, 8, 4)
    monkeypatch.setattr("tltool.augment.pictures._KEPT", 1 << 20)
    pictures = Pictures(targets, "here", cutouts=True)
    assert pictures[0] is pictures[0]
