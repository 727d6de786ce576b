"""Settings come from the environment, and a bad one is named."""

from pathlib import Path

import pytest

from catalog.settings import mistyped_settings, read_settings
from oci.errors import SettingsInvalid


def test_defaults_follow_the_home(tmp_path: Path) -> None:
    settings = read_settings(home=tmp_path)
    assert settings.catalog_file == tmp_path / "catalog" / "catalog.sqlite"
    assert settings.storage_folder == tmp_path / "blobs"
    assert settings.listen_address == ("127.0.0.1", 5080)


def test_the_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTREPOT_HOME", str(tmp_path / "a"))
    monkeypatch.setenv("ENTREPOT_CATALOG", f"sqlite:{tmp_path}/b.sqlite")
    monkeypatch.setenv("ENTREPOT_STORAGE", f"file:{tmp_path}/c")
    monkeypatch.setenv("ENTREPOT_LISTEN", "[::1]:5081")
    monkeypatch.setenv("ENTREPOT_INSECURE_REGISTRIES", "one.example, two.example:5000")
    monkeypatch.setenv("ENTREPOT_LOGINS", '{"one.example": "user:hunter2"}')
    settings = read_settings()
    assert settings.catalog_file == tmp_path / "b.sqlite"
    assert settings.storage_folder == tmp_path / "c"
    assert settings.listen_address == ("::1", 5081)
    assert settings.insecure_registries == ("one.example", "two.example:5000")
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("COPY_CONCURRENCY", "0", "ENTREPOT_COPY_CONCURRENCY"),
        ("READ_TIMEOUT", "soon", "ENTREPOT_READ_TIMEOUT"),
        ("LOGINS", '{"one.example": 5}', "ENTREPOT_LOGINS"),
        ("HOSTS", "https://registry.example", "ENTREPOT_HOSTS: 'https://registry.example' names no host"),
        ("HOSTS", "good.example,registry.example:5080", "ENTREPOT_HOSTS: 'registry.example:5080' names no host"),
        ("HOSTS", "10.0.0.0/8", "ENTREPOT_HOSTS: '10.0.0.0/8' names no host"),
        ("HOSTS", "registry*.example", "ENTREPOT_HOSTS"),
        ("HOSTS", "one.example two.example", "ENTREPOT_HOSTS"),
        ("INTERNAL_HOSTS", "http://minio.example/", "ENTREPOT_INTERNAL_HOSTS: 'http://minio.example/' names no host"),
        ("INTERNAL_HOSTS", "minio.example:9000", "ENTREPOT_INTERNAL_HOSTS"),
        ("TRUSTED_PROXIES", "10.0.0.300", "ENTREPOT_TRUSTED_PROXIES: expected addresses or networks"),
        ("WORK_ROOTS", "/srv/bundles,bundles", "ENTREPOT_WORK_ROOTS: 'bundles' depends on where"),
    ],
)
def test_a_bad_value_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(f"ENTREPOT_{name}", value)
    with pytest.raises(SettingsInvalid, match=message):
        read_settings()


@pytest.mark.parametrize(
    "text", ["blobs", "x-accel:", "x-accel:/", "x-accel:blobs", "x-accel:/a/../b", "x-accel:/blobs/", "sendfile:/b"]
)
def test_an_offload_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(SettingsInvalid, match="ENTREPOT_OFFLOAD: expected x-accel:/PATH, such as x-accel:/blobs"):
        read_settings(offload=text, trusted_proxies="127.0.0.1")


def test_an_offload_needs_files_and_a_proxy() -> None:
    assert read_settings(offload="x-accel:/in/blobs", trusted_proxies="127.0.0.1").offload_path == "/in/blobs"
    assert read_settings().offload_path == ""
    with pytest.raises(SettingsInvalid, match=r"ENTREPOT_OFFLOAD: .* S3.* signed URLs"):
        read_settings(offload="x-accel:/blobs", trusted_proxies="127.0.0.1", storage="s3://blobs/registry")
    with pytest.raises(SettingsInvalid, match="ENTREPOT_OFFLOAD: expected nginx's address in ENTREPOT_TRUSTED_PROXIES"):
        read_settings(offload="x-accel:/blobs")
    with pytest.raises(SettingsInvalid, match="ENTREPOT_TRUSTED_PROXIES"):
        read_settings(offload="x-accel:/blobs", trusted_proxies="proxy.example")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOSTS", "*,registry.example,*.example,::1,10.0.0.1,my_host"),
        (
            "INTERNAL_HOSTS",
            "minio.example,*.corp.example,s3-[ab].example,10.1.0.0/16,10.1.0.7/16,fd00::/8,::1,[::1],10.0.0.1",
        ),
        ("WORK_ROOTS", "/srv/bundles,~/builds"),
        ("WORK_ROOTS", ""),
    ],
)
def test_every_form_that_is_documented_is_taken(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"ENTREPOT_{name}", value)
    assert [str(one) for one in getattr(read_settings(), name.lower())] == list(filter(None, value.split(",")))


@pytest.mark.parametrize(
    ("field", "value", "prop"),
    [
        ("catalog", "mysql://x", "catalog_file"),
        ("storage", "ftp://x", "storage_folder"),
        ("listen", "5080", "listen_address"),
        ("listen", "localhost:http", "listen_address"),
    ],
)
def test_a_value_of_another_form_is_refused(field: str, value: str, prop: str) -> None:
    with pytest.raises(SettingsInvalid, match=f"ENTREPOT_{field.upper()}"):
        getattr(read_settings(**{field: value}), prop)


def test_durations_and_sizes_are_read_as_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "DISK_RESERVE": "1GB",
        "MAX_BLOB_SIZE": "10GiB",
        "READ_TIMEOUT": "2m",
        "LOCK_TIMEOUT": "2.5",
        "TOKEN_LIFETIME": "1h",
        "QUERY_MEMORY": "512MiB",
    }.items():
        monkeypatch.setenv(f"ENTREPOT_{name}", text)
    found = read_settings()
    assert (found.disk_reserve, found.max_blob_size) == (10**9, 10 * 2**30)
    assert (found.read_timeout, found.lock_timeout, found.token_lifetime) == (120.0, 2.5, 3600.0)
    assert found.query_memory == "512MiB"


@pytest.mark.parametrize(
    ("name", "text", "number"),
    [
        ("READ_TIMEOUT", ".5", 0.5),
        ("READ_TIMEOUT", "1e2", 100.0),
        ("TOTAL_TIMEOUT", "inf", float("inf")),
        ("MAX_BLOB_SIZE", "1_000_000", 1_000_000),
        ("MAX_BLOB_SIZE", "+5", 5),
    ],
)
def test_a_plain_number_is_read_in_any_form(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, number: float
) -> None:
    monkeypatch.setenv(f"ENTREPOT_{name}", text)
    assert getattr(read_settings(), name.lower()) == number


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("DISK_RESERVE", "much", "invalid size 'much'"),
        ("READ_TIMEOUT", "soon", "invalid duration 'soon'"),
        ("READ_TIMEOUT", "0s", "greater than 0"),
        ("DUCKDB_MEMORY", "all", "invalid size 'all'"),
        ("SPARSE_REPOSITORIES", "team/[ab]", r"invalid pattern 'team/\[ab\]'"),
    ],
)
def test_what_settings_refuse(monkeypatch: pytest.MonkeyPatch, name: str, text: str, words: str) -> None:
    monkeypatch.setenv(f"ENTREPOT_{name}", text)
    with pytest.raises(SettingsInvalid, match=words):
        read_settings()


def test_patterns_of_repositories() -> None:
    found = read_settings(sparse_repositories="team/*,other/**", misstated_sizes=("team/**",))
    assert [found.is_sparse(name) for name in ("team/app", "team/sub/app", "other/a/b")] == [True, False, True]
    assert [found.may_misstate(name) for name in ("team/sub/app", "other")] == [True, False]


def test_a_variable_that_is_nearly_a_setting_is_told_and_others_are_left_alone() -> None:
    names = (
        "ENTREPOT_LISTN",
        "ENTREPOT_STORGE",
        "ENTREPOT_LISTEN",
        "ENTREPOT_Listen",
        "LISTN",
        "ENTREPOT_SERVICE_HOST",
    )
    assert mistyped_settings((*names, "ENTREPOT_PORT_5080_TCP", "ENTREPOT_")) == [
        "ENTREPOT_LISTN is no setting and counts for nothing; did you mean ENTREPOT_LISTEN?",
        "ENTREPOT_STORGE is no setting and counts for nothing; did you mean ENTREPOT_STORAGE?",
    ]
