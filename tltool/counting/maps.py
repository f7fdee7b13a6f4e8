"""Maps to count in, made or taken from a folder, and the rules of finding points in them."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from tltool.counting.images import Images
from tltool.errors import DataError, ImageError, MapsError, ModelError, TltoolError, UsageError
from tltool.inference.network import LoadedNetwork, Openable, open_network
from tltool.mapping.heatmap import heatmap, known_sidecar
from tltool.mapping.image_map import network_name
from tltool.mapping.map_image import map_image
from tltool.points.cell_maps import ArrayMap, MapGeometry
from tltool.points.detections import Detections, choose_surface, find_candidates, suppress
from tltool.raster import AnyRaster, Raster
from tltool.raster.source import ENVIRONMENT, Closing, without_georeference_warning
from tltool.raster.writing import ENCODINGS
from tltool.run.detection_parameters import DetectionParameters, PeakRule, Surface
from tltool.run.folder import FCN_NAME, MODEL_NAME
from tltool.run.map_options import MapOptions, Output
from tltool.run.sidecar import MapFacts, Sidecar, load_sidecar, read_facts, sidecar_path
from tltool.tiling.products import name_files, nothing_here

logger = logging.getLogger(__name__)


class RasterMap(Closing):
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
        with self._reading(), without_georeference_warning():
            self._file = file = rasterio.open(path)
        names, dtype, numbered = file.descriptions, file.dtypes[0], file.tags().get("classes")
        known = dtype in ENCODINGS and abs(file.scales[0] - ENCODINGS[dtype].scale) < 1e-9
        if numbered or not known or None in names:
            self.close()
            found = f"{dtype}, scale {file.scales[0]:g}"
            found = "bands without names" if None in names else found
            found = "numbers of classes (`argmax`)" if numbered else found
            raise DataError(
                f"{path}: expected probabilities with a named band a class, as tltool heatmap"
                f" writes them; received {found}. Make the map again without `argmax`"
            )
        self.names, self._encoding = tuple(names), ENCODINGS[dtype]
        self.rows, self.columns = file.height, file.width

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            with rasterio.Env(**ENVIRONMENT):
                yield
        except RasterioError as error:
            raise ImageError(
                f"{self.path}: expected a GeoTIFF of tltool heatmap, received what cannot be read"
                f" ({error}). Make the map again"
            ) from error

    def read(self, band: int, row: int, column: int, rows: int, columns: int) -> np.ndarray:
        """Read a window of a band, see `CellMap.read`."""
        with self._reading():
            stored = self._file.read(band + 1, window=Window(column, row, columns, rows))
        return self._encoding.decode(stored)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@dataclass(frozen=True)
class ImageMap:
    """The map of an image, in which points are found.

    The network sees an image at its own scale or, with ``resample``, at that
    of the training. Rules and radii of detection are in px that the network
    saw, and so are points until `in_image` turns them to those of the image.

    Attributes
    ----------
    image : Path
        File of the image; of one in memory its name.
    path : Path or None
        File of the map; None: it is in memory.
    facts : MapFacts
        The JSON beside the map.
    background : str or None
        The band that means "nothing here".
    size : (int, int)
        Width and height of the image, px.
    gsd : float or None
        Metres a px of the image.
    bands : tuple of int or None
        Bands of the image that the network saw, see `tltool.raster.Raster`.
    raster : AnyRaster or None
        The image, where it is in memory.
    cells : ArrayMap or None
        The map, where it is in memory.
    """

    image: Path
    path: Path | None
    facts: MapFacts
    background: str | None
    size: tuple[int, int]
    gsd: float | None
    bands: tuple[int, ...] | None = None
    raster: AnyRaster | None = field(default=None, repr=False)
    cells: ArrayMap | None = field(default=None, repr=False)

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels that the network saw for one of the image, across and down."""
        return self.facts.width / self.size[0], self.facts.height / self.size[1]

    def open_image(self) -> AnyRaster:
        """Open the image as it was given, with the numbers that the network saw."""
        return self.raster or Raster(self.image, self.bands, self.facts.scale)

    def candidates(
        self, floor: float = 0.05, surface: Surface | None = None, radius: float | None = None
    ) -> Detections:
        """Find all peaks, in px that the network saw.

        Parameters
        ----------
        floor : float
            Least height and score.
        surface : 'any' or 'class', optional
            Default: 'any' where the map shows the background.
        radius : float, optional
            See `find_candidates`.
        """
        with RasterMap(self.path) if self.path else nullcontext(self.cells) as cells:
            assert cells is not None
            return find_candidates(
                cells,
                MapGeometry.of_facts(self.facts),
                background=self.background,
                surface=surface or choose_surface(cells.names, self.background),
                floor=floor,
                radius=radius,
            )

    def detect(self, parameters: DetectionParameters) -> Detections:
        """Find the points of the map, in px that the network saw."""
        found = self.candidates(parameters.floor, parameters.surface, parameters.radius)
        return suppress(found, parameters)

    def in_image(self, points: Detections) -> Detections:
        """Turn points to px of the image."""
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
    """

    maps: list[ImageMap]
    failed: dict[Path, TltoolError]

    def all(self) -> list[ImageMap]:
        """The maps, where no image failed; else its error is raised."""
        for error in self.failed.values():
            raise error
        return self.maps


def countable_sidecar(network: Openable) -> Sidecar:
    """Find the sidecar of a network that can count.

    Raises
    ------
    ModelError
        There is none, or what it says cannot be counted: it has several tasks,
        each of which says of the same animals, or no class but the background.
    """
    if isinstance(network, str | Path):
        name, sidecar = str(network), known_sidecar(Path(network))
        if sidecar is None:
            raise ModelError(
                f"{name}: expected a run folder with {MODEL_NAME} or {FCN_NAME} and its JSON file,"
                " found neither. `tltool.finetune` writes one"
            )
    else:
        opened = open_network(network)
        name, sidecar = opened.name, opened.sidecar
    if len(sidecar.tasks) > 1:
        raise ModelError(
            f"{name}: expected a network of one task to count with, received"
            f" {', '.join(task.name for task in sidecar.tasks)}. Train on one label column"
        )
    if not classes_of(sidecar):
        raise ModelError(f"{name}: expected a class besides the background to count, found none")
    return sidecar


def classes_of(sidecar: Sidecar) -> tuple[str, ...]:
    """List what can be counted: the outputs that do not mean "nothing here"."""
    nothing = nothing_here(sidecar)
    return tuple(name for name in sidecar.classes if name not in nothing)


def make_maps(
    network: Openable,
    images: Images,
    folder: Path,
    *,
    options: MapOptions | None = None,
    overwrite: bool = False,
) -> Maps:
    """Map images with a network, which is converted where it was not.

    Parameters
    ----------
    network : str, Path, keras.Model or LoadedNetwork
    images : Images
    folder : Path
        For the maps of files; those of images in memory stay there.
    options : MapOptions, optional
    overwrite : bool

    Raises
    ------
    TltoolError
        See `tltool.heatmap`; where some of several images fail, their errors
        are in the result.
    """
    failed: dict[Path, TltoolError] = {}
    files = [image for image in images.paths if image not in images.rasters]
    if files:
        try:
            heatmap(network, files, folder, overwrite=overwrite, options=options)
        except MapsError as error:
            if not error.made:
                raise
            failed = dict(error.failed)
    taken = _take(images, [image for image in files if image not in failed], folder)
    nothing = nothing_here(images.sidecar)
    if images.rasters and (not isinstance(network, str | Path) or Path(network).is_dir()):
        # Opened once for all.
        network = open_network(network)
    for image in (image for image in images.paths if image in images.rasters):
        raster = images.rasters[image]
        try:
            made = map_image(network, raster, options)
        except (DataError, ImageError) as error:
            taken.failed[image] = error
            continue
        size, background = (raster.width, raster.height), nothing[0] if nothing else None
        cells = ArrayMap(np.moveaxis(made.values, -1, 0), made.classes)
        taken.maps.append(
            ImageMap(image, None, made.facts, background, size, None, None, raster, cells)
        )
    failed |= taken.failed
    if not taken.maps and failed:
        raise next(iter(failed.values()))
    return Maps(taken.maps, failed)


def take_maps(network: Openable, images: Images, folder: str | Path) -> Maps:
    """Find the maps that `tltool.heatmap` made of images, and check that they fit.

    Parameters
    ----------
    network : str, Path, keras.Model or LoadedNetwork
        The network that made them.
    images : Images
    folder : str or Path

    Raises
    ------
    ModelError
        A map was made by another model.
    DataError, ImageError
        The only image has no map, or one of an image of another size or
        without some class. Of several images the errors are in the result; the
        first is raised where all fail.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of maps, as tltool heatmap writes it")
    if images.rasters:
        raise UsageError("`maps`: expected images in files beside it, received some in memory")
    run = network if isinstance(network, str | Path) else open_network(network).path
    made = list[Path]()
    if run is not None:
        run = Path(run).parent if Path(run).name == MODEL_NAME else Path(run)
        made = [run / FCN_NAME, run / MODEL_NAME] if run.is_dir() else [run]
    names = [network_name(path) for path in made if path.is_file()]
    taken = _take(images, images.paths, folder, names)
    if not taken.maps:
        raise next(iter(taken.failed.values()))
    return taken


def maps_for(
    network: Openable,
    images: Images,
    folder: Path,
    maps: str | Path | None,
    options: MapOptions,
    overwrite: bool = False,
) -> Maps:
    """Make maps into `folder`, or take those in `maps`.

    Raises
    ------
    UsageError
        `maps`, and an option that would make others.
    """
    if maps is None:
        return make_maps(network, images, folder, options=options, overwrite=overwrite)
    default = MapOptions()
    given = [name for name in options.names() if getattr(options, name) != getattr(default, name)]
    if given:
        received = ", ".join(f"`{name}`" for name in given)
        raise UsageError(
            f"`maps`: expected no option of making maps beside it; received {received}. Leave one"
            " out"
        )
    return take_maps(network, images, maps)


def _take(
    images: Images, wanted: Sequence[Path], folder: Path, networks: Sequence[str] | None = None
) -> Maps:
    taken = Maps([], {})
    for image in wanted:
        try:
            taken.maps.append(_image_map(image, folder, images.sidecar, networks))
        except (DataError, ImageError) as error:
            taken.failed[image] = error
            if len(wanted) > 1:
                logger.warning("%s is left out: %s", image, error)
    return taken


def _image_map(
    image: Path, folder: Path, sidecar: Sidecar, networks: Sequence[str] | None
) -> ImageMap:
    """The map of an image in a folder; made by one of these networks, where they are named."""
    files = name_files(folder, image, Output())
    for path in (files.map, files.json):
        if not path.is_file():
            raise DataError(
                f"{path}: expected the map of {image.name} there, found none. Make it with"
                " `tltool.heatmap`, or leave `maps` out"
            )
    facts = read_facts(files.json)
    made = facts.model or "one that it does not name"
    # Whatever the file is called.
    if networks is not None and made.split()[-1] not in {name.split()[-1] for name in networks}:
        raise ModelError(
            f"{files.json}: expected a map of the run's network,"
            f" {' or '.join(networks) or 'none'}; received one made by another model, {made}. Make"
            " the map again, or name the run that made it"
        )
    numbers = facts.bands_read or sidecar.band_numbers
    bands = tuple(numbers) if numbers else None
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
            " the map again without `classes`"
        )
    if networks is not None and facts.aoi:
        logger.warning("%s: made with `aoi`, so nothing is found outside that area", files.map)
    nothing = nothing_here(sidecar)
    return ImageMap(image, files.map, facts, nothing[0] if nothing else None, size, gsd, bands)


@dataclass(frozen=True)
class Choice:
    """Parameters of detection, and whether their validation holds.

    Attributes
    ----------
    parameters : DetectionParameters
        Without a validation where it does not hold.
    origin : str
        ``tuned``, ``default`` or ``given``.
    doubt : str
        Reason why there is no validation; empty: there is one.
    """

    parameters: DetectionParameters
    origin: str
    doubt: str = ""

    def for_map(self, image_map: ImageMap) -> "Choice":
        """Choose the same for a map made as those of the tuning, else without validation."""
        tuned, view = self.parameters.view, image_map.facts.view
        if tuned is None or tuned == view:
            return self
        differing = ", ".join(
            f"{key} {view.get(key)} for {value}"
            for key, value in tuned.items()
            if value != view.get(key)
        )
        doubt = f"the tuning saw its images otherwise than this map did: {differing}"
        return Choice(self.parameters.without_validation(), self.origin, doubt)


def default_radius(sidecar: Sidecar) -> float:
    """The patch's side, at least a cell's, px: from there patches share what they show."""
    return max(sidecar.patch, sidecar.stride or 0)


def choose_parameters(
    network: Openable,
    sidecar: Sidecar,
    threshold: float | None = None,
    distance: float | None = None,
) -> Choice:
    """Decide how points are found: as tuned, by default, or as a call says.

    Parameters
    ----------
    network : str, Path, keras.Model or LoadedNetwork
    sidecar : Sidecar
        Sidecar of the network.
    threshold, distance : float, optional
        In place of those of every class. The validation of the tuned rules
        says nothing of others, so it is left out.

    Raises
    ------
    UsageError
        A threshold that is none, or a distance below 0.
    """
    if threshold is not None and not 0 < threshold <= 1:
        raise UsageError(
            f"`threshold`: expected a probability above 0, 1 at most; received {threshold:g}"
        )
    if distance is not None and not 0 <= distance < float("inf"):
        raise UsageError(f"`distance`: expected px from 0 on, received {distance:g}")
    tuned = sidecar.detections
    if tuned is None and isinstance(network, str | Path):
        # The FCN may be older or newer than the tuning, which the classifier knows as well.
        path = Path(network) / MODEL_NAME
        tuned = load_sidecar(path).detections if sidecar_path(path).exists() else None
    default = DetectionParameters(
        surface=choose_surface(sidecar.classes, sidecar.background),
        rule=PeakRule(distance=sidecar.patch / 2),
    )
    before = tuned or default
    given = {"threshold": threshold, "distance": distance}
    update: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    parameters = before.model_copy(
        update={
            "rule": before.rule.model_copy(update=update),
            "classes": {k: rule.model_copy(update=update) for k, rule in before.classes.items()},
        }
    )
    if tuned is None:
        rule = parameters.rule
        doubt = (
            f"the run is not tuned (threshold {rule.threshold:g}, distance {rule.distance:g} px):"
            " tltool count tune RUN IMAGES POINTS.csv chooses both on annotated images and tells"
            " how sure counts are"
        )
        return Choice(parameters, "default" if parameters == before else "given", doubt)
    if parameters == before:
        return Choice(parameters, "tuned")
    doubt = "precision and recall are known of the tuned threshold and distance, not of others"
    return Choice(parameters.without_validation(), "given", doubt)


def store_parameters(network: Openable, parameters: DetectionParameters) -> list[Path]:
    """Write parameters into the sidecars of a run, each whole or not at all.

    Parameters
    ----------
    network : str, Path, keras.Model or LoadedNetwork
        A run folder or an FCN's file; a network that is open keeps them too.
    parameters : DetectionParameters

    Returns
    -------
    list of Path
        The JSON files that hold them now.
    """
    countable_sidecar(network)
    update = {"detections": parameters}
    paths: list[Path] = []
    if isinstance(network, str | Path):
        run = Path(network)
        paths = [run / MODEL_NAME, run / FCN_NAME] if run.is_dir() else [run]
    elif isinstance(network, LoadedNetwork):
        network.sidecar = network.sidecar.model_copy(update=update)
        if network.path is not None and not network.foreign:
            paths = [network.path, network.path.with_name(FCN_NAME)]
    written = []
    for path in paths:
        if sidecar_path(path).exists():
            load_sidecar(path).model_copy(update=update).save(path)
            written.append(sidecar_path(path))
    return written
