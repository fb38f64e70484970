"""Settings: layers, their order and sources, and how wrong ones are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ci.settings import Settings, load
from tests.unit.settings_layers import file_of, refused

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]


def test_nothing_set_is_everything_default(tmp_path: Path) -> None:
    """A project without a configuration can't be proven."""
    effective = load(cwd=tmp_path)
    assert effective.settings == Settings()
    assert {source for *_, source in effective.rows()} == {"default"}


def test_later_layers_win_key_by_key(tmp_path: Path) -> None:
    """A flag is overruled by a variable, or wipes out its neighbours in the file."""
    content = '[server]\nhost = "a"\nport = 1\ndevice = "cpu"\nlog_level = "debug"'
    path = file_of(tmp_path, content)
    environ = {"SGLANG_CI_SERVER__PORT": "2", "SGLANG_CI_SERVER__DEVICE": "cuda"}
    effective = load(environ=environ, flags={"server.device": "auto"}, cwd=tmp_path)
    server = effective.settings.server
    assert (server.host, server.port, server.device, server.log_level) == ("a", 2, "auto", "debug")
    sources = {name: source for name, _, source in effective.rows()}
    assert sources["server.host"] == sources["server.log_level"] == str(path)
    assert sources["server.port"] == "SGLANG_CI_SERVER__PORT"
    assert sources["server.device"] == "command line"
    assert sources["server.flags"] == "default"


def test_tables_are_laid_over_each_other_and_lists_are_not(tmp_path: Path) -> None:
    """One variable more on the command line drops those of the file."""
    file_of(tmp_path, '[server]\nflags = ["--a"]\nenvironment = {A = "1", B = "1"}')
    flags = {"server.environment": '{B = "2"}', "server.flags": '["--b"]'}
    environ = {"SGLANG_CI_SERVER__ENVIRONMENT__Cc": "3"}
    effective = load(environ=environ, flags=flags, cwd=tmp_path)
    assert effective.settings.server.environment == {"A": "1", "B": "2", "Cc": "3"}
    assert effective.settings.server.flags == ("--b",)
    shown = next(source for name, _, source in effective.rows() if name == "server.environment")
    for part in ("sglang-ci.toml", "SGLANG_CI_SERVER__ENVIRONMENT__Cc", "command line"):
        assert part in shown
    rows = {name: value for name, value, _ in effective.rows()}
    assert rows["server.environment"] == "{'A': '***', 'B': '***', 'Cc': '***'}"
    emptied = load(flags={"server.environment": "{}"}, cwd=tmp_path)
    assert emptied.settings.server.environment == {}


def test_a_table_on_the_command_line_is_named_as_source(tmp_path: Path) -> None:
    """`config show` calls a value a default that somebody set."""
    effective = load(flags={"server": '{port = 5, device = "cpu"}'}, cwd=tmp_path)
    assert ("server.port", "5", "command line") in list(effective.rows())
    assert ("server.host", "127.0.0.1", "default") in list(effective.rows())


@pytest.mark.parametrize(
    ("content", "key", "words"),
    [
        ("[server]\nprt = 1", "server.prt", ["unknown key", "did you mean 'port'?", "device"]),
        ("[sever]\nport = 1", "sever", ["unknown key", "did you mean 'server'?", "readiness"]),
        ("surprise = 1", "surprise", ["unknown key", "allowed: image, model"]),
        ("server = 5", "server", ["5 is not allowed", "allowed: a table"]),
        ("[server]\nport = 65536", "server.port", ["a whole number from 0 to 65535"]),
        ('[server]\nport = "x"', "server.port", ["'x'", "a whole number from 0 to 65535"]),
        ("[server]\nport = true", "server.port", ["True", "a whole number"]),
        ('[server]\ndevice = "gpu"', "server.device", ["'gpu'", "allowed: auto, cuda, cpu"]),
        ('[server]\nflags = "--a"', "server.flags", ["'--a'", "allowed: a list"]),
        ("[server]\nflags = [1]", "server.flags.0", ["allowed: text"]),
        ("[server]\nenvironment = {A = 1}", "server.environment.A", ["allowed: text"]),
        ('[server]\nhost = ""', "server.host", ["'' is not allowed"]),
        ("[readiness]\nserving = 0", "readiness.serving", ["above 0 to 86400"]),
        ("[readiness]\nserving = nan", "readiness.serving", ["above 0 to 86400"]),
        ("[readiness]\nserving = inf", "readiness.serving", ["above 0 to 86400"]),
        ("[readiness]\nserving = true", "readiness.serving", ["a number"]),
        ("[smoke]\nbuiltin = 7", "smoke.builtin", ["true or false"]),
        ("[model]\npath = 1999-01-01", "model.path", ["allowed: a path"]),
        ('[model]\nname = "tiny"', "model.name", ["'tiny'", "allowed: text like"]),
        ('[model]\nname = "a/b"', "model", ["name = 'a/b' needs a pinned revision"]),
        ('[model]\nrevision = "v1"', "model", ["give its name too"]),
        (
            '[model]\npath = "m"\nname = "a/b"\nrevision = "v1"',
            "model",
            ["give path or name, not both"],
        ),
        ('[image]\nsglang_version = "new"', "image.sglang_version", ["'new'", "PEP 440"]),
        ('[versions]\nexpected = {torch = "?"}', "versions.expected.torch", ["'?'", "PEP 440"]),
    ],
)
def test_wrong_keys_and_values_of_a_file(
    tmp_path: Path, content: str, key: str, words: list[str]
) -> None:
    """A typing error in the file is passed over, or its message doesn't say where it is."""
    path = file_of(tmp_path, content)
    error = refused(cwd=tmp_path)
    assert (error.source, error.key) == (str(path), key)
    assert all(word in str(error) for word in words), str(error)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("SGLANG_CI_SERVER__PORT", "many", ["server.port", "'many'", "0 to 65535"]),
        ("SGLANG_CI_SERVER__PROT", "1", ["server.prot", "did you mean 'port'?"]),
        ("SGLANG_CI_SEVER__PORT", "1", ["did you mean 'server'?"]),
        ("SGLANG_CI_SERVER__FLAGS", "--a", ["server.flags", "allowed: a list"]),
        ("SGLANG_CI_SERVER__FLAGS", "[--a]", ["server.flags", "is not a TOML value"]),
        ("SGLANG_CI_SERVER__HOST__X", "1", ["server.host", "allowed: text"]),
        ("SGLANG_CI___", "1", ["unknown key"]),
    ],
)
def test_wrong_variables(tmp_path: Path, name: str, text: str, words: list[str]) -> None:
    """A variable with a typing error does nothing, and nobody is told."""
    error = refused(environ={name: text}, cwd=tmp_path)
    assert error.source == name
    assert all(word in str(error) for word in words), str(error)


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("server.port", "-1", ["'-1'", "0 to 65535"]),
        ("port", "1", ["unknown key"]),
        ("", "1", ["unknown key"]),
        ("server.port.x", "1", ["server.port", "0 to 65535"]),
        ("server", "1", ["allowed: a table"]),
        ("smoke.directories", '["a", 1]', ["smoke.directories.1", "a path"]),
    ],
)
def test_wrong_flags(tmp_path: Path, key: str, text: str, words: list[str]) -> None:
    """A flag with a typing error does nothing, and nobody is told."""
    error = refused(flags={key: text}, cwd=tmp_path)
    assert error.source == "command line"
    assert all(word in str(error) for word in words), str(error)


def test_the_wrong_layer_is_blamed_and_no_other(tmp_path: Path) -> None:
    """The file is blamed for what a variable says."""
    file_of(tmp_path, "[server]\nport = 1")
    environ = {"SGLANG_CI_SERVER__PORT": "x", "SGLANG_CI_SERVER__HOST": "h"}
    assert refused(environ=environ, cwd=tmp_path).source == "SGLANG_CI_SERVER__PORT"


def test_a_value_where_a_table_should_be_is_refused_beside_a_flag_below_it(tmp_path: Path) -> None:
    """A broken file under a good flag ends in a traceback."""
    path = file_of(tmp_path, "server = 5")
    error = refused(flags={"server.port": "1"}, cwd=tmp_path)
    assert (error.source, error.key, error.allowed) == (str(path), "server", "a table")


def test_variables_of_others_are_let_be(tmp_path: Path) -> None:
    """SGLang's own `SGLANG_CI_…` variables stop every run."""
    environ = {"SGLANG_CI_DISABLE_MOE_FUSED_FUNC": "1", "SGLANG_IS_IN_CI": "1", "CI": "1"}
    assert load(environ=environ, cwd=tmp_path).settings == Settings()


@pytest.mark.parametrize("name", ["sglang-ci.toml", "other.conf"])
def test_paths_in_a_file_start_at_its_folder(tmp_path: Path, name: str) -> None:
    """A configuration works only from the folder in which it lies."""
    content = '[model]\npath = "m"\n[smoke]\ndirectories = ["s", "/abs"]\n[report]\ndirectory = "r"'
    path = file_of(tmp_path / "project", content, name)
    found = load(path, flags={"report.directory": "flag"}, cwd=tmp_path / "else").settings
    assert found.model.path == tmp_path / "project" / "m"
    assert found.smoke.directories == (tmp_path / "project" / "s", Path("/abs"))
    assert found.report.directory == tmp_path / "else" / "flag"


def test_an_empty_path_takes_the_model_back(tmp_path: Path) -> None:
    """A file's model folder can't be replaced by a hub model on the command line."""
    file_of(tmp_path, '[model]\npath = "m"')
    flags = {"model.path": "", "model.name": "a/b", "model.revision": "v1"}
    model = load(flags=flags, cwd=tmp_path).settings.model
    assert (model.path, model.name, model.revision) == (None, "a/b", "v1")


@pytest.mark.parametrize(
    "content",
    [
        b"[server",
        b"port = ",
        b"\xff\xfe",
        b"a = 1\na = 2",
        b"x = " + b"[" * 5000,
        b"x = " + b"9" * 5000,
        b"\x00",
    ],
)
def test_a_file_that_is_not_toml(tmp_path: Path, content: bytes) -> None:
    """A broken file ends in a traceback."""
    (tmp_path / "sglang-ci.toml").write_bytes(content)
    error = refused(cwd=tmp_path)
    assert error.source == str(tmp_path / "sglang-ci.toml")
    assert "is not TOML" in str(error)


def test_a_file_that_is_asked_for_must_be_there(tmp_path: Path) -> None:
    """A misspelt `--config` runs with the defaults."""
    assert "No such file" in str(refused(file=tmp_path / "missing.toml"))
    assert "directory" in str(refused(file=tmp_path))


def test_huge_values_make_short_messages(tmp_path: Path) -> None:
    """One wrong value fills the terminal, or can't be shown at all."""
    for value in ('"' + "x" * 100_000 + '"', "0x" + "f" * 100_000, "9" * 4000):
        file_of(tmp_path, f"[server]\nport = {value}")
        assert len(str(refused(cwd=tmp_path))) < 500 + len(str(tmp_path))


def test_the_schema_for_editors_is_the_committed_one() -> None:
    """Editors mark right keys as wrong: `sglang-ci config schema > docs/…` was forgotten."""
    committed = json.loads((ROOT / "docs" / "sglang-ci.schema.json").read_text())
    assert committed == Settings.model_json_schema()


def test_every_setting_says_what_it_means() -> None:
    """An editor shows a key without a word on what it does."""
    for section, schema in Settings.model_json_schema()["$defs"].items():
        for name, shown in schema["properties"].items():
            assert shown.get("description"), f"{section}.{name} has no description"
