"""Modules are run in the order of what they took."""

from tests.scheduling import DURATIONS, format_durations, longest_first, parse_durations

NODES = ["a.py::one", "b.py::one", "b.py::two[x::y]", "new.py::one", "c.py::Some::one", "a.py::two", "new.py::two"]


def ordered(**durations: float) -> list[str]:
    return [NODES[place] for place in longest_first(NODES, {f"{name}.py": took for name, took in durations.items()})]


def test_the_longest_module_comes_first_and_keeps_the_order_of_its_tests() -> None:
    assert ordered(a=1, b=3, c=2, new=0) == [
        "b.py::one", "b.py::two[x::y]", "c.py::Some::one", "a.py::one", "a.py::two", "new.py::one", "new.py::two"
    ]  # fmt: skip


def test_a_module_that_is_not_known_comes_before_all() -> None:
    assert ordered(a=1, b=3, c=2)[:3] == ["new.py::one", "new.py::two", "b.py::one"]


def test_equal_ones_stay_in_the_order_they_had() -> None:
    assert ordered(a=1, b=1, c=1, new=1) == [
        "a.py::one", "a.py::two", "b.py::one", "b.py::two[x::y]", "new.py::one", "new.py::two", "c.py::Some::one"
    ]  # fmt: skip


def test_what_is_recorded_reads_back() -> None:
    text = DURATIONS.read_text()
    assert format_durations(parse_durations(text.splitlines())) == text
    assert format_durations({"a.py": 0.04, "b.py": 12.34}) == "12.3 b.py\n0.0 a.py\n"
