"""What the server agrees to listen on."""

from pathlib import Path

import pytest

from catalog.settings import check_address, read_settings
from oci.errors import LocalError, SettingsInvalid
from registry_api.server.process import ServerOptions, listening_url, open_listener


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_needs_no_tls(host: str) -> None:
    check_address(read_settings(listen=f"[{host}]:5080" if ":" in host else f"{host}:5080"))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "2001:db8::1", "registry.example", "localhost.example"])
def test_other_addresses_need_tls_or_to_be_asked_for_by_name(host: str) -> None:
    listen = f"[{host}]:5080" if ":" in host else f"{host}:5080"
    with pytest.raises(SettingsInvalid, match="--allow-plain-http"):
        check_address(read_settings(listen=listen))
    check_address(read_settings(listen=listen, allow_plain_http=True))
    check_address(read_settings(listen=listen, tls_cert=Path("cert"), tls_key=Path("key")))


def test_tls_needs_both_files() -> None:
    with pytest.raises(SettingsInvalid, match="both"):
        check_address(read_settings(tls_cert=Path("cert")))
    with pytest.raises(SettingsInvalid, match="both"):
        check_address(read_settings(tls_key=Path("key")))


def test_port_0_takes_a_free_one_and_the_url_says_which() -> None:
    settings = read_settings(listen="127.0.0.1:0")
    with open_listener(settings) as listener:
        port = listener.getsockname()[1]
        assert port > 0
        assert listening_url(ServerOptions(settings), listener) == f"http://127.0.0.1:{port}"
        with pytest.raises(LocalError, match=f"cannot listen on 127.0.0.1:{port}"):
            open_listener(read_settings(listen=f"127.0.0.1:{port}"))
