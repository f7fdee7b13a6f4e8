"""A map in the making: it survives being stopped at any point, and ends in the same bytes."""

import errno
import json
import logging
import os
import time
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tltool.errors import OutputError
from tltool.files import output_error, partial_path, refuse_existing, remove
from tltool.raster import Image, MapWriter
from tltool.raster.writing import BLOCK
from tltool.raster.zarr_writing import ZarrWriter
from tltool.tiling.pipeline import Behind, Cover, TilePredictor, predict_tiles
from tltool.tiling.tiles import Tile

if TYPE_CHECKING:
    from tltool.tiling.products import Product

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows keeps others from an open file by itself
    fcntl = None  # type: ignore[assignment]


logger = logging.getLogger(__name__)

Fingerprint = Mapping[str, Any]

# Columns of a window that are read at once, at most.
_WIDEST = 1 << 13
# After so many seconds finished tiles are on the disk: what a power cut can cost.
_FLUSH_SECONDS = 5.0
_WRITE, _END = b"write", b"end"


class Journal:
    """The finished tiles of one map, and what the map is made of.

    The first line is JSON: all that decides the map's values. Each other line
    names a finished tile and the checksum of its values, or is ``write``: the
    map's file is about to get its name, or ``end``: all that belongs to the
    map is written. A line that was not written whole does not count, nor what
    is behind it.

    Parameters
    ----------
    path : Path
        Made where there is none; locked against other processes until it is
        closed.

    Attributes
    ----------
    fingerprint : dict or None
        What the map found is made of.
    checksums : dict of int to int
        Checksums of the tiles found finished.
    writing, ended : bool
        Whether these lines were found.

    Raises
    ------
    OutputError
        Where another process has it.
    """

    def __init__(self, path: Path):
        self.path = path
        self.fingerprint: dict[str, Any] | None = None
        self.checksums: dict[int, int] = {}
        self.writing = self.ended = False
        self._length = 0
        self._file = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)  # noqa: SIM115
        try:
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise OutputError(
                f"{self.path} is in use: another tltool is making this map. Wait for it, or name"
                " another output folder"
            ) from None
        except OSError:
            # A file system without locks: the user is trusted.
            pass
        data = self._file.readall()
        lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
        for number, line in enumerate(lines):
            words = line.split()
            if not number:
                self.fingerprint = _parse(line)
            elif words in ([_WRITE], [_END]):
                self.writing = True
                self.ended |= words == [_END]
            elif len(words) == 2 and all(word.isdigit() for word in words):
                self.checksums[int(words[0])] = int(words[1])
            else:
                break
            self._length += len(line)

    def changes(self, fingerprint: Fingerprint) -> list[str]:
        """Differences from the fingerprint found, in words; none where none was found."""
        found, expected = self.fingerprint or {}, as_json(fingerprint)
        keys = [key for key in {**expected, **found} if found.get(key) != expected.get(key)]
        was = [(key, found.get(key), expected.get(key)) for key in keys if found]
        return [f"{key} (was {old}, is {new})" for key, old, new in was]

    def go_on(self) -> None:
        """Append to what was found."""
        self._file.truncate(self._length)
        self._file.seek(self._length)

    def begin(self, fingerprint: Fingerprint) -> None:
        """Forget what was found."""
        self.checksums, self.writing, self.ended = {}, False, False
        self._file.truncate(0)
        self._file.seek(0)
        self._append(json.dumps(as_json(fingerprint)))

    def _append(self, line: str) -> None:
        data = line.encode() + b"\n"
        while data:
            data = data[self._file.write(data) :]

    def add(self, tile: int, checksum: int) -> None:
        """Note that a tile's values are written."""
        self._append(f"{tile} {checksum}")

    def write(self) -> None:
        """Note that the map's file is about to get its name."""
        self._append(_WRITE.decode())

    def end(self) -> None:
        """Note that all that belongs to the map is written."""
        self._append(_END.decode())

    def flush(self) -> None:
        """Wait until all lines are on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Release the file, and with it the lock."""
        self._file.close()


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def as_json(fingerprint: Fingerprint) -> dict[str, Any]:
    """A fingerprint as it is read again: of tuples lists."""
    return json.loads(json.dumps(dict(fingerprint)))


class TileStore:
    """A file with room for each tile's (bands, rows, columns) values.

    Parameters
    ----------
    path : Path
        Made where there is none.
    tiles : sequence of Tile
        Row by row, as `tltool.tiling.tiles.Grid.tiles` gives them.
    bands : int
    dtype : str

    Raises
    ------
    OSError
        Where there is no room for all tiles; it is taken at once.
    """

    def __init__(self, path: Path, tiles: Sequence[Tile], bands: int, dtype: str):
        self._tiles, self._bands, self._dtype = tiles, bands, np.dtype(dtype)
        self._across = sum(tile.y.cell == tiles[0].y.cell for tile in tiles)
        self._tops = [tile.y.cell for tile in tiles[:: self._across]]
        self._lefts = [tile.x.cell for tile in tiles[: self._across]]
        self.rows = tiles[-1].y.cell + tiles[-1].y.cells
        self.columns = tiles[-1].x.cell + tiles[-1].x.cells
        largest = max(tile.y.cells for tile in tiles) * max(tile.x.cells for tile in tiles)
        self._room = bands * largest * self._dtype.itemsize
        self.path = path
        self._file = open(path, "r+b" if path.exists() else "w+b", buffering=0)  # noqa: SIM115
        size = self._room * len(tiles)
        # Known now, not after hours; a file of the right size has the room already.
        if os.fstat(self._file.fileno()).st_size == size:
            return
        self._file.truncate(0)
        try:
            os.posix_fallocate(self._file.fileno(), 0, size)
        except (AttributeError, OSError) as error:
            unknown = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
            if isinstance(error, OSError) and error.errno not in unknown:
                self._file.truncate(0)
                self.close()
                raise
            self._file.truncate(size)

    def close(self) -> None:
        """Release the file; what was put stays in it."""
        self._file.close()

    def flush(self) -> None:
        """Wait until all that was put is on the disk."""
        os.fsync(self._file.fileno())

    def put(self, index: int, values: np.ndarray) -> int:
        """Write the values of the tile of this index; returns their checksum."""
        data = memoryview(np.ascontiguousarray(values, self._dtype).tobytes())
        checksum = zlib.crc32(data)
        self._file.seek(index * self._room)
        while data:
            data = data[self._file.write(data) :]
        return checksum

    def checksum(self, index: int) -> int:
        """Compute the checksum of what the file holds of a tile."""
        size = self._bands * self._tiles[index].cells * self._dtype.itemsize
        return zlib.crc32(self._bytes(index * self._room, size))

    def _bytes(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        parts = []
        while size and (part := self._file.read(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def read(self, row: int, column: int, rows: int, columns: int, band: int) -> np.ndarray:
        """Read a window of one band: (rows, columns) as they were put."""
        values = np.empty((rows, columns), self._dtype)
        down = range(bisect_right(self._tops, row) - 1, bisect_right(self._tops, row + rows - 1))
        across = range(
            bisect_right(self._lefts, column) - 1, bisect_right(self._lefts, column + columns - 1)
        )
        for line, step in product(down, across):
            index = line * self._across + step
            y, x = self._tiles[index].y, self._tiles[index].x
            top, bottom = max(row, y.cell), min(row + rows, y.cell + y.cells)
            left, right = max(column, x.cell), min(column + columns, x.cell + x.cells)
            # Whole rows of the tile, of which each lies in one piece.
            start = (band * y.cells + top - y.cell) * x.cells * self._dtype.itemsize
            size = (bottom - top) * x.cells * self._dtype.itemsize
            data = self._bytes(index * self._room + start, size)
            inner = np.frombuffer(data, self._dtype).reshape(-1, x.cells)
            values[top - row : bottom - row, left - column : right - column] = inner[
                :, left - x.cell : right - x.cell
            ]
        return values


def block_windows(shape: tuple[int, int], side: int = BLOCK) -> Iterator[tuple[int, int, int, int]]:
    """Divide a map into windows (row, column, rows, columns) that are whole blocks of its file.

    In their order a map is written: the bytes of a file then do not depend on
    what else fills the memory of the library that writes it.
    """
    widest = side * max(1, _WIDEST // side)
    for row in range(0, shape[0], side):
        for column in range(0, shape[1], widest):
            yield row, column, min(side, shape[0] - row), min(widest, shape[1] - column)


def journal_path(path: Path) -> Path:
    """Path of the journal of a map while the map is not finished."""
    partial = partial_path(path, durable=True)
    return partial.with_name(f"{partial.name}.journal")


def remembered(path: Path) -> Fingerprint:
    """Read what an unfinished map was made of; empty where there is none."""
    try:
        with journal_path(path).open("rb") as file:
            return _parse(file.readline()) or {}
    except OSError:
        return {}


def _store_path(path: Path) -> Path:
    return journal_path(path).with_suffix(".tiles")


class UnfinishedMap:
    """The finished tiles of a map, kept beside it until all that belongs to it is written.

    Use it as a context manager. Leaving it by an exception keeps what is
    finished; the same map, opened again, goes on from there. `finish` gives
    the disk back.

    Parameters
    ----------
    path : Path
        Path of the map.
    tiles : sequence of Tile
        Row by row.
    product : Product
    fingerprint : mapping
        All that decides the map's values; where it differs from what is found
        the map is begun anew, with one line that says what changed.
    belonging : sequence of Path
        What is written beside the map before it is finished.
    overwrite : bool
        Whether an earlier map may be replaced.

    Attributes
    ----------
    done : set of int
        Indices of the finished tiles in `tiles`.
    ended : bool
        Whether all was finished by an earlier run: nothing is kept then but
        that fact.

    Raises
    ------
    OutputError
        Where an earlier map may not be replaced, there is no room or no right
        to write, or another process makes the same map.
    """

    def __init__(
        self,
        path: Path,
        tiles: Sequence[Tile],
        product: "Product",
        fingerprint: Fingerprint,
        belonging: Sequence[Path] = (),
        overwrite: bool = False,
    ):
        self.path, self._tiles, self._product = path, tiles, product
        self._fingerprint, self._belonging = fingerprint, (path, *belonging)
        self._overwrite = overwrite
        self._journal_path = journal_path(path)
        self._store_path = _store_path(path)
        self.done: set[int] = set()
        self.ended = False
        self._store: TileStore | None = None
        self._flushed = time.monotonic()

    def __enter__(self) -> "UnfinishedMap":
        with self._as_output_error():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._journal = Journal(self._journal_path)
            try:
                self._take_up()
            except OSError:
                # What another map left is not ours to remove.
                self._leave(forget=not self._journal.checksums)
                raise
        return self

    def _take_up(self) -> None:
        journal = self._journal
        changes = journal.changes(self._fingerprint)
        same = journal.fingerprint is not None and not changes
        if not (same and journal.writing):
            refuse_existing(self.path, self._overwrite)
        self.ended = same and journal.ended and all(path.exists() for path in self._belonging)
        if self.ended:
            # A kill may have left them.
            remove(self._store_path)
            return
        if changes and (journal.checksums or journal.ended):
            what = ", ".join(changes)
            logger.warning(
                "%s: what an earlier run left is begun anew; changed: %s", self.path, what
            )
        if same and not journal.ended:
            journal.go_on()
        else:
            journal.begin(self._fingerprint)
        bands, dtype = self._product.bands, self._product.encoding.dtype
        self._store = TileStore(self._store_path, self._tiles, bands, dtype)
        checksums = journal.checksums
        known = (index for index in checksums if index < len(self._tiles))
        # A power cut may have saved the line and lost the values.
        self.done = {k for k in known if self._store.checksum(k) == checksums[k]}
        if self.done:
            logger.info(
                "%s: %d of %d tiles are finished already; going on",
                self.path,
                len(self.done),
                len(self._tiles),
            )

    def _leave(self, forget: bool) -> None:
        if self._store is not None:
            self._store.close()
        if forget:
            # Before the lock is gone: another process may begin the same map then.
            remove(self._store_path)
            remove(self._journal_path)
        self._journal.close()

    def put(self, index: int, values: np.ndarray | None) -> None:
        """Keep the (classes, rows, columns) probabilities of a tile; None: it has no data."""
        if values is None:
            tile = self._tiles[index]
            values = np.full((self._product.outputs, tile.y.cells, tile.x.cells), np.nan, "f4")
        with self._as_output_error():
            checksum = self._tile_store.put(index, self._product.stored(values))
            self._journal.add(index, checksum)
            self.done.add(index)
            if time.monotonic() - self._flushed > _FLUSH_SECONDS:
                self._flush()

    @contextmanager
    def _as_output_error(self) -> Iterator[None]:
        try:
            yield
        except OutputError:
            raise
        except OSError as error:
            raise output_error(self.path, error) from error

    @property
    def _tile_store(self) -> TileStore:
        assert self._store is not None  # open unless all has ended
        return self._store

    def _flush(self) -> None:
        self._tile_store.flush()
        self._journal.flush()
        self._flushed = time.monotonic()

    def fill(
        self,
        image: Image,
        predictor: TilePredictor,
        cover: Cover | None = None,
        advance: Callable[[Tile, bool], None] = lambda tile, has_data: None,
    ) -> None:
        """Predict all tiles that are not finished.

        Parameters
        ----------
        image : Image
        predictor : TilePredictor
        cover : Cover, optional
            As for `tltool.tiling.pipeline.predict_tiles`.
        advance : callable
            Gets each tile that is handed on, and whether it was predicted.
        """
        todo = [index for index in range(len(self._tiles)) if index not in self.done]
        stream = predict_tiles(image, (self._tiles[index] for index in todo), predictor, cover)
        behind = Behind[tuple[int, np.ndarray | None]](lambda found: self.put(*found))
        with behind as keep, closing(stream) as predicted:
            for index, (tile, values) in zip(todo, predicted, strict=True):
                keep((index, values))
                advance(tile, values is not None)

    def write(self, writer: MapWriter | ZarrWriter) -> None:
        """Write the map's file: band after band, whole blocks in their order."""
        for band in range(self._product.bands):
            for row, column, rows, columns in block_windows(self.shape):
                values = self._tile_store.read(row, column, rows, columns, band)
                writer.write(row, column, values[None], band)

    def shown(self, name: int, row: int, column: int, rows: int, columns: int) -> np.ndarray:
        """Read a window of one name's probabilities as the map has them: float32, NaN: no data."""
        band = name if self._product.chosen else 0
        return self._product.shown(self._tile_store.read(row, column, rows, columns, band), name)

    def has_data(self) -> bool:
        """Whether any cell has."""
        parts = (self.shown(0, *window) for window in block_windows(self.shape))
        return any(np.isfinite(part).any() for part in parts)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the map."""
        return self._tile_store.rows, self._tile_store.columns

    def writing(self) -> None:
        """Note that the map's file is about to get its name: an earlier one may be replaced."""
        with self._as_output_error():
            self._flush()
            self._journal.write()
            self._journal.flush()

    def finish(self) -> None:
        """Note that all is written; the tiles are given up, the note stays until `forget`."""
        with self._as_output_error():
            self._journal.end()
            self._journal.flush()
        self._tile_store.close()
        remove(self._store_path)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        failed = error is not None and not self.ended
        self._leave(forget=failed and not self.done)
        if not failed or not self.done:
            return
        kept = (
            f"{len(self.done)} of {len(self._tiles)} tiles are kept; the same command goes on from"
            " there"
        )
        if isinstance(error, OutputError):
            raise OutputError(f"{str(error).rstrip('.')}. {kept}") from error
        logger.info("%s: %s", self.path, kept)


def forget(path: Path) -> None:
    """Remove the note that a map is finished: the call that made it is over."""
    remove(_store_path(path))
    remove(journal_path(path))
