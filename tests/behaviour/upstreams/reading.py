"""The table of odd upstreams that are read: each is named after its flaw, a fault of an upstream that is sound otherwise."""

import gzip
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from oci.digest import Digest
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform
from tests.upstream import Fault, Reply, Route, Seen, Upstream

NAME = "team/app"
LARGE = bytes(range(256)) * 400


@dataclass(frozen=True)
class Content:
    """What every upstream of the table has: `v1` is an image with a referrer, `v2` an index of two images."""

    store: MemoryStore
    layer: Digest
    referrer: Digest

    @property
    def tags(self) -> set[str]:
        return {tag for tag in self.store.tagged if not tag.startswith("sha256-")}


def make_content() -> Content:
    store = MemoryStore(NAME)
    image = pack_image(store, [{"large": LARGE}])
    children = [(pack_image(store, [{"arch": one}]), Platform("linux", one)) for one in ("amd64", "arm64")]
    store.put_tag("v1", image.digest)
    store.put_tag("v2", pack_index(store, children).digest)
    referrer = pack_artifact(store, "application/vnd.test.sbom", [("text/plain", b"an sbom")], subject=image)
    listed = pack_index(store, [(referrer, None)])
    store.put_tag(f"sha256-{image.digest.encoded}", listed.digest)
    return Content(store, image.layers[0].digest, referrer.digest)


@dataclass(frozen=True)
class Odd:
    """One flaw. `notes` are what a sync says of it, as patterns; `absent` says that the referrer cannot be had; `failed` are tags
    that fail each for itself; `tags` is what is listed where that is not all; `requests` bounds some of those that it costs."""

    make: Callable[[Upstream, Content], None]
    notes: tuple[str, ...] = ()
    absent: bool = False
    failed: tuple[str, ...] = ()
    cut: bool = False
    requests: Mapping[tuple[str, Route], int] = field(default_factory=dict)


def on(route: Route, change: Callable[[Seen, Reply], Reply | None], *, method: str = "", only: str = "") -> Fault:
    """Change the good answers of a route."""

    def fault(seen: Seen, good: Reply) -> Reply | None:
        if seen.route != route or (method and seen.method != method) or only not in seen.path or good.status >= 400:
            return None
        return change(seen, good)

    return fault


def says(status: int, body: bytes = b'{"errors":[]}', **headers: str) -> Callable[[Seen, Reply], Reply]:
    return lambda _seen, _good: Reply(status, body, {name.replace("_", "-"): text for name, text in headers.items()})


def add(*faults: Fault) -> Callable[[Upstream, Content], None]:
    return lambda upstream, _content: upstream.faults.extend(faults)


def with_headers(**headers: str | None) -> Callable[[Seen, Reply], Reply]:
    """The same answer with other headers; None takes one away."""

    def change(_seen: Seen, good: Reply) -> Reply:
        for name, text in headers.items():
            good.headers.pop(name.replace("_", "-"), None)
            if text is not None:
                good.headers[name.replace("_", "-")] = text
        return good

    return change


def encoded(name: str, encode: Callable[[bytes], bytes]) -> Callable[[Seen, Reply], Reply]:
    def change(_seen: Seen, good: Reply) -> Reply:
        good.body = encode(good.body)
        good.headers |= {"content-encoding": name, "content-length": str(len(good.body))}
        return good

    return change


def raw_deflate(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-15)
    return made.compress(data) + made.flush()


def two_members(data: bytes) -> bytes:
    middle = len(data) // 2
    return gzip.compress(data[:middle]) + gzip.compress(data[middle:])


def all_encoded(name: str, encode: Callable[[bytes], bytes]) -> Callable[[Upstream, Content], None]:
    """Everything that has a body, tokens too."""

    def make(upstream: Upstream, _content: Content) -> None:
        upstream.login, upstream.bearer = ("user", "pass"), True
        upstream.token_for_anybody = True
        routes: tuple[Route, ...] = ("tags", "manifest", "blob", "referrers", "token")
        upstream.faults.extend(on(route, encoded(name, encode)) for route in routes)

    return make


# --- HEAD ---


def head_forbidden_behind_a_redirect(upstream: Upstream, content: Content) -> None:
    """Both are sent on to a storage that knows GET alone."""

    def fault(seen: Seen, good: Reply) -> Reply | None:
        if seen.route == "manifest" and "cdn" not in seen.query and good.status == 200:
            return Reply(307, b"", {"location": f"{seen.path}?cdn=1"})
        if "cdn" in seen.query and seen.method == "HEAD":
            return Reply(403, b"<Error>SignatureDoesNotMatch</Error>")
        return None

    upstream.faults.append(fault)


# --- pages ---


def paged(make_link: Callable[[str], str]) -> Callable[[Upstream, Content], None]:
    """One tag a page; the link is made of the path of the next one."""

    def make(upstream: Upstream, _content: Content) -> None:
        upstream._page = 1

        def link(_seen: Seen, good: Reply) -> Reply:
            found = re.fullmatch(r'<(.+)>; rel="next"', good.headers.get("link", ""))
            if found:
                good.headers["link"] = make_link(found[1])
            return good

        upstream.faults.append(on("tags", link))

    return make


def many_tags(content: Content, count: int) -> None:
    for number in range(count - len(content.store.tagged)):
        content.store.put_tag(f"x{number:04}", content.store.tagged["v1"])


def cut_without_a_link(upstream: Upstream, content: Content) -> None:
    """A page of 50, and no link to the next; it knows `last`."""
    many_tags(content, 77)
    upstream._page = 50
    upstream.faults.append(on("tags", with_headers(link=None)))


def link_without_relation(upstream: Upstream, content: Content) -> None:
    """Nor does it know `last`: nobody can say what else there is."""
    many_tags(content, 60)
    upstream._page = 30
    first = Upstream._tags(upstream, Seen("GET", "tags", "", "", {}, NAME), content.store)
    first.headers["link"] = "</v2/team/app/tags/list?page=2>"
    upstream.faults.append(on("tags", lambda _seen, _good: Reply(200, first.body, dict(first.headers))))


def none_that_are_tags(upstream: Upstream, _content: Content) -> None:
    def more(_seen: Seen, good: Reply) -> Reply:
        good.body = good.body.replace(b'"v1"', b'"v1","","a b","-x","sha256:abc","../../etc","' + b"t" * 129 + b'"')
        good.headers["content-length"] = str(len(good.body))
        return good

    upstream.faults.append(on("tags", more))


def seventeen_megabytes(_seen: Seen, good: Reply) -> Reply:
    good.body = good.body.replace(b"[", b"[" + b" " * (17 * 1024 * 1024))
    good.headers["content-length"] = str(len(good.body))
    return good


# --- tokens ---


def token_ends(status: int, error: str = "") -> Callable[[Upstream, Content], None]:
    """The first token is good for three requests, and then answered like that."""

    def make(upstream: Upstream, _content: Content) -> None:
        upstream.login, upstream.bearer = ("user", "pass"), True
        upstream.token_for_anybody = True
        used: list[str] = []

        def fault(seen: Seen, _good: Reply) -> Reply | None:
            if seen.headers.get("authorization") != "Bearer token-0":
                return None
            used.append(seen.path)
            challenge = f'Bearer realm="http://{upstream.host}/token",service="upstream",error="{error}"'
            named = {"www-authenticate": challenge} if error else {}
            return Reply(status, b'{"errors":[]}', named) if len(used) > 3 else None

        upstream.faults.append(fault)

    return make


def scope_of_its_own(*, at_the_service: bool) -> Callable[[Upstream, Content], None]:
    """Only the scope that its challenge names gets a token that is good."""

    def make(upstream: Upstream, _content: Content) -> None:
        challenge = f'Bearer realm="http://{upstream.host}/token",service="odd",scope="everything:odd"'

        def fault(seen: Seen, good: Reply) -> Reply | None:
            if seen.route == "token":
                is_right = "scope=everything%3Aodd" in seen.query
                if at_the_service and not is_right:
                    return Reply(400, b'{"errors":[]}')
                return Reply(200, b'{"token":"right"}' if is_right else b'{"token":"wrong"}')
            if seen.headers.get("authorization") != "Bearer right":
                return Reply(401, b'{"errors":[]}', {"www-authenticate": challenge})
            return None

        upstream.faults.append(fault)

    return make


# --- blobs ---


def resumed(change: Callable[[Seen, Reply], Reply | None]) -> Callable[[Upstream, Content], None]:
    """The large layer breaks off once; what follows is answered in an odd way."""

    def make(upstream: Upstream, content: Content) -> None:
        data = content.store.blobs[content.layer]

        def fault(seen: Seen, good: Reply) -> Reply | None:
            if seen.route != "blob" or seen.reference != content.layer or "range" not in seen.headers:
                return None
            good.body = good.body if good.status == 206 else data
            return change(seen, good)

        upstream.faults.append(fault)
        upstream.cut(content.layer, after=30_000)

    return make


def part_from(shift: int) -> Callable[[Seen, Reply], Reply]:
    """A 206 that begins earlier or later than was asked."""

    def change(seen: Seen, good: Reply) -> Reply:
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", good.headers["content-range"])
        assert found
        first = int(found[1]) + shift
        body = (b"?" * -shift + good.body) if shift < 0 else good.body[shift:]
        span = f"bytes {first}-{found[2]}/{found[3]}"
        return Reply(206, body, {"content-range": span, "content-length": str(len(body))})

    return change


# --- referrers ---


def no_list(*answer: object, **headers: str) -> Callable[[Upstream, Content], None]:
    return add(on("referrers", says(*answer, **headers)))  # type: ignore[arg-type]


NO_USABLE = ("no usable list of referrers",)

READING: Mapping[str, Odd] = {
    "nothing-odd": Odd(lambda _upstream, _content: None),
    **{
        f"head-answered-{status}": Odd(
            add(on("manifest", says(status), method="HEAD")), requests={("HEAD", "manifest"): 3}
        )
        for status in (400, 403, 404, 405, 500, 501)
    },
    "head-forbidden-behind-a-redirect": Odd(head_forbidden_behind_a_redirect),
    "head-says-it-is-empty": Odd(add(on("manifest", with_headers(content_length="0"), method="HEAD"))),
    "head-says-the-size-of-an-encoding": Odd(
        add(on("manifest", with_headers(content_length="33", content_encoding="gzip"), method="HEAD"))
    ),
    "gzip-that-nobody-asked-for": Odd(all_encoded("gzip", gzip.compress)),
    "gzip-in-two-members": Odd(all_encoded("x-gzip", two_members)),
    "deflate-that-nobody-asked-for": Odd(all_encoded("deflate", zlib.compress)),
    "deflate-without-its-header": Odd(all_encoded("deflate", raw_deflate)),
    "encoded-twice": Odd(all_encoded("deflate, gzip", lambda data: gzip.compress(zlib.compress(data)))),
    "layers-labelled-as-encoded": Odd(add(on("blob", with_headers(content_encoding="gzip")))),
    **{
        f"manifests-as-{re.sub('[^a-z]+', '-', name).strip('-') or 'nothing'}": Odd(
            add(on("manifest", with_headers(content_type=name or None)))
        )
        for name in (
            "binary/octet-stream",
            "text/html",
            "text/plain; charset=utf-8",
            "application/x-unknown",
            "",
        )
    },
    "link-on-an-internal-host": Odd(paged(lambda path: f'<http://registry.internal:5000{path}>; rel="next"')),
    "link-with-names-in-capitals": Odd(paged(lambda path: f'<{path}>; REL="NEXT"')),
    "link-without-quotes": Odd(paged(lambda path: f"<{path}>;rel=next")),
    "link-among-others": Odd(paged(lambda path: f'</first>; rel="first", <{path}>; title="a, b"; Rel="prefetch Next"')),
    "link-that-is-relative": Odd(paged(lambda path: f'<list?{path.partition("?")[2]}>; rel="next"')),
    "page-that-is-cut-without-a-link": Odd(cut_without_a_link),
    "link-that-does-not-say-what-it-is": Odd(link_without_relation, notes=("may be cut",), cut=True),
    "listed-that-are-no-tags": Odd(none_that_are_tags),
    "listing-of-17-megabytes": Odd(add(on("tags", seventeen_megabytes))),
    "token-that-ends-with-400": Odd(token_ends(400)),
    "token-that-ends-with-401": Odd(token_ends(401)),
    "token-that-ends-with-403-insufficient-scope": Odd(token_ends(403, error="insufficient_scope")),
    "scope-that-the-token-service-refuses": Odd(scope_of_its_own(at_the_service=True)),
    "scope-that-the-registry-refuses": Odd(scope_of_its_own(at_the_service=False)),
    "part-that-begins-earlier": Odd(resumed(part_from(-100))),
    "part-that-begins-later": Odd(resumed(part_from(100))),
    "part-that-does-not-say-where": Odd(resumed(with_headers(content_range=None))),
    **{f"part-refused-with-{status}": Odd(resumed(says(status))) for status in (400, 403, 405, 416, 501)},
    **{
        f"referrers-answered-{status}": Odd(
            no_list(status, b"" if status == 304 else b"{}"), notes=NO_USABLE, requests={("GET", "referrers"): 3}
        )
        for status in (303, 304, 400, 401, 403, 405, 406, 409, 418, 500, 501, 503)
    },
    "referrers-that-are-a-page-for-people": Odd(
        no_list(200, b"<html></html>", content_type="text/html"), notes=NO_USABLE
    ),
    "referrers-that-are-a-list": Odd(no_list(200, b"[]"), notes=NO_USABLE),
    "referrers-that-are-nothing": Odd(no_list(200, b""), notes=NO_USABLE),
    "referrers-that-are-no-index": Odd(no_list(200, b"{}"), notes=NO_USABLE),
    "referrers-of-no-form": Odd(no_list(200, b'{"manifests":[{"digest":3}]}'), notes=NO_USABLE),
    "referrers-sent-to-a-login-page": Odd(
        add(
            on("referrers", says(302, b"", location="/login")),
            lambda seen, _good: Reply(200, b"<html></html>") if seen.path == "/login" else None,
        ),
        notes=NO_USABLE,
    ),
    "referrer-refused-with-403": Odd(
        lambda upstream, content: upstream.fail(403, only=content.referrer), notes=("does not give it",), absent=True
    ),
    "referrer-refused-with-405": Odd(
        lambda upstream, content: upstream.fail(405, only=content.referrer), notes=("does not give it",), absent=True
    ),
    "referrers-and-fallback-tags-refused": Odd(
        add(on("referrers", says(403)), on("manifest", says(403), only="/sha256-")),
        notes=(*NO_USABLE, "does not give it|counts as absent"),
        absent=True,
    ),
    **{
        f"one-image-answered-{status}": Odd(
            lambda upstream, content, status=status: upstream.fail(  # type: ignore[misc]
                status, only="/manifests/v2", www_authenticate='Basic realm="x"'
            ),
            failed=("v2",),
        )
        for status in (401, 403)
    },
}
