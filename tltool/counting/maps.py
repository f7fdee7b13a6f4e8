"""Maps to count in, made or taken from a folder after a check, and the points in them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from tltool.errors import DataError, ImageError, MapsError, ModelError, UsageError
from tltool.mapping.heatmap import Failed, heatmap, known_sidecar
from tltool.mapping.image_map import network_name
from tltool.points.cell_maps import MapGeometry
from tltool.points.detections import Detections, choose_surface, find_candidates, suppress
from tltool.raster import Raster
from tltool.raster.source import ENVIRONMENT, without_georeference_warning
from tltool.raster.writing import ENCODINGS
from tltool.run.detection_parameters import DetectionParameters, Surface
from tltool.run.folder import FCN_NAME, MODEL_NAME
from tltool.run.map_facts import MapFacts, read_facts
from tltool.run.map_options import MapOptions, Output
from tltool.run.sidecar import Sidecar
from tltool.tiling.products import name_files, nothing_here

logger = logging.getLogger("tltool")


class RasterMap:
    """A GeoTIFF of `tltool.heatmap`; use it as a context manager.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ImageError
        Where it cannot be read, on opening or later.
    DataError
        Where it holds no probabilities a cell.
    """

    def __init__(self, path: Path):
        self.path = path
        self._environment = rasterio.Env(**ENVIRONMENT)
        with self._environment:
            try:
                with without_georeference_warning():
                    self._file = rasterio.open(path)
            except RasterioError as error:
                raise self._failure(error) from error
        try:
            self._check()
        except DataError:
            self._file.close()
            raise
        self._encoding = ENCODINGS[self._file.dtypes[0]]
        self.names = tuple(self._file.descriptions)
        self.rows, self.columns = self._file.height, self._file.width

    def _check(self) -> None:
        file = self._file
        unnamed = None in file.descriptions
        known = file.dtypes[0] in ENCODINGS and not file.tags().get("classes")
        if known and not unnamed and abs(file.scales[0] - ENCODINGS[file.dtypes[0]].scale) < 1e-9:
            return
        found = "bands without names" if unnamed else f"{file.dtypes[0]}, scale {file.scales[0]:g}"
        found = "numbers of classes (--argmax)" if file.tags().get("classes") else found
        raise DataError(
            f"{self.path}: expected probabilities with a named band a class, as tltool heatmap"
            f" writes them; received {found}. Make the map again without --argmax"
        )

    def _failure(self, error: Exception) -> ImageError:
        return ImageError(
            f"{self.path}: expected a GeoTIFF of tltool heatmap, received what cannot be read"
            f" ({error}). Make the map again"
        )

    def read(self, band: int, row: int, column: int, rows: int, columns: int) -> np.ndarray:
        """As `CellMap.read`."""
        try:
            stored = self._file.read(band + 1, window=Window(column, row, columns, rows))
        except RasterioError as error:
            raise self._failure(error) from error
        return self._encoding.decode(stored)

    def __enter__(self) -> "RasterMap":
        self._environment.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._environment.__exit__(kind, error, trace)


@dataclass(frozen=True)
class ImageMap:
    """The map of an image, in which points are found.

    The network sees an image at its own scale or, with ``resample``, at that
    of the training. Rules and radii of detection are in px that the network
    saw, and so are points until `in_image` turns them to those of the image.

    Attributes
    ----------
    image, path : Path
        The image's file and the map's.
    facts : MapFacts
        The JSON beside the map.
    background : str or None
        The band that means "nothing here".
    size : (int, int)
        Width and height of the image, px.
    gsd : float or None
        Metres a px of the image.
    bands : tuple of int or None
        Those of the image that the network saw, as of `tltool.raster.Raster`.
    """

    image: Path
    path: Path
    facts: MapFacts
    background: str | None
    size: tuple[int, int]
    gsd: float | None
    bands: tuple[int, ...] | None = None

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels that the network saw for one of the image, across and down."""
        return self.facts.width / self.size[0], self.facts.height / self.size[1]

    @property
    def view(self) -> dict[str, Any]:
        """How the image was seen: maps that differ in it have other peaks."""
        return self.facts.view

    def open_image(self) -> Raster:
        """The image as its file has it, with the numbers that the network saw."""
        return Raster(self.image, self.bands, self.facts.scale)

    def candidates(
        self, floor: float = 0.05, surface: Surface | None = None, radius: float | None = None
    ) -> Detections:
        """All peaks, in px that the network saw.

        Parameters
        ----------
        floor : float
            Least height and score.
        surface : 'any' or 'class', optional
            Default: 'any' where the map shows the background.
        radius : float, optional
            As of `find_candidates`.
        """
        with RasterMap(self.path) as cells:
            return find_candidates(
                cells,
                MapGeometry.of_facts(self.facts),
                background=self.background,
                surface=surface or choose_surface(cells.names, self.background),
                floor=floor,
                radius=radius,
            )

    def detect(self, parameters: DetectionParameters) -> Detections:
        """The points of the map, in px that the network saw."""
        found = self.candidates(parameters.floor, parameters.surface, parameters.radius)
        return suppress(found, parameters)

    def in_image(self, points: Detections) -> Detections:
        """The same points in px of the image."""
        across, down = self.scale
        return replace(points, x=points.x / across, y=points.y / down)


@dataclass(frozen=True)
class Maps:
    """Maps of several images.

    Attributes
    ----------
    maps : list of ImageMap
        In the order of the images.
    failed : dict of Path to TltoolError
        Images that have none.
    folder : Path
        Where the maps lie.
    """

    maps: list[ImageMap]
    failed: Failed
    folder: Path


def countable_sidecar(run: str | Path) -> Sidecar:
    """The sidecar of a run's network.

    Raises
    ------
    ModelError
        There is none, or what it tells cannot be counted: it has several
        tasks, of which each tells of the same animals, or no class but the
        background.
    """
    run = Path(run)
    sidecar = known_sidecar(run)
    if sidecar is None:
        raise ModelError(
            f"{run}: expected a run folder with {MODEL_NAME} or {FCN_NAME} and its JSON file, found"
            " neither. tltool finetune writes one"
        )
    if len(sidecar.tasks) > 1:
        raise ModelError(
            f"{run}: expected a network of one task to count with, received"
            f" {', '.join(task.name for task in sidecar.tasks)}. Train on one label column"
        )
    if not classes_of(sidecar):
        raise ModelError(f"{run}: expected a class besides the background to count, found none")
    return sidecar


def classes_of(sidecar: Sidecar) -> tuple[str, ...]:
    """What can be counted: the outputs that do not mean "nothing here"."""
    nothing = nothing_here(sidecar)
    return tuple(name for name in sidecar.classes if name not in nothing)


def make_maps(
    run: str | Path,
    images: Sequence[Path],
    folder: Path,
    *,
    overwrite: bool = False,
    options: MapOptions | None = None,
) -> Maps:
    """Map images with the network of a run, which is converted where it was not.

    Parameters
    ----------
    run : str or Path
    images : sequence of Path
    folder : Path
        For the maps.
    overwrite : bool
    options : MapOptions, optional

    Raises
    ------
    TltoolError
        As of `tltool.heatmap`; where some of several images fail they are told
        in the result.
    """
    failed: Failed = {}
    try:
        heatmap(run, images, folder, overwrite=overwrite, options=options)
    except MapsError as error:
        if not error.made:
            raise
        failed = dict(error.failed)
    rest = [image for image in images if image not in failed]
    taken = _take(rest, folder, countable_sidecar(run))
    return replace(taken, failed=failed | taken.failed)


def take_maps(run: str | Path, images: Sequence[Path], folder: str | Path) -> Maps:
    """Find the maps that `tltool.heatmap` made of images, and check that they fit.

    Parameters
    ----------
    run : str or Path
        The run whose network made them.
    images : sequence of Path
    folder : str or Path

    Raises
    ------
    ModelError
        A map was made by another model.
    DataError, ImageError
        The only image has no map, or one of an image of another size or
        without some class. Of several images they are told in the result; the
        first is raised where all fail.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of maps, as tltool heatmap writes it")
    taken = _take(images, folder, countable_sidecar(run), _networks(Path(run)))
    if not taken.maps:
        raise next(iter(taken.failed.values()))
    return taken


def maps_for(
    run: str | Path,
    images: Sequence[Path],
    folder: Path,
    maps: str | Path | None,
    overwrite: bool,
    options: MapOptions,
) -> Maps:
    """Make maps into `folder`, or take those in `maps`.

    Raises
    ------
    UsageError
        `maps`, and an option that would make others.
    """
    if maps is None:
        return make_maps(run, images, folder, overwrite=overwrite, options=options)
    default = MapOptions()
    given = [name for name in options.names() if getattr(options, name) != getattr(default, name)]
    if given:
        received = ", ".join(f"`{name}`" for name in given)
        raise UsageError(
            f"`maps`: expected no option of making maps beside it; received {received}. Leave one"
            " out"
        )
    return take_maps(run, images, maps)


def _take(
    images: Sequence[Path], folder: Path, sidecar: Sidecar, networks: Sequence[str] | None = None
) -> Maps:
    taken = Maps([], {}, folder)
    for image in images:
        try:
            taken.maps.append(_image_map(image, folder, sidecar, networks))
        except (DataError, ImageError) as error:
            taken.failed[image] = error
            if len(images) > 1:
                logger.warning("%s is left out: %s", image, error)
    return taken


def _networks(run: Path) -> list[str]:
    """What maps of this run may say of their network."""
    paths = [run / FCN_NAME, run / MODEL_NAME] if run.is_dir() else [run]
    return [network_name(path) for path in paths if path.is_file()]


def _image_map(
    image: Path, folder: Path, sidecar: Sidecar, networks: Sequence[str] | None
) -> ImageMap:
    files = name_files(folder, image, Output())
    for path in (files.map, files.json):
        if not path.is_file():
            raise DataError(
                f"{path}: expected the map of {image.name} there, found none. Make it with tltool"
                f" heatmap RUN {image} -o {folder}, or leave --maps out"
            )
    facts = read_facts(files.json)
    if networks is not None:
        _check_network(files.json, facts, networks)
    told = facts.bands_read or sidecar.band_numbers
    bands = tuple(told) if told else None
    with Raster(image, bands, scale=(0, 1)) as raster:
        size, gsd = (raster.width, raster.height), raster.gsd
    if not facts.resample and size != (facts.width, facts.height):
        raise DataError(
            f"{files.map}: expected a map of {image.name}, which is {size[0]} x {size[1]} px;"
            f" received one of an image of {facts.width} x {facts.height} px. Make it again"
        )
    with RasterMap(files.map) as cells:
        missing = [name for name in sidecar.classes if name not in cells.names]
    if missing:
        raise DataError(
            f"{files.map}: expected a band for every class; {', '.join(missing)} is missing. Make"
            " the map again without --classes"
        )
    if networks is not None and facts.aoi:
        logger.warning("%s: made with --aoi, so nothing is found outside that area", files.map)
    nothing = nothing_here(sidecar)
    background = nothing[0] if nothing else None
    return ImageMap(image, files.map, facts, background, size, gsd, bands)


def _check_network(path: Path, facts: MapFacts, networks: Sequence[str]) -> None:
    made = str(facts.model or "one that it does not name")
    # Whatever the file is called.
    if made.split()[-1] not in {name.split()[-1] for name in networks}:
        raise ModelError(
            f"{path}: expected a map of the run's network, {' or '.join(networks) or 'none'};"
            f" received one made by another model, {made}. Make the map again, or name the run that"
            " made it"
        )
