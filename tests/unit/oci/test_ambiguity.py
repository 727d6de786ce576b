"""Manifests that clients read differently are told apart from those that all read the same."""

import json
from collections.abc import Mapping

import pytest

from oci import mediatypes
from oci.ambiguity import MAX_NESTED, MAX_SIZE, MAX_TYPE, check_children, check_nesting, check_unambiguous
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import ManifestInvalid
from oci.manifest import Manifest, parse_manifest
from oci.memory import MemoryStore
from oci.pack import pack_image, pack_index

A = Digest.of(b"a")
CONFIG = f'{{"mediaType":"{mediatypes.OCI_CONFIG}","digest":"{A}","size":1}}'


def manifest(more: str = "", config: str = CONFIG, layers: str = "[]") -> str:
    kind = mediatypes.OCI_MANIFEST
    return f'{{"schemaVersion":2,"mediaType":"{kind}","config":{config},"layers":{layers}{more}}}'


FLAWED: Mapping[str, bytes] = {
    "byte order mark": b"\xef\xbb\xbf" + manifest().encode(),
    "UTF-16": manifest().encode("utf-16"),
    "UTF-16 without a mark": manifest().encode("utf-16-le"),
    "UTF-32": manifest().encode("utf-32"),
    "invalid UTF-8": manifest(',"annotations":{"a":"X"}').encode().replace(b"X", b"\xff"),
    "a surrogate in UTF-8": manifest(',"annotations":{"a":"X"}').encode().replace(b"X", b"\xed\xa0\xbd"),
    "NaN": manifest(',"more":NaN').encode(),
    "Infinity": manifest(',"more":[-Infinity]').encode(),
    "a key twice": manifest(',"layers":[]').encode(),
    "a key twice deep inside": manifest(',"annotations":{"a":"1","a":"2"}').encode(),
    "a key twice by an escape": manifest(',"annotations":{"a":"1","\\u0061":"2"}').encode(),
    "a key twice for clients that replace surrogates": manifest(
        ',"annotations":{"a\\ud800":"1","a\\udfff":"2"}'
    ).encode(),
    "Layers": manifest(',"Layers":[]').encode(),
    "a long s": manifest(',"layer\\u017f":[]').encode(),
    "DIGEST in a config": manifest(config=CONFIG.replace('"size"', '"DIGEST":"sha256:b","size"')).encode(),
    "Size in a layer": manifest(layers=f'[{CONFIG[:-1]},"Size":2}}]').encode(),
    "Variant in a platform": manifest(layers=f'[{CONFIG[:-1]},"platform":{{"OS":"linux"}}}}]').encode(),
    "a size beyond all doubt": manifest(layers=f"[{CONFIG.replace(':1}', f':{MAX_SIZE + 1}}}')}]").encode(),
    "a size of a subject": manifest(f',"subject":{CONFIG.replace(":1}", f":{2**63}}}")}').encode(),
    "a type without end": manifest(f',"artifactType":"{"x" * (MAX_TYPE + 1)}"').encode(),
    "JSON that nests": manifest(f',"more":{"[" * (MAX_NESTED + 1)}{"]" * (MAX_NESTED + 1)}').encode(),
    "JSON that nests without end": manifest(f',"more":{"[" * 100_000}{"]" * 100_000}').encode(),
    "a number without end": manifest(f',"more":{"9" * 5_000}').encode(),
    "no JSON": b"{",
}

SOUND: Mapping[str, bytes] = {
    "plain": manifest().encode(),
    "spaces": json.dumps(json.loads(manifest()), indent=3).encode() + b"\n\n",
    "half a pair in a text": manifest(',"annotations":{"a":"\\ud83d"}').encode(),
    "a NUL in a text": manifest(',"annotations":{"a":"\\u0000"}').encode(),
    "annotations that differ by case": manifest(',"annotations":{"Size":"1","size":"2"}').encode(),
    "fields of one's own": manifest(',"org.example.More":{"Layers":[1.5,-2,null,true]}').encode(),
    "the largest size": manifest(layers=f"[{CONFIG.replace(':1}', f':{MAX_SIZE}}}')}]").encode(),
}


@pytest.mark.parametrize("flaw", FLAWED)
def test_what_clients_read_differently_is_refused(flaw: str) -> None:
    with pytest.raises(ManifestInvalid):
        check_unambiguous(FLAWED[flaw])


@pytest.mark.parametrize("form", SOUND)
def test_what_all_read_the_same_is_taken(form: str) -> None:
    check_unambiguous(SOUND[form])
    assert parse_manifest(SOUND[form]).raw == SOUND[form]


@pytest.mark.parametrize("flaw", ["byte order mark", "UTF-16", "NaN", "a key twice", "Layers", "a size of a subject"])
def test_what_was_kept_by_former_releases_is_still_read(flaw: str) -> None:
    assert parse_manifest(FLAWED[flaw]).digest == Digest.of(FLAWED[flaw])


def index_of(*children: Descriptor) -> Manifest:
    raw = {"schemaVersion": 2, "mediaType": mediatypes.OCI_INDEX, "manifests": [one.to_json() for one in children]}
    return parse_manifest(json.dumps(raw).encode())


def test_an_index_that_misstates_what_is_held_is_refused() -> None:
    held = {A: (mediatypes.OCI_MANIFEST, 10)}
    for child in (Descriptor(mediatypes.OCI_MANIFEST, A, 11), Descriptor(mediatypes.DOCKER_MANIFEST, A, 10)):
        with pytest.raises(ManifestInvalid):
            check_children(index_of(child), held.get)
    other = Descriptor(mediatypes.OCI_MANIFEST, Digest.of(b"other"), 3)
    check_children(index_of(Descriptor(mediatypes.OCI_MANIFEST, A, 11)), held.get, may_misstate=True)
    with pytest.raises(ManifestInvalid):  # the type is looked at all the same
        check_children(index_of(Descriptor(mediatypes.OCI_INDEX, A, 11)), held.get, may_misstate=True)
    check_children(index_of(Descriptor(mediatypes.OCI_MANIFEST, A, 10), other), held.get)


def test_indexes_nest_so_deep_and_no_deeper() -> None:
    store = MemoryStore()
    made = [pack_image(store, [{"own": "1"}])]
    for _ in range(MAX_NESTED + 2):
        made.append(pack_index(store, [(made[-1], None)]))

    def read(digest: Digest, _media_type: str) -> Manifest:
        return store.manifests[digest]

    check_nesting(made[MAX_NESTED], read)
    with pytest.raises(ManifestInvalid):
        check_nesting(made[MAX_NESTED + 1], read)


def test_each_index_is_read_once_however_often_it_is_named() -> None:
    """Sixteen levels of two indexes that both name both below: 65,536 ways, 32 indexes."""
    store, reads = MemoryStore(), list[Digest]()
    level = [pack_image(store, [{"own": str(number)}]) for number in range(2)]
    for step in range(MAX_NESTED):
        below = [(one, None) for one in level]
        level = [pack_index(store, below, annotations={"own": f"{step} {number}"}) for number in range(2)]

    def read(digest: Digest, _media_type: str) -> Manifest:
        reads.append(digest)
        return store.manifests[digest]

    check_nesting(level[0], read)
    assert len(reads) == len(set(reads)) == 2 * (MAX_NESTED - 1)
