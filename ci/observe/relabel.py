"""What a scrape's `metric_relabel_configs` make of a series, rule after rule.

Source: documentation of `relabel_config` in Prometheus 3.16. `hashmod` isn't followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ci.errors import UsageError

NAME = "__name__"
"""The label that is a metric's name."""
GROUP = re.compile(r"\$(?:(\d+)|\{(\w+)\}|([A-Za-z_]\w*))")
"""How a replacement names a group."""
CASES = {"lowercase": str.lower, "uppercase": str.upper}
ACTIONS = {
    *("replace", "keep", "drop", "keepequal", "dropequal"),
    *("labelmap", "labeldrop", "labelkeep", *CASES),
}


@dataclass(frozen=True)
class Relabel:
    """One rule, as `relabel_config` has it.

    Args:
        action: What it does.
        source: Labels whose values are matched.
        separator: What stands between these values.
        regex: What the whole of them, or a label's name, has to match.
        target: The label that is written.
        replacement: What is written there, with `$1` and `${1}`.
    """

    action: str = "replace"
    source: tuple[str, ...] = ()
    separator: str = ";"
    regex: re.Pattern[str] = re.compile("(.*)", re.DOTALL)
    target: str = ""
    replacement: str = "$1"

    def made(self, labels: Mapping[str, str]) -> dict[str, str] | None:
        """Return what becomes of labels; None where the series isn't stored."""
        match self.action:
            case "labelmap":
                found = ((self.regex.fullmatch(name), text) for name, text in labels.items())
                mapped = {self._filled(one): text for one, text in found if one}
                return {**labels, **mapped}
            case "labeldrop" | "labelkeep":
                keeps = self.action == "labelkeep"
                return {
                    name: text
                    for name, text in labels.items()
                    if bool(self.regex.fullmatch(name)) is keeps
                }
        return self._of_values(dict(labels))

    def _of_values(self, labels: dict[str, str]) -> dict[str, str] | None:
        value = self.separator.join(labels.get(name, "") for name in self.source)
        found = self.regex.fullmatch(value)
        match self.action:
            case "keep" | "drop":
                return labels if bool(found) is (self.action == "keep") else None
            case "keepequal" | "dropequal":
                same = labels.get(self.target, "") == value
                return labels if same is (self.action == "keepequal") else None
            case "lowercase" | "uppercase":
                labels[self.target] = CASES[self.action](value)
            case _ if found:
                target = self._filled(found, self.target)
                labels[target] = self._filled(found)
        return {name: text for name, text in labels.items() if text}

    def _filled(self, found: re.Match[str], template: str | None = None) -> str:
        text = self.replacement if template is None else template
        return found.expand(_template(text))


@lru_cache
def _template(text: str) -> str:
    """Return a replacement as Python writes one."""

    def group(found: re.Match[str]) -> str:
        return rf"\g<{found[1] or found[2] or found[3]}>"

    return GROUP.sub(group, text.replace("\\", r"\\"))


def relabels(documents: Iterable[Any]) -> tuple[Relabel, ...]:
    """Return rules as they stand in a configuration.

    Raises:
        UsageError: One can't be read, or does what isn't followed here.
    """
    return tuple(map(_rule, documents))


def _rule(document: Any) -> Relabel:
    if not isinstance(document, Mapping):
        raise UsageError(f"metric_relabel_configs: {document!r} is no rule")
    action = str(document.get("action", "replace")).lower()
    if action not in ACTIONS:
        raise UsageError(f"metric_relabel_configs: the action {action} isn't followed here")
    written = str(document.get("regex", "(.*)"))
    try:
        regex = re.compile(written, re.DOTALL)
    except re.error as error:
        told = f"metric_relabel_configs: {written!r} is no regular expression: {error}"
        raise UsageError(told) from error
    return Relabel(
        action,
        tuple(map(str, document.get("source_labels") or ())),
        str(document.get("separator", ";")),
        regex,
        str(document.get("target_label", "")),
        str(document.get("replacement", "$1")),
    )


def relabelled(rules: Sequence[Relabel], labels: Mapping[str, str]) -> Mapping[str, str] | None:
    """Return the labels of a series as it is stored; None where it isn't."""
    for rule in rules:
        made = rule.made(labels)
        if not made or not made.get(NAME):
            return None
        labels = made
    return labels


def renaming(rename: Mapping[str, str]) -> list[dict[str, object]]:
    """Return renames of whole names as a scrape's `metric_relabel_configs`."""
    return [
        {
            "source_labels": [NAME],
            "regex": pattern,
            "target_label": NAME,
            "replacement": replacement,
        }
        for pattern, replacement in rename.items()
    ]
