"""Every error that this package raises, drawn as one tree.

    SglangCiError
    ├── UsageError                  the caller asked for something impossible   exit 2
    │   ├── SettingsError           a wrong key or value in the configuration
    │   ├── TagTaken                an immutable tag names another digest already
    │   └── EnvironmentClosed       an environment takes nothing new at the moment
    ├── ServerFault                 the server under test is bad                FAILED
    │   ├── LaunchRefused           launch.sh found the server's own inputs wrong
    │   ├── ServerExited            the process ended although nobody asked it to
    │   ├── NotReady                a start-up phase spent its budget
    │   ├── NotSglang               something else answers at the URL
    │   ├── Unreachable             nothing accepts a connection at the URL
    │   ├── Unresponsive            a connection was accepted and no answer came
    │   └── BadAnswer               an answer of the wrong status, type or shape
    └── InfrastructureFault         the judgement could not be made             ERROR
        ├── LaunchBlocked           launch.sh found this machine unfit (port, GPU, install)
        ├── NameUnresolved          the URL's host has no address
        ├── KeyRefused              the server wants an API key, and got none or a wrong one
        ├── ModelUnavailable        a hub or its token did not give the model
        ├── ImageUnavailable        an image can't be built, or can't be had from its registry
        ├── ReportUnwritable        the report's folder can't be written
        ├── CheckBroken             the check itself broke
        ├── SigningFault            a key or token can't sign or be read
        ├── TargetFault             what runs a deployment's servers did not do what was asked
        │   └── HostFault           another host can't be reached, or doesn't do what it is asked
        ├── RouterFault             what moves a deployment's traffic did not do what was asked
        └── RegistryFault           a registry did not do what was asked
            ├── RegistryUnreachable     no answer, or the connection was cut
            ├── RegistryRefused         not allowed: 401 or 403
            ├── RegistryBusy            429 or 5xx, however often it was asked
            ├── RegistryFull            no space left there
            ├── MissingArtifact         no such repository, tag or digest
            ├── BrokenArtifact          what is there is not what its digest says
            └── ConflictingWrite        somebody else wrote in between

The two halves of the tree are the two verdicts a fault can have: a bad server is
FAILED, and a judgement that could not be made is ERROR. `str(error)` is always one line
that a person can act on; data of the fault lies in its attributes.
"""

from __future__ import annotations

from ci.verdict import Verdict


class SglangCiError(Exception):
    """Root of the tree: what went wrong, in one line, and the verdict it leads to."""

    verdict: Verdict = Verdict.ERROR

    def __init__(self, message: str, *, details: str = "") -> None:
        """Keep the one-line message and any longer details (log lines, a body)."""
        super().__init__(" ".join(message.split()))
        self.details = details


class UsageError(SglangCiError):
    """The caller asked for something that can't be done as asked."""


class SettingsError(UsageError):
    """A configuration file, variable or flag holds a key or value that isn't allowed."""

    others: tuple[SettingsError, ...] = ()
    """What else is wrong in the same settings: one mend brings no next error to light."""

    def __init__(self, source: str, key: str, problem: str, allowed: str = "") -> None:
        """Name the source (file, variable or flag), the key, and what is allowed there."""
        self.source, self.key, self.problem, self.allowed = source, key, problem, allowed
        hint = f"; allowed: {allowed}" if allowed else ""
        super().__init__(f"{source}: {key}: {problem}{hint}")


class TagTaken(UsageError):
    """An immutable tag names another digest already; it is never overwritten."""

    def __init__(self, reference: str, there: str, ours: str) -> None:
        """Keep the reference, the digest that is there and the one that was to be put there."""
        self.reference, self.there, self.ours = reference, there, ours
        super().__init__(f"{reference} exists with another digest: {there}, not {ours}")


class EnvironmentClosed(UsageError):
    """An environment takes nothing new: it is frozen, out of its windows, or was rolled back."""


class ServerFault(SglangCiError):
    """The server under test is bad."""

    verdict = Verdict.FAILED


class LaunchRefused(ServerFault):
    """`launch.sh` refused: the model or the SGLang version is not what it should be."""

    def __init__(self, message: str, exit_code: int) -> None:
        """Keep `launch.sh`'s own line and exit code."""
        super().__init__(message)
        self.exit_code = exit_code


class ServerExited(ServerFault):
    """The server's process ended although nobody asked it to."""

    def __init__(self, exit_code: int | None, phase: str, cause: str, log: str = "") -> None:
        """Keep the exit code (negative: a signal; None: unknown), the phase, and why."""
        self.exit_code, self.phase, self.cause = exit_code, phase, cause
        how = "exited" if exit_code is None else f"exited with {exit_code}"
        super().__init__(f"server {how} in phase '{phase}': {cause}", details=log)


class NotReady(ServerFault):
    """A phase of start-up spent its whole budget."""

    def __init__(self, phase: str, budget: float, last: str, log: str = "") -> None:
        """Keep the phase, its budget in seconds, and the last thing that was seen."""
        self.phase, self.budget, self.last = phase, budget, last
        super().__init__(f"not ready: phase '{phase}' took over {budget:g} s: {last}", details=log)


class AnswerFault(ServerFault):
    """A request to `url` did not get the answer that it should have."""

    def __init__(self, url: str, problem: str, *, details: str = "") -> None:
        """Keep the URL and what is wrong there."""
        self.url, self.problem = url, problem
        super().__init__(f"{url}: {problem}", details=details)


class NotSglang(AnswerFault):
    """Something answers, and it isn't an SGLang server."""


class Unreachable(AnswerFault):
    """No connection is accepted, or it is cut before an answer begins."""

    def __init__(self, url: str, problem: str, *, refused: bool = False) -> None:
        """Keep whether nothing listens there at all."""
        self.refused = refused
        super().__init__(url, problem)


class Unresponsive(AnswerFault):
    """A connection is accepted and no complete answer comes in time."""


class BadAnswer(AnswerFault):
    """An answer of the wrong status, type or shape."""

    def __init__(
        self, url: str, problem: str, *, status: int | None = None, body: str = ""
    ) -> None:
        """Keep the HTTP status (None where the fault isn't one of status) and the body."""
        self.status = status
        super().__init__(url, problem, details=body)


class InfrastructureFault(SglangCiError):
    """The judgement could not be made, through no fault of the server."""


class LaunchBlocked(InfrastructureFault):
    """`launch.sh` refused: this machine can't run a server as asked."""

    def __init__(self, message: str, exit_code: int) -> None:
        """Keep `launch.sh`'s own line and exit code."""
        super().__init__(message)
        self.exit_code = exit_code


class NameUnresolved(InfrastructureFault):
    """The URL's host has no address here."""


class KeyRefused(InfrastructureFault):
    """The server wants an API key: none was sent, or another one than it takes."""

    def __init__(self, url: str, problem: str, status: int, *, details: str = "") -> None:
        """Keep the URL, what to do, and the HTTP status."""
        self.url, self.problem, self.status = url, problem, status
        super().__init__(f"{url}: HTTP {status}: {problem}", details=details)


class ModelUnavailable(InfrastructureFault):
    """The model could not be fetched: no network, no such model, or no permission."""


class ImageUnavailable(InfrastructureFault):
    """A container image can't be built, or can't be had from its registry."""


class ReportUnwritable(InfrastructureFault):
    """The report's folder can't be made, written or locked."""


class CheckBroken(InfrastructureFault):
    """The check itself broke; that says nothing about the server."""


class SigningFault(InfrastructureFault):
    """A key or token can't be read, or can't sign."""


class TargetFault(InfrastructureFault):
    """What runs a deployment's servers doesn't answer, or did not do what was asked."""


class HostFault(TargetFault):
    """The host of a deployment can't be reached, or the program there doesn't do as it should."""

    def __init__(self, host: str, problem: str, *, details: str = "") -> None:
        """Keep the host, and what is wrong with it."""
        self.host, self.problem = host, problem
        super().__init__(f"{host}: {problem}", details=details)


class RouterFault(InfrastructureFault):
    """What moves a deployment's traffic doesn't answer, or did not do what was asked."""


class RegistryFault(InfrastructureFault):
    """A registry did not do what was asked."""

    def __init__(self, reference: str, phase: str, problem: str, *, details: str = "") -> None:
        """Keep the reference, the phase of the exchange, and what went wrong in it."""
        self.reference, self.phase, self.problem = reference, phase, problem
        super().__init__(f"{reference}: {phase}: {problem}", details=details)


class RegistryUnreachable(RegistryFault):
    """No connection, no answer in time, or a connection that was cut."""


class RegistryRefused(RegistryFault):
    """The registry doesn't allow it to this user: 401 or 403."""


class RegistryBusy(RegistryFault):
    """The registry answered 429 or 5xx however often it was asked."""


class RegistryFull(RegistryFault):
    """The registry has no space left for what was sent."""


class MissingArtifact(RegistryFault):
    """There is no such repository, tag or digest."""


class BrokenArtifact(RegistryFault):
    """What the registry holds is malformed, or is not what its digest says."""


class ConflictingWrite(RegistryFault):
    """Somebody else wrote between our reading and our writing."""
