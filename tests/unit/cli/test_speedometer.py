"""How fast a flow goes, as commands tell it."""

from cli.progress_bar import Speedometer
from flows.runs.progress import Progress


def test_rate_and_time_left_are_those_of_the_last_seconds() -> None:
    now, shown = [0.0], Progress("copying", 100)
    speed = Speedometer(lambda: now[0])
    assert speed.describe(shown) == ""
    now[0], shown.done, shown.moved = 10.0, 10, 20_000_000
    assert speed.describe(shown) == "2.0 MB/s, about 1m30s left"
    now[0], shown.done = 20.0, 60  # many that were here already
    speed.describe(shown)
    now[0] = 40.0
    assert speed.describe(shown) == ""


def test_a_new_phase_begins_anew() -> None:
    now, shown = [0.0], Progress("listing", 10)
    speed = Speedometer(lambda: now[0])
    speed.describe(shown)
    now[0], shown.done = 5.0, 5
    assert speed.describe(shown) == "about 5s left"
    shown.begin("copying", 100)
    now[0] = 6.0
    assert speed.describe(shown) == ""
