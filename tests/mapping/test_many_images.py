"""Several images in one call: those that fail, those that an interrupted call had finished."""

import json
import logging
import shutil
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import rasterio
from PIL import Image

import tltool
from tltool.cli.main import main
from tltool.errors import ImageError, MapsError, OutputError
from tltool.runtime import quiet_import

quiet_import("keras")

from small_runs import ZOO, small_run  # noqa: E402

from tltool.tiling.pipeline import EnginePredictor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
TILE = 48
KINDS = ("heatmap.tif", "json", "overlay.png")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    small_run(folder, ZOO, background="none")
    tltool.convert(folder)
    return folder


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in "abc":
        blobs = rng.integers(0, 256, (25, 30, 3), np.uint8)
        pixels = np.kron(blobs, np.ones((5, 5, 1), np.uint8))
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def stop_at(monkeypatch, calls, error=KeyboardInterrupt):
    """Make the n-th tile from now on fail, once."""
    plain, left = EnginePredictor.predict, [calls]

    def predict(self, pixels, tile):
        left[0] -= 1
        if left[0] == -1:
            raise error
        return plain(self, pixels, tile)

    monkeypatch.setattr(EnginePredictor, "predict", predict)


def test_one_that_cannot_be_mapped_does_not_stop_the_others(run, images, tmp_path, capsys):
    (images / "b.png").write_bytes((images / "b.png").read_bytes()[:900])
    Image.new("RGB", (8, 80)).save(images / "narrow.png")
    arguments = ["heatmap", str(run), str(images / "*.png"), "-o", str(tmp_path / "maps")]
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 1
    told = capsys.readouterr()
    last = told.err.splitlines()[-1]
    assert last.startswith("tltool: 2 of 4 images could not be mapped: ")
    assert "b.png cannot be read" in last
    assert "narrow.png is 8 x 80 px: expected at least the 16 px of a patch" in last
    assert last.endswith(f"The maps of the others are in {tmp_path / 'maps'}")
    assert "a.heatmap.tif: 0.0 Mpx in" in told.out
    assert "c.heatmap.tif" in told.out
    shown = [name for name in names(tmp_path / "maps") if not name.startswith(".")]
    assert shown == [f"{stem}.{kind}" for stem in "ac" for kind in KINDS]


def test_mended_images_are_mapped_by_the_same_call_and_the_others_kept(run, images, tmp_path):
    whole = (images / "b.png").read_bytes()
    (images / "b.png").write_bytes(whole[:900])
    with pytest.raises(MapsError) as failed:
        tltool.heatmap(run, [images], tmp_path / "maps")
    assert [made.image.name for made in failed.value.made] == ["a.png", "c.png"]
    assert [path.name for path in failed.value.failed] == ["b.png"]
    (images / "b.png").write_bytes(whole)
    made = tltool.heatmap(run, [images], tmp_path / "maps")
    assert [each.seconds > 0 for each in made] == [False, True, False]
    assert names(tmp_path / "maps") == [f"{stem}.{kind}" for stem in "abc" for kind in KINDS]
    with pytest.raises(OutputError, match=r"a.heatmap.tif exists already"):
        tltool.heatmap(run, [images], tmp_path / "maps")


@pytest.mark.parametrize("stop", [pytest.param(4, marks=pytest.mark.slow), 31])
def test_an_interrupted_call_goes_on_and_ends_in_the_same_files(
    run, images, tmp_path, monkeypatch, stop
):
    options = {"tile": TILE, "dtype": "uint8", "preview": True}
    tltool.heatmap(run, [images], tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        stop_at(patch, stop)
        with pytest.raises(KeyboardInterrupt):
            tltool.heatmap(run, [images], tmp_path / "maps", **options)
    made = tltool.heatmap(run, [images], tmp_path / "maps", **options)
    check_same(tmp_path / "maps", tmp_path / "whole")
    tiles = json.loads(made[0].json_path.read_text())["this_run"]["tiles"]
    resumed = json.loads(made[stop // tiles].json_path.read_text())["this_run"]["tiles_resumed"]
    assert (tiles, resumed) == (20, stop % tiles)


def test_pictures_that_were_not_written_are_written(run, images, tmp_path, monkeypatch):
    from tltool.mapping import image_map

    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(image_map, "write_overlay", fail)
        with pytest.raises(KeyboardInterrupt):
            tltool.heatmap(run, [images / "a.png"], tmp_path / "maps")
    written = (tmp_path / "maps" / "a.heatmap.tif").read_bytes()
    tltool.heatmap(run, [images / "a.png"], tmp_path / "maps")
    assert names(tmp_path / "maps") == [f"a.{kind}" for kind in KINDS]
    assert (tmp_path / "maps" / "a.heatmap.tif").read_bytes() == written


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("options", "tile"),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (("model", "model"), ("image", "image files"))
        ),
    ],
)
def test_what_changed_meanwhile_is_told_and_all_made_anew(
    run, images, tmp_path, monkeypatch, caplog, change, told
):
    caplog.set_level(logging.WARNING, "tltool")
    shutil.copytree(run, tmp_path / "run")
    image, tile = images / "a.png", TILE
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            tltool.heatmap(tmp_path / "run", [image], tmp_path / "maps", tile=tile)
    if change == "model":
        with (tmp_path / "run" / "fcn.keras").open("ab") as file:
            file.write(b"\0")
    elif change == "image":
        pixels = np.asarray(Image.open(image))
        Image.fromarray(255 - pixels).save(image)
    else:
        tile = 64
    made = tltool.heatmap(tmp_path / "run", [image], tmp_path / "maps", tile=tile)[0]
    assert json.loads(made.json_path.read_text())["this_run"]["tiles_resumed"] == 0
    assert len(caplog.messages) == 1
    assert f"is begun anew; changed: {told} (was " in caplog.messages[0]


def test_patterns_that_the_shell_left_are_expanded(run, images, tmp_path):
    (images / "a.txt").touch()
    sources = [str(images / "[ab].*"), images / "a.png"]
    made = tltool.heatmap(run, sources, tmp_path / "maps")
    assert [each.image.name for each in made] == ["a.png", "b.png"]
    with pytest.raises(ImageError, match=r"\*.txt: expected a pattern that images match .*und 1 o"):
        tltool.heatmap(run, [images / "*.txt"], tmp_path / "maps")


def test_all_kinds_of_maps_agree(run, images, tmp_path):
    image = images / "a.png"
    exact = tltool.heatmap(run, [image], tmp_path / "exact")[0]
    with rasterio.open(exact.map_path) as source:
        values = source.read()
    made = tltool.heatmap(
        run, [image], tmp_path / "b", dtype="uint16", cog=True, full_resolution=True
    )[0]
    with rasterio.open(made.map_path) as source:
        assert source.profile["dtype"] == "uint16"
        np.testing.assert_allclose(source.read() * source.scales[0], values, atol=1e-5)
    with rasterio.open(made.full_path) as full:
        assert (full.shape, full.dtypes[0]) == ((125, 150), "uint16")
        inner = full.read()[:, 2::4, 2::4] * full.scales[0]
    assert np.abs(inner[:, :31, :37] - values[:, :31, :37]).max() < 0.2
    best = tltool.heatmap(run, [image], tmp_path / "c", argmax=True)[0]
    with rasterio.open(best.map_path) as source:
        np.testing.assert_array_equal(source.read(1), values.argmax(0))
    some = tltool.heatmap(run, [image], tmp_path / "d", classes=["seal"])[0]
    with rasterio.open(some.map_path) as source:
        assert source.descriptions == ("seal",)
        np.testing.assert_array_equal(source.read(1), values[2])


@pytest.mark.slow
def test_a_zarr_store_of_a_call(run, images, tmp_path):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    exact = tltool.heatmap(run, [images / "a.png"], tmp_path / "exact")[0]
    made = tltool.heatmap(run, [images / "a.png"], tmp_path / "maps", format="zarr")[0]
    store = zarr.open_group(str(made.map_path), mode="r")["heatmap"]
    with rasterio.open(exact.map_path) as source:
        np.testing.assert_array_equal(store[:], source.read())
    assert made.overlay_path.read_bytes() == exact.overlay_path.read_bytes()


KILLED = """
    import sys
    from tltool.cli.main import main

    main(sys.argv[1:])
"""


@pytest.mark.slow
def test_killed_twenty_times_at_random_points_the_files_are_the_same(run, tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "images"
    folder.mkdir()
    for name in "ab":
        pixels = rng.integers(0, 256, (100, 100, 3), np.uint8)
        pixels = np.kron(pixels, np.ones((8, 8, 1), np.uint8))
        Image.fromarray(pixels).save(folder / f"{name}.png")

    def call(out):
        words = ["heatmap", run, folder, "--tile", 20, "--cog", "--preview", "-o", out]
        command = [sys.executable, "-c", textwrap.dedent(KILLED), *map(str, words)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    assert call(tmp_path / "whole").wait() == 0
    maps, kills = tmp_path / "maps", 0
    while kills < 20:
        process = call(maps)
        while not (maps.is_dir() and any(maps.glob(".partial-*"))) and process.poll() is None:
            time.sleep(0.01)
        # What is left to do becomes less: later kills meet the writing and the pictures.
        time.sleep(rng.uniform(0, 1.5))
        process.kill()
        killed = process.wait() != 0
        kills += killed
        if killed:
            continue
        check_same(maps, tmp_path / "whole")
        shutil.rmtree(maps)
    assert call(maps).wait() == 0
    check_same(maps, tmp_path / "whole")


def check_same(maps, whole):
    assert names(maps) == names(whole)
    for path in whole.iterdir():
        if path.suffix != ".json":
            assert (maps / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "zarr", "--cog"], "--cog: expected --format geotiff"),
        (["--argmax", "--full-resolution"], "--full-resolution: expected probabilities"),
        (["--classes", "seal,cat"], "--classes: expected some of bird, none, seal; received cat"),
    ],
)
def test_options_that_exclude_each_other_are_refused(
    run, images, tmp_path, capsys, options, message
):
    with pytest.raises(SystemExit) as stopped:
        main(["heatmap", str(run), str(images), "-o", str(tmp_path / "maps"), *options])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "maps").exists()
