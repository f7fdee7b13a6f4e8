"""The mean over the flips and rotations of a square."""

import json

import numpy as np
import pytest
import rasterio
from rasters import write_raster

import tltool
from tltool.errors import UsageError
from tltool.runtime import quiet_import

quiet_import("keras")

from networks import varied_images  # noqa: E402
from small_runs import ALIVE, ZOO, padded_run, small_model, small_run  # noqa: E402

from tltool.fcn.surgery import to_fcn  # noqa: E402
from tltool.mapping import mapper as methods  # noqa: E402
from tltool.mapping.image_map import write_map  # noqa: E402
from tltool.mapping.mapper import load_mapper  # noqa: E402
from tltool.tiling.engines import (  # noqa: E402
    AveragedEngine,
    ShiftAndStitchEngine,
    SlidingEngine,
    TensorFlowEngine,
)

SLOW = pytest.mark.slow
pytestmark = [
    pytest.mark.usefixtures("without_pictures"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]


def turned(array, turns, flip):
    """One of the eight, of (height, width, ...)."""
    array = np.rot90(array, turns)
    return array[:, ::-1] if flip else array


def unturned(array, turns, flip):
    return np.rot90(array[:, ::-1] if flip else array, -turns)


EIGHT = [(turns, flip) for turns in range(4) for flip in (False, True)]


def engines():
    model = small_model([ZOO])
    fcn = TensorFlowEngine(to_fcn(model))
    shifting = ShiftAndStitchEngine(fcn, 16, 4, 2)
    return {"fcn": fcn, "shifting": shifting, "sliding": SlidingEngine(model, 4)}


@pytest.mark.parametrize("name", ["fcn", "shifting", "sliding"])
def test_it_is_the_mean_of_the_eight_turned_back(name):
    engine = engines()[name]
    pixels = varied_images(1, 64)[0, :40, :64].astype(np.uint8)
    averaged = AveragedEngine(engine)
    expected = np.mean([unturned(engine(turned(pixels, *how)), *how) for how in EIGHT], axis=0)
    received = averaged(pixels)
    np.testing.assert_allclose(received, expected, atol=1e-6)
    assert (averaged.name, averaged.precision) == (engine.name, engine.precision)
    # It matters, and the answer to a turned tile is the turned answer.
    assert np.abs(received - engine(pixels)).max() > 0.01
    for how in EIGHT:
        np.testing.assert_allclose(
            averaged(turned(pixels, *how)), turned(received, *how), atol=1e-6
        )


def test_a_classifier_is_averaged_over_its_window():
    classifier = small_model([ZOO])
    pixels = varied_images(1, 16)[0]
    expected = classifier(np.stack([turned(pixels, *how) for how in EIGHT])).numpy().mean(0)
    engine = AveragedEngine(TensorFlowEngine(classifier, "float32"))
    np.testing.assert_allclose(engine(pixels), expected, atol=1e-6)


def map_of(mapper, pixels, folder):
    image = write_raster(folder / "a.tif", np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    with rasterio.open(write_map(mapper, image, folder / "maps").map_path) as source:
        return source.read().transpose(1, 2, 0)


# Cells lie alike from both sides where the squares of all of them fill the image, or, where the
# first begins `-origin` px before the image, as much more on either side.
@pytest.mark.parametrize(
    # Below 0: without context, so that tiles need surroundings.
    ("options", "zoom", "size"),
    [
        ({}, None, (40, 64)),
        ({"stride": 1, "tile": 30}, None, (26, 37)),
        ({"stride": 2, "shift_and_stitch": True, "tile": 44}, None, (40, 54)),
        ({"mode": "patches", "stride": 7}, None, (7 * 5 - 1, 7 * 8 - 1)),
        ({"tile": 120}, 1.0, (64, 96)),
        ({"tile": 120}, -1.0, (64, 160)),
        ({"tile": 120}, 1.5, (36, 52)),
    ],
)
def test_the_map_of_a_turned_image_is_the_turned_map(tmp_path, options, zoom, size):
    run = tmp_path / "run"
    small_run(run, ZOO, background="none") if zoom is None else padded_run(run, abs(zoom), zoom > 0)
    mapper = load_mapper(run, engine="tensorflow", tta="d4", **options)
    pixels = varied_images(1, 128)[0, : size[0], : size[1]].astype(np.uint8)
    axis = mapper.grid(type("Size", (), {"width": size[1], "height": size[0], "path": None})()).y
    assert axis.length - 2 * axis.origin == axis.cells * axis.cell_size
    whole = map_of(mapper, pixels, tmp_path)
    assert np.ptp(whole) > 0.01
    for how in EIGHT[1:6:2]:
        found = map_of(mapper, turned(pixels, *how), tmp_path)
        np.testing.assert_allclose(found, turned(whole, *how), atol=1e-5)


STITCHED = {"stride": 2, "shift_and_stitch": True}


@pytest.mark.parametrize("options", [{}, {"stride": 2}, pytest.param(STITCHED, marks=SLOW)])
def test_tiles_do_not_show_where_padding_reaches_into_them(tmp_path, options):
    run = tmp_path / "run"
    padded_run(run, context=False)
    pixels = varied_images(1, 112)[0, :90].astype(np.uint8)
    maps = []
    for tile in (None, 120):
        mapper = load_mapper(run, tile=tile, engine="tensorflow", tta="d4", **options)
        assert mapper.sidecar.reach[0] < 0
        assert sum(mapper.sidecar.reach) == 47
        maps.append(map_of(mapper, pixels, tmp_path))
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-5)
    plain = map_of(load_mapper(run, engine="tensorflow", **options), pixels, tmp_path)
    assert np.abs(plain - maps[0]).max() > 1e-3


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "patches"},
        *(pytest.param(each, marks=SLOW) for each in ({"stride": 2}, STITCHED)),
    ],
)
def test_tiles_do_not_show_and_the_fidelity_is_that_to_the_averaged_classifier(
    tmp_path, monkeypatch, options
):
    # Each costs eight runs of the classifier.
    monkeypatch.setattr(methods, "_WINDOWS", 24)
    run, options = tmp_path / "run", {**options, "tta": "d4", "engine": "tensorflow"}
    padded_run(run)
    pixels = varied_images(1, 128)[0].transpose(2, 0, 1)[:, :110].astype(np.uint8)
    image = write_raster(tmp_path / "a.tif", pixels)
    made = tltool.heatmap(run, [image], tmp_path / "whole", **options)[0]
    facts = json.loads(made.json_path.read_text())
    assert facts["tta"] == "d4"
    assert facts["fidelity"]["image"] == "a.tif"
    assert facts["fidelity"]["max_difference"] < 1e-5
    tiled = write_map(load_mapper(run, tile=96, **options), image, tmp_path / "tiled")
    assert json.loads(tiled.json_path.read_text())["this_run"]["tiles"] > facts["this_run"]["tiles"]
    with rasterio.open(made.map_path) as source, rasterio.open(tiled.map_path) as other:
        np.testing.assert_allclose(other.read(), source.read(), atol=1e-5)


def test_what_it_cannot_be_is_refused(tmp_path):
    small_run(tmp_path / "run", ALIVE)
    with pytest.raises(UsageError, match="`tta`: expected none or d4; received d8"):
        load_mapper(tmp_path / "run", tta="d8")
