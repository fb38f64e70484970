"""Can a release be published: its tag, its registry, the key that signs, and who is trusted?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ci.errors import UsageError
from ci.preflight.asked import Intent, NotAsked, PreflightQuestion
from ci.registry.reference import Reference
from ci.settings.release import PEM

if TYPE_CHECKING:
    from ci.release.signing import KeySigner

PACKAGES = ("oras", "cryptography")
"""What speaking to registries takes, beside what asking servers does."""
_PATIENCE = 10.0
"""Most seconds without an answer of the registry."""


def questions(asked: Intent) -> Iterator[PreflightQuestion]:
    """Yield what publishing needs, and whose keys can be read where anything is looked at."""
    if not (asked.publish_to or asked.everything):
        return
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        if asked.publish_to:
            yield PreflightQuestion("packages", partial(lacking, missing))
        return
    readable = [name for name, value in asked.settings.trust.keys.items() if _is_there(value)]
    for name in readable:
        yield PreflightQuestion(f"trusted key {name}", partial(trusted, asked, name))
    yield PreflightQuestion("signing key", partial(signing, asked))
    if not asked.publish_to:
        return
    try:
        Reference.parse(asked.publish_to)
    except UsageError:
        yield PreflightQuestion("reference", partial(tag, asked))
        return
    yield PreflightQuestion("tag", partial(tag, asked))
    yield PreflightQuestion("registry", partial(registry, asked))


def lacking(missing: list[str]) -> str:
    """Say what isn't installed.

    Raises:
        UsageError: In any case.
    """
    raise UsageError(f"publishing needs {', '.join(missing)}: install sglang-ci[release]")


def _is_there(value: str) -> bool:
    return PEM in value or Path(value).is_file()


def trusted(asked: Intent, name: str) -> str:
    """Read a trusted key.

    Raises:
        UsageError: It is none that can verify.
    """
    from ci.release.signing import Trust
    from ci.settings import TrustSettings

    value = asked.settings.trust.keys[name]
    Trust.of(TrustSettings(keys={name: value}))
    same = [other for other, key in asked.settings.trust.keys.items() if key == value]
    if len(same) > 1:
        raise UsageError(f"trust.keys: {', '.join(same)} are one key: who signed can't be told")
    return ""


def signing(asked: Intent) -> str:
    """See that evidence can be signed, and that somebody will know who signed it.

    Raises:
        UsageError: Key and token are both given, or no environment would take the signature.
        SigningFault: The key can't be read.
    """
    from ci.release.signing import KeySigner, NoSigner, signer_from

    signer = signer_from(asked.environ)
    demanding = [name for name, one in asked.settings.environments.items() if one.signed]
    if isinstance(signer, NoSigner):
        return f"nothing is signed, and {', '.join(demanding)} takes nothing unsigned" * bool(
            demanding
        )
    if not isinstance(signer, KeySigner):
        return "an identity of Sigstore"
    name = _named(asked, signer)
    if not name and demanding:
        known = ", ".join(asked.settings.trust.keys) or "nobody"
        raise UsageError(
            f"the signing key is none of [trust] keys ({known}): {', '.join(demanding)} would "
            "take nothing that it signs; add its public half there, or sign with another"
        )
    return f"that of {name}" if name else "nobody's in [trust] keys"


def _named(asked: Intent, signer: KeySigner) -> str:
    """Return under which name the signer's key is trusted; empty where under none."""
    from ci.release.keys import key_id, public_key

    for name, value in asked.settings.trust.keys.items():
        try:
            pem = value if PEM in value else Path(value).read_text(encoding="utf-8-sig")
            if key_id(public_key(name, pem)) == signer.key_id:
                return name
        except (OSError, ValueError, UsageError):  # told by the question on that key
            continue
    return ""


def tag(asked: Intent) -> str:
    """Make the release's tag.

    Raises:
        UsageError: It can't be made.
    """
    return str(_target(asked))


def _target(asked: Intent) -> Reference:
    from ci.release.intake import COMMIT, placed

    reference, template = Reference.parse(asked.publish_to), asked.settings.registry.tag
    if not reference.tag and "{revision}" in template and not asked.revision:
        raise UsageError(
            f"the tag {template} is made of a revision, and none is given: pass "
            f'--revision "$(git rev-parse HEAD)", or name the tag: {reference.name}:TAG'
        )
    fields = {
        "version": asked.version or asked.settings.image.sglang_version,
        "revision": asked.revision[:COMMIT],
    }
    return placed(reference, asked.settings, fields)


def registry(asked: Intent) -> str:
    """Reach the registry as the user who will publish, and see that this user may push.

    Raises:
        UsageError: The reference, certificates or credentials can't be used as they are.
        RegistryFault: The registry is out of reach, or refuses.
        NotAsked: Its certificates aren't there.
    """
    from ci.registry.client import Registry
    from ci.release.session import access_of

    reference, at = Reference.parse(asked.publish_to), asked.settings
    if at.registry.ca_file and not at.registry.ca_file.is_file():
        raise NotAsked("registry.ca_file isn't there")
    access = access_of(at, asked.environ)
    hasty = replace(access, timeout=min(access.timeout, _PATIENCE))
    with Registry(reference, hasty) as repository:
        repository.may_push()
        try:
            target = _target(asked)
        except UsageError:  # told by the question on the tag
            return "it takes uploads"
        there = repository.resolve(target.tag)
    if there is None:
        return f"it takes uploads, and {target.tag} is free"
    kept = "is refused unless this is that very image" if at.registry.immutable else "is moved"
    return f"it takes uploads; {target.tag} is there already, and {kept}"
