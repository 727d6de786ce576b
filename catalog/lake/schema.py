"""The tables of the catalogue and the migrations that make them; forward only, applied under the write lock.

All that a commit writes are rows of one table, `records`: one row for the version, and one for each tag, manifest and blob
that it adds or removes. Each table more would cost a commit some five milliseconds (docs/adr/0001-catalogue.md). The tables
that people ask are views of it: `versions`, `changes`, `manifests`, `descriptors`, `members`, `tags`, `repositories`.

Rows of `changes` are the truth about membership: what a version holds is the sum of the changes up to it, `add` counting
one and `remove` minus one for each (kind, tag, digest). A version that was deleted leaves its own row, as `squashed`, or as
`deleted` when its whole repository went: its number is never used again, and its operation is known to have been done.
"""

from collections.abc import Callable

import duckdb

from catalog.lake.nested_values import NESTED, as_nested, json_column
from catalog.lake.wide_patterns import respell_cache_rules

_MANIFEST_COLUMNS = (
    "media_type", "artifact_type", "size", "subject", "os", "architecture", "variant", "created", "labels",
    "annotations", "children",
)  # fmt: skip
_NESTED = {column: as_nested("records", column) for column in NESTED["records"]}


def version_origins_sql(records: str) -> str:
    """Return the SQL of the places that versions came from, one row each, over the rows of `records`."""
    return f"""SELECT repository, number, position, origin.kind AS kind, origin.name AS name,
        origin.version AS version
    FROM (SELECT repository, version AS number, unnest(range(len(places))) AS position, unnest(places) AS origin
        FROM (SELECT repository, version,
                from_json(origins, '[{{"kind": "VARCHAR", "name": "VARCHAR", "version": "BIGINT"}}]') AS places
            FROM {records} WHERE kind = 'version' AND origins IS NOT NULL))"""


SOURCES_OF_REPOSITORIES = (
    """CREATE OR REPLACE TEMP TABLE former_members AS
        SELECT repository, digest, min(version) AS version FROM records
        WHERE kind = 'blob' AND action = 'add' GROUP BY repository, digest""",
    # Rows were written with the time of the commit that left the blob upstream.
    """CREATE OR REPLACE TEMP TABLE former_own AS
        SELECT DISTINCT made.repository, made.version, sources.digest, sources.size, sources.remote, sources.policy,
            sources.created_at
        FROM sources JOIN records made ON made.kind IN ('version', 'squashed') AND made.created_at = sources.created_at
        JOIN former_members ON former_members.repository = made.repository AND former_members.digest = sources.digest""",
    # What was held by anybody at that time was taken over without a row: it came from the same upstream.
    """CREATE OR REPLACE TEMP TABLE former_caches AS
        SELECT repository, split_part(arg_max(message, version), ' ', 1) AS remote, max(created_at) AS created_at,
            'on_demand' AS policy
        FROM records WHERE kind = 'version' AND operation = 'pull-through' GROUP BY repository
        UNION ALL
        SELECT repository, arg_max(remote, version), max(created_at), arg_max(policy, version) FROM former_own
        WHERE repository NOT IN (
            SELECT repository FROM records WHERE kind = 'version' AND operation IN ('pull-through', 'push'))
        GROUP BY repository""",
    """CREATE OR REPLACE TEMP TABLE former_beside AS
        SELECT repository, former_members.version, digest, sizes.size, remote, policy, former_caches.created_at
        FROM former_members JOIN former_caches USING (repository)
        JOIN (SELECT repository, digest, max(size) AS size FROM records WHERE kind = 'blob' AND action = 'add'
            GROUP BY repository, digest) sizes USING (repository, digest)
        WHERE remote <> '' AND (repository, digest) NOT IN (SELECT (repository, digest) FROM former_own)""",
    # What was chosen from other repositories can be fetched from where these had it.
    """CREATE OR REPLACE TEMP TABLE former_chosen AS
        SELECT DISTINCT former_members.repository, former_members.version, sources.digest, sources.size,
            sources.remote, sources.policy, sources.created_at
        FROM sources JOIN former_members USING (digest)
        JOIN records made ON made.repository = former_members.repository AND made.version = former_members.version
            AND made.kind = 'version' AND made.operation IN ('curate', 'promote', 'restore')
        WHERE (former_members.repository, sources.digest) NOT IN (SELECT (repository, digest) FROM former_own)
            AND (former_members.repository, sources.digest) NOT IN (SELECT (repository, digest) FROM former_beside)""",
    "DELETE FROM sources",
    """INSERT INTO sources BY NAME
        SELECT * FROM former_own UNION ALL BY NAME SELECT * FROM former_beside
        UNION ALL BY NAME SELECT * FROM former_chosen""",
    *(f"DROP TABLE former_{name}" for name in ("members", "own", "caches", "beside", "chosen")),
)
"""Gives each row of `sources` to the repositories that left the blob there, as far as the records tell.

A blob that any repository held was once taken over by others without asking their upstream; from here on a repository has to
prove that its own source has it, so that the rows also name what came so."""

Migration = str | Callable[[duckdb.DuckDBPyConnection], None]
"""A statement, or what has to be computed row by row within the same transaction."""

_REMOTES_OF_MESSAGES = """CASE operation
    WHEN 'sync' THEN list_slice(string_split(regexp_extract(message, '^[a-z]+ sync of (.*)$', 1), ', '), 1,
        CASE WHEN length(message) < 1000 THEN -1 ELSE -2 END)
    WHEN 'pull-through' THEN [split_part(message, ' ', 1)] END"""
"""The upstreams that former releases named in the messages of their syncs and caches: `MODE sync of REMOTE, REMOTE`, cut after
1000 characters, and `REMOTE DIGEST`."""

_ORIGINS_OF_MESSAGES = f"""UPDATE records SET origins = nullif(to_json(list_transform(
    list_filter({_REMOTES_OF_MESSAGES}, lambda text: regexp_full_match(text, '([a-z]+://)?[^ /@]+(/[^ /@:]+)+(:[^ /@]+)?(@.+)?')),
    lambda text: {{'kind': 'remote', 'name': regexp_replace(text, '(:[^:/@]+)?(@.*)?$', ''), 'version': NULL}}))::VARCHAR, '[]')
WHERE kind IN ('version', 'squashed') AND operation IN ('sync', 'pull-through')"""
"""Reads those messages for the last time."""

MIGRATIONS: tuple[tuple[Migration, ...], ...] = (
    (
        """CREATE TABLE records (
            repository VARCHAR NOT NULL, version BIGINT NOT NULL, action VARCHAR NOT NULL, kind VARCHAR NOT NULL,
            tag VARCHAR, digest VARCHAR, size BIGINT, media_type VARCHAR, artifact_type VARCHAR, subject VARCHAR,
            manifest_kind VARCHAR, os VARCHAR, architecture VARCHAR, variant VARCHAR, created VARCHAR,
            labels MAP(VARCHAR, VARCHAR), annotations MAP(VARCHAR, VARCHAR),
            children STRUCT(role VARCHAR, digest VARCHAR, media_type VARCHAR, size BIGINT, platform VARCHAR)[],
            operation VARCHAR, operation_id VARCHAR, actor VARCHAR, flow_run_id VARCHAR, message VARCHAR,
            created_at TIMESTAMPTZ, tags BIGINT, manifests BIGINT, blobs BIGINT, size_bytes BIGINT,
            added BIGINT, removed BIGINT)""",
        "ALTER TABLE records SET PARTITIONED BY (bucket(64, repository))",
        "ALTER TABLE records SET SORTED BY (repository)",
        """CREATE VIEW versions AS
            SELECT repository, version AS number, version - 1 AS base, operation, operation_id, actor, flow_run_id,
                message, created_at, tags, manifests, blobs, size_bytes, added, removed
            FROM records WHERE kind = 'version'""",
        """CREATE VIEW repositories AS
            SELECT repository AS name, created_at FROM records WHERE kind = 'version' AND version = 1""",
        """CREATE VIEW changes AS
            SELECT repository, version, action, kind, tag, digest, size, media_type, artifact_type, subject
            FROM records WHERE kind <> 'version'""",
        f"""CREATE VIEW manifests AS
            SELECT repository, digest, any_value(manifest_kind) AS kind,
                {", ".join(f"any_value({column}) AS {column}" for column in _MANIFEST_COLUMNS)}
            FROM records WHERE kind = 'manifest' AND action = 'add' GROUP BY repository, digest""",
        """CREATE VIEW members AS
            SELECT repository, kind, tag, digest, any_value(size) AS size, any_value(media_type) AS media_type,
                any_value(artifact_type) AS artifact_type, any_value(subject) AS subject, max(version) AS since
            FROM changes GROUP BY repository, kind, tag, digest
            HAVING sum(CASE action WHEN 'add' THEN 1 ELSE -1 END) > 0""",
        """CREATE VIEW descriptors AS
            SELECT repository, parent, position, child.role AS role, child.digest AS digest,
                child.media_type AS media_type, child.size AS size, child.platform AS platform
            FROM (
                SELECT repository, digest AS parent, unnest(range(len(children))) AS position,
                    unnest(children) AS child
                FROM manifests)""",
        """CREATE VIEW tags AS
            SELECT repository, tag, digest, media_type, since AS version FROM members WHERE kind = 'tag'""",
    ),
    (
        """CREATE TABLE distributions (
            path VARCHAR NOT NULL, repository VARCHAR NOT NULL, version BIGINT, private BOOLEAN NOT NULL,
            description VARCHAR NOT NULL, created_at TIMESTAMPTZ NOT NULL, updated_at TIMESTAMPTZ NOT NULL)""",
        """INSERT INTO distributions
            SELECT name, name, NULL, false, '', created_at, created_at FROM repositories""",
    ),
    (
        """CREATE TABLE sources (
            digest VARCHAR NOT NULL, size BIGINT NOT NULL, remote VARCHAR NOT NULL, policy VARCHAR NOT NULL,
            created_at TIMESTAMPTZ NOT NULL)""",
        "ALTER TABLE sources SET SORTED BY (digest)",
        "ALTER TABLE distributions ADD COLUMN remote VARCHAR",
        "ALTER TABLE distributions ADD COLUMN fresh_seconds BIGINT",
        "ALTER TABLE distributions ADD COLUMN replica_of VARCHAR",
    ),
    (
        "ALTER TABLE distributions ADD COLUMN labels MAP(VARCHAR, VARCHAR)",
        "ALTER TABLE distributions ADD COLUMN immutable_tags VARCHAR[]",
        """CREATE TABLE acts (
            happened_at TIMESTAMPTZ NOT NULL, actor VARCHAR NOT NULL, action VARCHAR NOT NULL, name VARCHAR NOT NULL,
            outcome VARCHAR NOT NULL, reason VARCHAR NOT NULL, address VARCHAR NOT NULL, detail VARCHAR NOT NULL)""",
        """CREATE VIEW events AS
            SELECT happened_at, actor, action, name, outcome, reason, address, detail FROM acts
            UNION ALL
            SELECT created_at, actor, operation, repository, 'done', message, '',
                json_object('version', version, 'flow_run_id', flow_run_id, 'added', added,
                    'removed', removed)::VARCHAR
            FROM records WHERE kind = 'version'""",
    ),
    (
        """CREATE TABLE pulls (
            repository VARCHAR NOT NULL, tag VARCHAR NOT NULL, digest VARCHAR NOT NULL, day DATE NOT NULL,
            pulls BIGINT NOT NULL, last_pulled_at TIMESTAMPTZ NOT NULL)""",
        "ALTER TABLE pulls SET SORTED BY (repository)",
        """CREATE VIEW pull_counts AS
            SELECT repository, tag, digest, sum(pulls)::BIGINT AS pulls, max(last_pulled_at) AS last_pulled_at
            FROM pulls GROUP BY repository, tag, digest""",
    ),
    (
        "ALTER TABLE distributions ADD COLUMN include_names VARCHAR[]",
        "ALTER TABLE distributions ADD COLUMN exclude_names VARCHAR[]",
        "ALTER TABLE distributions ADD COLUMN bring VARCHAR",
        "ALTER TABLE distributions ADD COLUMN max_size BIGINT",
        "ALTER TABLE distributions ADD COLUMN keep_unused_days DOUBLE",
    ),
    (
        "ALTER TABLE records ADD COLUMN base BIGINT",
        """CREATE OR REPLACE VIEW versions AS
            SELECT repository, version AS number, coalesce(base, version - 1) AS base, operation, operation_id, actor,
                flow_run_id, message, created_at, tags, manifests, blobs, size_bytes, added, removed
            FROM records WHERE kind = 'version'""",
        """CREATE OR REPLACE VIEW repositories AS
            SELECT repository AS name, min(created_at) AS created_at FROM records
            WHERE kind IN ('version', 'squashed') GROUP BY repository HAVING bool_or(kind = 'version')""",
        """CREATE OR REPLACE VIEW changes AS
            SELECT repository, version, action, kind, tag, digest, size, media_type, artifact_type, subject
            FROM records WHERE kind IN ('tag', 'manifest', 'blob')""",
        """CREATE OR REPLACE VIEW events AS
            SELECT happened_at, actor, action, name, outcome, reason, address, detail FROM acts
            UNION ALL
            SELECT created_at, actor, operation, repository, 'done', message, '',
                json_object('version', version, 'flow_run_id', flow_run_id, 'added', added,
                    'removed', removed)::VARCHAR
            FROM records WHERE kind IN ('version', 'squashed', 'deleted')""",
        """CREATE TABLE pins (
            repository VARCHAR NOT NULL, version BIGINT NOT NULL, note VARCHAR NOT NULL, actor VARCHAR NOT NULL,
            created_at TIMESTAMPTZ NOT NULL)""",
    ),
    ("ALTER TABLE distributions ADD COLUMN replica_mark VARCHAR",),
    (
        """CREATE TABLE remotes (
            key VARCHAR NOT NULL, created_at TIMESTAMPTZ NOT NULL, updated_at TIMESTAMPTZ NOT NULL,
            description VARCHAR NOT NULL, policy VARCHAR NOT NULL, proxy VARCHAR NOT NULL, ca_file VARCHAR NOT NULL,
            client_cert VARCHAR NOT NULL, client_key VARCHAR NOT NULL, headers MAP(VARCHAR, VARCHAR) NOT NULL,
            concurrency BIGINT NOT NULL, mirrors VARCHAR[] NOT NULL, rate VARCHAR NOT NULL, bandwidth BIGINT NOT NULL,
            lookaside VARCHAR NOT NULL)""",
    ),
    (
        """CREATE TABLE quotas (
            pattern VARCHAR NOT NULL, max_bytes BIGINT, max_tags BIGINT, warn_bytes BIGINT, warn_tags BIGINT)""",
    ),
    ("CREATE TABLE retention_rules (name VARCHAR NOT NULL, rule VARCHAR NOT NULL)",),
    (
        "ALTER TABLE distributions ADD COLUMN history_from BIGINT",
        "ALTER TABLE distributions ADD COLUMN shares_login BOOLEAN",
        # Whether a path was private before it was last set is not known; since then it serves what it serves.
        """UPDATE distributions SET history_from = coalesce(version, (
            SELECT max(records.version) FROM records WHERE records.kind IN ('version', 'squashed')
                AND records.repository = distributions.repository
                AND records.created_at <= distributions.updated_at), 1)""",
    ),
    (
        *(
            f"ALTER TABLE {table} ADD COLUMN {json_column(column)} VARCHAR"
            for table, columns in NESTED.items()
            for column in columns
        ),
        f"""CREATE OR REPLACE VIEW manifests AS
            SELECT repository, digest, any_value(manifest_kind) AS kind,
                {", ".join(f"any_value({_NESTED.get(column, column)}) AS {column}" for column in _MANIFEST_COLUMNS)}
            FROM records WHERE kind = 'manifest' AND action = 'add' GROUP BY repository, digest""",
        """UPDATE distributions SET labels_json = coalesce(to_json(labels)::VARCHAR, '{}'), labels = NULL""",
        "UPDATE remotes SET headers_json = to_json(headers)::VARCHAR, headers = MAP {}",
    ),
    (
        "ALTER TABLE sources ADD COLUMN repository VARCHAR",
        "ALTER TABLE sources ADD COLUMN version BIGINT",
        "ALTER TABLE sources RESET SORTED BY",
        "ALTER TABLE sources SET PARTITIONED BY (bucket(64, repository))",
        *SOURCES_OF_REPOSITORIES,
    ),
    (respell_cache_rules,),
    (
        "ALTER TABLE records ADD COLUMN origins VARCHAR",
        _ORIGINS_OF_MESSAGES,
        """CREATE OR REPLACE VIEW versions AS
            SELECT repository, version AS number, coalesce(base, version - 1) AS base, operation, operation_id, actor,
                flow_run_id, message, created_at, tags, manifests, blobs, size_bytes, added, removed, origins
            FROM records WHERE kind = 'version'""",
        f"CREATE VIEW version_origins AS {version_origins_sql('records')}",
    ),
    (
        """CREATE TABLE hold_rules (
            pattern VARCHAR NOT NULL, seconds DOUBLE NOT NULL, trust_created BOOLEAN NOT NULL, actor VARCHAR NOT NULL,
            set_at TIMESTAMPTZ NOT NULL)""",
        """CREATE TABLE hold_decisions (
            digest VARCHAR NOT NULL, action VARCHAR NOT NULL, pattern VARCHAR NOT NULL, reason VARCHAR NOT NULL,
            actor VARCHAR NOT NULL, decided_at TIMESTAMPTZ NOT NULL, owner VARCHAR NOT NULL, expires_at TIMESTAMPTZ)""",
        """CREATE TABLE lifecycle_rules (
            pattern VARCHAR NOT NULL, tag VARCHAR NOT NULL, end_of_life TIMESTAMPTZ, deprecated BOOLEAN NOT NULL,
            successor VARCHAR NOT NULL, message VARCHAR NOT NULL, warn_seconds DOUBLE NOT NULL, published BOOLEAN NOT NULL,
            refuse BOOLEAN NOT NULL, actor VARCHAR NOT NULL, set_at TIMESTAMPTZ NOT NULL)""",
    ),
    (
        """CREATE TABLE watched_remotes (
            remote VARCHAR NOT NULL, covered VARCHAR NOT NULL, first_watched TIMESTAMPTZ NOT NULL,
            watched_at TIMESTAMPTZ NOT NULL)""",
        """CREATE TABLE watched_tags (
            remote VARCHAR NOT NULL, tag VARCHAR NOT NULL, digest VARCHAR, first_seen TIMESTAMPTZ NOT NULL,
            last_seen TIMESTAMPTZ, vanished_at TIMESTAMPTZ, moved_from VARCHAR, moved_at TIMESTAMPTZ,
            moves BIGINT NOT NULL, signatures VARCHAR, signers VARCHAR)""",
        """CREATE TABLE watched_changes (
            remote VARCHAR NOT NULL, tag VARCHAR NOT NULL, kind VARCHAR NOT NULL, severity VARCHAR NOT NULL,
            digest VARCHAR, previous VARCHAR, happened_at TIMESTAMPTZ NOT NULL)""",
    ),
)
"""Each entry takes the schema from its index to the next number; entries never change once released."""

SCHEMA_VERSION = len(MIGRATIONS)

BREAKING: frozenset[int] = frozenset()
"""Numbers of schemas that releases before may not write to: those whose entries do more than add tables, views and columns that
may be left out. Before an entry of these is applied, replicas of releases before are kept from writing."""


def _since(words: str) -> int:
    """Return the version of the schema whose statements first hold these words."""
    return next(
        number
        for number, entry in enumerate(MIGRATIONS, 1)
        if any(isinstance(one, str) and words in one for one in entry)
    )


TEXTS_SINCE = _since("children_json")
"""The version of the schema from which on nested values are JSON text; before it, those that were inlined are healed."""

PULLS_SINCE = _since("CREATE TABLE pulls")
"""The version of the schema from which on pulls are counted."""

ORIGINS_SINCE = _since("version_origins")
"""The version of the schema from which on the origins of a version are a column."""
