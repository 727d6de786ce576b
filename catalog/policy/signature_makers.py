"""Who has made signatures: signers of a policy, with the keys and identities that tell one holder from another. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from catalog.policy.signers import PolicySigner


@dataclass(frozen=True, slots=True)
class SignatureMaker:
    """A signer of the policy that has made a signature, and what it has made it with.

    `shown` names a key or an identity for readers. `principals` are all public keys and identities that are known to be of the
    same holder: makers that share one are one.
    """

    signer: str
    shown: str
    principals: frozenset[str]


def key_makers(signer: str, shown: str, keys: frozenset[str], signers: Mapping[str, PolicySigner]) -> SignatureMaker:
    """Return the maker of a signature by keys of one holder, with what OpenPGP keys of the policy say is the holder's too."""
    groups = (group for one in signers.values() for group in one.openpgp_keys.values())
    return SignatureMaker(signer, shown, keys.union(*(group for group in groups if group & keys)))


def count_signers(makers: Iterable[SignatureMaker]) -> int:
    """Return how many signers have signed so that each is another holder: one signature, and one key, counts once.

    Patterns of identities overlap, so it is a matching of signers and holders. Source: Kuhn's augmenting paths.
    """
    makers = sorted(makers, key=lambda one: (one.signer, one.shown))
    holders = _holders(makers)
    made: dict[str, list[str]] = {}
    for maker in makers:
        made.setdefault(maker.signer, []).append(holders[min(maker.principals)])
    taken: dict[str, str] = {}

    def place(name: str, seen: set[str]) -> bool:
        for who in made[name]:
            if who not in seen:
                seen.add(who)
                if who not in taken or place(taken[who], seen):
                    taken[who] = name
                    return True
        return False

    return sum(place(name, set()) for name in made)


def _holders(makers: Iterable[SignatureMaker]) -> Mapping[str, str]:
    """Return by principal what names its holder: one for all that makers have in common, also by way of others."""
    groups: list[frozenset[str]] = []
    for maker in makers:
        mine = [group for group in groups if group & maker.principals]
        groups = [group for group in groups if group not in mine]
        groups.append(maker.principals.union(*mine))
    return {principal: min(group) for group in groups for principal in group}
