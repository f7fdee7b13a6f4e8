import csv

import numpy as np
import pytest
from PIL import Image
from quick_recipes import HEAD_RECIPE

import tltool
from tltool.errors import OutputError, UsageError
from tltool.runtime import quiet_import

quiet_import("keras")

from tltool.training.lr_find import _found, smooth, suggest  # noqa: E402

RATES = np.geomspace(1e-6, 1, 121)


def valley(noise=0.0, seed=0):
    """A loss flat to 1e-4, falling fastest at 1e-3, lowest at 1e-2, then diverging."""
    decade = np.log10(RATES)
    fall = 1 / (1 + np.exp(-6 * (decade + 3)))
    rise = np.exp(np.clip(4 * (decade + 1.5), -50, 20))
    return 2 - fall + rise + noise * np.random.default_rng(seed).normal(size=len(RATES))


def test_suggestion_is_where_the_loss_falls_fastest():
    steepest, lowest = suggest(RATES, valley())
    assert steepest == pytest.approx(1e-3, rel=0.2)
    assert 3e-3 < lowest < 2e-2


@pytest.mark.parametrize("seed", range(10))
def test_noise_does_not_mislead(seed):
    steepest, lowest = suggest(RATES, smooth(valley(0.2, seed)))
    assert 2e-4 < steepest < 1e-2
    assert steepest < lowest


def test_a_spike_at_the_start_does_not_mislead():
    losses = valley()
    losses[:2] = 20
    assert suggest(RATES, smooth(losses))[0] == pytest.approx(1e-3, rel=0.5)


def test_a_loss_that_does_not_fall_is_told():
    with pytest.raises(UsageError, match=r"hardly falls at any rate from 1e-06 to 1 \(2 to 2\)"):
        suggest(RATES, np.full(len(RATES), 2.0))


def test_no_loss_at_all_is_told():
    with pytest.raises(UsageError, match=r"a loss at the first rate, 1e-06, received nan.*`low`"):
        _found(RATES, np.array([np.nan]))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name, value in (("dark", 40), ("light", 200)):
        (folder / name).mkdir()
        for number in range(10):
            pixels = np.full((32, 32, 3), value + number, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def recipe():
    return tltool.load_recipe(None, HEAD_RECIPE)


@pytest.mark.usefixtures("quick_vgg16")
def test_it_writes_curve_and_table(images, recipe, tmp_path):
    path = tmp_path / "lr.png"
    found = tltool.lr_find(images, path, recipe, low=1e-5, high=10, steps=40)
    assert found.rates[0] == pytest.approx(1e-5)
    assert found.rates[0] < found.steepest < found.lowest
    assert Image.open(path).size == (960, 540)
    with path.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    np.testing.assert_allclose([float(r["loss"]) for r in rows], found.losses, rtol=1e-4)
    with pytest.raises(OutputError, match=r"lr.png exists already.*overwrite=True"):
        tltool.lr_find(images, path, recipe)


@pytest.mark.parametrize("name", ["lr.csv", "lr.jpg", "lr"])
def test_the_curve_is_a_png(images, recipe, tmp_path, name):
    with pytest.raises(UsageError, match=r"expected an output name that ends in .png, received"):
        tltool.lr_find(images, tmp_path / name, recipe)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"stage": 2}, "`stage`: expected 1 to 1, received 2"),
        ({"low": 1.0, "high": 0.1}, "expected 0 < low < high"),
        ({"steps": 3}, "10 steps or more"),
    ],
)
def test_bad_usage(images, recipe, tmp_path, words, message):
    with pytest.raises(UsageError, match=message):
        tltool.lr_find(images, tmp_path / "a.png", recipe, **words)
