"""Clients of Prefect's API: the login, proxies and certificates."""

import ssl
from pathlib import Path

import pytest

from catalog.prefect.address import PrefectAddress
from catalog.prefect.client_options import client_options
from catalog.settings import read_settings


@pytest.mark.parametrize(
    ("url", "verify", "trust_env"),
    [
        ("http://127.0.0.1:4200/api", False, False),
        ("https://127.0.0.1:4200/api", True, False),
        ("https://prefect.example/api", True, True),
        ("HTTPS://prefect.example/api", True, True),
    ],
)
def test_plain_http_reads_no_certificates_and_this_machine_is_asked_without_a_proxy(
    tmp_path: Path, url: str, *, verify: bool, trust_env: bool
) -> None:
    options = client_options(read_settings(home=tmp_path), PrefectAddress(url, "me:secret"), {}, seconds=7)
    assert (options["verify"], options["trust_env"], options["timeout"]) == (verify, trust_env, 7)
    assert options["headers"] == {"Authorization": "Basic bWU6c2VjcmV0"}


def test_own_authorities_hold_for_https(tmp_path: Path) -> None:
    authorities = Path(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt")
    if not authorities.exists():
        pytest.skip("this machine has no authorities")
    settings = read_settings(home=tmp_path, ca_file=authorities)
    assert isinstance(
        client_options(settings, PrefectAddress("https://prefect.example/api"), {}, seconds=7)["verify"], ssl.SSLContext
    )
