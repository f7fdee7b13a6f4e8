"""The JSON beside a map: what made it and where its cells lie."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tltool.errors import DataError
from tltool.run.sidecar import TaskFacts


class MapFacts(BaseModel):
    """Facts of a map, written beside it as JSON in this order.

    Attributes
    ----------
    image : str
        Path of the image, or how it was called where it was in memory.
    model : str or None
        The network's file and the start of its digest.
    width, height : int
        Size of the image as the network saw it (with `resample` another than
        that of the file), px.
    rows, columns : int
        Size of the map in cells.
    classes : list of str
        Outputs of the network.
    tasks : list of TaskFacts
    background : str or None
        The class that means "nothing here".
    patch, context, zoom, receptive_field
        As in `Sidecar`.
    stride, offset : float, int
        Cell (r, c) stands for the patch whose top-left pixel is
        ``(r * stride + offset, c * stride + offset)``, px of the image.
    fidelity : dict or None
        How far the map says what its classifier says.
    method : str
        ``fcn``, ``dense``, ``shift-and-stitch`` or ``patches``.
    engine, precision : str
        What ran the network, and what it computed in.
    difference_from_tensorflow : float or None
        Largest difference of any probability from TensorFlow's in float32, on
        one tile.
    gsd : float or None
        Ground sample distance, metres per px.
    tile : int
        Longest side of a tile, px of the enlarged image.
    output : dict
        How the map was written, as `Output`.
    this_run : dict
        Seconds, megapixels and tiles of the call that finished the map.
    tta, scales, combine, scale, bands_read, resample
        As in `MapOptions`; `combine` is None without scales.
    aoi : str or None
        Start of the digest of the file of areas.
    limits : list of (float, float) or None
        Numbers that became 0 and 255, for each band.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: Literal[1] = 1
    image: str = ""
    model: str | None = None
    width: int
    height: int
    rows: int = 0
    columns: int = 0
    classes: list[str] = Field(default_factory=list)
    tasks: list[TaskFacts] = Field(default_factory=list)
    background: str | None = None
    patch: int
    context: int = 0
    zoom: float = 1
    stride: float
    offset: int
    receptive_field: int | None = None
    fidelity: dict[str, Any] | None = None
    method: str = "fcn"
    engine: str = "tensorflow"
    difference_from_tensorflow: float | None = None
    gsd: float | None = None
    tile: int = 0
    output: dict[str, Any] = Field(default_factory=dict)
    this_run: dict[str, Any] = Field(default_factory=dict)
    precision: str = "f32"
    tta: str = "none"
    scales: list[float] = Field(default_factory=list)
    combine: str | None = None
    scale: tuple[float, float] | Literal["percentiles"] | None = None
    bands_read: list[int] | None = None
    resample: bool = False
    aoi: str | None = None
    limits: list[tuple[float, float]] | None = None

    @property
    def view(self) -> dict[str, Any]:
        """Options that decide where peaks lie: maps that differ in them have other peaks."""
        return {
            "stride": self.stride,
            "tta": self.tta,
            "scales": self.scales,
            "combine": self.combine,
            "resample": self.resample,
        }


def read_facts(path: Path) -> MapFacts:
    """Read and check the JSON beside a map.

    Raises
    ------
    DataError
        It cannot be read, or lacks what says where the map's cells lie.
    """
    try:
        return MapFacts.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            reason = f"{where}: {first['msg']}" if where else first["msg"]
        raise DataError(
            f"{path}: expected what tltool heatmap writes beside a map: {reason}. Make the map"
            " again"
        ) from error
