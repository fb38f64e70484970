"""References: how an image, or a tag or digest of it, is named; and tags made by template.

A reference always names its registry: the short names that some tools complete to one public
registry mean different images on different machines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from string import Formatter

from ci.errors import UsageError

TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
SHORT = len("sha256:") + 12
"""As much of a digest as a person needs to tell two apart."""
_HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+|/)[a-z0-9]+)*")
_LONGEST_REPOSITORY = 255
_EXAMPLE = "registry.example.com/team/image:tag"


@dataclass(frozen=True)
class Reference:
    """A repository in a registry, and a tag or a digest of it where one is named."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Return the reference that `text` names: `registry/repository[:tag][@digest]`.

        Raises:
            UsageError: It is malformed, or it doesn't name a registry.
        """
        rest, at, digest = text.partition("@")
        if at and not DIGEST.fullmatch(digest):  # what stands there may be a password
            raise UsageError("a reference has nothing but sha256: and 64 hex digits after its '@'")
        registry, _, path = rest.partition("/")
        repository, colon, tag = path.partition(":")
        if registry == "docker.io" and "/" not in repository:
            repository = f"library/{repository}"
        problem = _problem(registry, repository, tag if colon else "untagged")
        if problem:
            raise UsageError(f"{text!r} is no reference like {_EXAMPLE}: {problem}")
        return cls(registry, repository, tag, digest)

    @property
    def name(self) -> str:
        """`registry/repository`, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    def tagged(self, tag: str) -> Reference:
        """Return the reference of `tag` in the same repository.

        Raises:
            UsageError: No tag can be called that.
        """
        if not TAG.fullmatch(tag):
            raise UsageError(f"{tag!r} is no tag: {_TAG_RULE}")
        return replace(self, tag=tag, digest="")

    def at(self, digest: str) -> Reference:
        """Return the reference of `digest` in the same repository, without a tag.

        Raises:
            UsageError: It is no digest.
        """
        if not DIGEST.fullmatch(digest):
            raise UsageError(f"{digest!r} is no digest: it has to be sha256: and 64 hex digits")
        return replace(self, tag="", digest=digest)

    def pick(self, target: str) -> Reference:
        """Return the reference of a tag or a digest in the same repository.

        Raises:
            UsageError: It is neither.
        """
        return self.at(target) if ":" in target else self.tagged(target)

    def __str__(self) -> str:
        """Return the reference as tools write it."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}{'@' if self.digest else ''}{self.digest}"


_TAG_RULE = "1 to 128 letters, digits, '_', '.' or '-', and no '.' or '-' first"


def _problem(registry: str, repository: str, tag: str) -> str:
    if "://" in f"{registry}/{repository}" or not repository:
        return "it is a registry and a repository, without a scheme"
    if registry != "localhost" and not re.search(r"[.:]", registry):
        return "the registry has to be named: a host with a '.' or a port, or localhost"
    if not _HOST.fullmatch(registry):
        return f"{registry!r} is no host"
    if not _REPOSITORY.fullmatch(repository) or len(repository) > _LONGEST_REPOSITORY:
        return f"{repository!r} is no repository: lower-case words, divided by '/', '.', '_' or '-'"
    return "" if TAG.fullmatch(tag) else f"{tag!r} is no tag: {_TAG_RULE}"


def render_tag(template: str, fields: Mapping[str, str]) -> str:
    """Return the tag that `template` makes of `fields`, such as `{version}-{revision}`.

    The '+' of a local version (PEP 440) becomes a '-', as tags can't have one.

    Raises:
        UsageError: A field is unknown or empty, or the outcome is no tag.
    """
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise UsageError(f"tag template {template!r}: {error}") from error
    tag = ""
    for text, field, form, conversion in parts:
        if form or conversion:
            raise UsageError(f"tag template {template!r}: a field is a bare name in braces")
        tag += text + ("" if field is None else _value(template, field, fields))
    tag = tag.replace("+", "-")
    if not TAG.fullmatch(tag):
        raise UsageError(f"tag template {template!r} makes {tag!r}, which is no tag: {_TAG_RULE}")
    return tag


def _value(template: str, field: str, fields: Mapping[str, str]) -> str:
    if field not in fields:
        known = ", ".join(sorted(fields)) or "none"
        raise UsageError(f"tag template {template!r}: unknown field {field!r}; known: {known}")
    if not fields[field]:
        raise UsageError(f"tag template {template!r}: field {field!r} is empty here")
    return fields[field]
