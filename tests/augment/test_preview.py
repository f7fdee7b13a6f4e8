import numpy as np
import pytest
from PIL import Image

from tltool.augment.preview import EM, GAP, describe_entry, preview
from tltool.cli.main import main
from tltool.errors import DataError, OutputError, RecipeError, UsageError
from tltool.recipe import make_recipe

SIDE = 96


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("dark", "light", "mixed"):
        folder = tmp_path / "data" / "train" / name
        folder.mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "data"


def recipe(*entries, **settings):
    return make_recipe({"augment": list(entries), **settings})


def tiles(path, columns, rows):
    """The images on the sheet: (rows, columns, side, side, 3), originals first."""
    sheet = np.asarray(Image.open(path))
    white = (sheet == 255).all(2)
    # The heading is as full of ink here and there, but not for that many rows.
    full = (~white).sum(1) > columns * SIDE * 0.9
    top = next(y for y in range(len(sheet)) if full[y : y + SIDE].all())
    right = np.flatnonzero(~white[top : top + SIDE].all(0))[-1] + 1
    lefts = [right - (columns - c) * (SIDE + GAP) + GAP for c in range(1, columns)]
    lefts = [lefts[0] - SIDE - EM, *lefts]
    tops = [top + r * (SIDE + GAP) for r in range(rows)]
    return np.array([[sheet[y : y + SIDE, x : x + SIDE] for x in lefts] for y in tops])


def originals(data):
    return [np.asarray(Image.open(path)) for path in sorted(data.rglob("*.png"))]


def is_among(image, images):
    return any(np.array_equal(image, other) for other in images)


def test_originals_come_first_and_then_their_variants(data, tmp_path):
    out = preview(recipe({"HorizontalFlip": {"p": 1}}), data, tmp_path / "sheet.png", variants=4)
    found = tiles(out, 5, 3)
    for row in found:
        assert is_among(row[0], originals(data))
        for variant in row[1:]:
            np.testing.assert_array_equal(variant, row[0][:, ::-1])


def test_size_of_the_sheet(data, tmp_path):
    entries = [{"HorizontalFlip": {"p": 1}}, "VerticalFlip"]
    few = preview(recipe(*entries), data, tmp_path / "few.png", images=2)
    many = preview(recipe(*entries), data, tmp_path / "many.png", images=5)
    (width, height), (_, taller) = Image.open(few).size, Image.open(many).size
    assert width >= 17 * SIDE
    assert taller - height == 3 * (SIDE + GAP)
    assert list(tmp_path.glob(".partial*")) == []


def test_classes_take_turns(data, tmp_path):
    out = preview(recipe("D4"), data, tmp_path / "sheet.png", images=3, variants=16)
    found = [row[0] for row in tiles(out, 17, 3)]
    folders = [originals(data / "train" / name) for name in ("dark", "light", "mixed")]
    assert all(is_among(f, images) for f, images in zip(found, folders, strict=True))


def test_mixes_the_rows_of_a_column(data, tmp_path):
    cutmix = {"cutmix": {"alpha": 1}}
    out = preview(recipe(cutmix), data, tmp_path / "sheet.png", variants=8)
    found = tiles(out, 9, 3)
    sources = found[:, 0].reshape(3, SIDE, SIDE, 3)
    for row in found[:, 1:]:
        for variant in row:
            known = [(variant == source).all(2) for source in sources]
            assert np.logical_or.reduce(known).all()
    assert (found[:, 1:] != sources[:, None]).any()


def test_seed_decides(data, tmp_path):
    names = [
        preview(recipe("D4"), data, tmp_path / f"{i}.png", seed=seed, variants=3)
        for i, seed in enumerate((1, 1, 2))
    ]
    same, again, other = (np.asarray(Image.open(name)) for name in names)
    np.testing.assert_array_equal(same, again)
    assert (same != other).any()


def test_context_is_marked(data, tmp_path):
    plain = preview(recipe("D4", context=0), data, tmp_path / "plain.png")
    marked = preview(recipe("D4", context=16), data, tmp_path / "marked.png")
    change = (
        np.asarray(Image.open(plain))[..., 0][:200] != np.asarray(Image.open(marked))[:200, :, 0]
    )
    rows, columns = np.nonzero(change)
    assert rows.size
    # In the first tile of all alone.
    assert np.ptp(rows) <= SIDE - 32 + 2
    assert np.ptp(columns) <= SIDE - 32 + 2


def test_existing_file_is_not_replaced(data, tmp_path):
    out = tmp_path / "sheet.png"
    out.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        preview(recipe("D4"), data, out)
    assert out.read_text() == "mine"
    preview(recipe("D4"), data, out, overwrite=True, variants=1)
    assert Image.open(out).format == "PNG"


def test_wrong_usage(data, tmp_path):
    for options, message in (
        ({"variants": 0}, "`variants`: expected 1 or more"),
        ({"images": 0}, "`images`: expected 1 or more"),
        ({"seed": -1}, "`seed`: expected 0 or more"),
    ):
        with pytest.raises(UsageError, match=message):
            preview(recipe("D4"), data, tmp_path / "x.png", **options)
    with pytest.raises(UsageError, match="expected the name of a PNG file"):
        preview(recipe("D4"), data, tmp_path / "x.jpg")


def test_entry_that_fails_is_named_and_leaves_no_file(data, tmp_path):
    with pytest.raises(RecipeError, match=r"augment.0: expected RandomCrop to give uint8"):
        preview(recipe({"RandomCrop": {"height": 5, "width": 5}}), data, tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


def test_command(data, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("augment: [D4, {mixup: {alpha: 0.5}}]\n")
    words = [tmp_path / "mine.yaml", data, "-o", tmp_path / "s.png", "--variants", 2]
    main(["augment-preview", *map(str, words)])
    assert "s.png written" in capsys.readouterr().out
    assert (tmp_path / "s.png").exists()


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("D4", ("D4", "")),
        ({"D4": None}, ("D4", "")),
        ({"defocus": {"radius": [1, 2.5], "p": 0.1}}, ("defocus", "radius [1, 2.5], p 0.1")),
        ({"OneOf": ["D4", {"defocus": {"p": 1}}]}, ("OneOf", "D4 | defocus p 1")),
        ({"OneOf": {"transforms": ["D4"], "p": 0.5}}, ("OneOf", "D4; p 0.5")),
    ],
)
def test_describing_an_entry(entry, told):
    assert describe_entry(entry) == told


def test_images_in_memory_and_a_recipe_as_a_dict(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    flips = {"augment": [{"HorizontalFlip": {"p": 1}}]}
    for name, given in (("array", images), ("list", list(images)), ("floats", images / 1.0)):
        out = preview(flips, given, tmp_path / f"{name}.png", variants=2)
        found = tiles(out, 3, 3)
        np.testing.assert_array_equal(found[:, 0], images)
        np.testing.assert_array_equal(found[:, 1], images[:, :, ::-1])
    labels = ["seal", "pup", "seal"]
    out = preview(flips, (images, labels), tmp_path / "labelled.png", variants=2, images=1)
    assert is_among(tiles(out, 3, 1)[0, 0], images)
    out = preview(flips, images[0], tmp_path / "one.png", variants=2)
    np.testing.assert_array_equal(tiles(out, 3, 1)[0, 2], images[0, :, ::-1])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((2, 8)), "`data`: expected images"),
        (np.full((1, 8, 8, 3), 300), "`data`: expected .*0..255, received .*300"),
        (np.full((1, 8, 8, 3), 0.5), "`data`: expected .*0..255, received floats within 0..1"),
        (np.full((1, 8, 8, 3), np.nan), "`data`: expected"),
        (np.empty((0, 8, 8, 3)), "`data`: expected images"),
    ],
)
def test_what_are_no_images_is_refused(tmp_path, wrong, message):
    with pytest.raises(DataError, match=message):
        preview({"augment": ["D4"]}, wrong, tmp_path / "a.png")
