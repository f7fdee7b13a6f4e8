"""How probabilities, or classes, become the numbers that a map's file stores."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Encoding:
    """Numbers in a file: ``value = stored * scale``, one of them meaning no data.

    Attributes
    ----------
    dtype : str
    scale : float
    nodata : float
        The stored number without a value: NaN, or the largest of an integer
        type, which no value has.
    """

    dtype: str
    scale: float = 1.0
    nodata: float = float("nan")

    @property
    def is_float(self) -> bool:
        """Whether values are stored as they are."""
        return np.dtype(self.dtype).kind == "f"

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Store float values, NaN where there are none; rounded to the nearest step, half to even.

        Integers hold 0..``scale * (nodata - 1)``; what lies outside takes the
        nearer end.
        """
        if self.is_float:
            return values.astype(self.dtype, copy=False)
        # Of float32 the product would lose the bits that decide the 65,534 steps.
        steps = np.rint(values.astype(np.float64) / self.scale)
        steps = steps.clip(0, self.nodata - 1)
        return np.where(np.isnan(steps), self.nodata, steps).astype(self.dtype)

    def decode(self, stored: np.ndarray) -> np.ndarray:
        """Values as float32, NaN where there are none."""
        if self.is_float:
            return stored.astype(np.float32, copy=False)
        values = (stored * self.scale).astype(np.float32)
        values[stored == self.nodata] = np.nan
        return values


# Of probabilities: the top step is 1 exactly, the number above it no data.
ENCODINGS = {
    "float32": Encoding("float32"),
    "uint8": Encoding("uint8", 1 / 254, 255),
    "uint16": Encoding("uint16", 1 / 65534, 65535),
}

# Of numbers of classes, from 0.
CLASS_CODES = {"uint8": Encoding("uint8", 1, 255), "uint16": Encoding("uint16", 1, 65535)}


@dataclass(frozen=True)
class Legend:
    """Meaning of the numbers of a class map.

    Attributes
    ----------
    names : tuple of str
        Name of class k at place k.
    colours : tuple of (int, int, int)
        RGB in 0..255 of each.
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class MapKind:
    """Meaning of a map's bands.

    Attributes
    ----------
    names : tuple of str
        Of the bands, in their order.
    encoding : Encoding
    legend : Legend or None
        Where the one band holds numbers of classes.
    """

    names: tuple[str, ...]
    encoding: Encoding = ENCODINGS["float32"]
    legend: Legend | None = None
