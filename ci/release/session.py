"""A repository and everybody in it, as settings and variables describe them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ci.errors import UsageError
from ci.registry.access import Access
from ci.registry.client import Registry
from ci.registry.reference import Reference
from ci.release.history import HistoryReader
from ci.release.judge import Judge
from ci.release.policy import Policy
from ci.release.signing import Signer, Trust, signer_from
from ci.release.where import Where

if TYPE_CHECKING:
    from ci.settings import Settings


@dataclass(frozen=True)
class RepositorySession:
    """One repository, seen with the settings and as the user of this process.

    Args:
        settings: The settings in force.
        reference: What the user named.
        registry: The repository of it.
        trust: Whose signatures are known.
        signer: Who signs.
        where: Who this is, and where.
        now: The time, UTC.
    """

    settings: Settings
    reference: Reference
    registry: Registry
    trust: Trust
    signer: Signer
    where: Where
    now: datetime

    def reader(self, environment: str) -> HistoryReader:
        """Return the history of an environment; raises UsageError where there is none such."""
        return HistoryReader(self.registry, Policy.of(self.settings, environment), self.trust)

    @property
    def target(self) -> str:
        """The digest or tag that the user named; raises UsageError where there is neither."""
        named = self.reference.digest or self.reference.tag
        if not named:
            raise UsageError(f"{self.reference}: name a tag or a digest of it")
        return named

    def judge(self, target: str) -> Judge:
        """Return what judges the image under a tag or digest.

        Raises:
            RegistryFault: It can't be read.
        """
        image = self.registry.manifest(target)
        return Judge(self.registry, image, self.settings, self.trust, self.now)


@contextmanager
def session(
    settings: Settings,
    reference: str,
    environ: Mapping[str, str],
    now: datetime,
    note: Callable[[str], None] = lambda _: None,
) -> Iterator[RepositorySession]:
    """Yield a session with the repository that `reference` names.

    Args:
        settings: The settings in force.
        reference: What the user named.
        environ: Variables: who asks the registry, who signs, and where this is.
        now: The time, UTC.
        note: Is told, in one line each, what was put right in the registry.

    Raises:
        UsageError: Reference, keys or variables can't be used as they are.
        SigningFault: The key that is to sign can't be read.
    """
    parsed = Reference.parse(reference)
    trust, signer = Trust.of(settings.trust), signer_from(environ)
    with Registry(parsed, access_of(settings, environ), note) as registry:
        yield RepositorySession(settings, parsed, registry, trust, signer, Where.of(environ), now)


def access_of(settings: Settings, environ: Mapping[str, str]) -> Access:
    """Return how the registry is reached: by the settings, and as whom the variables name.

    Raises:
        UsageError: There is a password, and no user.
    """
    at = settings.registry
    user, password = environ.get("REGISTRY_USERNAME", ""), environ.get("REGISTRY_PASSWORD", "")
    if password and not user:
        raise UsageError("REGISTRY_PASSWORD is set, and REGISTRY_USERNAME isn't")
    return Access(
        username=user,
        password=password,
        plain_http=at.plain_http,
        ca_file=at.ca_file,
        endpoint=at.endpoint,
        timeout=at.timeout,
        attempts=at.attempts,
    )
