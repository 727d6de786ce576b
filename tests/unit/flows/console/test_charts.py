"""Reports in Markdown: what others have written stays text, whatever it holds."""

import re

import pytest

from flows.console.charts import bar, chain, link, pie, plain_cell, table


@pytest.mark.parametrize(
    "text",
    [
        "a | b", "line\nbreak", "<script>alert(1)</script>", "![x](https://evil.example/x.png)", "`code`", "**bold**",
        "[x](javascript:alert(1))", "```mermaid", "$x$",
    ],
)  # fmt: skip
def test_a_cell_keeps_what_it_holds(text: str) -> None:
    shown = plain_cell(text)
    assert "\n" not in shown
    for mark in "|`*_[]<>()#$":
        assert not re.search(rf"(?<!\\){re.escape(mark)}", shown.replace("&lt;", "")), shown


def test_charts_hold_our_words_alone() -> None:
    shown = pie("Paths", {"added": 2, "failed": 0, 'x" : 9\n```': 1}).splitlines()
    assert shown.pop(1).startswith("%%{init: ")
    assert shown == [
        "```mermaid", "pie showData title Paths", '    "added" : 2', '    "x : 9" : 1', "```",
    ]  # fmt: skip
    assert pie("Paths", {"added": 0}) == ""
    assert chain([("sync", True), ("build", False)]).splitlines() == [
        "```mermaid", "flowchart LR", '    s0["sync"]', '    s1["build"]', "    s0 --> s1",
        "    style s1 fill:#64748b,color:#ffffff,stroke-dasharray: 4 4", "```",
    ]  # fmt: skip


def test_bars_tables_and_links() -> None:
    assert [bar(1, 1000), len(bar(10, 20)), bar(0, 5), bar(1, 0)] == ["█", 10, "", ""]
    assert table(("a", "b"), [("1", 2)]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert link("team/app", "http://x/repository/a(b) c") == "[team/app](http://x/repository/a%28b%29%20c)"
