"""The tables of the record of held blobs, for each engine.

- `blobs`: what is held. `read_at`: when a scrub last found the bytes right. `vouched_at`: the lake's snapshot as of which a
  version held it. `taken_by`: the repository that brought it first.
- `links`: leases.
- `leaving`: blobs that are given up and whose bytes are still to be removed.
- `quarantine`: what a scrub has set aside.
- `marks`: numbers that maintenance has noted.
- `deliveries`: the registries (scheme, host, port) that have sent a blob whole, verified. What such a one says of the blob later
  is believed, for it has it.
"""

from catalog.database.engine import Schema

_SQLITE = (
    """
CREATE TABLE IF NOT EXISTS blobs (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL, ingested_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS links (
    repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, linked_at REAL NOT NULL,
    PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS links_digest ON links (digest);
""",
    """
ALTER TABLE blobs ADD COLUMN read_at REAL;
ALTER TABLE blobs ADD COLUMN vouched_at INTEGER;
CREATE TABLE leaving (digest TEXT PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE quarantine (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL, reason TEXT NOT NULL, found_at REAL NOT NULL, healed_at REAL
) WITHOUT ROWID;
CREATE TABLE marks (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
""",
    """
ALTER TABLE blobs ADD COLUMN taken_by TEXT;
CREATE TABLE deliveries (
    digest TEXT NOT NULL, origin TEXT NOT NULL, PRIMARY KEY (digest, origin)
) WITHOUT ROWID;
""",
)

# COLLATE "C": the order of keys is that of Python's `sorted`, so that all lock rows in one order.
_POSTGRESQL = (
    """
CREATE TABLE blobs (
    digest TEXT COLLATE "C" PRIMARY KEY, size BIGINT NOT NULL, ingested_at DOUBLE PRECISION NOT NULL,
    read_at DOUBLE PRECISION, vouched_at BIGINT, taken_by TEXT
);
CREATE TABLE links (
    repository TEXT COLLATE "C" NOT NULL, digest TEXT COLLATE "C" NOT NULL, media_type TEXT NOT NULL,
    linked_at DOUBLE PRECISION NOT NULL, PRIMARY KEY (repository, digest)
);
CREATE INDEX links_digest ON links (digest);
CREATE TABLE leaving (digest TEXT COLLATE "C" PRIMARY KEY, size BIGINT NOT NULL);
CREATE TABLE quarantine (
    digest TEXT COLLATE "C" PRIMARY KEY, size BIGINT NOT NULL, reason TEXT NOT NULL,
    found_at DOUBLE PRECISION NOT NULL, healed_at DOUBLE PRECISION
);
CREATE TABLE marks (name TEXT PRIMARY KEY, value DOUBLE PRECISION NOT NULL);
CREATE TABLE deliveries (
    digest TEXT COLLATE "C" NOT NULL, origin TEXT COLLATE "C" NOT NULL, PRIMARY KEY (digest, origin)
);
""",
)

SCHEMA = Schema("holdings", _SQLITE, _POSTGRESQL)
