import threading
import time

import numpy as np
import pytest
from small_maps import MeanEngine, expected_of, image_of, make_map, predictor, tiles_of

from tltool.prefetch import prefetch
from tltool.tiling.pipeline import Behind, predict_tiles
from tltool.tiling.unfinished import UnfinishedMap


class Cover:
    """Data in part of the cells: bool (rows, columns)."""

    def __init__(self, data, told):
        self.data, self._told, self.asked = data, told, []

    def _part(self, tile):
        rows = slice(tile.y.cell, tile.y.cell + tile.y.cells)
        return self.data[rows, tile.x.cell : tile.x.cell + tile.x.cells]

    def skips(self, tile):
        return self._told and not self._part(tile).any()

    def empty(self, tile):
        self.asked.append(tile)
        part = self._part(tile)
        return None if part.all() else ~part


class Counting:
    """An image that counts what is read of it."""

    def __init__(self, image):
        self.width, self.height, self._image, self.reads = image.width, image.height, image, 0

    def read(self, *window):
        self.reads += 1
        return self._image.read(*window)


def test_no_more_than_a_few_items_are_ahead():
    begun = []
    for item, _ in enumerate(prefetch(begun.append, range(20))):
        time.sleep(0.002)
        assert len(begun) <= item + 4
    assert begun == list(range(20))


def test_no_more_than_a_few_items_wait_behind():
    gate, done = threading.Semaphore(0), []

    def slow(item):
        gate.acquire()
        done.append(item)

    handed = []
    with Behind(slow, depth=2) as hand_on:

        def feed():
            for item in range(6):
                hand_on(item)
                handed.append(item)

        feeder = threading.Thread(target=feed)
        feeder.start()
        time.sleep(0.05)
        assert handed == [0, 1]
        for _ in range(6):
            gate.release()
        feeder.join()
    assert done == list(range(6))


def test_what_writing_raises_comes_out_and_nothing_follows_it():
    done = []

    def write(item):
        if item == 2:
            raise ValueError("full")
        done.append(item)

    def hand_on_ten():
        with Behind(write, depth=1) as hand_on:
            for item in range(10):
                hand_on(item)

    with pytest.raises(ValueError, match="full"):
        hand_on_ten()
    assert done == [0, 1]


def test_what_was_handed_on_is_done_where_the_block_fails():
    done = []

    def write(item):
        time.sleep(0.01)
        done.append(item)

    def hand_on_and_fail():
        with Behind(write) as hand_on:
            hand_on(1)
            hand_on(2)
            raise KeyError

    with pytest.raises(KeyError):
        hand_on_and_fail()
    assert done == [1, 2]


@pytest.mark.parametrize("told", [True, False])
def test_tiles_without_data_are_not_judged_and_where_that_is_told_not_read(told):
    image = image_of(60, 50)
    data = np.zeros((60, 50), bool)
    data[3:20, 4:21] = True
    tiles, cover, counting = tiles_of(image, 40), Cover(data, told), Counting(image)
    engine = MeanEngine()
    values = np.full((3, 60, 50), np.inf)
    for tile, found in predict_tiles(counting, tiles, predictor(engine), cover):
        rows = slice(tile.y.cell, tile.y.cell + tile.y.cells)
        columns = slice(tile.x.cell, tile.x.cell + tile.x.cells)
        values[:, rows, columns] = np.nan if found is None else found
    expected = np.where(data, expected_of(image), np.nan)
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    some = sum(cover._part(tile).any() for tile in tiles)
    assert engine.calls == counting.reads == some < len(tiles)
    assert len(cover.asked) == (some if told else len(tiles))


def test_reading_that_fails_is_told_at_its_tile():
    class Broken:
        width, height = 160, 160

        def read(self, x, y, *size):
            if y > 80:
                raise OSError("truncated")
            return np.zeros((size[1], size[0], 3), np.uint8)

    done = []
    stream = predict_tiles(Broken(), tiles_of(Broken(), 40), predictor())
    with pytest.raises(OSError, match="truncated"):
        done.extend(tile for tile, _ in stream)
    assert [tile.y.start for tile in done] == [0] * 4 + [40] * 4 + [80] * 4


def test_nothing_reads_any_more_when_it_is_closed_in_the_middle():
    """Who closes the image next must not meet a thread that reads it."""
    reading, begun = threading.Event(), []

    class Slow(Counting):
        def read(self, *window):
            reading.set()
            begun.append(window)
            time.sleep(0.02)
            pixels = super().read(*window)
            begun.pop()
            return pixels

    image = Slow(image_of(60, 50))
    stream = predict_tiles(image, tiles_of(image, 40), predictor())
    next(stream)
    reading.clear()
    assert reading.wait(5)
    stream.close()
    assert begun == []


def test_a_map_that_cannot_be_kept_leaves_no_thread_reading(tmp_path, monkeypatch):
    def stop(self, place, values):
        raise KeyboardInterrupt

    monkeypatch.setattr(UnfinishedMap, "put", stop)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt) as stopped:
        make_map(tmp_path / "a.tif", image_of(60, 50), 40)
    # Its frames, and what they hold, live as long as the exception does.
    assert stopped.value.__traceback__ is not None
    assert threading.active_count() == before
