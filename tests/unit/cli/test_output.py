"""What commands print of changes."""

import pytest

from cli.output import MAX_SHOWN, print_changes


def test_the_first_changes_then_how_many_more_then_the_summary_and_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"v{number}", "added") for number in range(MAX_SHOWN + 2)]
    print_changes(("TAG", "ACTION"), rows, "52 tags added", flow_run="run-1")
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["TAG", "ACTION"]
    assert shown[MAX_SHOWN].split() == [f"v{MAX_SHOWN - 1}", "added"]
    assert shown[MAX_SHOWN + 1 :] == ["… and 2 more (--json has all)", "", "52 tags added", "flow run  run-1"]


def test_without_changes_there_is_the_summary_alone(capsys: pytest.CaptureFixture[str]) -> None:
    print_changes(("TAG", "ACTION"), [], "nothing changed")
    assert capsys.readouterr() == ("nothing changed\n", "")
