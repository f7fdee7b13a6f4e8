"""Reading PyTorch's archives of tensors (``.pth``) without PyTorch, and without running anything.

Such a file is a pickle that names tensors and where their numbers lie: in a
zip archive beside the pickle (``torch.save`` since 1.6), or one after the
other behind it in the same file (before). A pickle is a program for a stack
machine, and a hostile one can call anything. Here its operations are walked
one by one on a stack of our own: only those that build text, whole numbers,
tuples, lists and dictionaries are known, the few names that a dictionary of
tensors needs are symbols that nothing is imported for, and everything else
is refused. Numbers are views of the file's bytes, so that a small file cannot
ask for much memory.

References
----------
Python's ``pickletools`` documents the operations, ``torch/serialization.py``
(BSD-3) both layouts.
"""

import io
import pickletools
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tltool.errors import WeightsError

_MOST_BYTES = 2 << 30
_MOST_PICKLED = 16 << 20

# The first two pickles of the older layout.
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001

_DTYPES = {
    "torch DoubleStorage": "<f8",
    "torch FloatStorage": "<f4",
    "torch HalfStorage": "<f2",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
    "torch ShortStorage": "<i2",
    "torch CharStorage": "|i1",
    "torch ByteStorage": "|u1",
    "torch BoolStorage": "|b1",
}
_DICT, _TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"

_MARK = object()
_NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1")
_TEXTS = ("BINUNICODE", "SHORT_BINUNICODE")
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_SHORT_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Refused(Exception):
    """What is wrong with the archive."""


@dataclass(frozen=True)
class _Symbol:
    """One of the names that an archive of tensors may mention; stands for nothing."""

    name: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _whole_numbers(values: Any) -> bool:
    return isinstance(values, tuple) and all(type(v) is int and v >= 0 for v in values)


def _storage(reference: Any) -> _Storage:
    if (
        isinstance(reference, tuple)
        and len(reference) in (5, 6)
        and reference[0] == "storage"
        and isinstance(reference[1], _Symbol)
        and reference[1].name in _DTYPES
        and isinstance(reference[2], str)
        and _whole_numbers(reference[4:5])
        and all(view is None for view in reference[5:])
    ):
        return _Storage(reference[2], np.dtype(_DTYPES[reference[1].name]), reference[4])
    raise _Refused("refers to something other than a storage of numbers")


def _tensor(arguments: tuple[Any, ...]) -> _Tensor:
    if not 6 <= len(arguments) <= 7 or not isinstance(arguments[0], _Storage):
        raise _Refused("describes a tensor in an unknown way")
    storage, offset, shape, strides = arguments[:4]
    if (
        not _whole_numbers((offset,))
        or not _whole_numbers(shape)
        or not _whole_numbers(strides)
        or not len(shape) == len(strides) <= 8
    ):
        raise _Refused("describes a tensor in an unknown way")
    # Python's whole numbers: nothing overflows.
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    size = 1
    for length in shape:
        size *= length
    if size > storage.count or (size and last >= storage.count):
        raise _Refused(f"describes a tensor larger than its storage of {storage.count} numbers")
    return _Tensor(storage, offset, shape, strides)


def _call(function: Any, arguments: Any) -> Any:
    if isinstance(function, _Symbol) and isinstance(arguments, tuple):
        if function.name == _DICT and not arguments:
            return {}
        if function.name == _TENSOR:
            return _tensor(arguments)
    raise _Refused("calls something other than what makes a tensor")


def _fill(target: Any, items: list[Any]) -> None:
    if type(target) is not dict or len(items) % 2 or not all(type(k) is str for k in items[::2]):
        raise _Refused("has a dictionary whose keys are not text")
    target.update(zip(items[::2], items[1::2], strict=True))


def _walk(data: io.BytesIO) -> Any:
    """What one pickle describes, of the kinds that `_Refused` does not meet."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def above_mark() -> list[Any]:
        at = len(stack) - 1 - next(i for i, v in enumerate(reversed(stack)) if v is _MARK)
        items = stack[at + 1 :]
        del stack[at:]
        return items

    operations: Iterator[tuple[Any, Any, Any]] = pickletools.genops(data)
    for opcode, argument, _ in operations:
        name = opcode.name
        if name == "PROTO":
            continue
        if name == "STOP":
            return stack.pop()
        if name in _NUMBERS or name in _TEXTS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name in _SHORT_TUPLES:
            length = _SHORT_TUPLES[name]
            items = [stack.pop() for _ in range(length)][::-1]
            stack.append(tuple(items))
        elif name == "TUPLE":
            stack.append(tuple(above_mark()))
        elif name in ("SETITEM", "SETITEMS"):
            items = above_mark() if name == "SETITEMS" else [stack.pop(), stack.pop()][::-1]
            _fill(stack[-1], items)
        elif name in ("APPEND", "APPENDS"):
            items = above_mark() if name == "APPENDS" else [stack.pop()]
            if type(stack[-1]) is not list:
                raise _Refused("appends to something other than a list")
            stack[-1].extend(items)
        elif name == "GLOBAL":
            if argument not in (_DICT, _TENSOR, *_DTYPES):
                raise _Refused(f"asks for {argument[:80].replace(' ', '.')!r}")
            stack.append(_Symbol(argument))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(_call(stack.pop(), arguments))
        elif name == "BUILD":
            # The attributes of a dictionary of tensors: versions of layers, of no use here.
            attributes = stack.pop()
            if type(attributes) is not dict or type(stack[-1]) is not dict:
                raise _Refused("sets attributes of something other than a dictionary")
        else:
            raise _Refused(f"has the operation {name}")
    raise _Refused("ends early")


def _tensors(data: io.BytesIO) -> dict[str, _Tensor]:
    content = _walk(data)
    if type(content) is not dict:
        raise _Refused("holds no dictionary")
    for name, tensor in content.items():
        if not isinstance(tensor, _Tensor):
            raise _Refused(f"holds something other than a tensor under {name[:80]!r}")
    return content


def _legacy(data: bytes) -> tuple[dict[str, _Tensor], Callable[[_Storage], np.ndarray]]:
    """The older layout: five pickles, then every storage with its length before it."""
    file = io.BytesIO(data[:_MOST_PICKLED])
    if _walk(file) != _MAGIC or _walk(file) != _PROTOCOL:
        raise _Refused("is of no known layout")
    system = _walk(file)
    if type(system) is not dict or system.get("little_endian") is not True:
        raise _Refused("is not little-endian")
    tensors, keys = _tensors(file), _walk(file)
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise _Refused("has no list of storages")
    position, where = file.tell(), {}
    used = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    for key in keys:
        # A storage that no tensor uses has an unknown kind of number, and so an unknown length.
        if key not in used or key in where:
            raise _Refused("has a storage that belongs to no tensor, or twice the same")
        (count,) = struct.unpack_from("<q", data, position)
        if count != used[key].count:
            raise _Refused("has a storage of another length than it says")
        where[key] = position + 8
        position += 8 + count * used[key].dtype.itemsize

    def numbers(storage: _Storage) -> np.ndarray:
        return np.frombuffer(data, storage.dtype, storage.count, where[storage.key])

    return tensors, numbers


def _zipped(data: bytes) -> tuple[dict[str, _Tensor], Callable[[_Storage], np.ndarray]]:
    """The newer layout: NAME/data.pkl and NAME/data/KEY in a zip archive, uncompressed."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    entries = {entry.filename: entry for entry in archive.infolist()}
    pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    packed = any(e.compress_type != zipfile.ZIP_STORED for e in entries.values())
    if len(pickles) != 1 or len(entries) != len(archive.infolist()) or packed:
        raise _Refused("is of no known layout")
    if sum(entry.file_size for entry in entries.values()) > len(data):
        raise _Refused("has entries that overlap")
    folder = pickles[0].removesuffix("data.pkl")
    if entries[pickles[0]].file_size > _MOST_PICKLED:
        raise _Refused(f"has a pickle of more than {_MOST_PICKLED >> 20} MiB")
    if f"{folder}byteorder" in entries and archive.read(f"{folder}byteorder") != b"little":
        raise _Refused("is not little-endian")
    tensors = _tensors(io.BytesIO(archive.read(pickles[0])))
    read: dict[str, bytes] = {}

    def numbers(storage: _Storage) -> np.ndarray:
        if storage.key not in read:
            read[storage.key] = archive.read(f"{folder}data/{storage.key}")
        return np.frombuffer(read[storage.key], storage.dtype, storage.count)

    return tensors, numbers


def read_torch_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Read a dictionary of tensors that ``torch.save`` wrote, without PyTorch.

    Parameters
    ----------
    path : str or Path
        A ``.pth`` file of either layout, of at most 2 GiB, that holds a flat
        dictionary from names to tensors, as ``module.state_dict()`` gives it.

    Returns
    -------
    dict of str to read-only arrays

    Raises
    ------
    WeightsError
        The file is missing, damaged or something else, or its pickle asks for
        anything but tensors. Nothing that the file names is imported or run.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise _Refused(f"has more than {_MOST_BYTES >> 30} GiB")
        data = path.read_bytes()
        tensors, numbers = _zipped(data) if data[:2] == b"PK" else _legacy(data)
        arrays = {}
        for name, tensor in tensors.items():
            flat = numbers(tensor.storage)[tensor.offset :]
            steps = [step * flat.itemsize for step in tensor.strides]
            arrays[name] = np.lib.stride_tricks.as_strided(
                flat, tensor.shape, steps, writeable=False
            )
        return arrays
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from error
    except _Refused as refused:
        raise WeightsError(
            f"{path}: expected a dictionary of tensors as torch.save writes it; the file {refused}."
            " Nothing in it was executed"
        ) from None
    except Exception as error:
        # What a damaged file makes of zipfile, pickletools, struct or the stack.
        reason = (str(error).splitlines() or [""])[0][:200]
        raise WeightsError(
            f"{path}: expected a dictionary of tensors as torch.save writes it; the file is"
            f" damaged or something else ({type(error).__name__}: {reason}). Nothing in it was"
            " executed"
        ) from error
