"""What was mended, gathered over layers, in plain words; errors of Keras in one line."""

import re

from tltool.text import some_of

_SHOWN = 4


def one_line(error: Exception, length: int = 200) -> str:
    """Put an error's message on one line, without colours."""
    text = " ".join(re.sub(r"\x1b\[\d*m", "", str(error)).split()) or type(error).__name__
    return text if len(text) <= length else f"{text[:length]}..."


class Notes:
    """Mends in the order in which they were first made.

    Parameters
    ----------
    hdf5 : bool
        Whether the file is HDF5. There Keras 3 does some of the mends itself:
        these are made all the same and not told.
    """

    def __init__(self, hdf5: bool):
        self._hdf5 = hdf5
        self._where: dict[str, list[str]] = {}

    def add(self, what: str, where: str = "", native: bool = False) -> None:
        """Note one mend; `where` is the layer, `native`: Keras 3 does it too in HDF5 files."""
        if native and self._hdf5:
            return
        found = self._where.setdefault(what, [])
        if where and where not in found:
            found.append(where)

    def lines(self) -> list[str]:
        """A line a mend, with the layers it was made in."""
        shown = {what: some_of(where, _SHOWN) for what, where in self._where.items()}
        return [f"{what}: {where}" if where else what for what, where in shown.items()]
