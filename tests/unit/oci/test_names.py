"""Parsers of digests, names, references, platforms, remotes and challenges take what the specifications give, and no more."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci.digest import Digest
from oci.errors import DigestInvalid, EntrepotError, InvalidInput, NameInvalid, TagInvalid
from oci.platform import Platform
from oci.reference import (
    DOCKER_HUB,
    ContentReference,
    VersionReference,
    is_tag,
    parse_content_reference,
    parse_name,
    parse_reference,
    parse_tag,
    parse_version_reference,
)
from oci.remote.address import parse_remote
from oci.remote.auth.challenge import Challenge, parse_challenges
from oci.remote.network.loopback import is_loopback

HEX = "0123456789abcdef" * 4


@given(st.binary(), st.sampled_from(["sha256", "sha512"]))
def test_a_digest_of_bytes_parses(data: bytes, algorithm: str) -> None:
    digest = Digest.of(data, algorithm)
    assert Digest.parse(str(digest)) == digest
    assert (digest.algorithm, f"{digest.algorithm}:{digest.encoded}") == (algorithm, digest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        f"sha256:{HEX}0",
        f"sha256:{HEX[1:]}",
        f"sha256:{HEX.upper()}",
        f"sha512:{HEX}",
        f"md5:{HEX[:32]}",
        f"{HEX}",
        f"sha256:{HEX}\n",
    ],
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(DigestInvalid):
        Digest.parse(text)


@given(st.text(max_size=80))
def test_any_text_is_a_digest_or_an_error(text: str) -> None:
    with contextlib.suppress(DigestInvalid):
        assert Digest.parse(text) == text


@pytest.mark.parametrize("name", ["a", "a/b", "team/app", "a__b", "a--b/c.d", "blobs/uploads", "0", "a" * 255])
def test_names_are_taken(name: str) -> None:
    assert parse_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "A", "a/", "/a", "a//b", "a..b", "a___b", "-a", "a-", "a b", "a:b", "ä", "a" * 256, "a\n"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(NameInvalid):
        parse_name(name)


@pytest.mark.parametrize("tag", ["a", "V1.2-3_x", "_", "9" * 128])
def test_tags_are_taken(tag: str) -> None:
    assert is_tag(tag)
    assert parse_tag(tag) == tag


@pytest.mark.parametrize("tag", ["", ".a", "-a", "a:b", "a/b", "9" * 129, "a\n", "é"])
def test_what_is_no_tag_is_refused(tag: str) -> None:
    assert not is_tag(tag)
    with pytest.raises(TagInvalid):
        parse_tag(tag)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("registry.example/team/app", ("registry.example", "team/app", None, None)),
        ("registry.example:5000/app:v1", ("registry.example:5000", "app", "v1", None)),
        (f"localhost/app:v1@sha256:{HEX}", ("localhost", "app", "v1", f"sha256:{HEX}")),
        ("[::1]:5000/app", ("[::1]:5000", "app", None, None)),
        ("alpine", (DOCKER_HUB, "library/alpine", None, None)),
        ("docker.io/grafana/grafana:latest", (DOCKER_HUB, "grafana/grafana", "latest", None)),
        ("team/app:v1", (DOCKER_HUB, "team/app", "v1", None)),
        ("docker://registry.example/app", ("registry.example", "app", None, None)),
    ],
)
def test_references_are_read(text: str, expected: tuple[object, ...]) -> None:
    reference = parse_reference(text)
    assert (reference.registry, reference.repository, reference.tag, reference.digest) == expected
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        "registry.example/",
        "registry.example/App",
        "registry.example/app:",
        "registry.example/app@sha256:1",
        "http://registry.example/app",
        "reg istry.example/app",
        "registry.example:port/app",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_reference(text)


@given(st.text(max_size=60))
def test_any_text_is_a_reference_or_an_error(text: str) -> None:
    for parse in (parse_reference, parse_remote):
        with contextlib.suppress(InvalidInput):
            parse(text)


def test_remotes_keep_a_chosen_scheme_and_refuse_logins() -> None:
    assert parse_remote("http://localhost:5000/app:v1").scheme == "http"
    assert parse_remote("docker://registry.example/app").scheme == ""
    assert parse_remote("registry.example/app").host == "registry.example"
    with pytest.raises(NameInvalid, match="cannot hold a login") as caught:
        parse_remote("https://user:s3cret@registry.example/app")
    assert "s3cret" not in str(caught.value)
    with pytest.raises(NameInvalid, match="scheme"):
        parse_remote("ftp://registry.example/app")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:5000", True),
        ("localhost", True),
        ("[::1]:5000", True),
        ("127.9.9.9", True),
        ("10.0.0.1:5000", False),
        ("localhost.example", False),
        ("registry.example:443", False),
    ],
)
def test_loopback_is_told(host: str, *, expected: bool) -> None:
    assert is_loopback(host) == expected


def test_platforms_are_read_and_match() -> None:
    assert Platform.parse("linux/arm64/v8") == Platform("linux", "arm64", "v8")
    assert Platform.parse("linux/x86_64") == Platform("linux", "amd64")
    assert Platform("linux", "arm64", "v8").matches(Platform.parse("linux/arm64"))
    assert not Platform("linux", "arm", "v6").matches(Platform.parse("linux/arm/v7"))
    assert Platform.from_json(Platform("linux", "arm", "v7", "1.0", ("x",)).to_json()) == Platform(
        "linux", "arm", "v7", "1.0", ("x",)
    )
    for text in ("", "linux", "linux/", "a/b/c/d"):
        with pytest.raises(InvalidInput):
            Platform.parse(text)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (['Basic realm="x"'], [Challenge("basic", {"realm": "x"})]),
        (
            ['Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push"'],
            [
                Challenge(
                    "bearer",
                    {"realm": "https://auth.example/token", "service": "reg", "scope": "repository:a/b:pull,push"},
                )
            ],
        ),
        (
            ['Basic realm="a, \\"b\\"" , Bearer realm=plain'],
            [Challenge("basic", {"realm": 'a, "b"'}), Challenge("bearer", {"realm": "plain"})],
        ),
        (["Negotiate", "Basic Realm=x"], [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
        (["Negotiate, Basic realm=x"], [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
        ([""], []),
    ],
)
def test_challenges_are_read(headers: list[str], expected: list[Challenge]) -> None:
    assert parse_challenges(headers) == expected


@given(st.lists(st.text(alphabet='abcBasicBearer ="\\,', max_size=40), max_size=3))
def test_any_header_is_read_without_an_error(headers: list[str]) -> None:
    for challenge in parse_challenges(headers):
        assert challenge.scheme


def test_references_to_content() -> None:
    digest = Digest("sha256:" + "0" * 64)
    assert parse_content_reference("team/app") == ContentReference("team/app")
    assert parse_content_reference("team/app:v1") == ContentReference("team/app", "v1")
    assert parse_content_reference(f"team/app@{digest}") == ContentReference("team/app", "", digest)
    assert str(parse_content_reference(f"team/app:v1@{digest}")) == f"team/app:v1@{digest}"
    for text in ("", "Team", "team/app:", "team/app@", "team/app@3", "team/app:a:b"):
        with pytest.raises(EntrepotError):
            parse_content_reference(text)


def test_references_to_versions() -> None:
    assert parse_version_reference("team/app@12") == VersionReference("team/app", 12)
    assert parse_version_reference("team/app") == VersionReference("team/app")
    for text in ("team/app@", "team/app@x", "team/app@-1", "a@1@2", f"a@{'9' * 30}"):
        with pytest.raises(InvalidInput, match=r"invalid version .*: expected NAME or NAME@VERSION"):
            parse_version_reference(text)
    with pytest.raises(NameInvalid):
        parse_version_reference("Team@1")
