"""What evidence says: one in-toto Statement v1 about one digest, for every kind of evidence.

Statements are read as strictly as they are written, since what is read here decides what may
go to production: exactly one subject, with a sha256 digest, and a time at which it was made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ci.registry.oci import canonical
from ci.registry.reference import DIGEST, Reference
from ci.release.found import Statement
from ci.release.kinds import of_type

STATEMENT = "https://in-toto.io/Statement/v1"


def make(subject: Reference, predicate_type: str, predicate: Mapping[str, Any]) -> bytes:
    """Return the statement about `subject`, which names a digest, as canonical JSON.

    Halves of characters, which not every reader of JSON takes, become replacement characters.

    Raises:
        ValueError: `read` would refuse it: no digest, or no time in the predicate.
    """
    about = {"name": subject.name, "digest": {"sha256": subject.digest.removeprefix("sha256:")}}
    content = canonical(
        {
            "_type": STATEMENT,
            "subject": [about],
            "predicateType": predicate_type,
            "predicate": _whole(predicate),
        }
    )
    read(content)
    return content


def _whole(predicate: Mapping[str, Any]) -> Any:
    text = json.dumps(predicate, ensure_ascii=False, allow_nan=False)
    return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def read(content: bytes) -> Statement:
    """Return the statement that `content` holds.

    Raises:
        ValueError: It holds none, or one that isn't about exactly one digest, or that lacks
            the time it was made; the message is one line.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError("the statement is no JSON") from error
    if not isinstance(document, dict) or document.get("_type") != STATEMENT:
        raise ValueError(f"the statement is no {STATEMENT}")
    predicate_type, predicate = document.get("predicateType"), document.get("predicate")
    if not isinstance(predicate_type, str) or not isinstance(predicate, dict):
        raise ValueError("the statement has no predicate")  # noqa: TRY004 - of a document
    name, digest = _subject(document.get("subject"))
    kind = of_type(predicate_type)
    place = kind.created if kind else ("created",)
    called = kind.name if kind else ""
    created = _created(predicate, place, called or "foreign")
    return Statement(name, digest, predicate_type, predicate, created, called)


def _subject(subjects: Any) -> tuple[str, str]:
    if not isinstance(subjects, list) or len(subjects) != 1 or not isinstance(subjects[0], dict):
        raise ValueError("the statement isn't about exactly one subject")
    name, digests = subjects[0].get("name", ""), subjects[0].get("digest")
    digest = f"sha256:{digests.get('sha256')}" if isinstance(digests, dict) else ""
    if not isinstance(name, str) or not DIGEST.fullmatch(digest):
        raise ValueError("the statement's subject has no sha256 digest")
    return name, digest


def _created(predicate: Mapping[str, Any], place: Sequence[str], called: str) -> datetime:
    found: Any = predicate
    for key in place:
        found = found.get(key) if isinstance(found, dict) else None
    problem = f"the {called} statement has no time at {'.'.join(place)}"
    if not isinstance(found, str):
        raise ValueError(problem)  # noqa: TRY004 - of a document
    try:
        created = datetime.fromisoformat(found)
    except ValueError as error:
        raise ValueError(problem) from error
    if created.tzinfo is None:
        raise ValueError(f"{problem} that names its zone")
    return created.astimezone(UTC)
