"""Secrets that a run may come across, and a veil over them in everything that is written.

A secret is known by what it stands behind (`--api-key K`, `"api_key": "K"`, `Bearer K`), or by
its own text, once it was learned. What was learned holds for the whole process, as a log or a
server's page may show it anywhere: so that no writer has to be handed it, and none can forget it.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase
from typing import Any
from urllib.parse import quote

VEIL = "***"
"""What stands in a secret's place."""

_LONG = 8
"""Characters from which on a learned secret is veiled inside of words, too."""
_LEAST = 4
"""Fewest characters of a learned secret that is veiled."""
_PLAIN = {"true", "false", "none", "null", "empty", "auto", "default", "dummy", VEIL}
"""Values that are no secret, whatever they are called."""
MARGIN, _AROUND = 4096, 262_144
"""Most characters of a secret, and of what is looked at beyond where a text is cut."""
_BEFORE = 64
"""Most characters of a name or a flag that are looked at."""

_WORDS = "key|token|secret|password|passwd|passphrase"
_FLAG = re.compile(rf"--?(?:\S*[-_])?(?:{_WORDS})", re.IGNORECASE)
_VARIABLE = re.compile(rf"(?:.*_)?(?:{_WORDS}|credentials?|jwt|pat)", re.IGNORECASE)

# What follows is matched with text in small letters. First a word that may name a secret is
# looked for, then what stands before it, then the value behind it: one pattern for all of it
# would be tried at each letter, and take seconds for a megabyte.
_SMALL = str.maketrans(ascii_uppercase, ascii_lowercase)
_HINT = re.compile(rf"{_WORDS}|authorization|bearer|://|-----begin ")
_NAME = re.compile(
    r"(?<![a-z])(?:(?:api|access|secret|private|admin|auth|encryption)[-_]?key"
    r"|secret|password|passwd|passphrase|(?:api|access|auth|bearer|hf|hub|id|identity|job|oauth"
    r"|refresh|registry|session)[-_]?token)$|[?&](?:key|token)$"
)
_IN_FLAG = re.compile(r"(?<![\w-])--(?:[\w-]*[-_])?\w+$")
_HEADER = re.compile(r"(?<![\w-])(?:x-|private-|api-)[\w-]*\w+$")
_QUOTED = r"(?!(?P=mark))(?P<value>(?:\\.|[^\\\n])+?)(?P=mark)"
_BARE = r"(?P<value>[^\s\"'\\,;&<>()\[\]{}]+)"
_PROSE = (
    r"(?:is|isn|are|was|has|must|takes|and|or|with|to|for|that|needs|in|of|on|here|too)"
    r"(?=[\s,.;:']|$)"
)
"""What follows the name of a flag in a sentence, and is no value of it."""
_BEHIND_NAME = (
    re.compile(rf"(?:[-_]id)?\\*[\"']?\s*[:=]\s*(?P<mark>\\*[\"']){_QUOTED}"),
    re.compile(rf"(?:[-_]id)?={_BARE}"),
)
_BEHIND_FLAG = (
    re.compile(rf"(?P<mark>\\*[\"']),\s*(?P=mark)(?!-){_QUOTED}"),
    re.compile(rf"(?:=|\s+)(?P<mark>\\*[\"']){_QUOTED}"),
    re.compile(rf"={_BARE}"),
    re.compile(rf"\s+(?!-|{_PROSE}){_BARE}"),
)
_BEHIND_HEADER = (re.compile(rf":\s*{_BARE}"),)
_BEHIND_OTHERS = {
    "authorization": (
        re.compile(rf"\\*[\"']?\s*[:=]\s*\\*[\"']?(?:(?:bearer|basic|token)\s+)?{_BARE}"),
    ),
    "bearer": (re.compile(r"\s+(?P<value>[\w.~+/=-]{16,})"),),
    "://": (re.compile(r"(?P<value>[^\s/@\"'<>]+:[^\s/@\"'<>]+)@"),),
    "-----begin ": (
        re.compile(
            r"[a-z ]*private key-----(?P<value>.*?)-----end [a-z ]*private key-----", re.DOTALL
        ),
    ),
}
_PLACE = re.compile(r"(?:env|file|cmd|vault|op):\S+|\$\S+")
"""Where a secret is to be found, in place of it."""

_known: set[str] = set()


def learn(values: Iterable[str]) -> None:
    """Veil these texts from now on, wherever they stand; those that could be anything are left."""
    for value in values:
        lines = [line.strip() for line in value.splitlines()] if "\n" in value else [value]
        _known.update(line for line in lines if _telling(line))
    _forms.cache_clear()


def learn_environment(environ: Mapping[str, str]) -> None:
    """Learn the values of variables whose names are a secret's; the path of a file is none."""
    named = (value for name, value in environ.items() if _VARIABLE.fullmatch(name))
    learn(value for value in named if not _is_path(value))


def learn_flags(flags: Iterable[str]) -> None:
    """Learn the values of flags whose names are a secret's, and what stands inside of others."""
    words = list(flags)
    for word, after in zip(words, [*words, ""][1:], strict=True):
        name, equals, value = word.partition("=")
        if _FLAG.fullmatch(name):
            learn([value] if equals else [] if after.startswith("-") else [after])
        else:
            learn(word[begin:end] for begin, end in _found(word))


def known() -> list[str]:
    """Return what was learned, for a process of ours."""
    return sorted(_known)


def forget() -> None:
    """Forget what was learned."""
    _known.clear()
    _forms.cache_clear()


def veiled(text: str) -> str:
    """Return `text` with the veil over every secret in it."""
    short, long = _forms()
    for form in long:
        text = text.replace(form, VEIL)
    if short:
        text = short.sub(VEIL, text)
    shown, done = [], 0
    for begin, end in _found(text):
        if begin >= done:
            shown += [text[done:begin], VEIL]
            done = end
    return "".join([*shown, text[done:]])


def beginning(text: str, most: int) -> str:
    """Return the first `most` characters of `text`, none of them half of a secret.

    A text that is shortened is veiled before: what is cut through can't be found any more.
    """
    return _cut(text, most, slice(most + _AROUND), lambda shown, kept: shown[:kept])


def ending(text: str, most: int) -> str:
    """Return the last `most` characters of `text`, likewise."""
    start = slice(-(most + _AROUND), None)
    return _cut(text, most, start, lambda shown, kept: shown[len(shown) - kept :])


def _cut(text: str, most: int, window: slice, keep: Callable[[str, int], str]) -> str:
    """Return one end of a text; the margin, which may cut through a secret, is left out."""
    if len(text) <= most:
        return text
    looked_at = text[window]
    shown, spare = veiled(looked_at), MARGIN if len(looked_at) < len(text) else 0
    return keep(shown, max(0, min(most, len(shown) - spare)))


def veiled_flags(flags: Iterable[str]) -> list[str]:
    """Return launch flags with the veil over the values of secret ones."""
    shown: list[str] = []
    hidden = False
    for flag in flags:
        name, equals, _ = flag.partition("=")
        secret = bool(_FLAG.fullmatch(name))
        if hidden and not flag.startswith("-"):
            shown.append(VEIL)
        else:
            shown.append(f"{name}={VEIL}" if secret and equals else veiled(flag))
        hidden = secret and not equals
    return shown


def veiled_data(data: Any) -> Any:
    """Return JSON-like data with the veil over every secret in it; numbers stay what they are."""
    if type(data) is str:
        return veiled(data)
    if isinstance(data, Mapping):
        return {veiled_data(key): _entry(key, value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        texts = all(type(one) is str for one in data)
        return veiled_flags(data) if texts else [veiled_data(one) for one in data]
    return data


def _entry(key: Any, value: Any) -> Any:
    named = type(key) is str and _NAME.search(key.translate(_SMALL))
    plain = type(value) is not str or value == "" or value.lower() in _PLAIN
    return VEIL if named and not plain else veiled_data(value)


def _found(text: str) -> Iterator[tuple[int, int]]:
    """Yield begin and end of every secret that stands behind its name; some may overlap."""
    small = text.translate(_SMALL)
    for hint in _HINT.finditer(small):
        before = small[max(0, hint.start() - _BEFORE) : hint.end()]
        for pattern in _patterns(hint[0], before):
            if found := pattern.match(small, hint.end()):
                if not _is_plain(found["value"], before):
                    yield found.span("value")
                break


def _patterns(word: str, before: str) -> Iterator[re.Pattern[str]]:
    """Yield how a value may follow a word, by what stands before it, the word included."""
    yield from _BEHIND_OTHERS.get(word, ())
    if _NAME.search(before):
        yield from _BEHIND_NAME
    if _IN_FLAG.search(before):
        yield from _BEHIND_FLAG
    if _HEADER.search(before):
        yield from _BEHIND_HEADER


def _is_plain(value: str, before: str) -> bool:
    """Return whether a value is none, a place to find one, or its name in a help text."""
    called = before.endswith(f"--{value.replace('_', '-')}")
    return value in _PLAIN or called or bool(_PLACE.fullmatch(value))


def _telling(value: str) -> bool:
    """Return whether a text is long and odd enough to be looked for everywhere."""
    if len(value) < _LEAST or value.lower() in _PLAIN or value.startswith("-----"):
        return False
    return len(value) >= _LONG or not value.isdecimal()


def _is_path(value: str) -> bool:
    try:
        return "\n" not in value and Path(value).exists()
    except (OSError, ValueError):
        return False


@cache
def _forms() -> tuple[re.Pattern[str] | None, tuple[str, ...]]:
    """Return what finds short secrets, and the texts of long ones, the longest first."""
    short = [form for value in _known if len(value) < _LONG for form in _spelt(value)]
    long = {form for value in _known if len(value) >= _LONG for form in _spelt(value)}
    words = "|".join(re.escape(form) for form in sorted(short, key=len, reverse=True))
    pattern = re.compile(rf"(?<![^\W_])(?:{words})(?![^\W_])") if words else None
    return pattern, tuple(sorted(long, key=len, reverse=True))


def _spelt(value: str) -> set[str]:
    """Return a secret as it is, and as JSON, Python, HTML or a URL has it."""
    jsons = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    urls = {quote(value), quote(value, safe="")}
    return {value, *jsons, *urls, repr(value)[1:-1], html.escape(value)}
