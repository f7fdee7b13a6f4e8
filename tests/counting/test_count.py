"""`tltool.count`: points, counts, scores, and what is refused."""

import csv
import json

import numpy as np
import pytest
import rasterio
from painted import ANIMALS, paint, write_csv
from rasterio.transform import Affine

import tltool
from tltool.annotations import read_points
from tltool.counting import writing
from tltool.counting.maps import store_parameters
from tltool.errors import CountError, DataError, ImageError, OutputError, UsageError
from tltool.points import cell_maps
from tltool.run.detection_parameters import DetectionParameters, PeakRule, Validation
from tltool.run.sidecar import load_sidecar

PLACE = Affine(0.5, 0, 500_000, 0, -0.5, 6_000_000)
UTM = {"crs": "EPSG:32633", "transform": PLACE}
SEALS = Validation(tp=40, fp=4, fn=6, blocks=[(5, 1, 1)] * 4)


def tuned(run, **validation):
    """Store rules in a run, with a validation of some classes."""
    rules = DetectionParameters(
        rule=PeakRule(threshold=0.4, distance=8),
        goal="f1",
        matching_radius=10,
        validation_any=Validation(tp=80, fp=8, fn=12),
        validation=validation,
    )
    store_parameters(run, rules)
    return run


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def places(points):
    return sorted((p.x, p.y, p.label) for p in points)


def test_points_and_counts_in_every_file(run, image, tmp_path):
    survey = tltool.count(tuned(run, seal=SEALS), [image], tmp_path / "out")
    expected = sorted((float(x), float(y), label) for x, y, label in ANIMALS)
    assert places(read_points(tmp_path / "out" / "points.csv")) == expected
    assert places(read_points(tmp_path / "out" / "points.geojson", images=[image])) == expected
    rows = rows_of(tmp_path / "out" / "counts.csv")
    assert [(r["image"], r["label"], r["detections"]) for r in rows] == [
        ("a.tif", "pup", "2"),
        ("a.tif", "seal", "2"),
        ("a.tif", "(any)", "4"),
    ]
    facts = json.loads((tmp_path / "out" / "counts.json").read_text())
    assert facts["totals"]["seal"]["detections"] == 2
    assert "assumes" in facts["method"]
    assert facts["parameters"]["rule"] == {"threshold": 0.4, "distance": 8}
    assert (facts["parameters_are"], facts["level"]) == ("tuned", 0.95)
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {
        *("points.csv", "points.geojson", "counts.csv", "counts.json", "summary.html"),
        *("a.points.png", "maps"),
    }
    assert (tmp_path / "out" / "maps" / "a.heatmap.tif").exists()
    assert len(survey.points) == 4


def test_a_class_without_validation_is_unknown_and_the_reason_told(run, image, maps, tmp_path):
    run = tuned(run, seal=SEALS, pup=Validation(tp=0, fp=2, fn=3))
    survey = tltool.count(run, [image], tmp_path / "out", maps=maps)
    pup, seal, _ = rows_of(tmp_path / "out" / "counts.csv")
    assert [pup[key] for key in ("estimate", "lower", "upper")] == ["unknown"] * 3
    # Two detections times the 46 animals over the 44 detections of the validation.
    assert float(seal["estimate"]) == pytest.approx(2 * 46 / 44, abs=0.01)
    assert int(seal["lower"]) <= 2 <= int(seal["upper"])
    assert survey.doubts == {"pup": "none of 3 was found in validation"}
    facts = json.loads((tmp_path / "out" / "counts.json").read_text())
    assert facts["totals"]["pup"] == {
        "detections": 2,
        **dict.fromkeys(("estimate", "lower", "upper")),
    }
    assert facts["unknown"] == survey.doubts


def test_untuned_runs_say_so_and_how_to_tune(run, image, maps, tmp_path):
    survey = tltool.count(run, [image], tmp_path / "out", maps=maps)
    assert all(count.interval is None for count in survey.totals)
    assert set(survey.doubts) == {"pup", "seal", "(any)"}
    assert "not tuned (threshold 0.5, distance 8 px): tltool count tune" in survey.doubts["seal"]
    assert len(survey.points) == 4


def test_other_rules_than_the_tuned_have_no_interval(run, image, maps, tmp_path):
    run = tuned(run, seal=SEALS)
    survey = tltool.count(run, [image], tmp_path / "a", threshold=0.6, maps=maps)
    assert survey.choice.parameters.rule == PeakRule(threshold=0.6, distance=8)
    assert survey.totals[-1].interval is None
    assert "not of others" in survey.doubts["(any)"]
    survey = tltool.count(run, [image], tmp_path / "b", threshold=0.4, distance=8, maps=maps)
    assert survey.totals[-1].interval is not None
    # The two that are 60 px apart.
    survey = tltool.count(run, [image], tmp_path / "c", distance=61, maps=maps)
    assert len(survey.points) == 3


def test_maps_seen_otherwise_than_in_the_tuning_have_no_interval(run, image, maps, tmp_path, told):
    seeing = {"stride": 4.0, "tta": "none", "scales": [], "combine": None, "resample": False}
    rules = load_sidecar(tuned(run, seal=SEALS) / "fcn.keras").detections
    store_parameters(run, rules.model_copy(update={"view": seeing}))
    survey = tltool.count(run, [image], tmp_path / "b", maps=maps)
    assert survey.totals[-1].interval is not None
    store_parameters(run, rules.model_copy(update={"view": {**seeing, "stride": 2.0}}))
    survey = tltool.count(run, [image], tmp_path / "c", maps=maps)
    assert survey.totals[-1].interval is None
    assert "saw its images otherwise than this map did: stride 4.0 for 2.0" in told.text


def test_bootstrap_needs_blocks(run, image, maps, tmp_path):
    run = tuned(run, seal=SEALS)
    survey = tltool.count(run, [image], tmp_path / "b", maps=maps, interval="bootstrap")
    assert survey.doubts["seal"] == "validation has 4 blocks with points, 8 are needed"
    run = tuned(run, seal=SEALS.model_copy(update={"blocks": [(5, 1, 1), (5, 0, 0)] * 6}))
    survey = tltool.count(run, [image], tmp_path / "c", maps=maps, interval="bootstrap", level=0.5)
    assert survey.totals[1].interval.lower <= 2 <= survey.totals[1].interval.upper


# Two images of 0.5 m a px. On the first a seal is found as a pup, one is not there, a pup is
# missed; on the second a seal is missed.
TRUTH = [(42, 50, "seal"), (105, 54, "seal"), (162, 122, "pup"), (70, 150, "pup")]


@pytest.fixture
def scored(run, tmp_path):
    paint(tmp_path / "a.tif", ANIMALS, **UTM)
    paint(tmp_path / "b.tif", [], **UTM)
    path = write_csv(tmp_path / "truth.csv", TRUTH)
    path.write_text(path.read_text() + "b.tif,20,20,seal\n")
    images = [tmp_path / "a.tif", tmp_path / "b.tif"]
    return tltool.count(tuned(run), images, tmp_path / "out", truth=path, radius=6)


def test_scores_are_those_computed_by_hand(scored, tmp_path):
    score = scored.score
    assert (score.any.tp, score.any.fp, score.any.fn) == (3, 1, 2)
    assert (score.any.precision, score.any.recall) == (0.75, 0.6)
    assert score.any.f1 == pytest.approx(2 / 3)
    # All four points have one score: one threshold, three of five found.
    assert score.any.average_precision == pytest.approx(0.6 * 0.75)
    seal, pup = score.classes["seal"], score.classes["pup"]
    assert (seal.tp, seal.fp, seal.fn) == (1, 1, 2)
    assert (pup.tp, pup.fp, pup.fn) == (1, 1, 1)
    # Pup and seal, down what is true: the seal told as a pup.
    assert score.confusion == [[1, 0], [1, 1]]
    # Two lie where they should, the third 3 px right and 4 px down.
    assert score.localisation.mean == pytest.approx(5 / 3)
    assert score.localisation.median == 0
    assert score.localisation.mean_metres == pytest.approx(5 / 6)
    assert (score.any_count.mae, score.any_count.bias) == (0.5, -0.5)
    assert score.counts["seal"].rmse == pytest.approx(np.sqrt(0.5))
    assert score.mean_columnwise_rmse == pytest.approx(np.sqrt(0.5) / 2)
    stored = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert stored["any"]["f1"] == score.any.f1
    assert stored["confusion"] == score.confusion
    assert scored.without("seal") == 1


def test_points_are_in_the_images_crs(scored, tmp_path):
    document = json.loads((tmp_path / "out" / "points.geojson").read_text())
    assert "32633" in document["crs"]["properties"]["name"]
    first = document["features"][0]
    told = first["properties"]
    assert first["geometry"]["coordinates"] == pytest.approx(PLACE @ (told["x"], told["y"]))
    assert told["image"] == "a.tif"


def test_areas_restrict_points_and_truth(run, image, maps, area, tmp_path):
    truth = write_csv(tmp_path / "truth.csv", TRUTH)
    options = {"aoi": area(0, 0, 150, 200), "truth": truth, "radius": 6, "maps": maps}
    survey = tltool.count(tuned(run), [image], tmp_path / "a", **options)
    assert places(survey.points) == [(42, 50, "seal"), (70, 150, "pup"), (102, 50, "pup")]
    assert (survey.score.any.tp, survey.score.any.fp, survey.score.any.fn) == (3, 0, 0)
    assert survey.images[0].outside == 1
    options |= {"ignore": area(0, 100, 150, 200, "ignored")}
    survey = tltool.count(run, [image], tmp_path / "b", **options)
    assert places(survey.points) == [(42, 50, "seal"), (102, 50, "pup")]
    assert (survey.score.any.tp, survey.score.any.fn) == (2, 0)


def test_an_area_that_misses_all_images_is_an_error_and_one_that_misses_some_is_told(
    run, image, area, tmp_path, told
):
    with pytest.raises(DataError, match=r"expected an area that lies on a\.tif"):
        tltool.count(run, [image], tmp_path / "out", aoi=area(900, 900, 950, 950))
    small = paint(tmp_path / "b.tif", [(42, 50, "seal")], 80, 80)
    survey = tltool.count(run, [image, small], tmp_path / "out", aoi=area(90, 0, 240, 200))
    assert [each.image for each in survey.images] == [image]
    assert survey.left_out == [small]
    assert "b.tif has no part of it and is left out" in told.text


def test_points_are_the_same_however_map_and_image_are_divided(run, tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    animals = [(*rng.integers(8, 590, 2), ("seal", "pup")[k % 2]) for k in range(150)]
    image = paint(tmp_path / "a.tif", animals, 600, 600)
    found = []
    for tile, (window, block) in ((None, (96 << 20, 256)), (48, (1 << 10, 16)), (112, (1, 8))):
        monkeypatch.setattr(cell_maps, "_WINDOW_BYTES", window)
        monkeypatch.setattr(cell_maps, "_BLOCK", block)
        name = str(tile)
        tltool.heatmap(run, [image], tmp_path / f"{name}-maps", tile=tile, engine="tensorflow")
        tltool.count(run, [image], tmp_path / name, maps=tmp_path / f"{name}-maps", threshold=0.2)
        found.append((tmp_path / name / "points.csv").read_text())
    assert found[0].count("\n") > 80
    assert found[1] == found[0]
    assert found[2] == found[0]


def test_no_detection_at_all(run, tmp_path, told):
    image = paint(tmp_path / "a.tif", [])
    survey = tltool.count(tuned(run, seal=SEALS), [image], tmp_path / "out")
    assert survey.points == []
    assert (tmp_path / "out" / "points.csv").read_text().splitlines() == ["image,x,y,label,score"]
    assert json.loads((tmp_path / "out" / "points.geojson").read_text())["features"] == []
    assert "no point reaches the threshold in any image" in told.text
    # Not nothing for sure: some are missed.
    assert survey.totals[1].interval.lower == 0 <= survey.totals[1].interval.upper


def test_one_unreadable_image_among_many(run, image, tmp_path):
    bad = tmp_path / "bad.tif"
    bad.write_bytes(b"II*\0no image")
    with pytest.raises(CountError, match=r"1 of 2 images could not be counted: .*bad\.tif") as told:
        tltool.count(run, [bad, image], tmp_path / "out")
    assert len(told.value.survey.points) == 4
    assert list(told.value.failed) == [bad]
    facts = json.loads((tmp_path / "out" / "counts.json").read_text())
    assert list(facts["failed"]) == [str(bad)]
    with pytest.raises(ImageError, match=r"bad\.tif"):
        tltool.count(run, [bad], tmp_path / "alone")
    assert not (tmp_path / "alone").exists()


def test_truth_of_a_part_without_an_area_is_warned_of(run, tmp_path, area, told):
    # Eight animals in the upper left corner, of which the truth knows two.
    animals = [(42 + 40 * k, 42, "seal") for k in range(5)] + [
        (42 + 40 * k, 162, "seal") for k in range(5)
    ]
    image, truth = paint(tmp_path / "a.tif", animals), tmp_path / "truth.csv"
    write_csv(truth, animals[:5])
    message = "5 of 10 confident detections lie more than 24 px from every point"
    tltool.count(run, [image], tmp_path / "a", truth=truth, radius=6)
    assert message in told.text
    assert "draw that part with `aoi`" in told.text
    told.clear()
    maps, upper = tmp_path / "a" / "maps", area(0, 0, 240, 100)
    tltool.count(run, [image], tmp_path / "b", truth=truth, radius=6, maps=maps, aoi=upper)
    assert "confident detections" not in told.text
    told.clear()
    write_csv(truth, animals)
    tltool.count(run, [image], tmp_path / "c", truth=truth, radius=6, maps=maps)
    assert "confident detections" not in told.text


def test_labels_that_the_run_does_not_know_are_scored_as_any_animal(run, image, maps, tmp_path):
    truth = write_csv(tmp_path / "truth.csv", [(42, 50, "bull"), (102, 50, "pup")])
    score = tltool.count(run, [image], tmp_path / "out", truth=truth, radius=6, maps=maps).score
    assert score.names == ("pup", "seal", "bull")
    assert (score.any.tp, score.classes["bull"].fn) == (2, 1)
    assert score.confusion[2] == [0, 1, 0]


def test_nothing_existing_is_replaced_unasked(run, image, tmp_path):
    tltool.count(run, [image], tmp_path / "out")
    before = (tmp_path / "out" / "counts.json").read_bytes()
    with pytest.raises(OutputError, match=r"points\.csv exists already"):
        tltool.count(run, [image], tmp_path / "out", threshold=0.99)
    assert (tmp_path / "out" / "counts.json").read_bytes() == before
    maps = tmp_path / "out" / "maps"
    survey = tltool.count(run, [image], tmp_path / "out", threshold=0.99, maps=maps, overwrite=True)
    assert survey.points == []
    assert (tmp_path / "out" / "counts.json").read_bytes() != before


def test_what_is_read_is_never_written_over(run, image, tmp_path):
    truth = write_csv(tmp_path / "points.csv", TRUTH)
    with pytest.raises(UsageError, match="another output folder than that of what is read"):
        tltool.count(run, [image], tmp_path, truth=truth, overwrite=True)
    assert truth.read_text().startswith("image,x,y,label\n")


def test_a_failure_on_the_way_leaves_no_half_file(run, image, maps, tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "bounds_of", fail)
    with pytest.raises(OutputError, match=r"counts\.csv could not be written: no space left"):
        tltool.count(run, [image], tmp_path / "out", maps=maps)
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert not made & {"counts.csv", "counts.json"}
    assert not [name for name in made if name.startswith(".partial")]


def test_more_formats_of_points(run, image, maps, tmp_path):
    tltool.count(run, [image], tmp_path / "out", points_formats=["gpkg", "coco"], maps=maps)
    expected = places(read_points(tmp_path / "out" / "points.csv"))
    assert places(read_points(tmp_path / "out" / "points.gpkg", images=[image])) == expected
    assert places(read_points(tmp_path / "out" / "points.coco.json")) == expected
    with pytest.raises(UsageError, match="`points_formats`: expected gpkg or coco beside csv"):
        tltool.count(run, [image], tmp_path / "b", points_formats=["shp"], maps=maps)


def test_images_with_and_without_a_crs_have_their_maps_apart(run, image, tmp_path):
    placed = paint(tmp_path / "b.tif", [(42, 50, "seal")], **UTM)
    tltool.count(run, [image, placed], tmp_path / "out")
    documents = [
        json.loads((tmp_path / "out" / f"{name}.geojson").read_text())
        for name in ("points", "points-without-crs")
    ]
    images = [{f["properties"]["image"] for f in d["features"]} for d in documents]
    assert images == [{"b.tif"}, {"a.tif"}]
    assert len(read_points(tmp_path / "out" / "points.csv")) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0}, "`threshold`: expected a probability above 0"),
        ({"distance": -1}, "`distance`: expected px from 0 on"),
        ({"level": 1}, "`level`: expected a probability between 0 and 1, received 1"),
        ({"interval": "exact"}, "`interval`: expected beta-binomial or bootstrap; received exact"),
        ({"radius": 5}, "`radius`: expected `truth` beside it"),
        ({"truth": "a.csv", "radius": 0}, "`radius`: expected px above 0, received 0"),
    ],
)
def test_options_that_cannot_be_meant(converted, image, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        tltool.count(converted, [image], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_two_images_of_one_name(converted, image, tmp_path):
    (tmp_path / "b").mkdir()
    other = paint(tmp_path / "b" / "a.tif", [])
    with pytest.raises(UsageError, match="two images are called a"):
        tltool.count(converted, [image, other], tmp_path / "out")


def test_the_picture_is_of_bounded_size_and_has_its_marks(scored, tmp_path):
    with rasterio.open(tmp_path / "out" / "a.points.png") as file:
        assert max(file.shape) < 2400
