import csv
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tltool.data.dataset import read_facts
from tltool.data.patch_folder import cut_again
from tltool.data.patches import patches
from tltool.errors import DataError, OutputError

WIDTH, HEIGHT = 120, 90


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three photographs, and points on them up to their edges."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    rows = ["image,x,y,label"]
    for name in ("a", "b", "c"):
        pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
        corners = [(0, 0), (WIDTH - 1, HEIGHT - 1), (50.5, 40.5), (50.2, 40.4), (70, 12)]
        rows += [f"{name}.png,{x},{y},{'pup' if x > 50 else 'cow'}" for x, y in corners]
    (folder / "points.csv").write_text("\n".join(rows) + "\n")
    return folder


def cut(photos, out, size=9, context=2, **more):
    patches([photos], photos / "points.csv", out, size=size, context=context, **more)
    return out


def rows_of(folder):
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def pixels_of(folder, row):
    return np.asarray(Image.open(folder / row["path"]))


def key(row):
    return tuple(row[name] for name in ("path", "image", "x", "y", "label", "split"))


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(size=st.integers(1, 20), before=st.integers(0, 9), more=st.integers(0, 40))
def test_the_middle_of_a_recut_patch_is_the_old_patch(photos, tmp_path_factory, size, before, more):
    folder = tmp_path_factory.mktemp("recut")
    old = cut(photos, folder / "old", size, before)
    made = cut_again(old, folder / "new", before + more)
    by_key = {key(row): row for row in rows_of(folder / "new")}
    assert len(by_key) == len(rows_of(old))
    for row in rows_of(old):
        new = by_key[key(row)]
        wide, narrow = pixels_of(folder / "new", new), pixels_of(old, row)
        assert wide.shape == (size + 2 * (before + more),) * 2 + (3,)
        side = narrow.shape[0]
        np.testing.assert_array_equal(wide[more : more + side, more : more + side], narrow)
        assert (new["size"], new["context"]) == (str(size), str(before + more))
    assert sum(sum(own.values()) for own in made.counts.values()) == len(by_key)


def test_facts_and_counts_are_told(photos, tmp_path):
    old = cut(photos, tmp_path / "old", background="nothing")
    facts = json.loads((old / "patches.json").read_text())
    (old / "patches.json").write_text(json.dumps({**facts, "gsd": 0.25}))
    made = cut_again(old, tmp_path / "new", 30)
    facts = read_facts(tmp_path / "new")
    assert (facts.patch, facts.context, facts.background, facts.gsd) == (9, 30, "nothing", 0.25)
    assert made.folder == tmp_path / "new"
    rows = rows_of(tmp_path / "new")
    reflected = [row for row in rows if row["reflected"] == "1"]
    assert made.reflected == len(reflected) >= 6
    for split, own in made.counts.items():
        for label, number in own.items():
            found = list((tmp_path / "new" / split / label).glob("*.png"))
            assert len(found) == number


def test_less_context_gives_back_what_was_cut_before(photos, tmp_path):
    old = cut(photos, tmp_path / "old")
    cut_again(old, tmp_path / "wide", 20)
    cut_again(tmp_path / "wide", tmp_path / "back", 2)
    assert rows_of(tmp_path / "back") == rows_of(old)
    for row in rows_of(old):
        np.testing.assert_array_equal(pixels_of(tmp_path / "back", row), pixels_of(old, row))


def test_an_image_that_is_gone_is_named(photos, tmp_path):
    moved = tmp_path / "photos"
    moved.mkdir()
    for path in photos.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    old = cut(moved, tmp_path / "old")
    (moved / "b.png").unlink()
    with pytest.raises(DataError, match=r"old: the image .*b.png, which its patches .* is gone"):
        cut_again(old, tmp_path / "new", 20)
    assert not (tmp_path / "new").exists()


def test_folders_that_tltool_did_not_cut_are_refused(photos, tmp_path):
    (tmp_path / "plain" / "cow").mkdir(parents=True)
    with pytest.raises(DataError, match=r"plain: expected patches that `tltool.patches\(\)` cut"):
        cut_again(tmp_path / "plain", tmp_path / "new", 20)
    old = cut(photos, tmp_path / "old")
    (old / "manifest.csv").write_text("path,label\n")
    with pytest.raises(DataError, match=r"manifest.csv: expected a column split, as `tltool"):
        cut_again(old, tmp_path / "new", 20)
    (old / "manifest.csv").unlink()
    with pytest.raises(DataError, match=r"old: expected patches that `tltool.patches\(\)` cut"):
        cut_again(old, tmp_path / "new", 20)
    assert not (tmp_path / "new").exists()


def test_an_earlier_folder_is_replaced_on_demand_and_only_where_it_holds_patches(photos, tmp_path):
    old = cut(photos, tmp_path / "old")
    cut_again(old, tmp_path / "new", 3)
    with pytest.raises(OutputError, match=r"new exists already.*overwrite=True"):
        cut_again(old, tmp_path / "new", 4)
    cut_again(old, tmp_path / "new", 4, overwrite=True)
    assert read_facts(tmp_path / "new").context == 4
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("long work")
    with pytest.raises(OutputError, match=r"thesis was not written by `tltool.patches"):
        cut_again(old, tmp_path / "thesis", 4, overwrite=True)
    assert (tmp_path / "thesis" / "chapter.txt").exists()
