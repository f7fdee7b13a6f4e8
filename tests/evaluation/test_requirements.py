import pytest

from tltool.errors import RequirementError, UsageError
from tltool.evaluation.requirements import check_requirements, parse_requirement

METRICS = {
    "accuracy": 0.642,
    "kappa": None,
    "split": "test",
    "samples": 120,
    "macro": {"f1": 0.5},
    "classes": {"St. Bernard": {"recall": 0.75}, "St": {"recall": 0.1}},
}


@pytest.mark.parametrize(
    "text",
    [
        "accuracy>=0.642",
        "accuracy > 0.6",
        " accuracy<1",
        "macro.f1==0.5",
        "macro.f1 != 0.4",
        "samples<=1.2e2",
        "classes.St. Bernard.recall>0.7",
        "classes.St.recall<0.2",
    ],
)
def test_what_is_met(text):
    check_requirements(METRICS, [parse_requirement(text)])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["accuracy>=0.7"], "expected accuracy>=0.7, found 0.642"),
        (["accuracy>=0.6", "macro.f1>0.5"], "expected macro.f1>0.5, found 0.5"),
        (
            ["accuracy>0.7", "kappa>0"],
            "expected accuracy>0.7, found 0.642; expected kappa>0, found it undefined",
        ),
    ],
)
def test_what_is_not_met_says_what_was_found(texts, message):
    with pytest.raises(RequirementError) as error:
        check_requirements(METRICS, [parse_requirement(text) for text in texts])
    assert str(error.value) == message
    assert error.value.exit_status == 1


@pytest.mark.parametrize(
    "text", ["accuracy", "accuracy=0.6", "accuracy>=high", ">=0.6", "accuracy=>0.6", ""]
)
def test_what_is_no_expression(text):
    with pytest.raises(UsageError, match=r"such as accuracy>=0\.6; received"):
        parse_requirement(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acuracy>=0.6", "no number called acuracy. Did you mean accuracy"),
        ("macro>=0.6", "no number called macro"),
        ("split>=0.6", "no number called split"),
    ],
)
def test_a_path_that_leads_to_no_number(text, message):
    with pytest.raises(UsageError, match=message) as error:
        check_requirements(METRICS, [parse_requirement(text)])
    assert error.value.exit_status == 2
