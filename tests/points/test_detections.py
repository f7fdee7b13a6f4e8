import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine
from scipy import ndimage
from small_maps import SIDECAR

from tltool.counting.maps import RasterMap
from tltool.errors import DataError, ImageError
from tltool.points import cell_maps
from tltool.points.cell_maps import ArrayMap, MapGeometry, cut_windows
from tltool.points.detections import (
    Seeker,
    choose_surface,
    find_candidates,
    suppress,
)
from tltool.raster import MapWriter
from tltool.raster.writing import CLASS_CODES, ENCODINGS, Legend, MapKind
from tltool.run.detection_parameters import DetectionParameters, PeakRule
from tltool.run.sidecar import MapFacts
from tltool.tiling.tiles import make_grid

NAMES = ("sea", "pup", "bull")
FIELDS = ("x", "y", "score", "height", "label", "probabilities")


def detect(cells, geometry, parameters, **more):
    """The points of a map by its rules, as `ImageMap.detect` finds them."""
    more |= {"floor": parameters.floor, "surface": parameters.surface, "radius": parameters.radius}
    return suppress(find_candidates(cells, geometry, **more), parameters)


def geometry_of(cells, cell_size=4.0, origin=0.0):
    size = int(cells.columns * cell_size), int(cells.rows * cell_size)
    return MapGeometry(origin, origin, cell_size, *size)


def map_of(animal, pup=1.0):
    """A map from P(any animal), of which a share is pups."""
    animal = np.asarray(animal, np.float32)
    return ArrayMap(np.stack([1 - animal, animal * pup, animal * (1 - pup)]), NAMES)


def found_in(animal, pup=1.0, cell_size=4.0, **more):
    cells = map_of(animal, pup)
    return find_candidates(cells, geometry_of(cells, cell_size), background="sea", **more)


def rule(threshold=0.1, distance=0.0, **more):
    return DetectionParameters(rule=PeakRule(threshold=threshold, distance=distance), **more)


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in FIELDS)


@st.composite
def maps(draw):
    """Random maps: smooth, noisy or of few steps with plateaus; some cells without data."""
    rows, columns = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    values = rng.dirichlet([2, 1, 1], (rows, columns)).transpose(2, 0, 1)
    if draw(st.booleans()):
        values = ndimage.uniform_filter(values, (0, 3, 3))
    steps = draw(st.sampled_from([0, 1, 3, 8]))
    values = np.round(values * steps) / steps if steps else values
    values[:, rng.random((rows, columns)) < draw(st.sampled_from([0, 0.1]))] = np.nan
    return ArrayMap(values, NAMES)


def cuts(draw, length):
    inner = draw(st.lists(st.integers(1, max(1, length - 1)), max_size=5))
    edges = sorted({0, length, *(i for i in inner if i < length)})
    return list(zip(edges, np.diff(edges).tolist(), strict=False))


@settings(max_examples=80, deadline=None)
@given(
    st.data(),
    maps(),
    st.sampled_from(["any", "class"]),
    st.sampled_from([None, 0.0, 9.0]),
    st.sampled_from([0.0, 5.0, 13.0, 40.0]),
)
def test_points_do_not_depend_on_how_a_map_is_divided(data, cells, surface, radius, distance):
    rows, columns = cuts(data.draw, cells.rows), cuts(data.draw, cells.columns)
    windows = [(r, c, height, width) for r, height in rows for c, width in columns]
    windows = data.draw(st.permutations(windows))
    parameters = rule(0.2, distance, surface=surface, radius=radius)
    place, given_windows = geometry_of(cells), [(0, 0, cells.rows, cells.columns)]
    whole = detect(cells, place, parameters, background="sea", windows=given_windows)
    assert same(detect(cells, place, parameters, background="sea", windows=windows), whole)


@settings(max_examples=60, deadline=None)
@given(maps())
def test_each_plateau_that_is_a_maximum_is_one_peak(cells):
    animal = 1 - cells.read(0, 0, 0, cells.rows, cells.columns)
    known = np.pad(np.where(np.isnan(animal), -np.inf, animal), 1, constant_values=-np.inf)
    expected = []
    for value in np.unique(known[known >= 0.2]):
        parts, number = ndimage.label(known == value, np.ones((3, 3)))
        for k in range(1, number + 1):
            beside = ndimage.binary_dilation(parts == k, np.ones((3, 3))) & (parts != k)
            if known[beside].max(initial=-np.inf) < value:
                expected.append(float(value))
    found = find_candidates(cells, geometry_of(cells), background="sea", floor=0.2, radius=0)
    assert sorted(found.height.tolist()) == pytest.approx(sorted(expected))


def test_a_peak_lies_where_the_parabolas_through_its_neighbours_are_highest():
    row, column = np.mgrid[:9, :9]
    surface = 0.9 - 0.02 * (row - 4.3) ** 2 - 0.03 * (column - 2.8) ** 2
    found = found_in(surface, radius=0, floor=0.5)
    assert (found.x, found.y) == (pytest.approx([3.3 * 4], abs=1e-4), pytest.approx([4.8 * 4]))
    assert found.height == pytest.approx([0.9 - 0.02 * 0.09 - 0.03 * 0.04])


def test_a_peak_at_the_edge_or_beside_cells_without_data_is_not_refined_there():
    surface = np.array([[0.9, 0.5, 0.1], [0.6, 0.1, 0.1], [0.1, np.nan, 0.1], [0.1, 0.8, 0.3]])
    found = found_in(surface, radius=0, floor=0.5)
    assert found.x.tolist() == [2.0, pytest.approx(6 + 4 * 0.2 / 2.4)]
    assert found.y.tolist() == [2.0, 14.0]


def test_a_plateau_is_one_peak_at_its_centre_and_a_shoulder_none():
    surface = np.full((6, 9), 0.1)
    surface[1, 1:3] = 0.8
    surface[2:4, 5] = 0.6
    surface[4, 6:8] = [0.6, 0.7]
    found = found_in(surface, floor=0.5, radius=0)
    assert found.height == pytest.approx([0.8, 0.7])
    assert (found.x.tolist()[0], found.y.tolist()[0]) == (8.0, 6.0)


def test_a_ring_is_one_peak_on_the_ring():
    surface = np.full((5, 5), 0.9)
    surface[2, 2] = 0.1
    found = found_in(surface)
    assert (found.x.tolist(), found.y.tolist()) == ([2.0], [2.0])


def test_constant_map_is_one_peak_and_one_below_the_floor_none():
    assert len(found_in(np.full((7, 7), 0.5), floor=0.5)) == 1
    assert len(found_in(np.full((7, 7), 0.4), floor=0.5)) == 0
    assert len(found_in(np.full((7, 7), np.nan))) == 0


def test_label_and_score_are_means_around_the_peak():
    animal = np.zeros((5, 5))
    animal[1:4, 1:4], animal[2, 2] = 0.4, 0.9
    pup = np.zeros((5, 5))
    pup[2, 2] = 1
    alone, around = (found_in(animal, pup, radius=radius) for radius in (0, None))
    assert (alone.labels, around.labels) == (["pup"], ["bull"])
    assert alone.score == pytest.approx([0.9])
    assert around.score == pytest.approx([(8 * 0.4 + 0.9) / 9])
    assert around.probabilities[0] == pytest.approx([1 - 4.1 / 9, 0.1, 3.2 / 9])
    cross = found_in(animal, pup, radius=4.0)
    assert cross.score == pytest.approx([(4 * 0.4 + 0.9) / 5])


def test_means_leave_out_cells_without_data():
    animal = np.full((3, 3), np.nan)
    animal[1, 1:] = [0.9, 0.5]
    assert found_in(animal).score == pytest.approx([0.7])


def test_score_never_exceeds_the_height_of_the_peak():
    animal = np.full((1, 7), 0.2)
    animal[0, [1, 4]] = [0.6, 1.0]
    found = found_in(animal, radius=16.0)
    assert (found.score <= found.height).all()


def test_each_class_can_have_peaks_of_its_own():
    values = np.full((3, 3, 9), 0.1)
    values[1, 1, 1], values[2, 1, 7], values[2, 1, 2] = 0.8, 0.7, 0.3
    cells = ArrayMap(values, NAMES)
    options = {"background": "sea", "surface": "class", "floor": 0.25, "radius": 0}
    found = find_candidates(cells, geometry_of(cells), **options)
    assert found.labels.tolist() == ["pup", "bull", "bull"]
    assert found.score == pytest.approx([0.8, 0.7, 0.3])


def greedy(points, distance):
    """The definition, point by point."""
    kept = []
    for k in range(len(points)):
        near = ((points.xy[kept] - points.xy[k]) ** 2).sum(1) ** 0.5
        if not (near < np.minimum(distance[points.label[kept]], distance[points.label[k]])).any():
            kept.append(k)
    return kept


@settings(max_examples=60, deadline=None)
@given(maps(), st.sampled_from([0.0, 6.0, 11.0, 30.0]), st.sampled_from([4.0, 10.0]))
def test_suppression_is_the_greedy_one(cells, distance, bulls):
    parameters = rule(0.2, distance, classes={"bull": PeakRule(threshold=0.4, distance=bulls)})
    found = find_candidates(cells, geometry_of(cells), background="sea", floor=0.2)
    high = found.take(found.score >= np.where(found.label == 2, 0.4, 0.2))
    kept = greedy(high, np.array([distance, distance, bulls]))
    assert same(suppress(found, parameters), high.take(np.array(kept, int)))


def test_a_chain_of_suppression_crosses_many_windows():
    animal = np.zeros((3, 400))
    animal[1, ::2] = np.linspace(0.9, 0.5, 200)
    cells = map_of(animal)
    windows = [(0, c, 3, 1) for c in range(400)]
    parts = detect(
        cells, geometry_of(cells), rule(0.3, 12.0, radius=0), background="sea", windows=windows
    )
    assert len(parts) == 100
    gaps = np.diff(np.sort(parts.x))
    assert (gaps > 12).all()
    assert (gaps < 20).all()


def test_small_animals_may_stand_beside_large_ones():
    animal = np.zeros((3, 7))
    animal[1, [1, 3, 5]] = [0.9, 0.8, 0.7]
    pup = np.zeros((3, 7))
    pup[:, 3] = 1
    classes = {"bull": PeakRule(distance=30), "pup": PeakRule(distance=6)}
    found = detect(
        map_of(animal, pup),
        geometry_of(map_of(animal)),
        rule(radius=0, classes=classes),
        background="sea",
    )
    assert found.labels.tolist() == ["bull", "pup"]


def test_equal_scores_are_told_apart_by_their_place():
    animal = np.zeros((3, 9))
    animal[1, [1, 4, 7]] = 0.5
    cells = map_of(animal)
    found = detect(cells, geometry_of(cells), rule(0.3, 13.0, radius=0), background="sea")
    assert found.x.tolist() == [6.0, 30.0]


def test_cells_lie_where_the_grid_of_the_network_puts_them():
    grid = make_grid(SIDECAR.model_copy(update={"patch": 9, "offset": None}), 50, 30)
    place = MapGeometry(float(grid.x.origin), float(grid.y.origin), float(grid.x.cell_size), 50, 30)
    x, y = place.to_pixels(np.array([0.0, 3.0]), np.array([0.0, 1.5]))
    centre = float(grid.x.offset) + 9 / 2
    assert x.tolist() == [max(0.5, centre), centre + 3 * 4]
    assert y.tolist() == [max(0.5, centre), centre + 1.5 * 4]
    facts = MapFacts(stride=4.0, offset=grid.x.offset, patch=9, width=50, height=30)
    assert MapGeometry.of_facts(facts) == place


def test_points_never_lie_outside_the_image():
    animal = np.zeros((2, 4))
    animal[1, 3] = 0.9
    found = find_candidates(map_of(animal), MapGeometry(0, 0, 8, 25, 9), background="sea")
    assert (found.x.tolist(), found.y.tolist()) == ([24.5], [8.5])


@pytest.mark.parametrize("dtype", ["float32", "uint8", "uint16"])
def test_a_file_gives_the_same_points_as_its_values(tmp_path, dtype):
    rng = np.random.default_rng(1)
    values = ndimage.gaussian_filter(rng.dirichlet([1, 1, 1], (300, 280)), (2, 2, 0))
    values = values.transpose(2, 0, 1).astype(np.float32)
    values[:, :5, 270:] = np.nan
    encoding, path = ENCODINGS[dtype], tmp_path / "a.heatmap.tif"
    with MapWriter(path, 300, 280, MapKind(NAMES, encoding), place_of()) as writer:
        writer.write(0, 0, encoding.encode(values))
    stored = ArrayMap(encoding.decode(encoding.encode(values)), NAMES)
    parameters = rule(0.3, 20.0)
    with RasterMap(path) as cells:
        assert cells.names == NAMES
        windows = [(r, c, 100, 70) for r in (0, 100, 200) for c in (0, 70, 140, 210)]
        place = geometry_of(cells)
        found = detect(cells, place, parameters, background="sea", windows=windows)
    assert len(found) > 50
    assert same(found, detect(stored, place, parameters, background="sea"))


def place_of():
    from tltool.raster import MapGeoreference

    return MapGeoreference(None, Affine.scale(4))


def test_files_that_are_no_maps_of_probabilities_are_refused(tmp_path):
    path, legend = tmp_path / "a.tif", Legend(NAMES, ((0, 0, 0),) * 3)
    kind = MapKind(("class",), CLASS_CODES["uint8"], legend)
    with MapWriter(path, 3, 3, kind, place_of()) as writer:
        writer.write(0, 0, np.zeros((1, 3, 3), np.uint8))
    with pytest.raises(DataError, match=r"a.tif: expected probabilities .*without `argmax`"):
        RasterMap(path)
    path.write_bytes(b"no map")
    with pytest.raises(ImageError, match=r"a.tif: expected a GeoTIFF of tltool heatmap"):
        RasterMap(path)


def test_maps_that_do_not_show_what_is_sought_are_refused():
    cells = ArrayMap(np.zeros((2, 3, 3)), ("pup", "bull"))
    place = geometry_of(cells)
    with pytest.raises(DataError, match=r"expected the background.* received only pup, bull"):
        find_candidates(cells, place, background="sea")
    with pytest.raises(DataError, match=r"`floor`: expected a probability above 0, received 0"):
        find_candidates(cells, place, background="sea", floor=0)
    with pytest.raises(DataError, match=r"a class besides the background sea, received none"):
        find_candidates(ArrayMap(np.zeros((1, 3, 3)), ("sea",)), place, background="sea")
    with pytest.raises(DataError, match=r"expected \(2, rows, columns\) values .*\(3, 3, 3\)"):
        ArrayMap(np.zeros((3, 3, 3)), ("pup", "bull"))
    assert choose_surface(cells.names, "sea") == "class"
    assert choose_surface(NAMES, "sea") == "any"


class Counted(ArrayMap):
    """A map that counts how often each cell of each band is read."""

    def __init__(self, values):
        super().__init__(values, NAMES)
        self.times = np.zeros(values.shape, int)

    def read(self, band, row, column, rows, columns):
        self.times[band, row : row + rows, column : column + columns] += 1
        return super().read(band, row, column, rows, columns)


@settings(max_examples=40, deadline=None)
@given(maps(), st.sampled_from([1, 2, 5, 8]), st.integers(1, 60), st.sampled_from([None, 14.0]))
def test_windows_cover_a_map_and_read_each_cell_once_from_top_to_bottom(cells, side, area, radius):
    counted = Counted(cells._values)
    options = {"background": "sea", "floor": 0.2, "radius": radius}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cell_maps, "_BLOCK", side)
        patch.setattr(cell_maps, "_WINDOW_BYTES", area * 12 * side)
        windows = list(cut_windows(counted, 3))
        # Plateaus of several windows are looked at once more.
        patch.setattr(Seeker, "search_across", lambda *_: [])
        find_candidates(counted, geometry_of(counted), **options)
    covered = np.zeros((cells.rows, cells.columns), int)
    for row, column, rows, columns in windows:
        assert rows > 0
        covered[row : row + rows, column : column + columns] += 1
    assert (covered == 1).all()
    if len({column for _, column, *_ in windows}) == 1:
        assert counted.times[0].max() == 1
        assert counted.times.max() <= 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cell_maps, "_BLOCK", side)
        patch.setattr(cell_maps, "_WINDOW_BYTES", area * 12 * side)
        found = find_candidates(cells, geometry_of(cells), **options)
    whole = [(0, 0, cells.rows, cells.columns)]
    assert same(found, find_candidates(cells, geometry_of(cells), windows=whole, **options))


@given(st.integers(1, 10000), st.integers(1, 30000), st.integers(1, 60))
def test_windows_end_where_blocks_do_and_stay_small(rows, columns, bands):
    cells = ArrayMap(np.zeros((bands, 1, 1)), [str(k) for k in range(bands)])
    cells.rows, cells.columns = rows, columns
    windows = list(cut_windows(cells, 2))
    assert sum(height * width for *_, height, width in windows) == rows * columns
    assert all((r == 0 or (r + 2) % 256 == 0) and c % 256 == 0 for r, c, *_ in windows)
    assert max(h * w for *_, h, w in windows) * bands * 4 <= 97 << 20


def test_parameters_keep_through_json():
    classes = {"pup": PeakRule(threshold=0.1 + 0.2, distance=7)}
    parameters = rule(0.7, 12, classes=classes, goal="f1", matching_radius=24)
    text = json.dumps(parameters.model_dump(mode="json"))
    assert DetectionParameters.model_validate_json(text) == parameters
    assert parameters.floor == 0.1 + 0.2
    # As runs have it that were tuned before.
    older = DetectionParameters.model_validate_json('{"seeing": {"stride": 4.0}}')
    assert older.view == {"stride": 4.0}
    assert "seeing" not in older.model_dump()
    assert parameters.rule_of("bull").distance == 12
