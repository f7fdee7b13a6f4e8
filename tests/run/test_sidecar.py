import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tltool.errors import ModelError
from tltool.run.sidecar import Sidecar, load_sidecar, sidecar_path

CONTENT = {"classes": ["adult", "backgrounds"], "patch": 32, "input_side": 160}

pixels = st.integers(0, 4096)
sidecars = st.builds(
    Sidecar,
    classes=st.lists(st.text(min_size=1), min_size=1, max_size=5),
    patch=st.integers(1, 4096),
    context=pixels,
    zoom=st.floats(1, 8),
    input_side=st.integers(1, 4096),
    stride=st.none() | st.floats(1, 64),
    offset=st.none() | st.floats(-64, 64),
    receptive_field=st.none() | pixels,
    reach=st.none() | st.tuples(st.integers(-400, 0), pixels),
    gsd=st.none() | st.floats(1e-3, 1e3),
    fidelity=st.none() | st.just({"argmax_agreement": 0.997, "windows": 1024}),
)


def save(tmp_path, **changes):
    path = tmp_path / "model.keras"
    sidecar_path(path).write_text(json.dumps(CONTENT | changes))
    return path


@settings(deadline=None, max_examples=50)
@given(sidecars)
def test_saved_and_loaded_it_is_the_same(tmp_path_factory, sidecar):
    path = tmp_path_factory.getbasetemp() / "model.keras"
    sidecar.save(path)
    assert load_sidecar(path) == sidecar


def test_lies_beside_the_model_under_the_same_stem(tmp_path):
    Sidecar(**CONTENT).save(tmp_path / "fcn.v2.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["fcn.v2.json"]


def test_window_is_patch_and_context_on_both_sides():
    assert Sidecar(**CONTENT, context=64).window == 160


def test_missing_names_what_is_expected_where(tmp_path):
    with pytest.raises(ModelError, match=r"fcn\.json is missing.*class names.*fcn\.keras"):
        load_sidecar(tmp_path / "fcn.keras")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"format": 2}, "format"),
        ({"classes": []}, "classes"),
        ({"classes": [1, "a"]}, r"classes\.0"),
        ({"patch": 0}, "patch"),
        ({"patch": None}, "patch"),
        ({"context": -1}, "context"),
        ({"zoom": 0.5}, "zoom"),
        ({"reach": [1, 2, 3]}, "reach"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_impossible_value_is_refused_with_its_path(tmp_path, changes, where):
    with pytest.raises(ModelError, match=rf"model\.json: {where}: "):
        load_sidecar(save(tmp_path, **changes))


def test_background_must_be_a_class(tmp_path):
    with pytest.raises(ModelError, match="background 'sea' is none of the classes"):
        load_sidecar(save(tmp_path, background="sea"))
    assert load_sidecar(save(tmp_path, background="backgrounds")).background == "backgrounds"


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"'])
def test_no_object_is_refused(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ModelError, match=r"model\.json: the file: "):
        load_sidecar(tmp_path / "model.keras")
