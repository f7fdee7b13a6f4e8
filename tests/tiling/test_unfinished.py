"""Maps that are stopped: by an error, a kill at every step, a full disk."""

import json
import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from small_maps import SIDECAR, MeanEngine, expected_of, image_of, make_map, tiles_of

from tltool.errors import OutputError
from tltool.tiling.products import choose_product
from tltool.tiling.unfinished import Journal, UnfinishedMap, forget, journal_path

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def interrupt(path, image, tile, fails_at, error=KeyboardInterrupt, **more):
    with pytest.raises(error):
        make_map(path, image, tile, MeanEngine(fails_at, error), **more)


def test_a_map_is_its_engine_over_the_whole_image(tmp_path):
    image = image_of(70, 50)
    assert make_map(tmp_path / "a.tif", image, 100) == set()
    with rasterio.open(tmp_path / "a.tif") as source:
        np.testing.assert_allclose(source.read(), expected_of(image), rtol=1e-6)
    forget(tmp_path / "a.tif")
    assert names(tmp_path) == ["a.tif"]


@settings(max_examples=12, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([12, 40, 60]),
    st.sampled_from(["float32", "uint8", "uint16"]),
    st.lists(st.integers(0, 20), max_size=3),
)
def test_stopped_anywhere_any_number_of_times_the_bytes_are_the_same(
    tmp_path_factory, rows, columns, tile, dtype, stops
):
    folder, image = tmp_path_factory.mktemp("maps"), image_of(rows, columns)
    product, count = choose_product(SIDECAR, dtype), len(tiles_of(image, tile))
    make_map(folder / "whole.tif", image, tile, product=product)
    done = 0
    for stop in stops:
        if done + stop < count:
            interrupt(folder / "a.tif", image, tile, stop, product=product)
            assert not (folder / "a.tif").exists()
            done += stop
    engine = MeanEngine()
    found = make_map(folder / "a.tif", image, tile, engine, product=product)
    assert len(found) == done
    assert engine.calls == count - done
    assert (folder / "a.tif").read_bytes() == (folder / "whole.tif").read_bytes()


def test_what_was_stopped_before_its_first_tile_leaves_nothing(tmp_path):
    interrupt(tmp_path / "a.tif", image_of(9, 9), 20, 0)
    assert names(tmp_path) == []


def test_what_is_kept_is_told(tmp_path, caplog):
    caplog.set_level(logging.INFO, "tltool")
    image = image_of(20, 20)
    interrupt(tmp_path / "a.tif", image, 40, 3)
    assert caplog.messages[-1].endswith(
        "3 of 4 tiles are kept; the same command goes on from there"
    )
    make_map(tmp_path / "a.tif", image, 40)
    assert caplog.messages[-1].endswith("3 of 4 tiles are finished already; going on")


def test_another_fingerprint_begins_anew_with_one_line_that_says_why(tmp_path, caplog):
    image = image_of(20, 20)
    interrupt(tmp_path / "a.tif", image, 40, 3, fingerprint={"stride": 32, "tile": 40})
    caplog.clear()
    found = make_map(tmp_path / "a.tif", image, 40, fingerprint={"stride": 16, "tile": 40})
    assert found == set()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    told = "what an earlier run left is begun anew; changed: stride (was 32, is 16)"
    assert caplog.messages[0].endswith(told)


def test_values_that_a_power_cut_lost_are_made_again(tmp_path):
    image = image_of(20, 20)
    make_map(tmp_path / "whole.tif", image, 40)
    interrupt(tmp_path / "a.tif", image, 40, 3)
    store = journal_path(tmp_path / "a.tif").with_suffix(".tiles")
    size = store.stat().st_size
    with store.open("r+b") as file:
        file.seek(size // 4)
        file.write(bytes(40))
    assert make_map(tmp_path / "a.tif", image, 40) == {0, 2}
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()


def test_a_finished_map_is_known_until_its_note_is_removed(tmp_path):
    image, path = image_of(20, 20), tmp_path / "a.tif"
    make_map(path, image, 40)
    written = path.stat().st_mtime_ns
    assert make_map(path, image, 40, MeanEngine(0)) is None
    assert path.stat().st_mtime_ns == written
    # A picture that is gone, or was not asked for then, is a reason to make all again.
    assert make_map(path, image, 40, belonging=[tmp_path / "a.png"]) == set()
    forget(path)
    with pytest.raises(OutputError, match=r"a.tif exists already.*overwrite=True"):
        make_map(path, image, 40)
    assert names(tmp_path) == ["a.tif"]
    assert make_map(path, image, 40, overwrite=True) == set()


def test_a_former_map_is_not_replaced_by_going_on_without_leave(tmp_path):
    image, path = image_of(20, 20), tmp_path / "a.tif"
    path.write_text("former")
    interrupt(path, image, 40, 3, overwrite=True)
    with pytest.raises(OutputError, match="exists already"):
        make_map(path, image, 40)
    assert path.read_text() == "former"
    assert make_map(path, image, 40, overwrite=True) == {0, 1, 2}


def test_a_refused_call_keeps_what_another_left(tmp_path):
    image, path = image_of(20, 20), tmp_path / "a.tif"
    path.write_text("former")
    interrupt(path, image, 40, 3, overwrite=True)
    with pytest.raises(OutputError, match="exists already"):
        make_map(path, image, 40, fingerprint={"tile": 41})
    assert make_map(path, image, 40, overwrite=True) == {0, 1, 2}


def test_two_processes_do_not_make_one_map(tmp_path):
    image = image_of(20, 20)
    journal = Journal(journal_path(tmp_path / "a.tif"))
    with pytest.raises(OutputError, match="in use: another tltool"):
        make_map(tmp_path / "a.tif", image, 40)
    journal.close()
    make_map(tmp_path / "a.tif", image, 40)


def test_an_output_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/a\.tif could not be written"):
        make_map(tmp_path / "file" / "a.tif", image_of(9, 9), 20)


def test_a_class_map_shows_one_and_zero(tmp_path):
    image = image_of(12, 10)
    product = choose_product(SIDECAR, argmax=True)
    with UnfinishedMap(tmp_path / "a.tif", tiles_of(image, 20), product, {}) as work:
        from small_maps import predictor

        work.fill(image, predictor())
        shown = np.stack([work.shown(k, 2, 3, 7, 6) for k in range(3)])
    best = expected_of(image)[:, 2:9, 3:9].argmax(0)
    np.testing.assert_array_equal(shown, best == np.arange(3)[:, None, None])


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_cells_without_data_are_no_data_after_an_interruption_too(tmp_path, dtype):
    image, product = image_of(30, 30), choose_product(SIDECAR, dtype)
    data = np.zeros((30, 30), bool)
    data[:14, 3:20] = True

    class Cover:
        def skips(self, tile):
            return tile.y.cell >= 20

        def empty(self, tile):
            rows = slice(tile.y.cell, tile.y.cell + tile.y.cells)
            return ~data[rows, tile.x.cell : tile.x.cell + tile.x.cells]

    options = {"product": product, "cover": Cover()}
    interrupt(tmp_path / "a.tif", image, 40, 2, **options)
    engine = MeanEngine()
    make_map(tmp_path / "a.tif", image, 40, engine, **options)
    assert engine.calls == 2
    with rasterio.open(tmp_path / "a.tif") as source:
        found = product.encoding.decode(source.read())
    np.testing.assert_array_equal(np.isnan(found), np.broadcast_to(~data, found.shape))
    np.testing.assert_allclose(found[:, data], expected_of(image)[:, data], atol=1e-5)


# Runs in a process of its own, which forks one for each kill.
KILLED = """
    import os, random, signal, sys, warnings
    from pathlib import Path

    sys.path.insert(0, sys.argv[2])
    from small_maps import image_of, make_map
    from tltool.tiling import unfinished
    from tltool.raster import writing

    warnings.simplefilter("ignore")
    folder, image = Path(sys.argv[1]), image_of(270, 12)

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    class Steps:
        def __init__(self, last):
            self.left = last

        def hook(self, owner, name, torn=None):
            plain = getattr(owner, name)

            def hooked(*args, **kwargs):
                if self.left == 0:
                    if torn:
                        torn(plain, *args)
                    die()
                self.left -= 1
                return plain(*args, **kwargs)

            setattr(owner, name, hooked)

    def half_a_tile(put, self, place, values):
        values = values.copy()
        values[:, values.shape[1] // 2 :] = 9
        put(self, place, values)

    def half_a_line(append, self, line):
        self._file.write(line.encode()[: len(line) // 2])

    def in_child(last, path):
        child = os.fork()
        if not child:
            if last is not None:
                steps = Steps(last)
                steps.hook(unfinished.TileStore, "put", half_a_tile)
                steps.hook(unfinished.Journal, "_append", half_a_line)
                steps.hook(writing.MapWriter, "write")
                steps.hook(writing, "_read_back")
                steps.hook(os, "replace")
                steps.hook(os, "fsync")
                steps.hook(unfinished, "remove")
            make_map(path, image, 200)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert in_child(None, folder / "whole.tif") == 0
    whole = (folder / "whole.tif").read_bytes()
    path, kills, draw = folder / "a.tif", 0, random.Random(0)
    while in_child(kills, path) == -signal.SIGKILL:
        kills += 1
        if kills % 3 == 0:
            in_child(draw.randrange(8), path)
        assert in_child(None, path) == 0
        assert path.read_bytes() == whole, kills
        unfinished.forget(path)
        left = sorted(p.name for p in folder.iterdir())
        assert left[-2:] == ["a.tif", "whole.tif"] and len(left) == 3, left
        path.unlink()
    print(kills)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills are POSIX's")
def test_killed_at_every_step_the_bytes_are_the_same(tmp_path):
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(KILLED),
        tmp_path,
        Path(__file__).parents[1] / "helpers",
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) >= 30


FULL = """
    import json, resource, sys, warnings
    from pathlib import Path

    sys.path.insert(0, sys.argv[2])
    from small_maps import image_of, make_map

    warnings.simplefilter("ignore")
    folder, image, told = Path(sys.argv[1]), image_of(270, 60), []
    make_map(folder / "whole.tif", image, 200)
    whole = (folder / "whole.tif").read_bytes()
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    tiles = 270 * 60 * 3 * 4
    for size in (0, 500, tiles // 2, tiles, tiles + 9000, len(whole) - 900, len(whole) - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            make_map(folder / "a.tif", image, 200)
        except Exception as error:
            told.append([type(error).__name__, str(error), (folder / "a.tif").exists()])
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    make_map(folder / "a.tif", image, 200)
    print(json.dumps([told, (folder / "a.tif").read_bytes() == whole]))
"""


def test_a_full_disk_is_told_and_the_same_call_goes_on_later(tmp_path):
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(FULL),
        tmp_path,
        Path(__file__).parents[1] / "helpers",
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    told, same = json.loads(run.stdout)
    assert same
    assert len(told) == 7
    for kind, message, exists in told:
        assert (kind, exists) == ("OutputError", False)
        assert "a.tif could not be written: " in message
    assert told[-1][1].endswith("12 of 12 tiles are kept; the same command goes on from there")
