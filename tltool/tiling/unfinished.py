"""A map in the making: it survives being stopped at any point, and ends in the same bytes."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np

from tltool.errors import OutputError
from tltool.files import output_error, partial_path, refuse_existing, remove
from tltool.raster import Image
from tltool.raster.writing import BLOCK
from tltool.tiling.journal import Fingerprint, Journal
from tltool.tiling.pipeline import Behind, Cover, TilePredictor, predict_tiles
from tltool.tiling.products import Product
from tltool.tiling.store import TileStore
from tltool.tiling.tiles import Tile

logger = logging.getLogger("tltool")

# After so many seconds finished tiles are on the disk: what a power cut can cost.
_FLUSH_SECONDS = 5.0


class Writer(Protocol):
    """What a map's file is written through."""

    def write(self, row: int, column: int, values: np.ndarray, band: int | None = None) -> None:
        """Write a window of one band."""
        ...


def journal_path(path: Path) -> Path:
    """Where the journal of a map lies while the map is not finished."""
    partial = partial_path(path, durable=True)
    return partial.with_name(f"{partial.name}.journal")


def remembered(path: Path) -> Fingerprint:
    """What an unfinished map was made of; empty where there is none."""
    journal = journal_path(path)
    try:
        with journal.open("rb") as file:
            found = json.loads(file.readline())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


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
        Of the map.
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
        Places of the finished tiles in `tiles`.
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
        product: Product,
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
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._journal = Journal(self._journal_path)
        except OutputError:
            raise
        except OSError as error:
            raise output_error(self.path, error) from error
        try:
            self._take_up()
        except OSError as error:
            # What another map left is not ours to remove.
            self._leave(forget=not self._journal.checksums)
            if isinstance(error, OutputError):
                raise
            raise output_error(self.path, error) from error
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
        self._open_store()

    def _open_store(self) -> None:
        bands, dtype = self._product.bands, self._product.encoding.dtype
        self._store = TileStore(self._store_path, self._tiles, bands, dtype)
        checksums = self._journal.checksums
        known = (place for place in checksums if place < len(self._tiles))
        # A power cut may have saved the line and lost the values.
        self.done = {p for p in known if self._store.checksum(p) == checksums[p]}
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

    def put(self, place: int, values: np.ndarray | None) -> None:
        """Keep the (classes, rows, columns) probabilities of a tile; None: it has no data."""
        if values is None:
            tile = self._tiles[place]
            values = np.full((self._product.outputs, tile.y.cells, tile.x.cells), np.nan, "f4")
        with self._as_output_error():
            checksum = self._tile_store.put(place, self._product.stored(values))
            self._journal.add(place, checksum)
            self.done.add(place)
            if time.monotonic() - self._flushed > _FLUSH_SECONDS:
                self._flush()

    @contextmanager
    def _as_output_error(self) -> Iterator[None]:
        try:
            yield
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
        advance: Callable[[Tile, bool], None] = lambda tile, judged: None,
    ) -> None:
        """Predict all tiles that are not finished.

        Parameters
        ----------
        image : Image
        predictor : TilePredictor
        cover : Cover, optional
            As of `tltool.tiling.pipeline.predict_tiles`.
        advance : callable
            Gets each tile that is handed on, and whether it was predicted.
        """
        todo = [place for place in range(len(self._tiles)) if place not in self.done]
        stream = predict_tiles(image, (self._tiles[place] for place in todo), predictor, cover)
        behind = Behind[tuple[int, np.ndarray | None]](lambda found: self.put(*found))
        with behind as keep, closing(stream) as judged:
            for place, (tile, values) in zip(todo, judged, strict=True):
                keep((place, values))
                advance(tile, values is not None)

    def write(self, writer: Writer) -> None:
        """Write the map's file: band after band, whole blocks in their order.

        In that order the bytes of the file do not depend on what else fills
        the memory of the library that writes them.
        """
        for band in range(self._product.bands):
            for row, column, rows, columns in self._tile_store.windows(BLOCK):
                values = self._tile_store.read(row, column, rows, columns, band)
                writer.write(row, column, values[None], band)

    def shown(self, place: int, row: int, column: int, rows: int, columns: int) -> np.ndarray:
        """A window of one name's probabilities as the map has them: float32, NaN: no data."""
        band = place if self._product.chosen else 0
        return self._product.shown(self._tile_store.read(row, column, rows, columns, band), place)

    def has_data(self) -> bool:
        """Whether any cell has."""
        parts = (self.shown(0, *window) for window in self._tile_store.windows(BLOCK))
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
