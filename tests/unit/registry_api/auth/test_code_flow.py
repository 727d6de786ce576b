"""What an issuer may do to those who log in: be slow, fail, and name odd addresses."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from catalog.settings import read_settings
from oci.errors import RemoteUnavailable
from registry_api.auth import issuer_keys
from registry_api.auth.code_flow import CodeFlow, is_usable_url

ISSUER = "http://127.0.0.1:9"
CONFIGURATION = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
}

Answer = Callable[[httpx.Request], httpx.Response]


class Slow(httpx.AsyncByteStream):
    """Sends one byte, and again one, without end."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)


class Body(httpx.AsyncByteStream):
    """Sends some bytes."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.raw


class Transport(httpx.AsyncBaseTransport):
    """Answers by a function once it may, and counts requests."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.seen = answer, list[httpx.Request]()
        self.is_asked, self.may = asyncio.Event(), asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        self.is_asked.set()
        await self.may.wait()
        return self.answer(request)


@pytest.fixture
def flow_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Transport], CodeFlow]:
    settings = read_settings(
        home=tmp_path, login_issuer=ISSUER, login_client_id="entrepot", public_url="https://registry.example"
    )
    monkeypatch.setattr(issuer_keys, "set_backend", lambda *_: None)
    return lambda transport: CodeFlow(settings, lambda: httpx.AsyncClient(transport=transport))


def good(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, stream=Body(json.dumps(CONFIGURATION).encode()))


def test_all_who_wait_share_one_request_and_one_who_gives_up_takes_it_from_nobody(
    flow_of: Callable[[Transport], CodeFlow],
) -> None:
    async def steps() -> None:
        transport = Transport(good)
        flow = flow_of(transport)
        waiting = [asyncio.create_task(flow.endpoints()) for _ in range(20)]
        await transport.is_asked.wait()
        waiting[0].cancel()
        transport.may.set()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert {getattr(one, "token", "") for one in found[1:]} == {f"{ISSUER}/token"}
        assert len(transport.seen) == 1

    asyncio.run(steps())


def test_a_response_that_never_ends_is_given_up(
    flow_of: Callable[[Transport], CodeFlow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_keys, "REQUEST_SECONDS", 0.2)

    async def steps() -> None:
        transport = Transport(lambda _request: httpx.Response(200, stream=Slow()))
        transport.may.set()
        flow = flow_of(transport)
        async with asyncio.timeout(10):
            with pytest.raises(RemoteUnavailable, match="did not send"):
                await flow.endpoints()

    asyncio.run(steps())


def test_a_packed_response_is_neither_asked_for_nor_unpacked(flow_of: Callable[[Transport], CodeFlow]) -> None:
    packed = gzip.compress(json.dumps(CONFIGURATION).encode())

    async def steps() -> None:
        transport = Transport(
            lambda _request: httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Body(packed))
        )
        transport.may.set()
        with pytest.raises(RemoteUnavailable, match="is not a JSON object"):
            await flow_of(transport).endpoints()
        assert transport.seen[0].headers["accept-encoding"] == "identity"

    asyncio.run(steps())


@pytest.mark.parametrize(
    ("url", "is_usable"),
    [
        ("https://idp.example/authorize?a=b", True),
        ("http://127.0.0.1:8080/a", True),
        ("http://idp.example/a", False),
        ("https://idp.example/a\r\nSet-Cookie: x=1", False),
        ("https://idp.example/a\tb", False),
        ("https://idp.example/a b", False),
        ("https://idp.example/\x7f", False),
        ("https://idp.example/ä", False),
        ("https://ïdp.example/", False),
    ],
)
def test_addresses_of_an_issuer_are_printable_ascii(url: str, is_usable: bool) -> None:
    assert is_usable_url(url) is is_usable
