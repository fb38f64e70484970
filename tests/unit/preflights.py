"""Preflights that tests ask for, and what they find."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio

from ci.commands.options import lenient
from ci.preflight.asked import Finding, Intent
from ci.preflight.stage import preflight
from ci.verdict import Outcome

WRONG = """
[server]
port = "x"
prot = 1
[model]
path = "absent"
[smoke]
directories = ["nowhere"]
[bench]
prompts = "prompts.jsonl"
[registry]
ca_file = "ca.pem"
[trust]
keys = { ci = "ci.pub" }
[image]
sglang_version = "0.5.16.0"
"""


def asked(text: str = "", environ: Mapping[str, str] | None = None, **more: Any) -> Intent:
    """Return what a caller wants whose settings file, in the working folder, is `text`."""
    Path("sglang-ci.toml").write_text(text)
    found, wrong = lenient(None, None, {})
    return Intent.here(found.settings, environ or {}, None, wrong=wrong, **more)


def found(of: Intent) -> dict[str, Finding]:
    """Return all findings by their names, which are all different."""
    findings = anyio.run(preflight, of, lambda _: None)
    assert len({one.name for one in findings}) == len(findings)
    return {one.name: one for one in findings}


def wrong(of: Intent) -> dict[str, str]:
    """Return what is wrong, by name."""
    return {name: one.message for name, one in found(of).items() if one.outcome is Outcome.ERROR}
