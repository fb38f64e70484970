"""Paths among the settings: known by their types, relative to their file, told to containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.bench.prompt_files import FromFile
from ci.boards.read import read
from ci.release.signing import Trust, new_key
from ci.settings import Settings, TrustSettings, load
from ci.settings.fields import HostPath
from ci.settings.paths import ANY, Key, fields, named, places, unseen
from tests.unit.settings_layers import file_of, refused

pytestmark = pytest.mark.unit

PLACES = {
    ("model", "path"),
    ("engine", "python"),
    ("smoke", "directories"),
    ("bench", "prompts"),
    ("observe", "boards"),
    ("observe", "rules"),
    ("observe", "scrape"),
    ("observe", "prometheus"),
    ("observe", "logs"),
    ("upgrade", "environments"),
    ("upgrade", "uv"),
    ("upgrade", "overrides"),
    ("environments", ANY, "deploy", "folder"),
    ("environments", ANY, "deploy", "hook"),
    ("report", "directory"),
    ("gate", "starts_file"),
    ("observe", "credentials_file"),
    ("registry", "ca_file"),
    ("trust", "keys", ANY),
}
LISTS = {("smoke", "directories"), *(("observe", name) for name in ("boards", "rules", "logs"))}


def content(key: Key, value: str) -> str:
    """Return a settings file that gives `value` to the path at `key`."""
    text = f'["{value}"]' if key in LISTS else f'"{value}"'
    table = ".".join(key[:-1]).replace(ANY, "ci")
    return f"[{table}]\n{key[-1].replace(ANY, 'ci')} = {text}\n"


def given(settings: Settings, key: Key) -> str:
    """Return the one value that `settings` have at `key`."""
    spelt = ".".join(key).replace(ANY, "ci")
    (found,) = [str(one.path) for one in named(settings) if one.key == spelt]
    return found


def test_every_path_is_marked_as_one() -> None:
    """A setting is added whose file a container can't see, or that starts at the wrong folder."""
    unmarked = [key for key, kind, mark in fields(Settings) if "Path" in str(kind) and not mark]
    assert not unmarked
    assert set(places()) == PLACES


def test_a_path_without_its_mark_is_seen() -> None:
    """The test above passes whatever is added."""
    section = type("Section", (Settings,), {"__annotations__": {"extra": dict[str, Path]}})
    found = [key for key, kind, mark in fields(section) if "Path" in str(kind) and not mark]
    assert found == [("extra", ANY)]


@pytest.mark.parametrize("key", sorted(PLACES))
def test_every_path_starts_at_its_layers_folder(tmp_path: Path, key: Key) -> None:
    """One path of a settings file is looked for where the command happens to run."""
    path = file_of(tmp_path / "project", content(key, "some/place"))
    told = load(path, cwd=tmp_path).settings
    assert given(told, key) == str(tmp_path / "project/some/place")
    path = file_of(tmp_path / "project", content(key, "/abs/place"))
    assert given(load(path, cwd=tmp_path).settings, key) == "/abs/place"


@pytest.mark.parametrize("key", [("engine", "python"), ("upgrade", "uv")])
def test_a_programs_bare_name_is_no_path(tmp_path: Path, key: Key) -> None:
    """`engine.python = "python3"` is looked for beside the settings file."""
    file_of(tmp_path, content(key, "python3"))
    found = load(cwd=tmp_path).settings
    assert (found.engine.python or found.upgrade.uv) == "python3"


def test_a_key_that_stands_in_the_settings_is_no_path() -> None:
    """A PEM is taken for a file, and asked for by `--trust`."""
    inline = {"trust": {"keys": {"ci": "-----BEGIN PUBLIC KEY-----\nAA\n-----END PUBLIC KEY-----"}}}
    assert [one.key for one in named(Settings.model_validate(inline))] == [
        "gate.starts_file",
        "report.directory",
    ]


def test_containers_see_what_has_an_argument() -> None:
    """The module can't say by which argument a file gets into a container."""
    hosts = {key for key, mark in places().items() if not mark.argument}
    assert hosts == {
        ("report", "directory"),
        ("gate", "starts_file"),
        ("engine", "python"),
        ("observe", "credentials_file"),
        *(("upgrade", name) for name in ("environments", "uv", "overrides")),
        *(("observe", name) for name in ("prometheus", "logs")),
        ("environments", ANY, "deploy", "folder"),
        ("environments", ANY, "deploy", "hook"),
    }
    assert all(isinstance(mark, HostPath) for mark in places().values())


WHOLE = """
[model]
path = "my-model"
[engine]
profile = "vllm"
python = "venv/bin/python"
[smoke]
directories = ["cases"]
[bench]
prompts = "prompts.jsonl"
[registry]
ca_file = "/etc/ca.pem"
[trust.keys]
ci = "ci.pub"
bob = "trust/bob.pub"
[observe]
boards = ["grafana.json"]
rules = ["boards/rules.yml"]
[upgrade]
overrides = "overrides.txt"
"""


def test_every_path_that_a_container_cannot_see_is_told_with_its_cure(tmp_path: Path) -> None:
    """A run in containers ends after minutes with a path that no user has written."""
    found = load(file_of(tmp_path, WHOLE), cwd=tmp_path).settings
    every = {"server", "image", "registry", "trust"}
    cures = {one.key: one.cure(tmp_path) for one in unseen(found, tmp_path, (), every)}
    assert cures == {
        "model.path": "pass --model my-model",
        "engine.python": "name it by its full path in the image",
        "smoke.directories": "pass --smoke-cases cases",
        "bench.prompts": "pass --prompts prompts.jsonl",
        "observe.boards": "pass --boards DIR with grafana.json in it, and write "
        "boards/grafana.json here",
        "observe.rules": "pass --boards DIR with rules.yml in it",
        "registry.ca_file": "pass --registry-ca /etc/ca.pem",
        "trust.keys.ci": "pass --trust DIR with ci.pub in it, and write trust/ci.pub here",
        "trust.keys.bob": "pass --trust DIR with bob.pub in it",
    }
    given = {"--model", "--smoke-cases", "--prompts", "--registry-ca", "--trust", "--boards"}
    left = [one.key for one in unseen(found, tmp_path, given, every)]
    assert left == ["engine.python", "observe.boards", "trust.keys.ci"]
    assert [one.key for one in unseen(found, tmp_path, (), {"image"})] == ["engine.python"]


def test_what_only_seems_to_lie_in_a_folder_is_told(tmp_path: Path) -> None:
    """A file that `boards/..` leads out of the folder isn't there in a container."""
    file = file_of(tmp_path, '[observe]\nboards = ["boards/../a.promql", "boards/./b.promql"]')
    found = load(file, cwd=tmp_path).settings
    left = [one.told(tmp_path) for one in unseen(found, tmp_path, {"--boards"}, {"server"})]
    assert left == ["a.promql"]


@pytest.mark.parametrize("text", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_read_over(tmp_path: Path, text: str) -> None:
    """A file that an editor of Windows saved is refused, and the message shows nothing wrong."""
    file = tmp_path / "sglang-ci.toml"
    file.write_bytes("[server]\nport = 1\n".encode(text))
    if text == "utf-8-sig":
        assert load(cwd=tmp_path).settings.server.port == 1
    else:
        assert "is not TOML: not UTF-8: save it as UTF-8" in str(refused(cwd=tmp_path))


def test_a_byte_order_mark_is_read_over_in_other_files(tmp_path: Path) -> None:
    """A user's prompts, dashboards or keys are refused for what an editor put before them."""
    file = tmp_path / "file.json"
    file.write_bytes(b'\xef\xbb\xbf{"prompt": "why?", "output_tokens": 3}')
    assert FromFile.read(file).prompts[0].text == "why?"
    file.write_bytes(b'\xef\xbb\xbf{"expr": "up"}')
    assert [query.text for query in read(file).queries] == ["up"]
    file.write_bytes(b"\xef\xbb\xbf" + new_key()[1].encode())
    assert Trust.of(TrustSettings(keys={"ci": str(file)})).keys


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("SGLANG_CI_SERVER_PORT", "SGLANG_CI_SERVER__PORT"),
        ("SGLANG_CI_SERVER_LOG_LEVEL", "SGLANG_CI_SERVER__LOG_LEVEL"),
        ("SGLANG_CI_SERVER_PROT", "SGLANG_CI_SERVER__PORT"),
        ("SGLANG_CI_REPORT_DIRECTORY", "SGLANG_CI_REPORT__DIRECTORY"),
        ("SGLANG_CI_VERSIONS_EXPECTED_TORCH", "SGLANG_CI_VERSIONS__EXPECTED__TORCH"),
        (
            "SGLANG_CI_ENVIRONMENTS_PROD_APPROVALS",
            "SGLANG_CI_ENVIRONMENTS__NAME__KEY",
        ),
        ("sglang_ci_server__port", "SGLANG_CI_SERVER__PORT"),
    ],
)
def test_a_variable_that_is_nearly_one_is_told(tmp_path: Path, name: str, right: str) -> None:
    """`SGLANG_CI_SERVER_PORT=30001` does nothing, and nobody is told."""
    error = refused(environ={name: "1"}, cwd=tmp_path)
    assert error.source == name
    assert f"write {right}" in str(error)


@pytest.mark.parametrize(
    "name",
    [
        *("SGLANG_CI_DRAIN_SECONDS", "SGLANG_CI_ACTOR", "SGLANG_CI_BUILD_URL"),
        *("SGLANG_CI_RDMA_ALL_DEVICES", "SGLANG_CI_DISABLE_MOE_FUSED_FUNC"),
    ],
)
def test_variables_of_others_and_our_own_are_let_be(tmp_path: Path, name: str) -> None:
    """A variable that means something else stops every run."""
    assert load(environ={name: "1"}, cwd=tmp_path).settings == Settings()


def test_all_wrong_settings_are_told_at_once(tmp_path: Path) -> None:
    """Who mends one typing error waits for the next."""
    file_of(tmp_path, '[server]\nport = "x"\nprot = 1\n[smoke]\nbudget = -1')
    error = refused(environ={"SGLANG_CI_SERVER_HOST": "h"}, cwd=tmp_path)
    keys = [one.key for one in (error, *error.others)]
    assert sorted(keys) == ["server.host", "server.port", "server.prot", "smoke.budget"]
