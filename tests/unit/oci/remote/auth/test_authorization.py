"""Authorization of requests: which challenge is met, when a token is fetched anew, and what is final."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import pytest

from oci.errors import RemoteCorrupt, RemoteUnauthorized
from oci.remote.auth.authorization import Authorizer
from oci.remote.auth.keychain import Credential

pytestmark = pytest.mark.anyio
SCOPE = "repository:team/app:pull"
BEARER = 'Bearer realm="https://tokens.example/token",service="registry.example"'
BASIC = 'Basic realm="registry.example"'


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class TokenService:
    """Gives tokens in turn, for `lifetime` seconds each; refuses the scopes in `refused`."""

    lifetime: int = 300
    refused: set[str] = field(default_factory=set)
    requests: list[httpx.Request] = field(default_factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.refused & set(request.url.params.get_list("scope")):
            return httpx.Response(403, request=request)
        body = {"token": f"token-{len(self.requests)}", "expires_in": self.lifetime}
        return httpx.Response(200, content=json.dumps(body).encode(), request=request)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def authorizer(
    service: TokenService, *challenges: str, login: Credential | None = None, clock: Callable[[], float] = lambda: 0.0
) -> Authorizer:
    made = Authorizer("registry.example", find=lambda: login, send=service, clock=clock)
    made.learn(challenges)
    return made


def response(status: int, authorization: str | None, *challenges: str) -> httpx.Response:
    headers = {"authorization": authorization} if authorization else {}
    request = httpx.Request("GET", "https://registry.example/v2/team/app/tags/list", headers=headers)
    return httpx.Response(status, headers=[("www-authenticate", one) for one in challenges], request=request)


async def test_without_a_challenge_nothing_is_sent() -> None:
    assert await authorizer(TokenService(), login=Credential("me", "secret")).header(SCOPE) is None


async def test_bearer_is_stronger_than_basic_and_a_token_serves_until_shortly_before_its_end() -> None:
    service, clock = TokenService(lifetime=300), Clock()
    both = authorizer(service, BASIC, BEARER, login=Credential("me", "secret"), clock=clock)
    assert [await both.header(SCOPE) for _ in range(2)] == ["Bearer token-1"] * 2
    assert service.requests[0].headers["authorization"].startswith("Basic ")
    assert dict(service.requests[0].url.params) == {"service": "registry.example", "scope": SCOPE}
    assert await both.header("repository:other:pull") == "Bearer token-2"
    clock.now = 295
    assert await both.header(SCOPE) == "Bearer token-3"


async def test_basic_sends_the_login_and_nothing_where_there_is_none() -> None:
    assert (
        await authorizer(TokenService(), BASIC, login=Credential("me", "secret")).header(SCOPE) == "Basic bWU6c2VjcmV0"
    )
    assert await authorizer(TokenService(), BASIC).header(SCOPE) is None


async def test_an_identity_token_is_exchanged_in_a_form() -> None:
    service = TokenService()
    await authorizer(service, BEARER, login=Credential("", "", "identity")).header(SCOPE)
    (request,) = service.requests
    assert (request.method, "authorization" in request.headers) == ("POST", False)
    assert b"grant_type=refresh_token&refresh_token=identity" in request.content


async def test_a_scope_that_is_refused_is_exchanged_for_the_one_that_the_challenge_names() -> None:
    service = TokenService(refused={SCOPE})
    named = authorizer(service, f'{BEARER},scope="repository:library/app:pull"')
    assert await named.header(SCOPE) == "Bearer token-2"
    assert [request.url.params["scope"] for request in service.requests] == [SCOPE, "repository:library/app:pull"]
    with pytest.raises(RemoteUnauthorized, match="wants a login"):
        await authorizer(TokenService(refused={SCOPE}), BEARER).header(SCOPE)
    with pytest.raises(RemoteUnauthorized, match="refuses the login"):
        await authorizer(TokenService(refused={SCOPE}), BEARER, login=Credential("me", "wrong")).header(SCOPE)


async def test_a_realm_that_is_no_address_is_a_fault_of_the_registry() -> None:
    with pytest.raises(RemoteCorrupt, match="no usable token service"):
        await authorizer(TokenService(), 'Bearer realm="file:///etc/passwd"').header(SCOPE)


async def test_a_fresh_token_that_is_refused_is_final_and_one_that_was_good_is_renewed() -> None:
    service = TokenService()
    auth = authorizer(service, BEARER)
    fresh = await auth.header(SCOPE)
    assert auth.judge(SCOPE, response(401, fresh, BEARER)) == "refused"
    assert await auth.header(SCOPE) == fresh  # it serves a second request, so it was good
    assert auth.judge(SCOPE, response(401, fresh, BEARER)) == "again"
    renewed = await auth.header(SCOPE)
    assert renewed == "Bearer token-2"
    assert auth.judge(SCOPE, response(401, fresh, BEARER)) == "again"  # another request has renewed it meanwhile
    assert await auth.header(SCOPE) == renewed


@pytest.mark.parametrize(
    ("status", "challenge", "verdict"),
    [
        (200, "", "done"),
        (404, "", "done"),
        (403, BEARER, "done"),
        (403, f'{BEARER},error="insufficient_scope",scope="repository:team/app:pull,push"', "again"),
        (401, f'{BEARER},scope="repository:team/app:pull,push"', "again"),
        (401, 'Bearer realm="https://other.example/token"', "again"),
        (401, BEARER, "refused"),
    ],
)
async def test_what_a_response_means_for_a_token_that_is_new(status: int, challenge: str, verdict: str) -> None:
    auth = authorizer(TokenService(), BEARER)
    sent = await auth.header(SCOPE)
    assert auth.judge(SCOPE, response(status, sent, *([challenge] if challenge else []))) == verdict


async def test_a_challenge_to_a_request_without_authorization_leads_to_another_try() -> None:
    auth = authorizer(TokenService())
    assert auth.judge(SCOPE, response(401, None)) == "refused"
    assert auth.judge(SCOPE, response(401, None, BEARER)) == "again"
    assert await auth.header(SCOPE) == "Bearer token-1"
