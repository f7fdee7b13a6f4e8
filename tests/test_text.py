from tltool.text import some_of, with_numbers


def test_some_of_tells_how_many_more_there_are():
    assert some_of([], 2) == ""
    assert some_of(["a", "b"], 2) == "a, b"
    assert some_of(["a", "b", "c", "d"], 2) == "a, b and 2 more"


def test_names_with_their_numbers_are_in_order():
    assert with_numbers({"b": 1, "a": 12}) == "a (12), b (1)"
