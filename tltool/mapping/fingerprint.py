"""What decides a map's values: where all of it is the same, so are the values."""

import hashlib
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rasterio
from rasterio.errors import RasterioError

from tltool import __version__
from tltool.raster import AnyRaster
from tltool.tiling.outputs import Output

if TYPE_CHECKING:
    from tltool.mapping.mapper import Mapper

# What viewers and gdaladdo write beside an image, without changing its pixels.
_BESIDE = (".aux.xml", ".ovr")

# Options that decide the bytes of the map; others only what is beside it.
_WRITTEN = ("dtype", "format", "cog", "classes", "argmax")


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def network_name(model: Path) -> str:
    """What a map's JSON calls its network: the file's name and the start of its digest."""
    return f"{model.name} {file_digest(model)[:16]}"


def image_state(path: Path) -> str:
    """Size and time of change of all files that an image consists of; a VRT's sources too."""
    try:
        with warnings.catch_warnings(action="ignore"), rasterio.open(path) as source:
            names = [name for name in source.files if not name.endswith(_BESIDE)]
    except RasterioError:
        names = []
    states = []
    for file in sorted({path.resolve(), *map(Path, names)}):
        if file.exists():
            facts = file.stat()
            states.append(f"{file.resolve()} {facts.st_size} {facts.st_mtime_ns}")
    return hashlib.sha256("\n".join(states).encode()).hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def map_fingerprint(
    mapper: "Mapper",
    raster: AnyRaster,
    model: Path | None,
    output: Output,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """All that decides a map's values, as JSON knows it.

    Parameters
    ----------
    mapper : Mapper
    raster : Raster
        Known by its path, and the size and time of change of its files: reading
        it whole would take as long as a map.
    model : Path or None
        FCN or classifier, told by its content; None: no two are the same.
    output : Output
    facts : mapping
        More that decides the values.
    """
    engine, sidecar = mapper.engine.name, mapper.sidecar
    network = network_name(model) if model else uuid.uuid4().hex
    geometry = sidecar.model_dump(
        exclude={"format", "fidelity", "data", "temperature"}, mode="json"
    )
    written = {f"output {key}": value for key, value in asdict(output).items() if key in _WRITTEN}
    return {
        "journal": 1,
        "model": network,
        "image": str(raster.path.resolve()),
        "image files": image_state(raster.path)[:16],
        "georeference": f"{raster.crs} {tuple(raster.transform)[:6]}",
        **geometry,
        "method": mapper.method,
        "engine": engine,
        "engine version": _version(engine),
        "tile": mapper.tile,
        **written,
        "tltool version": __version__,
        **facts,
    }
