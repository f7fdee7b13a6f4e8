"""Which tiles of a map are finished: a text file that survives being cut anywhere."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows keeps others from an open file by itself
    fcntl = None  # type: ignore[assignment]

from tltool.errors import OutputError

Fingerprint = Mapping[str, Any]

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
        Of the tiles found finished.
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
        self._file = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)  # noqa: SIM115
        try:
            self._lock()
            self._read()
        except BaseException:
            self.close()
            raise

    def _lock(self) -> None:
        if fcntl is None:  # pragma: no cover
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                f"{self.path} is in use: another tltool is making this map. Wait for it, or name"
                " another output folder"
            ) from None
        except OSError:
            # A file system without locks: the user is trusted.
            return

    def _read(self) -> None:
        data = self._file.readall()
        lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
        self.fingerprint = _parse(lines[0]) if lines else None
        self._length = len(lines[0]) if lines else 0
        for line in lines[1:]:
            if not self._believe(line.split()):
                break
            self._length += len(line)

    def _believe(self, words: list[bytes]) -> bool:
        if words in ([_WRITE], [_END]):
            self.writing = True
            self.ended |= words == [_END]
        elif len(words) == 2 and all(word.isdigit() for word in words):
            self.checksums[int(words[0])] = int(words[1])
        else:
            return False
        return True

    def changes(self, fingerprint: Fingerprint) -> list[str]:
        """What differs from the fingerprint found, in words; none where none was found."""
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
