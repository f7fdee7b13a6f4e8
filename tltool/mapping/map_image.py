"""The map of one image in memory: `tltool.map_image` and what it gives."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from PIL import Image

from tltool.files import refuse_existing
from tltool.inference.image_opening import ImageSource
from tltool.inference.network import LoadedNetwork, Openable, open_network
from tltool.mapping.image_map import (
    OVERLAY_SIDE,
    map_facts,
    map_georeference,
    network_name,
    overlay_of,
    with_best_tile,
)
from tltool.mapping.mapper import Mapper, load_mapper
from tltool.pictures.notebook import picture_html
from tltool.points.cell_maps import MapGeometry
from tltool.raster import AnyRaster, MapGeoreference, MapWriter, load_area
from tltool.run.map_options import MapOptions, Output
from tltool.run.sidecar import MapFacts
from tltool.tiling.pipeline import find_cover, predict_tiles
from tltool.tiling.products import Product, choose_product
from tltool.tiling.tiles import Grid
from tltool.tiling.unfinished import block_windows

# Mappers of networks in memory, by what they depend on: compiling one may take seconds.
_mappers: WeakKeyDictionary[LoadedNetwork, dict[MapOptions, Mapper]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False, repr=False)
class Map:
    """Class probabilities of an image's cells, as `tltool.map_image` makes them.

    ``np.asarray(map)`` gives `values`; a notebook shows the overlay.

    Attributes
    ----------
    values : (rows, columns, classes) float32 array
        Probabilities in 0..1; NaN where the image has no data.
    classes : tuple of str
        Names of the last axis.
    facts : MapFacts
        What made the map and where its cells lie: the JSON that
        `tltool.heatmap` writes beside a map.
    """

    values: np.ndarray
    classes: tuple[str, ...]
    facts: MapFacts
    _product: Product
    _grid: Grid
    _georeference: MapGeoreference
    _open: Callable[[], AnyRaster] = field(hash=False)

    @property
    def geometry(self) -> MapGeometry:
        """Geometry of the cells: where they lie on the image."""
        return MapGeometry.of_facts(self.facts)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype, copy=copy)

    def __repr__(self) -> str:
        rows, columns, _ = self.values.shape
        return (
            f"<Map of {Path(self.facts.image).name.strip('`')}: {rows} x {columns} cells of"
            f" {self.facts.stride:g} px, {', '.join(self.classes)}>"
        )

    def to_image(self) -> Image.Image:
        """Draw the map over its image, as ``<stem>.overlay.png`` of `tltool.heatmap`.

        Returns
        -------
        PIL.Image.Image
            RGB; the image is shrunk to 2500 px at most.
        """
        bands = np.moveaxis(self.values, -1, 0)
        with self._open() as raster:
            photograph = raster.thumbnail(OVERLAY_SIDE)
            return overlay_of(
                lambda k, row, column, rows, columns: bands[
                    k, row : row + rows, column : column + columns
                ],
                bands.shape[1:],
                self._product,
                raster,
                self._grid,
                photograph,
            )

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the map as the GeoTIFF that `tltool.heatmap` writes, byte for byte.

        Parameters
        ----------
        path : str or Path
            Its name ends in ``.tif``.
        overwrite : bool
            Replace an earlier file.

        Returns
        -------
        Path

        Raises
        ------
        OutputError
            The file exists already or cannot be written.
        """
        path = Path(path)
        refuse_existing(path, overwrite)
        stored = self._product.stored(np.moveaxis(self.values, -1, 0))
        shape = stored.shape[1], stored.shape[2]
        with MapWriter(path, *shape, self._product.kind, self._georeference) as writer:
            for band in range(len(stored)):
                for row, column, rows, columns in block_windows(shape):
                    part = stored[band, row : row + rows, column : column + columns]
                    writer.write(row, column, part[None], band)
        return path

    def _repr_html_(self) -> str:
        return picture_html(self.to_image())


def map_image(
    network: Openable, image: ImageSource, options: MapOptions | None = None, **keywords: Any
) -> Map:
    """Map the class probabilities of one image into memory.

    The numbers are those that `tltool.heatmap` writes, bit for bit.

    Parameters
    ----------
    network : str, Path, keras.Model or LoadedNetwork
        A run folder, a model's file, or a classifier in memory. To map several
        images open it once, with `tltool.open`.
    image : str, Path, array, PIL image or Raster
        A file, or pixels (height, width, bands) in 0..255; other numbers need
        `scale`.
    options : MapOptions, optional
        How the map is made.
    **keywords
        Single options of `MapOptions`, over these: ``stride=8``,
        ``scale=(0, 1)``.

    Returns
    -------
    Map

    Raises
    ------
    UsageError
        An option that cannot be meant or is not known; an array of another
        rank or number of bands, with NaN, or with floats in 0..1 without
        `scale`.
    ImageError
        An image that cannot be read, is smaller than a patch or has other
        bands than the network takes.
    DataError, ConversionError, ModelError
    """
    options = MapOptions.of(options, **keywords)
    if isinstance(network, str | Path):
        mapper = load_mapper(network, options)
    else:
        opened = open_network(network)
        # These decide what is read, not what runs.
        key = replace(options, scale=None, bands=None, resample=False, aoi=None)
        kept = _mappers.setdefault(opened, {})
        if key not in kept:
            kept[key] = load_mapper(opened, key)
        mapper = replace(kept[key], options=options)
    with mapper.open(image) as raster:
        grid = mapper.grid(raster)
        area = load_area(options.aoi, raster) if options.aoi else None
        mapper = with_best_tile(mapper, raster, grid, {}, {})
        product = choose_product(mapper.sidecar)
        values = np.full((grid.y.cells, grid.x.cells, product.outputs), np.nan, np.float32)
        tiles = grid.tiles(mapper.tile)
        cover = find_cover(raster, grid, area)
        with closing(predict_tiles(raster, tiles, mapper.predictor(), cover)) as predicted:
            for tile, part in predicted:
                if part is not None:
                    rows = slice(tile.y.cell, tile.y.cell + tile.y.cells)
                    columns = slice(tile.x.cell, tile.x.cell + tile.x.cells)
                    values[rows, columns] = part.transpose(1, 2, 0)
        name = network_name(mapper.file) if mapper.file else None
        facts = map_facts(mapper, raster, grid, name, Output(), {}, mapper.facts(raster))
        lies = map_georeference(grid, raster)
    names = product.names
    return Map(values, names, facts, product, grid, lies, lambda: mapper.open(image))
