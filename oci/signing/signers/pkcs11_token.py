"""Signing by a key on a PKCS #11 token, such as an HSM or a smart card: the key never leaves it.

Sources: PKCS #11 2.40; RFC 7512. securesystemslib's signer of tokens knows keys by number alone, and no RSA.
"""

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from oci.signing.deadlines import run_within
from oci.signing.keys import KeyInvalid, PublicKey, Signer, SignerFailed, curve_hash
from oci.signing.signers.addresses import SignerAddress
from oci.signing.signers.outside import OutsideSigner, reason_of

if TYPE_CHECKING:
    import pkcs11


@dataclass(frozen=True, slots=True)
class TokenAccess:
    """The library of a token, and its PIN."""

    module: Path
    pin: str | None = field(repr=False)


def open_token(address: SignerAddress, access: TokenAccess, *, timeout: float) -> Signer:
    """Log in to a token, and return the signer of one of its keys; raise KeyInvalid, SignerFailed."""
    try:
        import pkcs11
    except ImportError:
        raise KeyInvalid(
            f"the signer {address} needs a library that is not installed: pip install 'entrepot[pkcs11]'"
        ) from None

    def connect() -> tuple[PublicKey, Callable[[bytes], bytes]]:
        login = _log_in(_token_of(pkcs11.lib(str(access.module)), address), access, address)
        with login.lock:
            private = _key_of(login.session, address, pkcs11.ObjectClass.PRIVATE_KEY)
            public = _public_key(_key_of(login.session, address, pkcs11.ObjectClass.PUBLIC_KEY), address)
        return public, login.locked(_signing(private, public))

    try:
        key, sign = run_within(timeout, str(address), connect)
    except (KeyInvalid, SignerFailed):
        raise
    except Exception as error:
        raise SignerFailed(f"the signer {address} failed: {reason_of(error)}") from error
    return OutsideSigner(str(address), key, sign, timeout=timeout)


@dataclass(frozen=True, slots=True)
class _Login:
    """A session that is logged in: a token has one login for a whole process, and one operation at a time for a session."""

    session: "pkcs11.Session"
    mark: bytes
    lock: threading.Lock = field(default_factory=threading.Lock)

    def locked(self, sign: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
        def sign_alone(data: bytes) -> bytes:
            with self.lock:
                return sign(data)

        return sign_alone


_LOGINS: dict[tuple[str, int], _Login] = {}
_LOGGING_IN = threading.Lock()
_MARK = secrets.token_bytes(32)


def _log_in(token: "pkcs11.Token", access: TokenAccess, address: SignerAddress) -> _Login:
    """Return this process's login of a token; another PIN than that of the login is refused, as the token would a wrong one."""
    import pkcs11

    place = (str(access.module), token.slot.slot_id)
    mark = hashlib.blake2b((access.pin or "").encode(), key=_MARK).digest()
    with _LOGGING_IN:
        known = _LOGINS.get(place)
        if known is not None and _is_alive(known):
            if not hmac.compare_digest(known.mark, mark):
                raise KeyInvalid(f"the PIN of the signer {address} is wrong (ENTREPOT_SIGNING_PASSWORD)")
            return known
        _LOGINS.pop(place, None)
        try:
            session = token.open(user_pin=access.pin)
        except (pkcs11.exceptions.PinIncorrect, pkcs11.exceptions.PinLenRange, pkcs11.exceptions.PinInvalid):
            raise KeyInvalid(f"the PIN of the signer {address} is wrong (ENTREPOT_SIGNING_PASSWORD)") from None
        made = _LOGINS[place] = _Login(session, mark)
        return made


def _is_alive(login: _Login) -> bool:
    """Return whether a session still answers; one of a token that was taken out does not."""
    import pkcs11

    try:
        with login.lock:
            next(iter(login.session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY})), None)
    except pkcs11.exceptions.PKCS11Error:
        return False
    return True


def _token_of(library: Any, address: SignerAddress) -> "pkcs11.Token":
    """Return the one token that the address names; an empty slot is none."""
    import pkcs11

    wanted = address.attributes
    found = []
    for slot in library.get_slots(token_present=True):
        try:
            token = slot.get_token()
        except pkcs11.exceptions.PKCS11Error:
            continue
        told = {
            "token": token.label,
            "serial": _text(token.serial),
            "manufacturer": _text(token.manufacturer_id),
            "model": _text(token.model),
            "slot-id": str(slot.slot_id),
        }
        if all(told[name] == value for name, value in wanted.items() if name in told):
            found.append(token)
    if len(found) != 1:
        raise KeyInvalid(f"{len(found)} tokens fit the signer {address}: expected one; name it by token=LABEL")
    return found[0]  # type: ignore[no-any-return]


def _text(value: object) -> str:
    return (value.decode(errors="replace") if isinstance(value, bytes) else str(value)).rstrip(" \0")


def _key_of(session: "pkcs11.Session", address: SignerAddress, kind: "pkcs11.ObjectClass") -> Any:
    import pkcs11

    wanted = address.attributes
    asked: dict[str, Any] = {"object_class": kind}
    if "object" in wanted:
        asked["label"] = wanted["object"]
    if "id" in wanted:
        asked["id"] = wanted["id"].encode("latin-1")
    what = "private" if kind is pkcs11.ObjectClass.PRIVATE_KEY else "public"
    try:
        return session.get_key(**asked)
    except pkcs11.exceptions.NoSuchKey:
        raise KeyInvalid(f"the token has no {what} key for the signer {address}, or shows it with a PIN only") from None
    except pkcs11.exceptions.MultipleObjectsReturned:
        raise KeyInvalid(f"the token has several {what} keys for the signer {address}: name one by id=") from None


def _public_key(key: Any, address: SignerAddress) -> PublicKey:
    import pkcs11
    from pkcs11.util.ec import encode_ec_public_key

    found: object = None
    try:
        if key.key_type is pkcs11.KeyType.RSA:
            modulus, exponent = key[pkcs11.Attribute.MODULUS], key[pkcs11.Attribute.PUBLIC_EXPONENT]
            found = rsa.RSAPublicNumbers(int.from_bytes(exponent), int.from_bytes(modulus)).public_key()
        elif key.key_type is pkcs11.KeyType.EC_EDWARDS:  # the point is an OCTET STRING, or bare in PKCS #11 3.0
            found = ed25519.Ed25519PublicKey.from_public_bytes(key[pkcs11.Attribute.EC_POINT][-32:])
        elif key.key_type is pkcs11.KeyType.EC:
            found = load_der_public_key(encode_ec_public_key(key))
    except (ValueError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, PublicKey):
        raise KeyInvalid(f"the key {address} is of a kind that does not sign: expected ECDSA, Ed25519 or RSA")
    return found


def _signing(private: Any, public: PublicKey) -> Callable[[bytes], bytes]:
    from pkcs11 import Mechanism
    from pkcs11.util.ec import encode_ecdsa_signature

    if isinstance(public, ec.EllipticCurvePublicKey):
        kind = curve_hash(public.curve).name
        return lambda data: encode_ecdsa_signature(
            private.sign(hashlib.new(kind, data).digest(), mechanism=Mechanism.ECDSA)
        )
    mechanism = Mechanism.SHA256_RSA_PKCS if isinstance(public, rsa.RSAPublicKey) else Mechanism.EDDSA
    return lambda data: bytes(private.sign(data, mechanism=mechanism))
