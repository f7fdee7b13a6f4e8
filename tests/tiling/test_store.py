import errno
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_maps import image_of, tiles_of

from tltool.tiling.unfinished import TileStore, block_windows


def fill(path, rows, columns, tile, bands=2, order=None):
    """A store of random values, put in some order, and the values."""
    tiles = tiles_of(image_of(rows, columns), tile)
    values = np.random.default_rng(0).random((bands, rows, columns), np.float32)
    store = TileStore(path, tiles, bands, "float32")
    for place in order or range(len(tiles)):
        y, x = tiles[place].y, tiles[place].x
        store.put(place, values[:, y.cell : y.cell + y.cells, x.cell : x.cell + x.cells])
    return store, values


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([8, 20, 36]), st.data())
def test_any_window_of_any_band_comes_back(tmp_path_factory, rows, columns, tile, data):
    path = tmp_path_factory.mktemp("store") / "tiles"
    store, values = fill(path, rows, columns, tile)
    assert (store.rows, store.columns) == (rows, columns)
    row, column = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    height = data.draw(st.integers(1, rows - row))
    width = data.draw(st.integers(1, columns - column))
    for band in range(2):
        window = store.read(row, column, height, width, band)
        part = values[band, row : row + height, column : column + width]
        np.testing.assert_array_equal(window, part)
    store.close()


def test_the_file_does_not_depend_on_the_order_nor_on_writing_twice(tmp_path):
    count = len(tiles_of(image_of(25, 23), 40))
    fill(tmp_path / "a", 25, 23, 40)[0].close()
    fill(tmp_path / "b", 25, 23, 40, order=[*range(count)[::-1], 2, 1, 2])[0].close()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_windows_are_whole_blocks_and_cover_the_map_once():
    seen = np.zeros((45, 39), int)
    for row, column, rows, columns in block_windows((45, 39), 16):
        assert row % 16 == column % 16 == 0
        assert rows % 16 == 0 or row + rows == 45
        assert columns % 16 == 0 or column + columns == 39
        seen[row : row + rows, column : column + columns] += 1
    assert (seen == 1).all()


def test_a_changed_byte_changes_the_checksum(tmp_path):
    store, _ = fill(tmp_path / "a", 9, 9, 20)
    before = [store.checksum(place) for place in range(4)]
    with (tmp_path / "a").open("r+b") as file:
        # The first of four equal places that no tile fills but the first.
        last = 3 * (tmp_path / "a").stat().st_size // 4
        file.seek(last)
        byte = file.read(1)
        file.seek(last)
        file.write(bytes([byte[0] ^ 1]))
    after = [store.checksum(place) for place in range(4)]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True] * 3 + [False]


def test_room_for_all_tiles_is_taken_at_once(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    tiles = tiles_of(image_of(9, 9), 20)
    TileStore(tmp_path / "a", tiles, 2, "uint8").close()
    facts = (tmp_path / "a").stat()
    assert facts.st_size == 4 * 2 * 25
    assert facts.st_blocks > 0
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        TileStore(tmp_path / "b", tiles, 2, "uint8")
    assert (tmp_path / "b").stat().st_size == 0
