"""The Helm chart: what it renders, and what it refuses to."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it carries no types

from catalog.settings import Settings, read_settings
from tests.servers import ROOT, tool

CHART = ROOT / "deploy" / "helm" / "entrepot"
# A helm that `go install` has built takes Kubernetes for an old one.
VERSION = ("--kube-version", "1.31.0")
SHARED = {"catalog": "postgresql://entrepot@db:5432/entrepot", "storage": "s3://blobs/registry"}
ALL: dict[str, Any] = {
    **SHARED,
    "replicas": 3,
    "existingSecret": "ours",
    "publicUrl": "https://registry.example",
    "trustedProxies": ["10.0.0.0/8", "10.1.0.1"],
    "settings": {"ENTREPOT_MAX_BLOB_SIZE": "10GB", "ENTREPOT_READ_ONLY": True, "ENTREPOT_QUERY_MAX_ROWS": 5000},
    "s3": {"endpoint": "https://s3.example", "redirect": False},
    "ingress": {"enabled": True, "className": "nginx", "tls": {"existingSecret": "ingress-tls"}},
    "worker": {"enabled": True, "prefectApiUrl": "http://prefect:4200/api"},
    "networkPolicy": {"from": [{"namespaceSelector": {}}], "egress": [{"to": []}]},
}


def run_helm(values: dict[str, Any], folder: Path, command: str = "template") -> subprocess.CompletedProcess[str]:
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    name = ["release"] if command == "template" else []
    return subprocess.run(
        [tool("helm"), command, *name, str(CHART), *VERSION, "--values", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )


def render(values: dict[str, Any], folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """What the chart renders, by kind and name."""
    done = run_helm(values, folder)
    assert done.returncode == 0, done.stderr
    found = [one for one in yaml.safe_load_all(done.stdout) if one]
    named = {(one["kind"], one["metadata"]["name"]): one for one in found}
    assert len(named) == len(found)
    return named


def pods(rendered: dict[tuple[str, str], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: one["spec"]["template"]["spec"] for (kind, name), one in rendered.items() if kind == "Deployment"}


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container["env"] if "value" in one}


@pytest.mark.parametrize("values", [{}, ALL, {"tls": {"existingSecret": "own-tls"}}], ids=["defaults", "all", "tls"])
def test_it_passes_lint_and_every_pod_has_few_rights(tmp_path: Path, values: dict[str, Any]) -> None:
    linted = run_helm(values, tmp_path, "lint")
    assert linted.returncode == 0, linted.stdout
    assert "WARNING" not in linted.stdout
    for pod in pods(render(values, tmp_path)).values():
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (10001, 10001, 10001)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        for container in pod["containers"]:
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"] is True
            assert rights["allowPrivilegeEscalation"] is False
            assert rights["capabilities"] == {"drop": ["ALL"]}
            paths = [one["mountPath"] for one in container["volumeMounts"]]
            assert {"/var/lib/entrepot", "/tmp"} <= set(paths)
            assert {one["name"] for one in container["volumeMounts"]} <= {one["name"] for one in pod["volumes"]}


@pytest.mark.parametrize(("values", "scheme"), [({}, "HTTP"), ({"tls": {"existingSecret": "own"}}, "HTTPS")])
def test_probes(tmp_path: Path, values: dict[str, Any], scheme: str) -> None:
    (container,) = pods(render(values, tmp_path))["release-entrepot"]["containers"]
    assert container["args"] == ["serve"]
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "registry", "scheme": scheme}
    assert container["readinessProbe"]["timeoutSeconds"] > 10  # what the registry gives its own check
    assert [port["containerPort"] for port in container["ports"]] == [5080]


def test_one_pod_with_a_volume_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = render({"worker": ALL["worker"]}, tmp_path)
    registry = rendered["Deployment", "release-entrepot"]["spec"]
    assert (registry["replicas"], registry["strategy"]) == (1, {"type": "Recreate"})
    for pod in pods(rendered).values():
        assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "release-entrepot"}
    assert ("PersistentVolumeClaim", "release-entrepot") in rendered
    worker = pods(rendered)["release-entrepot-worker"]
    (beside,) = worker["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert beside["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == "registry"
    assert "PodDisruptionBudget" not in {kind for kind, _ in rendered}
    for name, value in environment(worker["containers"][0]).items():
        monkeypatch.setenv(name, value)
    settings = read_settings()
    assert settings.root == Path("/var/lib/entrepot/home")
    assert settings.storage_folder == settings.root / "blobs"


def test_many_pods_share_catalogue_and_blobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = render(ALL, tmp_path)
    registry = rendered["Deployment", "release-entrepot"]["spec"]
    assert (registry["replicas"], registry["strategy"]) == (3, {"type": "RollingUpdate"})
    assert "PersistentVolumeClaim" not in {kind for kind, _ in rendered}
    assert all(pod["volumes"][0] == {"name": "state", "emptyDir": {}} for pod in pods(rendered).values())
    budget = rendered["PodDisruptionBudget", "release-entrepot"]["spec"]
    labels = registry["template"]["metadata"]["labels"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"].items() <= labels.items()
    (container,) = pods(rendered)["release-entrepot"]["containers"]
    given = environment(container)
    assert (given["ENTREPOT_CATALOG"], given["ENTREPOT_STORAGE"]) == (SHARED["catalog"], SHARED["storage"])
    coming = {"ENTREPOT_CATALOG_PASSWORD"}  # read where the catalogue is in PostgreSQL
    names = {one["name"] for one in container["env"] if one["name"].startswith("ENTREPOT_")}
    assert names - coming <= {f"ENTREPOT_{name.upper()}" for name in Settings.model_fields}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = read_settings()
    assert settings.storage_bucket == ("blobs", "registry")
    assert (settings.trusted_proxies, settings.storage_redirect) == (("10.0.0.0/8", "10.1.0.1"), False)
    assert (settings.max_blob_size, settings.read_only, settings.query_max_rows) == (10 * 10**9, True, 5000)


def test_secrets_come_from_a_secret_alone(tmp_path: Path) -> None:
    rendered = render(ALL, tmp_path)
    assert "Secret" not in {kind for kind, _ in rendered}
    for pod in pods(rendered).values():
        refs = {
            one["name"]: one["valueFrom"]["secretKeyRef"] for one in pod["containers"][0]["env"] if "valueFrom" in one
        }
        assert {name: (ref["name"], ref["key"]) for name, ref in refs.items()} == {
            "ENTREPOT_CATALOG_PASSWORD": ("ours", "catalog-password"),
            "AWS_ACCESS_KEY_ID": ("ours", "aws-access-key-id"),
            "AWS_SECRET_ACCESS_KEY": ("ours", "aws-secret-access-key"),
            "PREFECT_API_AUTH_STRING": ("ours", "prefect-login"),
        }


def test_service_ingress_and_policies_lead_to_the_registry(tmp_path: Path) -> None:
    rendered = render(ALL, tmp_path)
    labels = rendered["Deployment", "release-entrepot"]["spec"]["template"]["metadata"]["labels"]
    service = rendered["Service", "release-entrepot"]["spec"]
    assert service["selector"].items() <= labels.items()
    assert service["ports"] == [{"name": "http", "port": 80, "targetPort": "registry"}]
    ingress = rendered["Ingress", "release-entrepot"]["spec"]
    assert ingress["tls"] == [{"hosts": ["registry.example"], "secretName": "ingress-tls"}]
    backend = ingress["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": "release-entrepot", "port": {"name": "http"}}
    policy = rendered["NetworkPolicy", "release-entrepot"]["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == [
        {"ports": [{"port": "registry", "protocol": "TCP"}], "from": [{"namespaceSelector": {}}]}
    ]
    assert rendered["NetworkPolicy", "release-entrepot-worker"]["spec"]["ingress"] == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"replicas": 2}, "replicas is 2: more than one needs a catalogue and blobs that pods share"),
        ({"replicas": 2, "catalog": SHARED["catalog"]}, 'storage: s3://BUCKET/PREFIX (it is "")'),
        ({"replicas": 2, "storage": SHARED["storage"]}, 'catalog: postgresql://USER@HOST:PORT/DATABASE (it is "")'),
        ({"catalog": "postgresql://entrepot:secret@db/entrepot"}, "catalog holds a password"),
        ({"worker": {"enabled": True}}, "worker.enabled needs worker.prefectApiUrl"),
        ({"replicas": 0}, "replicas"),
        ({"catalog": "mysql://db"}, "catalog"),
        ({"storage": "file:/blobs"}, "storage"),
        ({"replica": 2}, "replica"),
        ({"settings": {"MAX_BLOB_SIZE": "1GB"}}, "settings"),
        ({"ingress": {"host": ""}}, "host"),
    ],
    ids=str,
)
def test_what_cannot_work_is_not_rendered(tmp_path: Path, values: dict[str, Any], words: str) -> None:
    done = run_helm(values, tmp_path)
    assert done.returncode != 0
    assert words in done.stderr
    assert not done.stdout
