import shutil

import numpy as np
import pytest
from PIL import Image

import tltool
from tltool.data.images import read_image
from tltool.errors import ImageError, ModelError, OutputError, UsageError
from tltool.raster import ArrayRaster
from tltool.run.sidecar import load_sidecar
from tltool.runtime import quiet_import

quiet_import("keras")

from small_runs import ALIVE, ZOO, small_model, small_run, write_bands  # noqa: E402

from tltool.models.loading import load_network  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "a.tif"
    write_bands(path, 3)
    return path


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A run of three classes with its FCN; tests copy it."""
    run = tmp_path_factory.mktemp("runs") / "run"
    small_run(run, ZOO)
    tltool.convert(run)
    return run


@pytest.fixture
def run(converted, tmp_path):
    return shutil.copytree(converted, tmp_path / "run")


def test_the_numbers_are_those_of_the_measurement_and_drawn_once(run, photo):
    """Of a classifier that is not the FCN's, so that there is something to measure."""
    other = small_model([ZOO])
    for weight in other.weights:
        weight.assign(0.5 * weight)
    other.save(run / "model.keras")
    done = tltool.fidelity(run, run, photo, windows=40)
    sidecar = load_sidecar(run / "fcn.keras")
    image = ArrayRaster(read_image(photo))
    fcn = load_network(run / "fcn.keras")
    expected = tltool.measure_fidelity(fcn, other, sidecar, image, 40)
    assert done.numbers == {"image": "a.tif", **expected}
    assert done.numbers["max_difference"] > 0.01
    assert done.sidecar.fidelity == done.numbers
    # What was measured at the conversion stays.
    assert load_sidecar(run / "fcn.keras") == sidecar
    assert done.picture == run / "a.fidelity.png"
    with Image.open(done.picture) as picture:
        assert picture.mode == "RGB"
    with pytest.raises(OutputError, match=r"a.fidelity.png exists already.*overwrite=True"):
        tltool.fidelity(run, run, photo)


def test_an_fcn_without_sidecar_has_the_geometry_of_its_classifier(run, photo, tmp_path):
    (run / "fcn.json").unlink()
    named = tmp_path / "new" / "b.png"
    named.parent.mkdir()
    named.touch()
    without = tltool.fidelity(run, run, photo, named, windows=20, overwrite=True)
    assert without.picture == named
    assert named.stat().st_size > 0
    assert without.numbers["argmax_agreement"] == 1.0
    assert without.sidecar.stride == 4.0
    assert not (run / "fcn.json").exists()


@pytest.mark.slow
def test_a_foreign_classifier_is_described_by_options(tmp_path, photo):
    model = small_model([ALIVE])
    model.save(tmp_path / "net.h5")
    hints = {"classes": ["no", "yes"]}
    done = tltool.convert(tmp_path / "net.h5", tmp_path / "out", **hints)
    found = tltool.fidelity(done.path, tmp_path / "net.h5", photo, **hints, windows=20)
    assert found.numbers["agreement"] == 1.0
    assert found.picture.parent == tmp_path / "out"
    with pytest.raises(UsageError, match=r"model.json beside it tells all that"):
        tltool.fidelity(done.path, tmp_path / "out", photo, **hints, overwrite=True)


def test_what_does_not_belong_together_is_refused(run, photo, tmp_path):
    small_run(tmp_path / "other", ALIVE)
    with pytest.raises(ModelError, match=r"fcn.keras has 3 outputs, .*other/model.keras has 1: ex"):
        tltool.fidelity(run, tmp_path / "other", photo)
    path = run / "model.keras"
    load_sidecar(path).model_copy(update={"zoom": 2.0, "patch": 8}).save(path)
    with pytest.raises(
        ModelError, match=r"do not belong together: .*received \(16, 0, 1.0, 16\) and \(8, 0, 2.0"
    ):
        tltool.fidelity(run, run, photo)
    assert not (run / "a.fidelity.png").exists()


def test_fcn_and_classifier_in_the_wrong_order_are_named(run, photo):
    fcn, model = run / "fcn.keras", run / "model.keras"
    with pytest.raises(ModelError, match=r"fcn.keras: expected a classifier, whose input has a fi"):
        tltool.fidelity(model, fcn, photo)
    with pytest.raises(ModelError, match=r"model.keras: expected an FCN, .*a network of 16 px"):
        tltool.fidelity(model, model, photo)


def test_missing_files_are_named(run, photo, tmp_path):
    with pytest.raises(ModelError, match=r"gone.keras does not exist"):
        tltool.fidelity(tmp_path / "gone.keras", run, photo)
    with pytest.raises(ModelError, match=r"gone.h5 does not exist"):
        tltool.fidelity(run, tmp_path / "gone.h5", photo)
    with pytest.raises(ImageError, match=r"gone.tif"):
        tltool.fidelity(run, run, tmp_path / "gone.tif")
    write_bands(tmp_path / "five.tif", 5)
    with pytest.raises(ImageError, match=r"five.tif: expected 3 bands"):
        tltool.fidelity(run, run, tmp_path / "five.tif")


@pytest.mark.slow
def test_the_map_of_a_denser_fcn_is_measured(run, photo):
    done = tltool.convert(run, stride=2)
    found = tltool.fidelity(done.path, run, photo, windows=30)
    assert found.numbers["argmax_agreement"] == 1.0
    assert found.sidecar.stride == 2.0
    assert np.isclose(found.numbers["max_difference"], 0, atol=1e-5)
