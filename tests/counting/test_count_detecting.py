import json
import shutil

import numpy as np
import pytest
from painted import PATCH, images_of, paint, painted_run
from rasterio.transform import Affine

import tltool
from tltool.counting import maps
from tltool.counting.maps import countable_sidecar
from tltool.errors import DataError, ModelError, UsageError
from tltool.run.detection_parameters import DetectionParameters, PeakRule
from tltool.run.map_options import MapOptions
from tltool.run.sidecar import TaskFacts, load_sidecar


def make_maps(run, paths, folder, **options):
    return maps.make_maps(run, images_of(paths, countable_sidecar(run)), folder, **options)


def take_maps(run, paths, folder):
    return maps.take_maps(run, images_of(paths, countable_sidecar(run)), folder)


RULES = DetectionParameters(rule=PeakRule(threshold=0.3, distance=8))


@pytest.fixture(scope="module")
def mapped(converted, tmp_path_factory):
    """An image and a folder with its map."""
    folder = tmp_path_factory.mktemp("mapped")
    image = paint(folder / "a.tif", [(42, 50, "seal"), (102, 50, "pup")])
    make_maps(converted, [image], folder / "maps")
    return image, folder / "maps"


def places(found):
    return sorted(zip(found.x.tolist(), found.y.tolist(), found.labels.tolist(), strict=True))


def test_animals_lie_where_they_were_painted(converted, mapped):
    (image_map,) = take_maps(converted, *[[mapped[0]], mapped[1]]).maps
    assert places(image_map.detect(RULES)) == [(42, 50, "seal"), (102, 50, "pup")]
    assert image_map.scale == (1, 1)
    assert image_map.background == "none"


def test_maps_of_another_model_are_refused(mapped, tmp_path):
    other = painted_run(tmp_path / "other")
    with pytest.raises(ModelError, match=r"a\.json: expected a map of the run's network, model"):
        take_maps(other, [mapped[0]], mapped[1])


def test_a_map_of_another_image_is_refused(converted, mapped, tmp_path):
    larger = paint(tmp_path / "a.tif", [], width=260)
    message = "which is 260 x 200 px; received one of an image of 240 x 200 px"
    with pytest.raises(DataError, match=message):
        take_maps(converted, [larger], mapped[1])


def test_a_missing_map_is_told_with_what_makes_it(converted, mapped, tmp_path):
    other = paint(tmp_path / "b.tif", [])
    with pytest.raises(DataError, match=r"b\.heatmap\.tif: expected the map of b\.tif there"):
        take_maps(converted, [other], mapped[1])
    with pytest.raises(DataError, match="expected a folder of maps"):
        take_maps(converted, [other], tmp_path / "nothing")
    found = take_maps(converted, [mapped[0], other], mapped[1])
    assert [each.image for each in found.maps] == [mapped[0]]
    assert list(found.failed) == [other]


def test_a_map_without_some_class_is_refused(converted, image, tmp_path):
    tltool.heatmap(converted, [image], tmp_path / "maps", classes=["none", "seal"])
    with pytest.raises(DataError, match="a band for every class; pup is missing"):
        take_maps(converted, [image], tmp_path / "maps")


def test_a_map_of_an_area_is_told(converted, mapped, tmp_path, told):
    folder = shutil.copytree(mapped[1], tmp_path / "maps")
    facts = json.loads((folder / "a.json").read_text())
    (folder / "a.json").write_text(json.dumps(facts | {"aoi": "0123"}))
    take_maps(converted, [mapped[0]], folder)
    assert "a.heatmap.tif: made with `aoi`, so nothing is found outside that area" in told.text


def test_a_broken_json_is_told(converted, mapped, tmp_path):
    folder = shutil.copytree(mapped[1], tmp_path / "maps")
    for text, message in (
        ("{", r"a\.json: expected what tltool heatmap"),
        ("{}", "width: Field required"),
    ):
        (folder / "a.json").write_text(text)
        with pytest.raises(DataError, match=message):
            take_maps(converted, [mapped[0]], folder)


def test_points_of_a_resampled_image_are_in_its_own_pixels(run, tmp_path):
    path = run / "fcn.keras"
    load_sidecar(path).model_copy(update={"gsd": 0.5}).save(path)
    place = {"crs": "EPSG:32633", "transform": Affine(0.25, 0, 5e5, 0, -0.25, 6e6)}
    # Twice as large as what the network knows.
    animals = [(84, 100, "seal"), (204, 100, "seal")]
    image = paint(tmp_path / "a.tif", animals, 480, 400, side=2 * PATCH, **place)
    (image_map,) = make_maps(
        run, [image], tmp_path / "maps", options=MapOptions(resample=True)
    ).maps
    assert image_map.scale == (0.5, 0.5)
    seen = image_map.detect(RULES)
    assert np.sort(seen.x) == pytest.approx([42, 102], abs=0.5)
    assert np.sort(image_map.in_image(seen).x) == pytest.approx([84, 204], abs=1)
    assert image_map.gsd == 0.25
    (again,) = take_maps(run, [image], tmp_path / "maps").maps
    assert places(again.detect(RULES)) == places(seen)


def test_maps_and_options_that_make_them_exclude_each_other(converted, mapped, tmp_path):
    options, given = MapOptions(stride=2.0), images_of([mapped[0]], countable_sidecar(converted))
    message = "expected no option of making maps beside it; received `stride`"
    with pytest.raises(UsageError, match=message):
        maps.maps_for(converted, given, tmp_path, mapped[1], options)


def test_what_cannot_be_counted(run, tmp_path):
    with pytest.raises(ModelError, match=r"expected a run folder with model\.keras or fcn\.keras"):
        countable_sidecar(tmp_path / "nothing")
    path, tasks = run / "fcn.keras", [TaskFacts(name="a", classes=["x"]), TaskFacts(classes=["y"])]
    update = {"tasks": tasks, "classes": ["a.x", "label.y"], "background": None}
    load_sidecar(path).model_copy(update=update).save(path)
    with pytest.raises(ModelError, match="a network of one task to count with, received a, label"):
        countable_sidecar(run)


def test_the_json_names_the_network(mapped):
    facts = json.loads((mapped[1] / "a.json").read_text())
    assert facts["model"].startswith("fcn.keras ")
