"""Environments of processes that use Prefect."""

import pytest

from flows.orchestration.servers.home import unproxied


@pytest.mark.parametrize(
    ("url", "environment", "wanted"),
    [
        ("http://127.0.0.1:4200/api", {}, "127.0.0.1"),
        ("http://localhost:4200/api", {"NO_PROXY": "corp.example"}, "corp.example,localhost"),
        (
            "http://127.0.0.1:4200/api",
            {"NO_PROXY": "hidden", "no_proxy": "corp.example,127.0.0.1"},
            "corp.example,127.0.0.1",
        ),
    ],
)
def test_a_prefect_here_is_reached_without_a_proxy(url: str, environment: dict[str, str], wanted: str) -> None:
    assert unproxied(url, environment) == {"NO_PROXY": wanted, "no_proxy": wanted}


@pytest.mark.parametrize(
    ("url", "kept"), [("https://prefect.example/api", "corp.example"), ("http://127.0.0.1:4200/api", "*")]
)
def test_nothing_changes_for_another_prefect_and_where_no_proxy_is_used_at_all(url: str, kept: str) -> None:
    assert unproxied(url, {"NO_PROXY": kept}) == {}
