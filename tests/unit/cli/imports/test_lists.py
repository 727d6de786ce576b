"""Lists of other tools as configurations: what they say is there, what has no counterpart is named with its line."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it carries no types

from cli.configuration.document import ConfigDocument, parse_document_text, parse_documents
from cli.configuration.export_config import to_yaml
from cli.configuration.model import deployments_of, read_entries
from cli.imports.flux_mirror import import_flux_mirror
from cli.imports.hauler import import_hauler
from cli.imports.import_config import merge
from cli.imports.imported import ImportedList
from cli.imports.regsync import import_regsync

REGSYNC = r"""
version: 1
creds:
  - registry: docker.io
    user: me
    pass: hunter2hunter2
    reqPerSec: 2
    mirrors: [mirror.example]
  - {registry: "registry:5000", tls: disabled}
defaults:
  interval: 60m0s
  ratelimit: {min: 100}
  referrers: true
sync:
  - {source: "busybox:latest", target: "registry:5000/library/busybox:latest", type: image}
  - {source: "busybox:1.36", target: "registry:5000/library/busybox:stable", type: image}
  - source: alpine
    target: registry:5000/library/alpine
    type: repository
    tags: {allow: ['3\.\d+'], deny: ['3\.0'], semverRange: [">=3.10"]}
    schedule: "15 1 * * *"
    platform: linux/amd64
  - {source: quay.io, target: "registry:5000/quay", type: registry, repos: {allow: ["org/.*"], deny: [org/x]}}
  - {source: "ocidir:///x", target: other.example/x, type: image}
  - {source: "{{ .X }}/a", target: "registry:5000/a", type: image}
  - {source: nginx, target: elsewhere.example/nginx, type: repository, backup: b}
  - {source: nginx, target: "registry:5000/nginx", type: repository, schedule: never}
  - {source: nginx, target: "registry:5000/nginx", type: repository, tags: {allow: ["("]}}
"""

FLUX = """
apiVersion: mirror.plugin.fluxcd.io/v1beta2
kind: Config
artifacts:
  - source: docker.io/stefanprodan/podinfo
    destination: quay.io/my-org/podinfo
    selector: {semver: "6.x", limit: 2}
    includeReferrers: true
    verify: {provider: cosign}
  - {source: ghcr.io/a/b, destination: quay.io/my-org/b, selector: {regex: {pattern: "^v.*$"}, sortBy: numerical, limit: 1}}
  - {source: ghcr.io/a/c, destination: quay.io/my-org/c, selector: {regex: {pattern: "rc", extract: n}}}
charts:
  - {name: podinfo, source: "https://charts.example", destination: "oci://quay.io/a"}
hosts:
  - {host: quay.io, credential: {type: jwt, value: hunter2hunter2}, tls: {serverAuth: {fromPath: /ca}}}
"""

HAULER = f"""
kind: Images
metadata: {{annotations: {{hauler.dev/platform: linux/amd64, hauler.dev/registry: first.example, hauler.dev/key: k}}}}
spec:
  images:
    - name: busybox:latest
    - {{name: "ghcr.io/a/b@sha256:{"a" * 64}", platform: linux/arm64, key: k.pub}}
    - {{name: "quay.io/x/y:v1", rewrite: "/mine/x:v2"}}
---
kind: Charts
spec:
  charts:
    - {{name: rancher, repoURL: "https://charts.example", version: 2.8.4}}
    - {{name: c, repoURL: "oci://ghcr.io/charts", version: 1.2.3}}
---
kind: Files
spec: {{files: [{{path: "https://get.example"}}]}}
"""


def imported(text: str, read: Callable[[ConfigDocument], ImportedList]) -> tuple[dict[str, Any], list[str]]:
    """Return the configuration, which an apply would take, and the lines without a counterpart."""
    made = [read(document) for document in parse_documents(text.encode(), "f")]
    value = merge([one.configuration() for one in made])
    entries, faults = read_entries(parse_document_text(to_yaml(value).encode(), "out"))
    assert faults == []
    assert deployments_of(entries).keys() == value.get("deployments", {}).keys()
    assert yaml.safe_load(to_yaml(value)) == value
    untold = [fault.show("f") for one in made for fault in sorted(one.unconverted)]
    assert "hunter2" not in to_yaml(value) + "".join(untold)
    return value, untold


def test_a_list_of_regsync() -> None:
    value, untold = imported(REGSYNC, import_regsync)
    assert value["remotes"] == {"docker.io": {"mirrors": ["mirror.example"], "rate": "120/1m"}}
    hourly, nightly = value["deployments"]["regsync"], value["deployments"]["regsync-2"]
    assert (hourly["schedules"], nightly["schedules"]) == ([{"every": "1h"}], [{"cron": "15 1 * * *"}])
    assert hourly["request"]["syncs"] == [
        {"remote": "docker.io/library/busybox", "repository": "library/busybox", "include": ["latest", "1.36"]},
        {"remote": "quay.io/re:org/.*", "below": "quay"},
    ]
    assert nightly["request"]["syncs"] == [
        {
            "platforms": ["linux/amd64"],
            "remote": "docker.io/library/alpine",
            "repository": "library/alpine",
            "include": [r"re:3\.\d+", "semver:>=3.10"],
            "exclude": [r"re:3\.0"],
        }
    ]
    places = [line.split(": ")[1] for line in untold]
    assert places == [
        "creds[0].user", "creds[0].pass", "creds[1].tls", "defaults.ratelimit", "sync[1].target", "sync[3].repos.deny",
        "sync[4].source", "sync[4].target", "sync[5].source", "sync[6].target", "sync[6].backup", "sync[7].schedule", "sync[8]",
    ]  # fmt: skip
    assert untold[3].startswith("f:12:3: defaults.ratelimit: `ratelimit` has no counterpart")


def test_a_list_of_flux_mirror() -> None:
    value, untold = imported(FLUX, import_flux_mirror)
    made = value["deployments"]["flux-mirror"]
    assert made["schedules"] == [{"cron": "17 3 * * *", "active": False}]
    assert made["request"]["syncs"] == [
        {
            "remote": "docker.io/stefanprodan/podinfo",
            "repository": "my-org/podinfo",
            "include": ["semver:6.x"],
            "newest": 2,
        },
        {"remote": "ghcr.io/a/b", "repository": "my-org/b", "companions": [], "include": ["re:v.*"]},
        {"remote": "ghcr.io/a/c", "repository": "my-org/c", "companions": [], "include": ["re:.*(?:rc).*"]},
    ]
    assert [line.split(": ")[1] for line in untold] == [
        "artifacts[0].verify", "artifacts[1].selector.sortBy", "artifacts[2].selector.regex.extract", "charts[0]",
        "hosts[0].credential", "hosts[0].tls",
    ]  # fmt: skip


def test_manifests_of_hauler() -> None:
    value, untold = imported(HAULER, import_hauler)
    assert value["deployments"]["hauler"]["request"]["syncs"] == [
        {
            "remote": "first.example/busybox",
            "repository": "busybox",
            "include": ["latest"],
            "platforms": ["linux/amd64"],
        },
        {
            "remote": "ghcr.io/a/b",
            "repository": "a/b",
            "include": [f"sha256:{'a' * 64}"],
            "platforms": ["linux/arm64"],
        },
        {"remote": "quay.io/x/y", "repository": "mine/x", "include": ["v1"], "platforms": ["linux/amd64"]},
    ]
    assert value["deployments"]["hauler-2"]["request"]["syncs"] == [
        {"remote": "ghcr.io/charts/c", "repository": "charts/c", "include": ["1.2.3"]}
    ]
    assert [line.split(": ")[1] for line in untold] == [
        "metadata.annotations.hauler.dev/key", "spec.images[1].key", "spec.images[2].rewrite", "spec.charts[0]", "spec.files[0]",
    ]  # fmt: skip


@pytest.mark.parametrize("read", [import_regsync, import_flux_mirror, import_hauler])
@pytest.mark.parametrize(
    "text", ["[]", "1", "sync: 1\nartifacts: [1]\nspec: []", "sync: [{}]\nartifacts: [{}]\ncreds: [{}]"]
)
def test_other_documents_break_nothing(text: str, read: Callable[[ConfigDocument], ImportedList]) -> None:
    value, _ = imported(text, read)
    assert value == {"version": 1}
