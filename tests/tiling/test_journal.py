import pytest
from hypothesis import given
from hypothesis import strategies as st

from tltool.errors import OutputError
from tltool.tiling.unfinished import Journal

FACTS = {"stride": 32.0, "bands": (1, 2), "model": "fcn.keras abc", "crs": None}


def write(path, lines=5, end=False):
    journal = Journal(path)
    journal.begin(FACTS)
    for tile in range(lines):
        journal.add(tile, 1000 + tile)
    if end:
        journal.write()
        journal.end()
    journal.close()


def test_what_was_noted_is_found_again(tmp_path):
    write(tmp_path / "j", end=True)
    journal = Journal(tmp_path / "j")
    assert journal.checksums == {tile: 1000 + tile for tile in range(5)}
    assert journal.changes(FACTS) == []
    assert (journal.writing, journal.ended) == (True, True)
    journal.close()


@given(st.integers(0, 400), st.binary(max_size=12))
def test_cut_anywhere_and_followed_by_anything_whole_lines_before_it_count(
    tmp_path_factory, length, garbage
):
    path = tmp_path_factory.mktemp("j") / "j"
    write(path)
    whole = path.read_bytes()
    kept = whole[:length]
    # What a power cut may leave: a part of a line, then bytes that were never written.
    path.write_bytes(kept + b"\0" + garbage.replace(b"\n", b""))
    journal = Journal(path)
    lines = max(0, kept.count(b"\n") - 1)
    assert journal.checksums == {tile: 1000 + tile for tile in range(lines)}
    if b"\n" in kept:
        journal.go_on()
        journal.add(77, 5)
        journal.close()
        journal = Journal(path)
        assert journal.checksums == {**{t: 1000 + t for t in range(lines)}, 77: 5}
    journal.close()


def test_changes_are_told_in_words(tmp_path):
    write(tmp_path / "j")
    journal = Journal(tmp_path / "j")
    changed = journal.changes(FACTS | {"stride": 16.0, "aoi": "a.geojson"})
    assert changed == ["stride (was 32.0, is 16.0)", "aoi (was None, is a.geojson)"]
    journal.begin(FACTS | {"stride": 16.0})
    journal.close()
    journal = Journal(tmp_path / "j")
    assert journal.checksums == {}
    assert journal.changes(FACTS | {"stride": 16.0}) == []
    journal.close()


def test_a_new_journal_has_no_changes_to_tell(tmp_path):
    journal = Journal(tmp_path / "j")
    assert (journal.fingerprint, journal.changes(FACTS)) == (None, [])
    journal.close()


def test_two_cannot_have_it_at_once(tmp_path):
    pytest.importorskip("fcntl", reason="locks are POSIX's")
    first = Journal(tmp_path / "j")
    first.begin(FACTS)
    with pytest.raises(OutputError, match=r"j is in use: another tltool .* Wait for it, or name"):
        Journal(tmp_path / "j")
    first.close()
    Journal(tmp_path / "j").close()
