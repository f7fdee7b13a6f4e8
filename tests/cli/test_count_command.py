"""`tltool count` and `tltool count tune`: what is printed, and exit statuses."""

import subprocess
import sys

import pytest

from tltool.cli.main import main
from tltool.runtime import quiet_import

quiet_import("keras")


from painted import ANIMALS, paint, painted_run, write_csv  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run, an image and its truth."""
    folder = tmp_path_factory.mktemp("count")
    painted_run(folder / "run")
    paint(folder / "a.tif", ANIMALS)
    write_csv(folder / "truth.csv", ANIMALS)
    return folder


def call(*words):
    try:
        main([str(word) for word in words])
    except SystemExit as stop:
        return stop.code or 0
    return 0


def test_tuning_and_counting_print_their_tables(folder, tmp_path, capsys):
    run, image, truth = folder / "run", folder / "a.tif", folder / "truth.csv"
    assert call("count", "tune", run, image, truth, "--one-rule", "--for", "count") == 0
    out = capsys.readouterr().out
    assert "threshold" in out
    assert "chosen for unbiased counts on 4 points of 1 image, matched within 16 px" in out
    assert f"stored in {run}/model.json and {run}/fcn.json" in out.replace("\n", "")
    assert call("count", run, image, "-o", tmp_path / "out", "--truth", truth, "--level", 0.9) == 0
    out = capsys.readouterr().out
    for words in ("precision", "MAE", "matched: true", "90 % interval", "distance of matched po"):
        assert words in out
    assert str(tmp_path / "out" / "counts.csv") in out


def test_some_images_fail_and_the_others_are_shown(folder, tmp_path, capsys):
    bad = tmp_path / "bad.tif"
    bad.write_bytes(b"II*\0no image")
    assert call("count", folder / "run", folder / "a.tif", bad, "-o", tmp_path / "out") == 1
    told = capsys.readouterr()
    assert "images without" in told.out
    assert "tltool: 1 of 2 images could not be counted" in told.err.splitlines()[-1]
    assert "bad.tif" in told.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--threshold", "2"], 2, "--threshold: expected a probability above 0"),
        (["--columns", "a,b,c"], 2, "expected IMAGE,X,Y,LABEL"),
        (["--truth", "none.csv"], 1, "none.csv: expected a file of points, found none"),
        (["--maps", "nowhere"], 1, "nowhere: expected a folder of maps"),
        (["--aoi", "none.geojson"], 1, "none.geojson: expected a GeoJSON file"),
        (["--aoi", "empty.geojson"], 1, "expected a Polygon or MultiPolygon, received nothing"),
    ],
)
def test_errors_are_one_line(folder, tmp_path, capsys, monkeypatch, words, status, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    assert call("count", folder / "run", folder / "a.tif", "-o", tmp_path / "o", *words) == status
    assert message in capsys.readouterr().err


def test_help_shows_both_commands_without_keras():
    code = (
        "import sys\nfrom tltool.cli.main import main\n"
        "try: main(['count', *sys.argv[1:]])\nexcept SystemExit: pass\n"
        "assert not {'keras', 'tensorflow', 'rasterio'} & set(sys.modules)"
    )
    for words, told in (
        (["--help"], ["tltool count tune [OPTIONS]", "--truth"]),
        (["tune", "-h"], ["--blocks"]),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
        )
        assert all(text in done.stdout for text in told)
