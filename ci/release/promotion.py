"""Promotion: an environment's tag moves to a digest, and its history gets one line.

The history's tag is written first, and only where it still names what was read: that is the
lock, and the line says what is going to happen. The environment's tag follows, again only where
it still names what was read. Whoever comes in between finds that tag and history disagree, and
goes no further. A promotion that was cut off in between is finished by repeating it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from ci.errors import BrokenArtifact, ConflictingWrite, EnvironmentClosed, UsageError
from ci.release.history import PREVIOUS, HistoryLine, HistoryReader, disagreement, was_there
from ci.release.season import closed, on_hold
from ci.release.store import attach, sign

if TYPE_CHECKING:
    from ci.registry.oci import Manifest
    from ci.registry.reference import Reference
    from ci.release.signing import Signer


class PromotionState(Enum):
    """What there is to do."""

    THERE = "there already"
    UNFINISHED = "promoted already, and the tag is to follow"
    OPEN = "to be promoted"


@dataclass(frozen=True)
class PromotionPlan:
    """A promotion that may be carried out, and what was read before it was judged.

    Args:
        reader: The environment's history.
        image: What is to be promoted.
        there: Digest that the environment's tag names; None where there is no such tag.
        newest: The newest promotion, if there was any.
        rollback: Whether it goes back to a digest that was there before.
        resumed: Why something new may go there after a roll-back, as somebody said.
    """

    reader: HistoryReader
    image: Manifest
    there: str | None
    newest: HistoryLine | None
    rollback: bool = False
    resumed: str = ""

    @property
    def digest(self) -> str:
        """The digest that is to be promoted."""
        return self.image.descriptor.digest

    @property
    def state(self) -> PromotionState:
        """What there is to do."""
        if self.newest is None or self.newest.digest != self.digest:
            return PromotionState.OPEN
        return PromotionState.THERE if self.there == self.digest else PromotionState.UNFINISHED


def plan(
    reader: HistoryReader, image: Manifest, *, rollback: bool = False, resumed: str = ""
) -> PromotionPlan:
    """Read what is in the environment, and return what a promotion of `image` is up against.

    Raises:
        UsageError: A roll-back to a digest that never was in the environment.
        ConflictingWrite: Another promotion isn't finished, or somebody moved the tag by hand.
        BrokenArtifact: The newest promotion isn't to be believed.
    """
    newest = reader.newest()
    at = reader.registry.resolve(reader.environment)
    there, name = at.digest if at else None, str(_tag(reader))
    found = PromotionPlan(reader, image, there, newest, rollback, resumed)
    if newest and newest.problem:
        raise BrokenArtifact(name, "promote", disagreement(there, newest))
    if newest and found.state is PromotionState.OPEN and disagreement(there, newest):
        raise ConflictingWrite(name, "promote", disagreement(there, newest))
    if rollback and not was_there(found.digest, reader.lines()):
        raise UsageError(f"{found.digest} never was in {reader.environment}: no roll-back")
    return found


def carry_out(
    plan: PromotionPlan, signer: Signer, where: Mapping[str, Any], now: datetime
) -> HistoryLine:
    """Do what `plan` found to be done, and return the promotion that is then the newest.

    The policy has to hold; that is the caller's to see to.

    Args:
        plan: What is to be done.
        signer: Who signs the promotion.
        where: Who promotes, and from where.
        now: The time, UTC.

    Raises:
        EnvironmentClosed: The environment takes nothing new at the moment.
        UsageError: Promotions signed so don't count in this environment.
        ConflictingWrite: Somebody else wrote in between.
    """
    if plan.state is PromotionState.THERE and plan.newest:
        return plan.newest
    head = plan.newest.manifest if plan.newest else None
    if plan.state is PromotionState.OPEN:
        _let_in(plan, now)
        head = _write_history(plan, signer, where, now)
    _swap(plan.reader, plan.reader.environment, plan.image, plan.there)
    return _confirmed(plan.reader, head)


def _let_in(plan: PromotionPlan, now: datetime) -> None:
    """See that the environment takes something new, or that this is nothing new."""
    name, settings = plan.reader.environment, plan.reader.policy.settings
    why = on_hold(name, plan.newest, plan.resumed) or closed(name, settings, now)
    if why and not plan.rollback:
        raise EnvironmentClosed(why)


def _write_history(
    plan: PromotionPlan, signer: Signer, where: Mapping[str, Any], now: datetime
) -> str:
    """Attach the promotion and let the history name it; return its manifest's digest."""
    reader, registry = plan.reader, plan.reader.registry
    previous = plan.newest.manifest if plan.newest else ""
    predicate = {
        "created": now.isoformat(),
        "environment": reader.environment,
        "number": plan.newest.number + 1 if plan.newest else 1,
        "previous": previous,
        "replaces": plan.there or "",
        "rollback": plan.rollback,
        "where": dict(where),
    }
    if plan.resumed and plan.newest and plan.newest.rollback:
        predicate["resumed"] = plan.resumed
    signed = sign(registry.reference.at(plan.digest), "promotion", predicate, signer)
    stranger = reader.policy.disbelief(signed.opened(reader.trust))
    if stranger:
        raise UsageError(f"your promotions don't count in {reader.environment}: {stranger}")
    artifact = attach(registry, plan.image.descriptor, signed, {PREVIOUS: previous})
    _swap(reader, reader.tag, registry.manifest(artifact.digest), previous or None)
    if reader.head() != artifact.digest:  # the registry can't swap, and somebody was faster
        raise _lost(reader)
    return artifact.digest


def _swap(reader: HistoryReader, tag: str, manifest: Manifest, expected: str | None) -> None:
    """Let `tag` name `manifest`, where it still names what is expected."""
    kind = manifest.descriptor.media_type
    try:
        reader.registry.put_manifest(tag, manifest.content, kind, expected=expected)
    except ConflictingWrite as error:
        raise _lost(reader) from error


def _confirmed(reader: HistoryReader, head: str | None) -> HistoryLine:
    """Read both tags again and return the promotion; raise where they don't agree on it."""
    newest, at = reader.newest(), reader.registry.resolve(reader.environment)
    if newest is None or newest.manifest != head or disagreement(at.digest if at else None, newest):
        raise _lost(reader)
    return newest


def _lost(reader: HistoryReader) -> ConflictingWrite:
    problem = "somebody else promoted at the same time: look at its history, and repeat"
    return ConflictingWrite(str(_tag(reader)), "promote", problem)


def _tag(reader: HistoryReader) -> Reference:
    return reader.registry.reference.tagged(reader.environment)
