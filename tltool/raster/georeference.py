"""Where the pixels of an image lie in the world."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from PIL import Image as PillowImage
from rasterio._err import CPLE_BaseError
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine, GCPTransformer, from_gcps
from rasterio.windows import Window


@dataclass(frozen=True)
class Orientation:
    """Transformation of stored rows and columns to upright ones: first swapped, then flipped.

    Attributes
    ----------
    swap, flip_rows, flip_columns : bool
    """

    swap: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def shape(self, stored: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the upright image; of a stored one from an upright one too."""
        return stored[::-1] if self.swap else stored

    def stored_window(self, window: Window, width: int, height: int) -> Window:
        """Window of the stored image for one of the upright image, `width` x `height` px."""
        x, y, across, down = window.flatten()
        if self.flip_columns:
            x = width - x - across
        if self.flip_rows:
            y = height - y - down
        return Window(y, x, down, across) if self.swap else Window(x, y, across, down)

    def upright(self, stored: np.ndarray) -> np.ndarray:
        """Turn a (rows, columns, ...) array; the last axes stay."""
        if self.swap:
            stored = stored.swapaxes(0, 1)
        if self.flip_rows:
            stored = stored[::-1]
        return stored[:, ::-1] if self.flip_columns else stored

    def to_stored(self, width: int, height: int) -> Affine:
        """Convert (x, y) of the upright image, `width` x `height` px, to stored coordinates."""
        across = (-1, width) if self.flip_columns else (1, 0)
        down = (-1, height) if self.flip_rows else (1, 0)
        flipped = Affine(across[0], 0, across[1], 0, down[0], down[1])
        return Affine(0, 1, 0, 1, 0, 0) @ flipped if self.swap else flipped


# By the value of the EXIF tag: whether axes are swapped (s), rows and columns flipped (r, c).
_ORIENTATIONS = {
    str(value): Orientation("s" in turns, "r" in turns, "c" in turns)
    for value, turns in enumerate(("", "c", "rc", "r", "s", "sc", "src", "sr"), 1)
}


def find_orientation(path: Path, tag: str) -> Orientation:
    """The orientation of a file whose EXIF tag GDAL found to be `tag`, maybe empty."""
    return _ORIENTATIONS.get(tag or _pillow_orientation(path), Orientation())


def _pillow_orientation(path: Path) -> str:
    # GDAL tells the orientation of a JPEG alone. An image that Pillow finds too large has none.
    if path.suffix.lower() not in (".png", ".tif", ".tiff", ".webp"):
        return ""
    try:
        with warnings.catch_warnings(action="ignore"), PillowImage.open(path) as image:
            # Pillow would decode a whole PNG, for what may stand behind its pixels.
            whole = image.format != "PNG" or _text_behind_pixels(path)
            exif = image.getexif() if whole else PillowImage.Image.getexif(image)
            return str(exif.get(0x112, ""))
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError):
        return ""


def _text_behind_pixels(path: Path) -> bool:
    """Whether a PNG has a chunk that may hold EXIF after its pixels."""
    seen = b""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            kind = head[4:]
            if seen == b"IDAT" and kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
                return True
            seen = b"IDAT" if kind == b"IDAT" else seen
            # And its checksum.
            file.seek(int.from_bytes(head[:4]) + 4, 1)
    return False


# How far from a transform ground control points may lie that it replaces, px.
_EXACT = 0.25


@dataclass(frozen=True)
class Georeference:
    """A transform, or ground control points where no transform fits them.

    Attributes
    ----------
    crs : rasterio.crs.CRS or None
    transform : Affine
        From pixel (x right, y down, 0 at the outer corner of the first pixel)
        to the CRS; the identity where there is none.
    gcps : list of GroundControlPoint
        Empty where `transform` says where the image lies.
    gcps_crs : rasterio.crs.CRS or None

    Notes
    -----
    Through points that bend, pixels to the world and back are two polynomials
    that GDAL fits to them, as gdalwarp does: a round trip ends close by, not
    where it began.
    """

    crs: Any = None
    transform: Affine = field(default_factory=Affine.identity)
    gcps: list[GroundControlPoint] = field(default_factory=list)
    gcps_crs: Any = None

    @property
    def world(self) -> Any:
        """CRS of what `to_world` gives, or None."""
        return self.gcps_crs if self.gcps else self.crs

    def to_world(self, xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates of (n,) pixel positions; pixels themselves where nothing is known."""
        if not self.gcps:
            return self.transform @ (np.asarray(xs, float), np.asarray(ys, float))
        with GCPTransformer(self.gcps) as control:
            found = control.xy(ys, xs, offset="ul")
        return np.asarray(found[0]), np.asarray(found[1])

    def to_pixels(self, xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixel positions (x right, y down) of (n,) coordinates."""
        if not self.gcps:
            return ~self.transform @ (np.asarray(xs, float), np.asarray(ys, float))
        with GCPTransformer(self.gcps) as control:
            rows, columns = control.rowcol(xs, ys, op=np.asarray)
        return np.asarray(columns), np.asarray(rows)

    @property
    def gsd(self) -> float | None:
        """Ground sample distance in metres per pixel, where a projected CRS tells it."""
        if self.crs is None or not self.crs.is_projected:
            return None
        _, metres = self.crs.linear_units_factor
        return float(np.sqrt(abs(self.transform.determinant)) * metres)


def georeference(dataset: Any, orientation: Orientation, width: int, height: int) -> Georeference:
    """Read the georeference of a dataset seen upright as `width` x `height` px."""
    # Files know where the pixels lie as they are stored.
    turn = orientation.to_stored(width, height)
    if dataset.crs is not None or not dataset.transform.is_identity:
        return Georeference(dataset.crs, dataset.transform @ turn)
    points, crs = dataset.gcps
    points = move_gcps(points, ~turn)
    transform = fit_transform(points)
    if transform is not None:
        return Georeference(crs, transform)
    return Georeference(gcps=points, gcps_crs=crs) if _solvable(points) else Georeference()


def _solvable(points: Sequence[GroundControlPoint]) -> bool:
    """Whether points say where anything lies: enough of them, not on a line."""
    try:
        with rasterio.Env(), GCPTransformer(list(points)):
            return True
    except (CPLE_BaseError, ValueError):
        return False


def move_gcps(points: Iterable[GroundControlPoint], move: Affine) -> list[GroundControlPoint]:
    """Ground control points of other pixels.

    Parameters
    ----------
    points : iterable of GroundControlPoint
    move : Affine
        From the (column, row) the points have to those they shall have, such
        as from pixels to the cells of a map.
    """
    moved = []
    for point in points:
        column, row = move @ (point.col, point.row)
        facts = {"id": point.id, "info": point.info}
        moved.append(GroundControlPoint(row, column, point.x, point.y, point.z, **facts))
    return moved


def fit_transform(points: Sequence[GroundControlPoint]) -> Affine | None:
    """The transform that meets all points within a quarter of a pixel, or None."""
    if len(points) < 3:
        return None
    columns, rows, xs, ys = np.array([(p.col, p.row, p.x, p.y) for p in points]).T
    # Of points on a line there are many transforms, of which none is known.
    spread = np.stack([columns - columns.mean(), rows - rows.mean()])
    if np.linalg.matrix_rank(spread, tol=_EXACT) < 2:
        return None
    transform = from_gcps(points)
    if not np.isfinite(transform.determinant) or transform.is_degenerate:
        return None
    found = np.array(~transform @ (xs, ys))
    return transform if np.abs(found - [columns, rows]).max() <= _EXACT else None
