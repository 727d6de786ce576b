"""The documented views that questions in SQL are asked of, as text: of now, of a moment, or of one version of one repository.

They are made on the connection that answers a question, not kept in the lake, so that they need no migration and can be cut
off at a moment (docs/adr/0013-questions-in-sql.md). What a version holds is its additions without those that a later version took
away again: a join with the few removals, which streams, instead of a sum over all rows. No view looks at more kinds of rows
than it tells of.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from catalog.filters.companions import SIGNATURE_TYPES
from catalog.lake.nested_values import MAX_NUMBER, as_nested, with_nested
from catalog.lake.schema import version_origins_sql
from catalog.query.package_ranges import CREATE_FOUND
from catalog.query.package_views import LATEST, package_views, range_macros
from catalog.query.projection import DERIVED, ProjectedRows, content_key, contents_of
from catalog.query.view_columns import COLUMNS

_LAKE = with_nested("records", "lake.main.records")
SCHEMA = "memory.questions"
"""Where the views are; what they do not name is found in the lake."""

_REMOVED = """(SELECT repository, {keys}, max(version) AS gone FROM {records}
    WHERE kind = '{kind}' AND action = 'remove' GROUP BY repository, {keys})"""


def _held(kind: str, keys: str, columns: str, *, made: str = "", where: str = "") -> str:
    """Rows of one kind that are there: added, and not removed since. `made` are columns made of others before the join, through
    which lists would pass slowly."""
    removed = _REMOVED.replace("{kind}", kind).replace("{keys}", keys)
    return f"""SELECT {columns} FROM (
        SELECT {made or "*"} FROM {{records}} WHERE kind = '{kind}' AND action = 'add'{where and f" AND {where}"})
    LEFT JOIN {removed} USING (repository, {keys}) WHERE gone IS NULL OR gone < version"""


_PART_KEYS = f"{DERIVED['part_keys']} AS part_keys"
_DETAILS = (
    "repository, digest, manifest_kind AS kind, media_type, artifact_type, size, subject, os, architecture, variant, created, "
    f"labels, annotations, children, version, {_PART_KEYS}"
)
_IMAGE = "repository, digest, manifest_kind, media_type, os, architecture, variant, try_cast(created AS TIMESTAMPTZ) AS created, "
_DERIVED = {"image_layers": "layers", "image_bytes": "size_bytes", "base_layer": "base_layer", "base_name": "base_name"}
_WORKED_OUT = ", ".join(f"{DERIVED[column]} AS {name}" for column, name in _DERIVED.items())
_KEPT = ", ".join(f"{column} AS {name}" for column, name in _DERIVED.items())
_PARTS = """repository, digest AS parent, version, generate_subscripts(children, 1) AS place, unnest(children) AS child,
            list_position(list_transform(children, lambda child: child.role), 'layer') AS first"""
_SIGNS = " OR ".join(f"artifact_type GLOB '{one}'" for one in SIGNATURE_TYPES)


def _parts(before: str, after: str, where: str, parent: str = "parent") -> str:
    """The parts of manifests that are there, as rows."""
    return f"""SELECT repository, parent AS {parent}, {before}child.digest AS digest, child.media_type AS media_type,
        child.size AS size{after}
    FROM (SELECT {_PARTS} FROM {{records}} WHERE kind = 'manifest' AND action = 'add')
    LEFT JOIN (SELECT repository, digest AS parent, max(version) AS gone FROM {{records}}
        WHERE kind = 'manifest' AND action = 'remove' GROUP BY repository, digest) USING (repository, parent)
    WHERE {where} AND (gone IS NULL OR gone < version)"""


_OF_VERSIONS: Mapping[str, str] = {
    "repositories": """SELECT repository AS name, max(version) AS version, arg_max(tags, version) AS tags,
        arg_max(manifests, version) AS manifests, arg_max(blobs, version) AS blobs,
        arg_max(size_bytes, version) AS size_bytes, arg_min(created_at, version) AS created_at,
        arg_max(created_at, version) AS updated_at
    FROM {records} WHERE kind = 'version' GROUP BY repository""",
    "versions": """SELECT repository, version AS number, coalesce(base, version - 1) AS base, operation, operation_id, actor,
        flow_run_id, message, created_at, tags, manifests, blobs, size_bytes, added, removed
    FROM {records} WHERE kind = 'version'""",
    "version_origins": version_origins_sql("{records}"),
    "changes": """SELECT repository, version, action, kind, tag, digest, size, media_type, artifact_type, subject
    FROM {records} WHERE kind IN ('tag', 'manifest', 'blob')""",
    "tags": _held("tag", "tag, digest", "repository, tag, digest, media_type, version"),
    "manifests": _held("manifest", "digest", _DETAILS),
    "members": """SELECT repository, kind, tag, digest, size, media_type, artifact_type, subject, version AS since
    FROM {records} LEFT JOIN (SELECT repository, kind, tag, digest, max(version) AS gone FROM {records}
        WHERE action = 'remove' GROUP BY repository, kind, tag, digest) USING (repository, kind, tag, digest)
    WHERE kind IN ('tag', 'manifest', 'blob') AND action = 'add' AND (gone IS NULL OR gone < version)""",
    "images": _held(
        "manifest",
        "digest",
        "repository, digest, manifest_kind AS kind, media_type, os, architecture, variant, created, layers, size_bytes, "
        "base_layer, base_name, labels, annotations, version",
        made=f"{_IMAGE}{_WORKED_OUT}, labels, annotations, version",
        where="manifest_kind IN ('image', 'flatpak', 'bootable')",
    ),
    "descriptors": _parts("place - 1 AS position, child.role AS role, ", ", child.platform AS platform", "true"),
    "layers": _parts("place - first AS position, ", "", "child.role = 'layer'", "manifest"),
    "referrers": f"""SELECT repository, subject, digest, kind, artifact_type,
        kind = 'cosign-signature' OR {_SIGNS} AS is_signature, 'subject' AS via, version
    FROM ({{manifests}}) WHERE subject <> ''
    UNION ALL
    SELECT repository, regexp_replace(tag, '^(sha256)-([0-9a-f]{{64}})[.](sig|att|sbom)$', '\\1:\\2'), digest,
        CASE regexp_extract(tag, '[a-z]+$') WHEN 'sig' THEN 'cosign-signature' WHEN 'att' THEN 'attestation'
            ELSE 'sbom' END, '', tag LIKE '%.sig', 'tag', version
    FROM ({{tags}}) WHERE tag LIKE 'sha256-%' AND regexp_matches(tag, '^sha256-[0-9a-f]{{64}}[.](sig|att|sbom)$')""",
    "contents": "SELECT repository, kind, content_key, size FROM {contents} WHERE is_held",
    "usage": """WITH own AS (
        SELECT repository, sum(size) AS own FROM (SELECT any_value(repository) AS repository, sum(size) AS size
            FROM {contents} WHERE is_first GROUP BY content_key HAVING min(hash(repository)) = max(hash(repository)))
        GROUP BY repository
    )
    SELECT repository, least(bytes, {most})::BIGINT AS bytes, least(bytes - coalesce(own, 0), {most})::BIGINT AS shared,
        least(coalesce(own, 0), {most})::BIGINT AS own
    FROM (SELECT repository, sum(size) AS bytes FROM {contents} WHERE is_first GROUP BY repository)
        LEFT JOIN own USING (repository)""",
}
"""What follows from versions, by name; each can be cut off at one."""

_MIXED = frozenset({"changes", "members"})
"""Views of blobs' rows and others'."""
_MIXED_COLUMNS = "repository, version, action, kind, tag, digest, size, media_type, artifact_type, subject"

_HOLDINGS = "SELECT digest, size, ingested_at FROM holdings.{schema}.blobs WHERE digest > ''"
"""The condition makes even a count read a column: DuckDB would count by ROWID, and the table has none."""
_NO_HOLDINGS = "SELECT ''::VARCHAR AS digest, 0::BIGINT AS size, 0::DOUBLE AS ingested_at WHERE false"
_BLOBS = """SELECT digest, size, true AS held, to_timestamp(ingested_at) AS ingested_at FROM ({holdings})
    UNION ALL
    SELECT digest, max(size), false, NULL::TIMESTAMPTZ FROM lake.main.sources
    ANTI JOIN ({holdings}) there USING (digest) GROUP BY digest"""
_EVENTS = "SELECT happened_at, actor, action, name, outcome, reason, address, detail FROM lake.main.events"
_DISTRIBUTIONS = f"""SELECT path, repository, version, private, description,
    {as_nested("distributions", "labels")} AS labels, remote, created_at, updated_at
    FROM lake.main.distributions"""
_SOURCES = "SELECT repository, digest, size, remote, policy, created_at FROM lake.main.sources"
_SERVED_TAGS = f"""SELECT path, repository, tag, digest, media_type, version
    FROM (SELECT path, repository, coalesce(version, {MAX_NUMBER}) AS upto FROM lake.main.distributions
        WHERE coalesce(remote, '') = '')
    JOIN (SELECT repository, tag, digest, media_type, version FROM {{records}} WHERE kind = 'tag' AND action = 'add') added
        USING (repository)
    WHERE added.version <= upto AND NOT EXISTS (SELECT 1 FROM {{records}} removed WHERE removed.kind = 'tag'
        AND removed.action = 'remove' AND removed.repository = added.repository AND removed.tag = added.tag
        AND removed.digest = added.digest AND removed.version > added.version AND removed.version <= upto)"""
_PULLS = """SELECT repository, tag, digest, sum(pulls)::BIGINT AS pulls, max(last_pulled_at) AS last_pulled_at
    FROM lake.main.pulls GROUP BY repository, tag, digest"""

_OF_LAKE: Mapping[str, str] = {
    "hold_rules": "SELECT pattern, to_seconds(seconds) AS duration, trust_created, actor, set_at FROM lake.main.hold_rules",
    "hold_decisions": """SELECT digest, action, pattern, reason, owner, actor, decided_at, expires_at
    FROM lake.main.hold_decisions""",
    "lifecycle": """SELECT pattern, tag, end_of_life, deprecated, successor, message, published, refuse, actor, set_at
    FROM lake.main.lifecycle_rules""",
}

_OF_WATCHES: Mapping[str, str] = {
    "watched_tags": """SELECT remote, tag, digest, first_seen, coalesce(last_seen, watched_at) AS last_seen, vanished_at,
    moved_from, moved_at, moves, signers
    FROM lake.main.watched_tags JOIN lake.main.watched_remotes USING (remote) WHERE digest IS NOT NULL""",
    "watched_changes": """SELECT remote, tag, kind, severity, digest, previous, happened_at
    FROM lake.main.watched_changes""",
}


@dataclass(frozen=True, slots=True)
class AsOf:
    """What a question sees: all there is, all there was at a `moment`, or one `version` of one `repository`."""

    moment: datetime | None = None
    repository: str = ""
    version: int = 0

    @property
    def records(self) -> str:
        """The rows of table `records` that count, as SQL."""
        if self.repository:
            return _rows_of(_text(self.repository), str(self.version))
        if self.moment is not None:
            return _rows_at(self.clock)
        return _LAKE

    @property
    def latest(self) -> str:
        """The version of each repository that counts, as SQL of `repository` and `upto`."""
        if self.repository:
            return f"(SELECT {_text(self.repository)} AS repository, {self.version}::BIGINT AS upto)"
        if self.moment is not None:
            return f"""(SELECT repository, max(version) AS upto FROM lake.main.records
                WHERE kind = 'version' AND created_at <= {self.clock} GROUP BY repository)"""
        return LATEST

    @property
    def clock(self) -> str:
        """The moment as SQL: `now()` unless there is one."""
        if self.moment is None:
            return "now()"
        return f"TIMESTAMPTZ {_text(self.moment.astimezone(UTC).isoformat())}"


NOW = AsOf()


def _rows_of(repository: str, version: str) -> str:
    return f"(SELECT * FROM {_LAKE} WHERE repository = {repository} AND version <= {version})"


def _rows_at(moment: str) -> str:
    """A version made later stays out, and with it what came after it in the same repository."""
    return f"""(SELECT everything.* FROM {_LAKE} everything
        JOIN (SELECT repository, max(version) AS latest FROM {_LAKE}
            WHERE kind = 'version' AND created_at <= {moment} GROUP BY repository) as_of USING (repository)
        WHERE everything.version <= as_of.latest)"""


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _filled(name: str, records: str, projection: ProjectedRows | None = None) -> str:
    """A view's SQL over the rows that count; those of a projection, but for blobs, where there is one."""
    text, contents = _OF_VERSIONS[name], f"({contents_of(records)})"
    if projection:
        records = projection.records if name not in _MIXED else _mixed(projection.records, records)
        contents = projection.contents
    for inner in ("manifests", "tags"):
        text = text.replace(f"({{{inner}}})", f"({_OF_VERSIONS[inner]})")
    if projection:
        text = text.replace(_WORKED_OUT, _KEPT).replace(_PART_KEYS, "part_keys")
    return text.replace("{contents}", contents).replace("{records}", records).replace("{most}", str(MAX_NUMBER))


def _mixed(projection: str, records: str) -> str:
    """Rows of the projection, and the blobs' of the lake. A question of one kind reads the half that has it."""
    return f"""(SELECT {_MIXED_COLUMNS} FROM {projection} WHERE kind IN ('tag', 'manifest')
        UNION ALL SELECT {_MIXED_COLUMNS} FROM {records} WHERE kind = 'blob')"""


def view_statements(
    as_of: AsOf = NOW,
    *,
    blob_schema: str | None,
    has_index: bool = False,
    names: frozenset[str] | None = None,
    projection: ProjectedRows | None = None,
) -> Iterator[str]:
    """The statements that make the views and macros, where the lake is attached as `lake`, and as `holdings` the record of blobs,
    whose table is in `blob_schema`; None where it is not there. `has_index`: the search index is attached as `search`.

    `names` are those that a question uses, in lower case: making the others would take longer than most answers. `projection` is
    the SQL of a projection's rows as of now, if any.
    """
    yield f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"
    events = _EVENTS
    if as_of.repository:
        events += f" WHERE name = {_text(as_of.repository)}"
    elif as_of.moment is not None:
        events += f" WHERE happened_at <= {as_of.clock}"
    views = {name: _filled(name, as_of.records, projection if as_of == NOW else None) for name in _OF_VERSIONS} | {
        "events": events,
        "blobs": _BLOBS.replace(
            "{holdings}", _HOLDINGS.replace("{schema}", blob_schema) if blob_schema else _NO_HOLDINGS
        ),
        "distributions": _DISTRIBUTIONS,
        "sources": _SOURCES,
        "pulls": _PULLS,
        **_OF_LAKE,
        **_OF_WATCHES,
        "served_tags": _SERVED_TAGS.replace("{records}", projection.records if projection else "lake.main.records"),
        **package_views(as_of.latest, has_index=has_index),
    }
    for name in COLUMNS:
        if names is None or name in names:
            yield f"CREATE OR REPLACE VIEW {SCHEMA}.{name} AS {views[name]}"
    yield f"CREATE OR REPLACE MACRO {SCHEMA}.moment() AS {as_of.clock}"
    yield f"CREATE OR REPLACE MACRO {SCHEMA}.content_key(of_digest) AS {content_key('of_digest')}"
    for name, sql in range_macros(as_of.latest, has_index=has_index).items():
        if names is None or name in names:
            yield from CREATE_FOUND
            yield f"CREATE OR REPLACE MACRO {SCHEMA}.{name}(at_name, at_range) AS TABLE {sql}"
    for name in _OF_VERSIONS:
        at, of = f"{name}_at", f"{name}_of"
        if names is None or at in names:
            yield f"CREATE OR REPLACE MACRO {SCHEMA}.{at}(at_time) AS TABLE {_filled(name, _rows_at('at_time'))}"
        if names is None or of in names:
            rows = _rows_of("of_repository", "of_version")
            yield f"CREATE OR REPLACE MACRO {SCHEMA}.{of}(of_repository, of_version) AS TABLE {_filled(name, rows)}"


MACROS = frozenset(f"{name}_{end}" for name in _OF_VERSIONS for end in ("at", "of"))
"""Views of a moment, `tags_at(TIMESTAMPTZ)`, and of a version, `tags_of('team/app', 12)`."""
