import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from tltool.errors import OutputError
from tltool.raster import MapGeoreference, MapWriter

NAMES = ("adult", "pup", "backgrounds")
TRANSFORM = Affine(8.0, 0, 500_000, 0, -8.0, 6_000_000)
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def noise(rows, columns, bands=3):
    return np.random.default_rng(0).random((bands, rows, columns), np.float32)


def fail_inside(path, error):
    with MapWriter(path, 4, 4, NAMES, MapGeoreference(None, TRANSFORM)) as writer:
        writer.write(0, 0, noise(4, 4) / 2)
        raise error


def write_map(path, values, crs="EPSG:32633", transform=TRANSFORM, step=100):
    _, rows, columns = values.shape
    with MapWriter(
        path, rows, columns, NAMES[: len(values)], MapGeoreference(crs, transform)
    ) as writer:
        for row in range(0, rows, step):
            for column in range(0, columns, step):
                part = values[:, row : row + step, column : column + step]
                writer.write(row, column, part)


def test_map_holds_what_was_written_where_it_belongs(tmp_path):
    values = noise(310, 270)
    write_map(tmp_path / "new" / "a.heatmap.tif", values)
    with rasterio.open(tmp_path / "new" / "a.heatmap.tif") as file:
        np.testing.assert_array_equal(file.read(), values)
        assert file.descriptions == NAMES
        assert file.crs.to_epsg() == 32633
        assert file.transform == TRANSFORM
        assert np.isnan(file.nodatavals).all()
        assert file.profile["tiled"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.heatmap.tif"]


@pytest.mark.parametrize(
    ("rows", "columns", "factors"),
    [(5, 9, []), (256, 256, []), (257, 10, [2]), (40, 600, [2, 4]), (1030, 16, [2, 4, 8])],
)
def test_overviews_go_down_to_one_block(tmp_path, rows, columns, factors):
    values = np.full((2, rows, columns), 0.25, np.float32)
    write_map(tmp_path / "a.tif", values, step=2000)
    with rasterio.open(tmp_path / "a.tif") as file:
        assert [file.overviews(band) for band in (1, 2)] == [factors, factors]
        small = file.read(2, out_shape=(1, max(1, rows // 2), max(1, columns // 2)))
    assert (small == 0.25).all()


def test_pixel_coordinates_without_a_crs(tmp_path):
    transform = Affine(32, 0, 16, 0, 32, 16)
    write_map(tmp_path / "a.tif", noise(4, 6), crs=None, transform=transform)
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.crs is None
        assert file.transform == transform


def test_cells_never_written_are_no_data(tmp_path):
    with MapWriter(tmp_path / "a.tif", 300, 300, ["a"], MapGeoreference(None, TRANSFORM)) as writer:
        writer.write(2, 3, np.ones((1, 4, 5), np.float32))
    with rasterio.open(tmp_path / "a.tif") as file:
        values = file.read(1)
    assert (values[2:6, 3:8] == 1).all()
    assert np.isnan(values).sum() == 300 * 300 - 20


def test_final_name_appears_only_at_the_end(tmp_path):
    path = tmp_path / "a.tif"
    with MapWriter(path, 4, 4, NAMES, MapGeoreference(None, TRANSFORM)) as writer:
        writer.write(0, 0, noise(4, 4))
        assert not path.exists()
    assert path.exists()


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OutputError("x")])
def test_exception_inside_leaves_nothing_and_passes(tmp_path, error):
    with pytest.raises(type(error)) as caught:
        fail_inside(tmp_path / "a.tif", error)
    assert caught.value is error
    assert list(tmp_path.iterdir()) == []


def test_exception_inside_keeps_the_former_map(tmp_path):
    path, values = tmp_path / "a.tif", noise(4, 4)
    write_map(path, values)
    with pytest.raises(ValueError, match="x"):
        fail_inside(path, ValueError("x"))
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(), values)
    assert list(tmp_path.iterdir()) == [path]


def test_former_map_is_replaced_whole(tmp_path):
    write_map(tmp_path / "a.tif", noise(300, 300))
    write_map(tmp_path / "a.tif", noise(4, 5, bands=1))
    with rasterio.open(tmp_path / "a.tif") as file:
        assert (file.count, file.shape) == (1, (4, 5))


def test_parent_that_is_a_file_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"a\.tif could not be written"):
        write_map(tmp_path / "file" / "a.tif", noise(4, 4))


def test_window_outside_the_map_is_an_output_error(tmp_path):
    with (
        pytest.raises(OutputError, match=r"a\.tif could not be written"),
        MapWriter(tmp_path / "a.tif", 4, 4, NAMES, MapGeoreference(None, TRANSFORM)) as writer,
    ):
        writer.write(3, 3, noise(4, 4))
    assert list(tmp_path.iterdir()) == []


LIMITED = """
    import json, os, resource, sys, warnings
    from pathlib import Path
    import numpy as np
    import rasterio
    from rasterio.transform import Affine
    from tltool.raster import MapWriter, MapGeoreference

    warnings.simplefilter("ignore")
    folder, rows, columns = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    values = np.random.default_rng(0).random((2, rows, columns), np.float32)

    def write(path):
        georeference = MapGeoreference(None, Affine.scale(32))
        with MapWriter(path, rows, columns, ["a", "b"], georeference) as writer:
            for row in range(0, rows, 256):
                writer.write(row, 0, values[:, row : row + 256])

    write(folder / "whole.tif")
    size = (folder / "whole.tif").stat().st_size
    with rasterio.open(folder / "whole.tif") as file:
        overviews = file.overviews(1)
    (folder / "whole.tif").unlink()
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    results = []
    for share in np.linspace(0, 1, 26):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * size), hard))
        try:
            write(folder / "map.tif")
            outcome, message = "written", ""
        except Exception as error:
            outcome, message = type(error).__name__, str(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        whole = False
        if (folder / "map.tif").exists():
            with rasterio.open(folder / "map.tif") as file:
                whole = bool((file.read() == values).all()) and file.overviews(1) == overviews
        left = sorted(os.listdir(folder))
        for name in left:
            (folder / name).unlink()
        results.append([share, outcome, message, whole, left])
    print(json.dumps(results))
"""


@pytest.mark.parametrize(("rows", "columns"), [(40, 60), (300, 260)])
def test_file_too_large_for_the_disk_leaves_nothing_and_says_so(tmp_path, rows, columns):
    code = [sys.executable, "-c", textwrap.dedent(LIMITED)]
    run = subprocess.run(
        [*code, str(tmp_path), str(rows), str(columns)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    results = json.loads(run.stdout)
    assert results[-1][1] == "written"
    for share, outcome, message, whole, left in results:
        if outcome == "written":
            assert (whole, left) == (True, ["map.tif"]), share
        else:
            assert (outcome, left) == ("OutputError", []), (share, message)
            assert "map.tif could not be written: " in message


def test_reason_is_told_not_hidden_behind_a_previous_exception(tmp_path):
    code = f"""
    import resource
    import numpy as np
    from pathlib import Path
    from rasterio.transform import Affine
    from tltool.raster import MapWriter, MapGeoreference

    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    place = MapGeoreference(None, Affine.scale(2))
    with MapWriter(Path({str(tmp_path)!r}) / "a.tif", 512, 512, "ab", place) as map:
        for row in (0, 256):
            map.write(row, 0, np.random.default_rng(0).random((2, 256, 512), np.float32))
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    message = run.stderr.splitlines()[-1]
    assert "OutputError" in message
    assert "See previous exception" not in message
