"""The tables of the index. `since` is the version of the repository that added something, `gone` that which took it away, or 0.

A digest is kept as bytes. Blobs, of which there are most, are kept by a number: the first 60 bits of the digest.
A document is a manifest that may hold an SBOM. `subject` is the image that it is about, empty until `is_resolved`, or where
nobody says so. Its packages are kept once, whichever repositories have received it. `index_children` has what each index lists,
whether that is here or not.
"""

from pathlib import Path

from oci.digest import Digest

LAYOUT = 3
"""Raised when the tables change; the file's name has it. A file of another layout is left to processes of that release."""

TABLES = """
CREATE TABLE state (position INTEGER NOT NULL, made_at TEXT NOT NULL);
CREATE TABLE repositories (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, version INTEGER NOT NULL);
CREATE TABLE tag_names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE tags (name INTEGER NOT NULL, repository INTEGER NOT NULL, since INTEGER NOT NULL, gone INTEGER NOT NULL,
    manifest INTEGER NOT NULL, PRIMARY KEY (name, repository, since)) WITHOUT ROWID;
CREATE TABLE manifests (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, kind TEXT NOT NULL);
CREATE TABLE members (manifest INTEGER NOT NULL, repository INTEGER NOT NULL, since INTEGER NOT NULL, gone INTEGER NOT NULL,
    PRIMARY KEY (manifest, repository, since)) WITHOUT ROWID;
CREATE TABLE index_children (child BLOB NOT NULL, parent INTEGER NOT NULL, PRIMARY KEY (child, parent)) WITHOUT ROWID;
CREATE TABLE blobs (key INTEGER NOT NULL, repository INTEGER NOT NULL, since INTEGER NOT NULL, gone INTEGER NOT NULL,
    PRIMARY KEY (key, repository, since)) WITHOUT ROWID;
CREATE TABLE label_keys (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE labels (key INTEGER NOT NULL, manifest INTEGER NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (key, manifest)) WITHOUT ROWID;
CREATE TABLE documents (manifest INTEGER NOT NULL, repository INTEGER NOT NULL, subject BLOB NOT NULL, layers TEXT NOT NULL,
    state INTEGER NOT NULL DEFAULT 0, is_resolved INTEGER NOT NULL DEFAULT 0, tried REAL NOT NULL DEFAULT 0,
    format TEXT NOT NULL DEFAULT '', packages INTEGER NOT NULL DEFAULT 0, note TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (manifest, repository)) WITHOUT ROWID;
CREATE TABLE package_names (id INTEGER PRIMARY KEY, package TEXT NOT NULL, type TEXT NOT NULL, namespace TEXT NOT NULL,
    name TEXT NOT NULL, UNIQUE (package, type, namespace, name));
CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE packages (document INTEGER NOT NULL, package INTEGER NOT NULL, version INTEGER NOT NULL, qualifiers INTEGER NOT NULL,
    licence INTEGER NOT NULL, PRIMARY KEY (document, package, version, qualifiers)) WITHOUT ROWID;
"""

INDEXES = """
CREATE INDEX tags_of_repository ON tags (repository);
CREATE INDEX tags_of_manifest ON tags (manifest, repository);
CREATE INDEX documents_by_state ON documents (state, tried) WHERE state IN (0, 2);
CREATE INDEX unresolved_documents ON documents (is_resolved) WHERE is_resolved = 0;
CREATE INDEX documents_of_repository ON documents (repository);
CREATE INDEX packages_by_name ON package_names (name);
CREATE INDEX documents_of_package ON packages (package, version);
"""
KEY_DIGITS = 15

UNREAD, READ, ABSENT, INVALID = range(4)
"""How a document was read: not yet; as a whole; not, since its repository may not use the bytes or they are not here; not, since
of what is in it. Documents that are absent are tried again."""


def index_file(catalog_file: Path) -> Path:
    """Return where the index of a catalogue is. Pure."""
    return catalog_file.parent / f"search-{LAYOUT}.sqlite"


def content_number(digest: str) -> int:
    """Return the number by which a blob is kept. Pure."""
    return int(digest.partition(":")[2][:KEY_DIGITS], 16)


def digest_bytes(digest: str) -> bytes:
    """Return a digest as it is kept. Pure."""
    return bytes.fromhex(digest.partition(":")[2])


def digest_of(kept: bytes) -> Digest:
    """Return the digest that is kept so. Pure."""
    return Digest(f"{'sha256' if len(kept) == 32 else 'sha512'}:{kept.hex()}")
