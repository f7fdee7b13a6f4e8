import dataclasses
import re

import numpy as np
import pytest

from tltool.counting.checked import (
    Check,
    draw_window,
    estimate_check,
    expected_in,
    read_check,
    window_grid,
    write_check,
    write_estimate,
)
from tltool.errors import DataError, OutputError
from tltool.points.sampling import draw_windows, window_probabilities
from tltool.raster import ArrayRaster


def test_windows_cover_an_image_without_overlap():
    boxes = window_grid(100, 70, 32)
    covered = np.zeros((70, 100), int)
    for x0, y0, x1, y1 in boxes:
        covered[y0:y1, x0:x1] += 1
    assert (covered == 1).all()
    assert boxes[-1].tolist() == [96, 64, 100, 70]
    with pytest.raises(DataError, match="`window`: expected 1 to 100 px"):
        window_grid(100, 70, 128)


def test_each_point_is_expected_in_one_window():
    boxes = window_grid(64, 32, 32)
    assert expected_in(boxes, [[31.9, 5], [32, 5], [1, 1]], [0.5, 0.25, 1]).tolist() == [1.5, 0.25]
    assert expected_in(boxes, [], []).tolist() == [0, 0]


def test_the_picture_shows_the_surroundings_and_outlines_the_window():
    raster = ArrayRaster(np.full((60, 80, 3), 100, np.uint8), "x")
    picture = np.asarray(draw_window(raster, (20, 20, 40, 40), 10))
    assert picture.shape == (40, 40, 3)
    assert (picture[9, 9:31] == 255).all()
    assert (picture[10:30, 10:30] == 100).all()
    assert draw_window(raster, (0, 0, 20, 20), 10).size == (30, 30)


@pytest.fixture
def check():
    rng = np.random.default_rng(0)
    boxes = np.concatenate([window_grid(320, 320, 32)] * 2)
    images = ("a.png",) * 100 + ("b.png",) * 100
    expected = rng.poisson(1.0, (200, 2)).astype(float)
    q = window_probabilities(expected.sum(axis=1))
    return Check(images, boxes, ("cow", "pup"), expected, q, draw_windows(q, 40, 1), {})


@pytest.fixture
def folder(check, tmp_path):
    write_check(check, tmp_path)
    path = tmp_path / "check.csv"
    first, *lines = path.read_text().splitlines()
    assert first == "window,image,xmin,ymin,xmax,ymax,draws,probability,cow,pup,any"
    assert len(lines) == (check.draws > 0).sum()
    filled = []
    for line in lines:
        assert line.endswith(",,,")
        cow, pup = check.expected[int(line.split(",")[0])]
        filled.append(f"{line[:-3]},{cow:g},{pup:g},{cow + pup:g}")
    path.write_text("\n".join([first, *filled]))
    return tmp_path


def test_a_check_comes_back_and_gives_totals(check, folder):
    filled = read_check(folder)
    for name in ("images", "boxes", "classes", "expected", "probability", "draws"):
        np.testing.assert_array_equal(getattr(filled, name), getattr(check, name))
    assert list(filled.counts) == ["cow", "pup", "any"]
    totals = estimate_check(filled)
    assert [image for image, _ in totals] == [""] * 3 + ["a.png"] * 3 + ["b.png"] * 3
    # The network is right everywhere.
    survey = totals["", "any"]
    assert survey.estimate == pytest.approx(check.expected.sum(), rel=0.1)
    assert survey.lower <= check.expected.sum() <= survey.upper
    write_estimate(totals, folder / "estimate.csv")
    assert len((folder / "estimate.csv").read_text().splitlines()) == 10
    with pytest.raises(OutputError, match="exists"):
        write_check(check, folder)


def test_spreadsheets_with_semicolons_and_a_byte_order_mark_are_read(folder):
    path = folder / "check.csv"
    path.write_text("\ufeff" + path.read_text().replace(",", ";"), encoding="utf-8")
    assert list(read_check(folder).counts) == ["cow", "pup", "any"]


def test_any_is_the_sum_and_whole_columns_may_stay_empty(folder):
    path = folder / "check.csv"
    text = path.read_text()
    path.write_text(re.sub(r",\d+$", ",", text, flags=re.M))
    counts = read_check(folder).counts
    np.testing.assert_array_equal(counts["any"], counts["cow"] + counts["pup"])
    path.write_text(re.sub(r",\d+,\d+,(\d+)$", r",,,\1", text, flags=re.M))
    assert list(read_check(folder).counts) == ["any"]


def test_all_windows_empty_is_a_count_too(folder):
    path = folder / "check.csv"
    path.write_text(re.sub(r",\d+,\d+,\d+$", ",0,0,0", path.read_text(), flags=re.M))
    total = estimate_check(read_check(folder), most=64)["", "any"]
    assert (total.estimate, total.lower, total.method) == (0, 0, "bound")
    assert total.upper < 64 * 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: [*r[:3], [*r[3][:-1], ""], *r[4:]], r"any is filled in for \d+ of \d+ windows;"),
        (lambda r: [*r[:3], [*r[3][:-1], "two"], *r[4:]], "column any: .*received 'two'"),
        (lambda r: [*r[:3], [*r[3][:-1], "2.5"], *r[4:]], "column any: .*received '2.5'"),
        (lambda r: [*r[:3], [*r[3][:-1], "-1"], *r[4:]], "column any: .*received '-1'"),
        (lambda r: [*r[:3], [*r[3][:-3], "9", "9", "3"], *r[4:]], "3 of any, but 18 of all"),
        (lambda r: r[:-2], r"2 of \d+ drawn windows are missing"),
        (lambda r: [*r, r[-1]], "stands there twice"),
        (lambda r: [*r, ["999", *r[-1][1:]]], "window '999' .* was not drawn so"),
        (lambda r: [r[0], [*r[1][:6], "7", *r[1][7:]], *r[2:]], "line 2: .* was not drawn so"),
        (lambda r: [[*r[0][:-1], "walrus"], *r[1:]], "expected the columns cow, pup and any"),
        (lambda r: [r[0][1:], *r[1:]], "expected the columns window, image"),
        (lambda r: [r[0], *([*row[:-3], "", "", ""] for row in r[1:])], "no window is counted"),
        (lambda r: [], "expected the columns window, image"),
    ],
)
def test_what_cannot_be_a_check_is_named_and_left_as_it_is(folder, change, message):
    path = folder / "check.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()]
    text = "\n".join(",".join(row) for row in change(rows))
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_check(folder)
    assert path.read_text() == text


def test_another_checks_file_is_refused(check, folder, tmp_path):
    other = dataclasses.replace(check, draws=draw_windows(check.probability, 40, 2))
    write_check(other, tmp_path / "other")
    (folder / "check.csv").write_text((tmp_path / "other" / "check.csv").read_text())
    with pytest.raises(DataError, match="of another check"):
        read_check(folder)
    (folder / "check.csv").unlink()
    with pytest.raises(DataError, match=r"check\.csv cannot be read"):
        read_check(folder)
