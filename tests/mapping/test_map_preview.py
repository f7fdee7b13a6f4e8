"""The page, its numbers as a browser shows them."""

import base64
import html
import json
import re
import shutil
import subprocess
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tltool.mapping.preview import MAP_SIDE, ViewExtent, pack_plane, render_preview

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
CLASSES = ["pup", "none </script><b>&\"'", "sealé"]
PLACE = ViewExtent(400, 300, (-4, -4, 404, 308), (0.5, 0, 1000, 0, -0.5, 2000), "EPSG:32604")


def photograph(height=150, width=200):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def probabilities(rows=39, columns=51, classes=3):
    values = np.random.default_rng(1).random((classes, rows, columns)).astype(np.float32)
    values /= values.sum(0)
    values[:, 30:, 40:] = np.nan
    return values


def page(**more):
    facts = {"fidelity": "99.7 % of 576 windows", "nothing": [CLASSES[1]], **more}
    return render_preview("a<b>.tif", photograph(), probabilities(), CLASSES, view=PLACE, **facts)


def unpack(text, shape):
    rows = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(shape)
    return np.cumsum(rows, 1, dtype=np.uint8)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_a_plane_comes_back_to_half_a_step(rows, columns, seed):
    rng = np.random.default_rng(seed)
    plane = rng.random((rows, columns))
    plane[rng.random((rows, columns)) < 0.2] = np.nan
    codes = unpack(pack_plane(plane), (rows, columns))
    np.testing.assert_array_equal(codes == 255, np.isnan(plane))
    known = codes != 255
    assert (np.abs(codes[known] / 254 - plane[known]) <= 0.5 / 254 + 1e-9).all()


def test_the_page_needs_nothing_but_itself():
    text = page()
    assert "default-src 'none'" in text
    assert not re.search(r"https?://", text)
    assert not re.search(r"""(?:src|href)=["'](?!data:|\#)""", text)
    assert "<b>" not in text
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    assert [layer["name"] for layer in data["layers"]] == CLASSES
    assert [layer["shown"] for layer in data["layers"]] == [True, False, True]
    assert len({tuple(layer["colour"]) for layer in data["layers"]}) == 3


@pytest.mark.parametrize(
    ("classes", "side"), [pytest.param(4, MAP_SIDE, marks=pytest.mark.slow), (60, 300)]
)
def test_the_page_stays_within_six_megabytes(classes, side):
    # Noise does not shrink: nothing is larger.
    values = np.random.default_rng(1).random((classes, side, side), np.float32)
    names = [f"c{k}" for k in range(classes)]
    place = ViewExtent(9000, 9000, (0, 0, 9000, 9000))
    text = render_preview("a", photograph(2048, 2048), values, names, [], place)
    assert len(text.encode()) < 6e6
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    shape = data["rows"], data["columns"]
    assert data["factor"] == -(-side // shape[0]) > 1
    codes = unpack(data["layers"][0]["plane"], shape)
    assert codes.size == shape[0] * shape[1]
    assert f"is the mean of {data['factor']}" in text
    assert (f"{classes - 40} more of lower" in text) == (classes > 40)


def dom_of(folder, name, place=""):
    """What a browser made of a page that was loaded from a file."""
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=8000", "--dump-dom"]
    for _ in range(3):
        # The budget counts no time that other threads take to decode pictures.
        run = subprocess.run(
            [*command, (folder / name).as_uri() + place], capture_output=True, timeout=100
        )
        text = run.stdout.decode()
        if 'data-ready="true"' in text:
            break
    assert 'data-ready="true"' in text, run.stderr.decode()[-2000:]
    return text


def told(text, identifier):
    return html.unescape(re.search(rf'id="{identifier}"[^>]*>([^<]*)<', text)[1])


def outputs(text):
    found = re.findall(r'<output data-class="([^"]*)" data-value="([^"]*)">([^<]*)<', text)
    return {html.unescape(name): (value, html.unescape(shown)) for name, value, shown in found}


# Pressed as a hand would press, at the middle of a cell, when the page is ready.
CLICK = """<script>new MutationObserver(() => {
  document.documentElement.dataset.first = JSON.stringify({
    shown: ["pixel", "world", "cell"].map((id) => element(id).textContent),
    values: [...document.querySelectorAll("output")].map((output) => output.dataset.value),
  });
  select(null);
  const box = view.getBoundingClientRect();
  const at = { clientX: box.left + camera.x + 248 * camera.scale, bubbles: true, pointerId: 1,
    clientY: box.top + camera.y + 128 * camera.scale, pointerType: "mouse" };
  view.setPointerCapture = () => {};
  view.dispatchEvent(new PointerEvent("pointerdown", at));
  view.dispatchEvent(new PointerEvent("pointerup", at));
  viewer.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown" }));
  viewer.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", shiftKey: true }));
  document.documentElement.dataset.hash = location.hash;
}).observe(document.documentElement, { attributeFilter: ["data-ready"] })</script>"""


def check_cell(text, row, column):
    expected, shown = probabilities()[:, row, column], outputs(text)
    assert list(shown) == CLASSES
    for name, value in zip(CLASSES, expected, strict=True):
        assert float(shown[name][0]) == pytest.approx(value, abs=0.5 / 254 + 1e-3)
        assert shown[name][1] == f"{round(100 * float(shown[name][0]))} %"
    assert told(text, "cell") == f"{row}, {column}"
    assert told(text, "best") == CLASSES[expected.argmax()]


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt install chromium)")
def test_a_browser_shows_the_probabilities_of_the_chosen_cell(tmp_path):
    (tmp_path / "a.html").write_text(page().replace("</body>", CLICK + "</body>"))
    text = dom_of(tmp_path, "a.html", "#x=250&y=130")
    first = json.loads(html.unescape(re.search(r'data-first="([^"]*)"', text)[1]))
    # Cells are 8 px, the first begins at -4.
    assert first["shown"] == ["250, 130", "1125.25, 1934.75", "16, 31"]
    step = pytest.approx(probabilities()[:, 16, 31], abs=0.5 / 254 + 1e-3)
    assert [float(value) for value in first["values"]] == step
    # Then a click there, and arrow keys from it.
    check_cell(text, 17, 21)
    assert 'data-hash="#x=168&amp;y=136"' in text
    assert told(text, "here") == "Chosen cell"
    assert "99.7 % of 576 windows" in told(text, "fidelity")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt install chromium)")
def test_no_data_and_places_outside_are_told_as_such(tmp_path):
    (tmp_path / "a.html").write_text(page())
    text = dom_of(tmp_path, "a.html", "#x=390&y=290")
    assert {shown for _, shown in outputs(text).values()} == {"no data"}
    assert told(text, "best") == "no data"
    assert not re.search(r'id="hatched"[^>]*hidden', text)
    text = dom_of(tmp_path, "a.html", "#x=400&y=2")
    assert {value for value, _ in outputs(text).values()} == {""}
    assert told(text, "here") == "Point at the map"
