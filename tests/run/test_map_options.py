import json

import pytest

from tltool.errors import DataError, UsageError
from tltool.run.map_options import MapOptions, Output, split_options
from tltool.run.sidecar import MapFacts, read_facts

FACTS = {"stride": 4.0, "offset": -2, "patch": 9, "width": 50, "height": 30}


def test_options_are_those_given_with_keywords_over_them():
    given = MapOptions(stride=8, scales=[1, 2], bands=[4, 3])
    assert (given.scales, given.bands) == ((1, 2), (4, 3))
    assert MapOptions.of(given, tta="d4") == MapOptions(
        stride=8, scales=(1, 2), bands=(4, 3), tta="d4"
    )
    assert MapOptions.of(None) == MapOptions()
    assert hash(given) == hash(MapOptions(stride=8, scales=(1, 2), bands=(4, 3)))


def test_an_unknown_option_is_refused_with_the_one_that_is_meant():
    with pytest.raises(UsageError, match="`strid` is not an option here; did you mean `stride`"):
        MapOptions.of(None, strid=8)
    with pytest.raises(UsageError, match=r"`clases` .*did you mean `classes`"):
        split_options({"clases": ["seal"]}, None, None)
    with pytest.raises(UsageError, match="`qqq` is not an option here; known are tile, engine, "):
        MapOptions.of(None, qqq=1)


def test_keywords_of_both_kinds_find_their_options():
    options, output = split_options({"tile": 64, "cog": True}, MapOptions(stride=8), None)
    assert (options, output) == (MapOptions(stride=8, tile=64), Output(cog=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 0}, "`tile`: expected 1 px or more; received 0"),
        ({"mode": "slide"}, "`mode`: expected fcn or patches; received slide"),
        ({"scale": (3, 1)}, "`scale`: expected two numbers of which the first is smaller"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        MapOptions(**options)


def test_facts_are_read_as_they_were_written(tmp_path):
    facts = MapFacts(**FACTS, scale=(0, 300), scales=[1, 2], combine="max")
    (tmp_path / "a.json").write_text(json.dumps(facts.model_dump()))
    assert read_facts(tmp_path / "a.json") == facts
    assert facts.view == {
        "stride": 4.0,
        "tta": "none",
        "scales": [1.0, 2.0],
        "combine": "max",
        "resample": False,
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (json.dumps({key: FACTS[key] for key in FACTS if key != "width"}), "width: Field required"),
        ("[]", "Input should be an object"),
        ("{", "Invalid JSON"),
    ],
)
def test_what_is_no_map_s_json_is_refused(tmp_path, text, reason):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=f"a.json: expected what tltool heatmap writes.*{reason}"):
        read_facts(tmp_path / "a.json")
