"""Maps by the à trous network, by shift-and-stitch and by sliding the classifier."""

import json
import math
import shutil

import numpy as np
import pytest
import rasterio

import tltool
from tltool.errors import ConversionError, ModelError, UsageError
from tltool.raster import Raster
from tltool.run.sidecar import load_sidecar
from tltool.runtime import quiet_import

quiet_import("keras")

import keras  # noqa: E402
from keras import layers  # noqa: E402
from small_runs import ALIVE, PATCH, ZOO, padded_run, small_run, write_bands  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("without_pictures"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]


def map_of(run, image, out, **options):
    """The written values and facts."""
    made = tltool.heatmap(run, [image], out, **options)[0]
    with rasterio.open(made.map_path) as source:
        values = source.read()
        corner = source.transform @ (1, 1)
    facts = json.loads(made.json_path.read_text())
    cell_size = facts["stride"]
    start = facts["offset"] + (facts["patch"] - cell_size) / 2
    assert corner == pytest.approx((start + cell_size, start + cell_size))
    return values, facts


def windows_of(image, facts, cells, side):
    with Raster(image) as raster:
        for row, column in cells:
            start = [
                facts["offset"] - facts["context"] + cell * facts["stride"]
                for cell in (column, row)
            ]
            assert all(number % 1 == 0 for number in start)
            yield raster.read(int(start[0]), int(start[1]), side, side).astype("float32")


def expected_of(model, image, facts, shape, side=PATCH):
    cells = list(np.ndindex(shape[1:]))
    told = model(np.stack(list(windows_of(image, facts, cells, side))))
    if isinstance(told, dict):
        told = np.concatenate([told[task["name"]] for task in facts["tasks"]], axis=1)
    return np.asarray(told).T.reshape(shape)


@pytest.mark.parametrize(
    ("options", "method"),
    [
        pytest.param({"stride": 2}, "dense", marks=pytest.mark.slow),
        ({"stride": 1, "tile": 30}, "dense"),
        ({"stride": 2, "shift_and_stitch": True}, "shift-and-stitch"),
        ({"stride": 4}, "fcn"),
        ({"mode": "patches"}, "patches"),
        ({"mode": "patches", "stride": 7}, "patches"),
    ],
)
def test_every_method_says_what_the_classifier_says_of_the_cells_windows(tmp_path, options, method):
    model = small_run(tmp_path / "run", ZOO, ALIVE, background="none")
    write_bands(tmp_path / "a.tif", 3)
    values, facts = map_of(tmp_path / "run", tmp_path / "a.tif", tmp_path / "maps", **options)
    assert facts["method"] == method
    assert facts["stride"] == options.get("stride", 4)
    # A cell more where the first begins half a pixel before the image.
    along = math.ceil((40 + facts["stride"] % 2 / 2) / facts["stride"])
    assert values.shape == (4, along, along)
    if method != "fcn":
        assert facts["fidelity"]["agreement"] == 1.0
        assert facts["fidelity"]["image"] == "a.tif"
    expected = expected_of(model, tmp_path / "a.tif", facts, values.shape)
    np.testing.assert_allclose(values, expected, atol=1e-5)
    assert np.ptp(values) > 0.01


@pytest.mark.parametrize("zoom", [1.0, pytest.param(1.5, marks=pytest.mark.slow)])
def test_a_dense_map_is_the_stitched_one_and_tiles_do_not_show(tmp_path, zoom):
    padded_run(tmp_path / "run", zoom)
    write_bands(tmp_path / "a.tif", 3, side=72)
    run, image, stride = tmp_path / "run", tmp_path / "a.tif", round(2 / zoom, 2)
    dense, facts = map_of(run, image, tmp_path / "dense", stride=stride)
    tiled, _ = map_of(run, image, tmp_path / "tiled", stride=stride, tile=120)
    stitched, _ = map_of(
        run, image, tmp_path / "stitched", stride=stride, shift_and_stitch=True, tile=160
    )
    assert facts["stride"] == pytest.approx(2 / zoom)
    assert facts["fidelity"]["max_difference"] <= (1e-5 if zoom == 1 else 0.02)
    np.testing.assert_allclose(tiled, dense, atol=1e-5)
    np.testing.assert_allclose(stitched, dense, atol=1e-5)
    assert np.ptp(dense) > 0.01


def attentive_run(folder):
    """A run whose classifier cannot be converted."""
    small_run(folder, ALIVE)
    inputs = keras.Input((PATCH, PATCH, 3))
    x = layers.Conv2D(4, 4, strides=4)(layers.Rescaling(1 / 128, -1)(inputs))
    x = layers.Reshape((16, 4), name="tokens")(x)
    x = layers.MultiHeadAttention(2, 4)(x, x)
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(layers.Flatten()(x)))
    model.save(folder / "model.keras")
    return model


def test_what_cannot_be_converted_is_slid_patch_by_patch(tmp_path):
    model = attentive_run(tmp_path / "run")
    image = tmp_path / "a.tif"
    write_bands(image, 3)
    message = r"layer tokens \(Reshape\) cannot be converted.*`tltool.heatmap\(mode='patches'\)`"
    with pytest.raises(ConversionError, match=message):
        tltool.heatmap(tmp_path / "run", [image], tmp_path / "maps")
    values, facts = map_of(tmp_path / "run", image, tmp_path / "maps", mode="patches")
    assert (facts["stride"], values.shape) == (PATCH, (1, 3, 3))
    expected = expected_of(model, image, facts, values.shape)
    np.testing.assert_allclose(values, expected, atol=1e-5)
    path = tmp_path / "run" / "model.keras"
    values, facts = map_of(path, image, tmp_path / "fine", mode="patches", stride=5, tile=40)
    np.testing.assert_allclose(values, expected_of(model, image, facts, values.shape), atol=1e-5)


def test_wrong_strides_and_combinations_are_refused(tmp_path):
    run, image = tmp_path / "run", tmp_path / "a.tif"
    small_run(run, ALIVE)
    write_bands(image, 3)

    def refused(message, kind=UsageError, **options):
        with pytest.raises(kind, match=message):
            tltool.heatmap(run, [image], tmp_path / "maps", **options)

    refused(r"`stride`: expected one of 4, 2, 1 px, .* received 3\. .*`mode='patches'`", stride=3)
    refused("`shift_and_stitch`: expected `stride` beside it", shift_and_stitch=True)
    refused("and no `mode='patches'`", stride=2, shift_and_stitch=True, mode="patches")
    refused("`stride`: expected a whole number.* received 2.5", stride=2.5, mode="patches")
    refused("`stride`: expected a whole number.* received -1", stride=-1, mode="patches")
    refused(r"`tile`: expected 16 px or more", tile=8, mode="patches")
    shutil.copy(run / "model.json", tmp_path / "model.json")
    sidecar = load_sidecar(run / "model.keras")
    sidecar.model_copy(update={"input_side": 18}).save(run / "model.keras")
    refused(r"expected one input of 18 x 18 px with 3 bands", ModelError, mode="patches")


def test_without_the_classifier_no_fidelity_is_told(tmp_path, caplog):
    small_run(tmp_path / "run", ALIVE)
    write_bands(tmp_path / "a.tif", 3)
    tltool.convert(tmp_path / "run", check_image=tmp_path / "a.tif", windows=9)
    (tmp_path / "run" / "model.keras").unlink()
    fcn = tmp_path / "run" / "fcn.keras"
    _, facts = map_of(fcn, tmp_path / "a.tif", tmp_path / "maps", stride=2)
    assert facts["fidelity"] is None
    assert "no fidelity is measured" in caplog.text


def test_a_dense_network_is_written_by_convert_and_mapped(tmp_path):
    run, image = tmp_path / "run", tmp_path / "a.tif"
    small_run(run, ALIVE)
    write_bands(image, 3)
    done = tltool.convert(run, check_image=image, windows=50, stride=2)
    assert (done.path.name, done.sidecar.stride) == ("fcn-stride2.keras", 2.0)
    assert done.sidecar.fidelity["max_difference"] <= 1e-5
    direct, _ = map_of(run, image, tmp_path / "direct", stride=2)
    stored, facts = map_of(done.path, image, tmp_path / "stored")
    np.testing.assert_allclose(stored, direct, atol=1e-6)
    assert facts["fidelity"] == done.sidecar.fidelity
    with pytest.raises(UsageError, match="expected one of 4, 2, 1 px"):
        tltool.convert(run, stride=5)


def test_full_resolution_is_written_beside_the_map(tmp_path):
    small_run(tmp_path / "run", ALIVE)
    write_bands(tmp_path / "a.tif", 3)
    made = tltool.heatmap(
        tmp_path / "run", [tmp_path / "a.tif"], tmp_path / "maps", full_resolution=True
    )[0]
    with rasterio.open(made.full_path) as full, rasterio.open(made.map_path) as cells:
        assert full.shape == (40, 40)
        # Pixels 1 and 2 of a cell of 4 lie around its centre.
        middle = full.read(1)[1:3, 1:3].mean()
        assert middle == pytest.approx(cells.read(1)[0, 0], abs=0.05)
