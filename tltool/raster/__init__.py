"""The one door to the pixels of images on disk."""

from tltool.raster.areas import load_area
from tltool.raster.finding import expand_patterns, find_images, images_of, list_images, walk_images
from tltool.raster.image import IMAGE_SUFFIXES, ArrayImage, Image
from tltool.raster.polygons import Area
from tltool.raster.reading import Raster
from tltool.raster.resampled import AnyRaster, ResampledRaster
from tltool.raster.scaling import Scale, parse_scale
from tltool.raster.writing import MapGeoreference, MapWriter
from tltool.raster.zoom import as_zoom, enlarge

__all__ = [
    "IMAGE_SUFFIXES",
    "AnyRaster",
    "Area",
    "ArrayImage",
    "Image",
    "MapGeoreference",
    "MapWriter",
    "Raster",
    "ResampledRaster",
    "Scale",
    "as_zoom",
    "enlarge",
    "expand_patterns",
    "find_images",
    "images_of",
    "list_images",
    "load_area",
    "parse_scale",
    "walk_images",
]
