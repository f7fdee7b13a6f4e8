"""The one door to the pixels of images on disk."""

from tltool.raster.areas import Area, load_area
from tltool.raster.array import ArrayRaster
from tltool.raster.bands import Scale, parse_scale
from tltool.raster.reading import Image, Raster, as_zoom, enlarge
from tltool.raster.resampling import AnyRaster, ResampledRaster
from tltool.raster.writing import MapGeoreference, MapWriter
