"""What a user hands to the module, without an engine: which paths a container can't see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import anyio
import pytest

from ci.module.inputs import PROVING, Credentials, Inputs, Origin, WrongSettingsError
from ci.module.publisher import RELEASING
from ci.module.report import refused
from ci.report.model import Case, Check, Report, now
from ci.settings import Settings
from ci.verdict import Outcome

pytestmark = pytest.mark.unit

CONFIG = """
[model]
path = "my-model"
[registry]
ca_file = "ca.pem"
[trust]
keys = { ci = "ci.pub" }
"""


@dataclass(frozen=True)
class ConfigFile:
    """A `dagger.File` that holds a text."""

    text: str

    async def name(self) -> str:
        """Return its name."""
        return "sglang-ci.toml"

    async def export(self, path: str) -> str:
        """Write it."""
        await anyio.Path(path).write_text(self.text)
        return path


def settings(text: str, uses: tuple[str, ...] = PROVING, **given: Any) -> Settings:
    """Return the settings in `text`, where a run passes what is `given`."""
    there = {name: given.pop(name) for name in ("trust", "ca") if name in given}
    make: Any = Inputs  # whose decorator hides its fields from mypy
    made = make(origin=Origin(), credentials=Credentials(**there), config=ConfigFile(text), **given)
    return cast("Settings", anyio.run(made.settings, uses))


def test_a_path_that_is_needed_and_not_passed_is_told_at_once() -> None:
    """The settings' own folder is looked for in a container, after the build."""
    with pytest.raises(WrongSettingsError) as caught:
        settings(CONFIG)
    assert str(caught.value) == (
        "sglang-ci.toml: model.path: my-model can't be seen from a container; pass --model my-model"
    )


def test_all_that_a_release_needs_is_told_in_one_answer() -> None:
    """A missing `--trust` is told, and after its cure a missing `--registry-ca`."""
    with pytest.raises(WrongSettingsError) as caught:
        settings(CONFIG, RELEASING)
    assert str(caught.value).splitlines() == [
        "sglang-ci.toml: registry.ca_file: ca.pem can't be seen from a container; "
        "pass --registry-ca ca.pem",
        "sglang-ci.toml: trust.keys.ci: ci.pub can't be seen from a container; "
        "pass --trust DIR with ci.pub in it, and write trust/ci.pub here",
    ]


def test_what_is_passed_is_seen() -> None:
    """A run that passes everything is refused."""
    assert settings(CONFIG, model=object()).model.path
    text = CONFIG.replace("ci.pub", "trust/ci.pub")
    assert settings(text, RELEASING, trust=object(), ca=object()).registry.ca_file


def test_all_wrong_settings_are_told_by_the_module() -> None:
    """`dagger call` tells one typing error a run."""
    with pytest.raises(WrongSettingsError) as caught:
        settings('[server]\nport = "x"\nprot = 1')
    told = str(caught.value).splitlines()
    assert len(told) == 2
    assert "server.port: 'x' is not allowed" in told[0]
    assert "did you mean 'port'?" in told[1]


def test_what_is_right_is_known_in_spite_of_what_is_wrong() -> None:
    """One wrong key, and the preflight asks for the images of other settings."""
    make: Any = Inputs
    text = '[image]\nsglang_version = "0.5.22"\n[server]\nprot = 1'
    made = make(origin=Origin(), credentials=Credentials(), config=ConfigFile(text))
    assert anyio.run(made.right).image.sglang_version == "0.5.22"


def test_each_finding_of_the_preflight_is_told_where_there_are_several() -> None:
    """`dagger call ci` tells the first of five mistakes, and "and 4 more"."""
    bad = [Case(name=name, outcome=Outcome.ERROR, message="bad") for name in ("one", "two")]
    good = Case(name="three", outcome=Outcome.PASSED)
    for count, lines in ((1, []), (2, ["one: bad", "two: bad"])):
        cases = (*bad[:count], good)
        check = Check(name="preflight", started=now(), seconds=0, cases=cases)
        assert refused(Report(started=now(), finished=now(), checks=(check,))) == lines
