"""What the catalogue tells of its repositories and versions; every method is one query."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import cast

from catalog.filters.facts import Facts
from catalog.lake.nested_values import as_nested
from catalog.lake.reading import Readable, listed
from catalog.versions.manifest_facts import read_facts
from catalog.versions.rows import ChangeRow, RepositoryRow, VersionRow
from catalog.versions.snapshot import Snapshot, version_unknown
from catalog.versions.version_origins import parse_origins
from oci.digest import Digest
from oci.errors import NameUnknown

VERSION_COLUMNS = (
    "repository, number, base, operation, operation_id, actor, flow_run_id, message, created_at, "
    "tags, manifests, blobs, size_bytes, added, removed, origins"
)
"""The columns of the view `versions` that `version_of` reads."""
_REPOSITORIES = """
SELECT repository, max(version), arg_max(tags, version), arg_max(manifests, version), arg_max(blobs, version),
    arg_max(size_bytes, version), min(created_at), max(created_at)
FROM records WHERE kind IN ('version', 'squashed') {where}
GROUP BY repository HAVING bool_or(kind = 'version') ORDER BY repository"""
"""The latest version is never squashed, so what has the highest number is it."""

_CHILDREN = as_nested("records", "children")


class History:
    """Reads versions and membership; usable from any thread."""

    def __init__(self, lake: Readable) -> None:
        self._lake = lake

    def repositories(self) -> list[RepositoryRow]:
        """Every repository as of its latest version, by name."""
        return [_repository(row) for row in self._lake.read(_REPOSITORIES.format(where=""))]

    def repositories_from(self, is_wanted: Callable[[str], bool]) -> list[str]:
        """Return the repositories whose versions came from those remotes that a test of their names wants, by name."""
        rows = self._lake.read("SELECT DISTINCT repository, name FROM version_origins WHERE kind = 'remote'")
        return sorted({str(repository) for repository, name in rows if is_wanted(str(name))})

    def repository(self, name: str) -> RepositoryRow:
        """One repository as of its latest version; raise NameUnknown."""
        rows = self._lake.read(_REPOSITORIES.format(where="AND repository = ?"), [name])
        if not rows:
            raise NameUnknown(f"no repository {name!r} here")
        return _repository(rows[0])

    def versions(self, name: str) -> list[VersionRow]:
        """A repository's versions, newest first; raise NameUnknown."""
        rows = self._lake.read(
            f"SELECT {VERSION_COLUMNS} FROM versions WHERE repository = ? ORDER BY number DESC", [name]
        )
        if not rows:
            raise NameUnknown(f"no repository {name!r} here")
        return [version_of(row) for row in rows]

    def version(self, name: str, number: int) -> VersionRow:
        """One version; raise NameUnknown or VersionUnknown."""
        rows = self._lake.read(
            f"SELECT {VERSION_COLUMNS} FROM versions WHERE repository = ? AND number = ?", [name, number]
        )
        if not rows:
            raise version_unknown(name, number, self.repository(name).version)
        return version_of(rows[0])

    def find_operation(self, name: str, operation_id: str) -> VersionRow | None:
        """Return the version that an operation has made in a repository, or that has its changes now; None for none."""
        number = find_operation(self._lake, name, operation_id)
        return self.version(name, number) if number else None

    def repositories_of(self, operation_id: str) -> frozenset[str]:
        """Return the repositories in which an operation has made a version, or had made one that was deleted since."""
        rows = self._lake.read(
            "SELECT DISTINCT repository FROM records WHERE operation_id = ? AND kind IN ('version', 'squashed', 'deleted')",
            [operation_id],
        )
        return frozenset(str(row[0]) for row in rows)

    def made_by(self, operation: str) -> list[str]:
        """Return the repositories of which an operation, such as `push`, has made a version that is there; one query."""
        rows = self._lake.read("SELECT DISTINCT repository FROM versions WHERE operation = ? ORDER BY 1", [operation])
        return [str(row[0]) for row in rows]

    def facts(self, snapshot: Snapshot, digests: Collection[Digest]) -> dict[Digest, Facts]:
        """Return what conditions of filters look at in manifests of a version, of those that it holds. One query."""
        return read_facts(self._lake, snapshot, digests)

    def makers(self, wanted: Sequence[tuple[str, int]]) -> dict[tuple[str, int], str]:
        """Of versions, by repository and number, the operations that made them and when, as one text; one query."""
        if not wanted:
            return {}
        names, numbers = zip(*wanted, strict=True)
        rows = self._lake.read(
            "SELECT repository, number, operation_id, epoch_us(created_at) FROM versions JOIN "
            "(SELECT unnest(string_split(?, ' ')) AS repository, unnest(string_split(?, ' '))::BIGINT AS number) "
            "USING (repository, number)",
            [listed(names), listed(map(str, numbers))],
        )
        return {(str(name), int(str(number))): f"{operation} {when}" for name, number, operation, when in rows}

    def changes(self, name: str, number: int) -> list[ChangeRow]:
        """Return what one version changed, removals first; raise NameUnknown or VersionUnknown."""
        rows = self._lake.read(
            "SELECT action, kind, tag, digest, size FROM changes WHERE repository = ? AND version = ? "
            "ORDER BY action DESC, kind DESC, tag, digest",
            [name, number],
        )
        if not rows:
            self.version(name, number)
        return [ChangeRow(str(row[0]), str(row[1]), str(row[2]), Digest(row[3]), cast("int", row[4])) for row in rows]

    def children(self, name: str, digests: Iterable[Digest] | None = None) -> dict[Digest, tuple[Digest, ...]]:
        """Parent to children in the manifest's order, of the manifests named or of all in the repository."""
        if digests is None:
            where, parameters = "", [name]
        else:
            where = "AND digest IN (SELECT unnest(string_split(?, ' ')))"
            parameters = [name, listed(digests)]
        rows = self._lake.read(
            f"SELECT digest, list_transform({_CHILDREN}, lambda child: child.digest) FROM records "
            f"WHERE repository = ? AND kind = 'manifest' AND action = 'add' {where}",
            parameters,
        )
        return {Digest(parent): _distinct(children) for parent, children in rows}

    def children_of_many(self, names: Iterable[str]) -> dict[str, dict[Digest, tuple[Digest, ...]]]:
        """Return the same of all manifests, by repository."""
        rows = self._lake.read(
            f"SELECT repository, digest, list_transform({_CHILDREN}, lambda child: child.digest) FROM records "
            "WHERE kind = 'manifest' AND action = 'add' AND repository IN (SELECT unnest(string_split(?, ' ')))",
            [listed(names)],
        )
        found: dict[str, dict[Digest, tuple[Digest, ...]]] = {}
        for name, parent, children in rows:
            found.setdefault(str(name), {})[Digest(parent)] = _distinct(children)
        return found

    def labels(self, name: str, digests: Iterable[Digest]) -> dict[Digest, dict[str, str]]:
        """Manifest to the labels of its config, of the manifests named."""
        rows = self._lake.read(
            "SELECT digest, labels FROM manifests WHERE repository = ? AND digest IN (SELECT unnest(string_split(?, ' ')))",
            [name, listed(digests)],
        )
        return {Digest(digest): dict(cast("dict[str, str]", labels or {})) for digest, labels in rows}

    def first_seen(self, name: str, digests: Iterable[Digest]) -> dict[Digest, datetime]:
        """Manifest to when the first version that has brought it was made, deleted since or not, of the manifests named."""
        rows = self._lake.read(
            "SELECT digest, min(coalesce(records.created_at, made.created_at)) FROM records JOIN versions AS made "
            "ON made.repository = records.repository AND made.number = records.version "
            "WHERE records.repository = ? AND kind = 'manifest' AND action = 'add' "
            "AND digest IN (SELECT unnest(string_split(?, ' '))) GROUP BY digest",
            [name, listed(digests)],
        )
        return {Digest(digest): cast("datetime", seen) for digest, seen in rows}


def operations_made(lake: Readable, wanted: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """Return those of repositories with operation ids for which `find_operation` finds something: one question for all."""
    rows = lake.read(
        "SELECT DISTINCT repository, operation_id FROM records WHERE kind IN ('version', 'squashed', 'deleted') "
        "AND repository IN (SELECT unnest(string_split(?, ' '))) "
        "AND operation_id IN (SELECT unnest(string_split(?, chr(10))))",
        [listed(name for name, _ in wanted), "\n".join({operation for _, operation in wanted})],
    )
    return frozenset((str(name), str(operation)) for name, operation in rows).intersection(wanted)


def find_operation(lake: Readable, name: str, operation_id: str) -> int | None:
    """The number of the version that an operation has made in a repository, or that its changes were merged into when that
    version was deleted; 0 when the whole repository was."""
    rows = lake.read(
        "SELECT kind, version FROM records WHERE repository = ? AND operation_id = ? "
        "AND kind IN ('version', 'squashed', 'deleted') ORDER BY version DESC LIMIT 1",
        [name, operation_id],
    )
    if not rows:
        return None
    kind, number = str(rows[0][0]), int(str(rows[0][1]))
    if kind == "version":
        return number
    later = lake.read("SELECT min(number) FROM versions WHERE repository = ? AND number > ?", [name, number])
    return int(str(later[0][0] or 0))


def _distinct(children: object) -> tuple[Digest, ...]:
    return tuple(dict.fromkeys(map(Digest, cast("list[str]", children))))


def _repository(row: tuple[object, ...]) -> RepositoryRow:
    return RepositoryRow(*row)  # type: ignore[arg-type]  # the columns are chosen for it


def version_of(row: tuple[object, ...]) -> VersionRow:
    """Return the version of a row of VERSION_COLUMNS."""
    *columns, origins = row
    return VersionRow(*columns, parse_origins(origins))  # type: ignore[arg-type,call-arg]  # the columns are chosen for it
