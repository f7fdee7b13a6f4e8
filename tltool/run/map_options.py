"""How a map is made and how it is written: every option once, with its default and its check."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from tltool.errors import UsageError

if TYPE_CHECKING:
    from tltool.raster import Scale

Mode = Literal["fcn", "patches"]
Format = Literal["geotiff", "zarr"]

MODES = ("fcn", "patches")
# What runs a network; auto is OpenVINO on a CPU where it is installed.
ENGINE_CHOICES = ("auto", "tensorflow", "openvino")
# What a network computes in; its outputs are float32 always.
PRECISIONS = ("f32", "bf16", "f16")
# Test-time augmentation: none, or the flips and rotations of a square.
TTA = ("none", "d4")
# How the probabilities of several scales become one.
COMBINATIONS = ("mean", "max")
# Formats of a map's file, and what its name ends in.
FORMATS = {"geotiff": "tif", "zarr": "zarr"}


def has_openvino() -> bool:
    """Whether OpenVINO is installed."""
    return find_spec("openvino") is not None


def check_engine(engine: str, precision: str = "f32") -> None:
    """Raise a `UsageError` where an engine or a precision is unknown or not installed."""
    _check_choice("engine", engine, ENGINE_CHOICES)
    _check_choice("precision", precision, PRECISIONS)
    if engine == "openvino" and not has_openvino():
        raise UsageError(
            "`engine='openvino'`: OpenVINO is not installed. Install it with pip install"
            " 'tltool[openvino]', or take `engine='tensorflow'`"
        )


def _check_choice(name: str, value: Any, choices: Collection[str]) -> None:
    if value not in choices:
        expected = f"one of {', '.join(choices)}" if len(choices) > 2 else " or ".join(choices)
        raise UsageError(f"`{name}`: expected {expected}; received {value}")


def _tuple(value: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if value is None else tuple(value)


@dataclass(frozen=True, kw_only=True)
class _Options:
    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the options."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def of(cls, given: Self | None = None, **keywords: Any) -> Self:
        """Options with keywords over them.

        Parameters
        ----------
        given : optional
            Default: all defaults.
        **keywords
            Single options.

        Raises
        ------
        UsageError
            An unknown keyword, with the one that is probably meant; a value
            that cannot be meant.
        """
        for name in keywords:
            if name not in cls.names():
                raise _unknown(name, cls.names())
        return replace(given or cls(), **keywords)


def _unknown(name: str, known: Sequence[str]) -> UsageError:
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean `{near[0]}`?" if near else f"; known are {', '.join(known)}"
    return UsageError(f"`{name}` is not an option here{hint}")


@dataclass(frozen=True, kw_only=True)
class MapOptions(_Options):
    """Options of making maps: for `heatmap`, `count`, `tune_count`, `mine` and `Network.map`.

    All choices are checked here, before anything heavy is imported.

    Attributes
    ----------
    tile : int or None
        Longest side of a tile, px of the enlarged image. None: from the memory
        that the network's largest layer takes.
    engine : 'auto', 'tensorflow' or 'openvino'
        What runs the network; ``auto`` is OpenVINO on a CPU where it is
        installed. A sliding classifier runs in TensorFlow.
    precision : 'f32', 'bf16' or 'f16'
        What the engine computes in.
    stride : float or None
        px of the image between cells. A converted network can have those that
        divide its own, by the à trous rewriting; a sliding classifier any.
        None: the network's own.
    shift_and_stitch : bool
        Make the denser map by running the network on the image shifted to
        each cell: the reference for `stride`, several times slower.
    mode : 'fcn' or 'patches'
        ``patches`` slides the untouched classifier in batches: slower, always
        faithful, and for classifiers that cannot be converted too.
    tta : 'none' or 'd4'
        Test-time augmentation: the mean over the eight flips and rotations.
    scales : tuple of float
        Enlargements at which the network sees every image; empty: as it is.
    combine : 'mean' or 'max'
        How the probabilities of several `scales` become one.
    scale : (float, float), 'percentiles' or None
        Numbers that become 0 and 255, for images of other than 8 bits; or each
        band's 2nd and 98th percentile. None: 8 bits as they are, of 16
        unsigned ones the high byte.
    bands : tuple of int or None
        Bands of the images to use, from 1. None: those of the training.
    resample : bool
        Resample images to the ground sample distance of the training.
    aoi : Path or None
        GeoJSON polygons, in any CRS; in pixels (x right, y down) for images
        without one. Cells outside are no data.

    Raises
    ------
    UsageError
        An option that cannot be meant, or options that exclude each other.
    """

    tile: int | None = None
    engine: str = "auto"
    precision: str = "f32"
    stride: float | None = None
    shift_and_stitch: bool = False
    mode: Mode = "fcn"
    tta: str = "none"
    scales: tuple[float, ...] = ()
    combine: str = "mean"
    scale: "Scale" = None
    bands: tuple[int, ...] | None = None
    resample: bool = False
    aoi: Path | None = None

    def __post_init__(self) -> None:
        # Here, so that what only asks for names imports no NumPy.
        from tltool.raster.bands import check_scale

        set_field = object.__setattr__
        set_field(self, "scales", tuple(self.scales or ()))
        set_field(self, "bands", _tuple(self.bands))
        set_field(self, "aoi", None if self.aoi is None else Path(self.aoi))
        if self.tile is not None and self.tile < 1:
            raise UsageError(f"`tile`: expected 1 px or more; received {self.tile}")
        _check_choice("mode", self.mode, MODES)
        _check_choice("tta", self.tta, TTA)
        _check_choice("combine", self.combine, COMBINATIONS)
        check_scale(self.scale)
        if len(set(self.scales)) < len(self.scales) or not all(
            0.1 <= scale <= 8 for scale in self.scales
        ):
            raise UsageError(
                "`scales`: expected different numbers from 0.1 to 8, such as 0.8,1,1.25; received"
                f" {','.join(f'{scale:g}' for scale in self.scales)}"
            )
        if self.combine != "mean" and not self.scales:
            raise UsageError(
                f"`combine`: expected `scales` beside it; received {self.combine} alone"
            )
        check_engine(self.engine, self.precision)
        if self.mode == "patches" and (self.engine == "openvino" or self.precision != "f32"):
            raise UsageError(
                "`mode='patches'`: expected `engine='tensorflow'` or auto and `precision='f32'`, in"
                f" which the classifier is slid; received {self.engine} and {self.precision}"
            )
        if self.shift_and_stitch and (self.mode == "patches" or self.stride is None):
            raise UsageError(
                "`shift_and_stitch`: expected `stride` beside it and no `mode='patches'`; it is the"
                " reference for a denser map of the converted network"
            )


@dataclass(frozen=True, kw_only=True)
class Output(_Options):
    """Options of writing maps.

    Attributes
    ----------
    dtype : 'float32', 'uint8', 'uint16' or None
        Data type of the map. Integers carry a scale in the band's tags, 1/254 or
        1/65534, by which probability = stored * scale; the largest number is
        no data. None: float32; of a class map the smallest integer.
    format : 'geotiff' or 'zarr'
        ``zarr`` writes a store ``<stem>.heatmap.zarr`` with one array
        (class, row, col).
    cog : bool
        Write a Cloud-Optimized GeoTIFF.
    classes : tuple of str or None
        Write these classes only.
    argmax : bool
        Write one band: the number of the most probable class, with a colour
        table and the classes' names.
    full_resolution : bool
        Write ``<stem>.full.tif`` too: the map enlarged bilinearly to a value
        a pixel of the image.
    preview : bool
        Write ``<stem>.preview.html`` too: a page to look into the map, which
        needs nothing but a browser.

    Raises
    ------
    UsageError
        Options exclude each other, or a package is missing.
    """

    dtype: str | None = None
    format: Format = "geotiff"
    cog: bool = False
    classes: tuple[str, ...] | None = None
    argmax: bool = False
    full_resolution: bool = False
    preview: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", _tuple(self.classes))
        if self.format not in FORMATS:
            raise UsageError(
                f"`format`: expected one of {', '.join(FORMATS)}; received {self.format}"
            )
        if self.format == "zarr":
            excluded = {"cog": self.cog, "full_resolution": self.full_resolution}
            for option in (name for name, wanted in excluded.items() if wanted):
                raise UsageError(
                    f"`{option}`: expected `format='geotiff'`, received `format='zarr'`"
                )
            from tltool.raster.zarr_writing import check_zarr

            check_zarr()
        if self.argmax and self.full_resolution:
            raise UsageError(
                "`full_resolution`: expected probabilities to interpolate, received `argmax`"
            )


def split_options(
    keywords: Mapping[str, Any], options: MapOptions | None, output: Output | None
) -> tuple[MapOptions, Output]:
    """Sort keywords of `tltool.heatmap` into both kinds of options.

    Raises
    ------
    UsageError
        As `MapOptions` and `Output`.
    """
    known = (*MapOptions.names(), *Output.names())
    for name in keywords:
        if name not in known:
            raise _unknown(name, known)
    making = {name: value for name, value in keywords.items() if name in MapOptions.names()}
    writing = {name: value for name, value in keywords.items() if name not in making}
    # What would be written is checked first, as on the command line before.
    written = Output.of(output, **writing)
    return MapOptions.of(options, **making), written
