"""The policy hook of promotions: the plan goes as JSON to a URL, which says yes or no. Whatever is no clear yes is a no."""

import asyncio
import json
import ssl
from collections.abc import Mapping

import httpx

from catalog.content.promotion import Gate, PromotionPlan, Verdict
from catalog.settings import Settings
from oci.errors import InvalidInput

_LARGEST = 1024 * 1024
_REASON = 500


def parse_hook(url: str) -> str:
    """Check a hook's address; raise InvalidInput, which does not repeat it."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise InvalidInput("the hook's address is no URL") from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise InvalidInput("a hook is an http:// or https:// URL")
    if parsed.userinfo:
        raise InvalidInput(
            "a hook's address holds no login; ENTREPOT_PROMOTION_HOOK_TOKEN is sent to ENTREPOT_PROMOTION_HOOK"
        )
    return url


def hook_gate(settings: Settings, url: str, *, actor: str, dry_run: bool) -> Gate:
    """Ask a policy service. It gets the token of the settings only when it is the one of the settings.

    No answer within ENTREPOT_PROMOTION_HOOK_TIMEOUT, another status than 200, and an answer of another form refuse everything.
    """

    def ask(plan: PromotionPlan) -> list[Verdict]:
        question = {**plan_json(plan), "actor": actor, "dry_run": dry_run}
        try:
            said = asyncio.run(asyncio.wait_for(_post(settings, url, question), settings.promotion_hook_timeout))
        except TimeoutError:
            return _all(plan, f"no answer from {_host(url)} within {settings.promotion_hook_timeout:g} s")
        except (httpx.HTTPError, OSError) as error:
            return _all(plan, f"{_host(url)} cannot be asked: {type(error).__name__}")
        if isinstance(said, str):
            return _all(plan, said)
        return read_verdicts(plan, said, _host(url))

    return ask


def plan_json(plan: PromotionPlan) -> dict[str, object]:
    """Return what a hook is told of a plan; a candidate without a tag has an empty one."""
    return {
        "source": {"repository": plan.source.repository, "version": plan.source.version},
        "target": {"repository": plan.base.repository, "version": plan.base.version},
        "tags": [{"tag": one.tag, "digest": one.digest, "previous": one.previous} for one in plan.candidates],
        "removed": [{"tag": tag, "digest": digest} for tag, digest in plan.removed.items()],
    }


def read_verdicts(plan: PromotionPlan, said: Mapping[str, object], who: str) -> list[Verdict]:
    """Read `{"allow": BOOL, "reason": TEXT, "tags": {TAG: {"allow": BOOL, "reason": TEXT}}}`; only `allow` must be there.

    A tag passes when the whole does and nothing is said against it by its name, or its digest when it has none.
    """
    if not isinstance(said.get("allow"), bool):
        return _all(plan, f"{who} did not say whether it allows: `allow` is neither true nor false")
    single = said.get("tags")
    by_name: Mapping[str, object] = single if isinstance(single, dict) else {}
    return [_verdict(name, said, by_name.get(name), who) for name in _names(plan)]


def _verdict(name: str, said: Mapping[str, object], own: object, who: str) -> Verdict:
    allowed, reason = said["allow"] is True, said.get("reason")
    if own is not None:
        single = own if isinstance(own, dict) else {}
        allowed = allowed and single.get("allow") is True
        reason = single.get("reason") or reason
    default = f"{who} {'allows' if allowed else 'refuses'} it"
    text = f"{default}: {reason}" if isinstance(reason, str) and reason else default
    return Verdict("hook", name, allowed, "".join(one for one in text if one.isprintable())[:_REASON])


def _names(plan: PromotionPlan) -> list[str]:
    return [*(one.name for one in plan.candidates), *plan.removed]


def _all(plan: PromotionPlan, reason: str) -> list[Verdict]:
    return [Verdict("hook", name, False, reason) for name in _names(plan)]


def _host(url: str) -> str:
    return httpx.URL(url).netloc.decode("ascii", "replace")


async def _post(settings: Settings, url: str, question: Mapping[str, object]) -> Mapping[str, object] | str:
    """Ask; return the answer's JSON, or in words what is wrong with it."""
    headers = {}
    if settings.promotion_hook_token is not None and url == settings.promotion_hook:
        headers["authorization"] = f"Bearer {settings.promotion_hook_token.get_secret_value()}"
    verify = ssl.create_default_context(cafile=settings.ca_file) if settings.ca_file else True
    async with (
        httpx.AsyncClient(
            verify=verify, proxy=settings.proxy or None, timeout=settings.promotion_hook_timeout
        ) as client,
        client.stream("POST", url, json=question, headers=headers) as answer,
    ):
        if answer.status_code != 200:
            return f"{_host(url)} answered {answer.status_code}"
        body = b""
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > _LARGEST:
                return f"{_host(url)} answered with more than {_LARGEST} bytes"
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    return said if isinstance(said, dict) else f"{_host(url)} answered with something else than a JSON object"
