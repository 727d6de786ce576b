"""The tables of the catalogue and the migrations that make them; forward only, applied under the write lock.

Rows of `changes` are the truth about membership: what a version holds is the sum of the changes up to it, `add` counting
one and `remove` minus one for each (kind, tag, digest). All tables of content are laid out by repository, because "all of
one repository" is the question asked most (docs/adr/0001-catalogue.md).
"""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE repositories (name VARCHAR NOT NULL, created_at TIMESTAMPTZ NOT NULL)",
        """CREATE TABLE versions (
            repository VARCHAR NOT NULL, number BIGINT NOT NULL, base BIGINT NOT NULL,
            operation VARCHAR NOT NULL, operation_id VARCHAR NOT NULL, actor VARCHAR NOT NULL,
            flow_run_id VARCHAR NOT NULL, message VARCHAR NOT NULL, created_at TIMESTAMPTZ NOT NULL,
            tags BIGINT NOT NULL, manifests BIGINT NOT NULL, blobs BIGINT NOT NULL, size_bytes BIGINT NOT NULL,
            added BIGINT NOT NULL, removed BIGINT NOT NULL)""",
        """CREATE TABLE changes (
            repository VARCHAR NOT NULL, version BIGINT NOT NULL, action VARCHAR NOT NULL, kind VARCHAR NOT NULL,
            tag VARCHAR NOT NULL, digest VARCHAR NOT NULL, size BIGINT NOT NULL, media_type VARCHAR NOT NULL,
            artifact_type VARCHAR NOT NULL, subject VARCHAR NOT NULL)""",
        """CREATE TABLE manifests (
            repository VARCHAR NOT NULL, digest VARCHAR NOT NULL, media_type VARCHAR NOT NULL,
            artifact_type VARCHAR NOT NULL, kind VARCHAR NOT NULL, size BIGINT NOT NULL, subject VARCHAR NOT NULL,
            os VARCHAR NOT NULL, architecture VARCHAR NOT NULL, variant VARCHAR NOT NULL, created VARCHAR NOT NULL,
            labels MAP(VARCHAR, VARCHAR) NOT NULL, annotations MAP(VARCHAR, VARCHAR) NOT NULL,
            children STRUCT(role VARCHAR, digest VARCHAR, media_type VARCHAR, size BIGINT, platform VARCHAR)[] NOT NULL)""",
        *(
            statement
            for table in ("changes", "manifests", "versions")
            for statement in (
                f"ALTER TABLE {table} SET PARTITIONED BY (bucket(64, repository))",
                f"ALTER TABLE {table} SET SORTED BY (repository)",
            )
        ),
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
                FROM (SELECT DISTINCT ON (repository, digest) repository, digest, children FROM manifests))""",
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
)
"""Each entry takes the schema from its index to the next number; entries never change once released."""

SCHEMA_VERSION = len(MIGRATIONS)
