"""Secrets are known by their names and their texts, and veiled in whatever is written."""

from __future__ import annotations

import gzip
import json
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.secrets import files, veil
from ci.secrets.veil import VEIL, learn, veiled, veiled_data, veiled_flags

pytestmark = pytest.mark.unit

PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIPLANTEDPLANTED\n-----END EC PRIVATE KEY-----"


@pytest.mark.parametrize(
    "text",
    [
        "--api-key K",
        "--api-key=K",
        "--api-key 'K' --tp 2",
        '["--api-key", "K"]',
        "('--admin-api-key', 'K')",
        "--ssl-keyfile-password K",
        "--hf-token=K",
        "--hf-token is-K",
        "api_key='K', served_model_name='x'",
        "{'api_key': 'K', 'tp_size': 1}",
        '{"api_key":"K"}',
        '{"api_key": "K\\"K"}',
        '"launch_command": "python -m sglang.launch_server --api-key K --tp 1"',
        '{"body": "{\\"admin_api_key\\": \\"K\\"}"}',
        "ServerArgs(model_path='m', api_key='K', tp=1)",
        "SGLANG_API_KEY=K",
        "HF_TOKEN=K REGISTRY_PASSWORD=K",
        "export REGISTRY_PASSWORD='K'",
        "Authorization: Bearer K",
        '{"authorization": "Basic K"}',
        "x-api-key: K",
        "PRIVATE-TOKEN: K",
        "GET /v1/models?api_key=K&x=1",
        "GET /v1/models?x=1&token=K",
        "proxy http://me:K@host:3128 refused",
        "secret_access_key: 'K'",
        '{"access_key_id": "K", "secret_access_key": "K"}',
    ],
)
def test_what_stands_behind_a_secrets_name_is_veiled(text: str) -> None:
    """A key of one letter, which can't be looked for everywhere, is in a report."""
    shown = veiled(text)
    assert "K" not in shown.replace("KEY", "").replace("TOKEN", ""), shown
    assert VEIL in shown
    assert veiled(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "max_total_tokens=8192, max_new_tokens: 16, 'completion_tokens': 5",
        '{"token": " the", "bytes": [1], "logprob": -0.1}',
        "eos_token='</s>', pad_token_id=2, tokenizer_path='m'",
        "api_key=None, admin_api_key=None, ssl_keyfile_password=None",
        "{'api_key': '', 'key': 'value', 'keys': ['a', 'b']}",
        "  --api-key API_KEY     Set API key of the server.",
        "pass --password env:REGISTRY_PASSWORD --signing-key file:ci.key",
        "ci.key: keep it secret; SIGNING_KEY=ci.key signs with it",
        "first token took 0.06 s; key: readiness; the secret is out",
        "https://host:8443/v1/models?x=1 registry.example/team/image@sha256:0123",
        "[bench] requests = 128; password is missing",
        "the token of the hub: set HF_TOKEN",
        "--password is set, and --username isn't; --api-key and --hf-token are here",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """Reports have holes where figures and advice should be."""
    assert veiled(text) == text


def test_learned_texts_are_veiled_wherever_they_stand() -> None:
    """A server says its key in a sentence, and the report repeats it."""
    learn(["planted-key", "hunter2"])
    assert veiled("no such key: planted-key.") == f"no such key: {VEIL}."
    assert veiled("xplanted-keyx hunter2 hunter22") == f"x{VEIL}x {VEIL} hunter22"


@pytest.mark.parametrize("form", ['pla"nt&<ed>', "plänted é", "pla\\nted%/x", "p l a n t"])
def test_learned_texts_are_veiled_as_files_have_them(form: str) -> None:
    """A secret with a sign that JSON, HTML, a URL or Python escapes is written in full."""
    learn([form])
    escaped = [json.dumps(form), json.dumps(form, ensure_ascii=False), repr(form)]
    for text in (form, *escaped):
        assert veiled(f"x {text} x").strip("x ").strip("\"'") == VEIL


@pytest.mark.parametrize("value", ["", "abc", "true", "None", "1234", "EMPTY", "dummy"])
def test_what_could_be_anything_is_not_looked_for(value: str) -> None:
    """A variable `X_TOKEN=1` takes every 1 out of a report."""
    learn([value])
    assert veiled(f"x {value} x") == f"x {value} x"


def test_variables_are_known_by_their_names(tmp_path: Path) -> None:
    """A password of the environment is in a report, or the name of a key's file isn't."""
    file = tmp_path / "ci.key"
    file.write_text(PEM)
    veil.learn_environment(
        {
            "REGISTRY_PASSWORD": "planted-1",
            "HF_TOKEN": "planted-2",
            "SIGSTORE_ID_TOKEN": "planted-3",
            "AWS_SECRET_ACCESS_KEY": "planted-4",
            "SIGNING_KEY": str(file),
            "OTHER_KEY": PEM,
            "PWD": "/planted",
            "TOKENIZERS_PARALLELISM": "planted",
        }
    )
    told = f"planted-1 planted-2 planted-3 planted-4 {file} MHcCAQEEIPLANTEDPLANTED /planted"
    assert veiled(told) == f"{VEIL} {VEIL} {VEIL} {VEIL} {file} {VEIL} /planted"


def test_flags_are_known_by_their_names() -> None:
    """A server's key is veiled where its flag stands, and nowhere else."""
    extra = '--extra={"secret_access_key": "planted-3"}'
    veil.learn_flags([])
    veil.learn_flags(["--api-key", "planted-1", "--hf-token=planted-2", extra, "--api-key"])
    assert veiled("planted-1 planted-2 planted-3") == f"{VEIL} {VEIL} {VEIL}"
    flags = ["--api-key", "K", "--hf-token=K", "--api-key", "--tp", "2", "--tokenizer=x"]
    shown = ["--api-key", VEIL, f"--hf-token={VEIL}", "--api-key", "--tp", "2", "--tokenizer=x"]
    assert veiled_flags(flags) == shown


def test_a_private_key_is_veiled_though_nobody_learned_it() -> None:
    """A key that a tool printed is in a report."""
    assert "PLANTED" not in veiled(f"a {PEM} b")
    assert "PLANTED" not in veiled(json.dumps({"key": PEM}))


def test_data_keeps_its_numbers_and_shape() -> None:
    """A figure becomes a text, and readers of JSON break."""
    learn(["12345678"])
    data = {"api_key": "K", "n": 12345678, "list": [1, "x 12345678"], "none": None, "a": ["b"]}
    shown = {"api_key": VEIL, "n": 12345678, "list": [1, f"x {VEIL}"], "none": None, "a": ["b"]}
    assert veiled_data(data) == shown


@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x.jsonl.gz", "x.md", "x.log"])
def test_files_are_veiled_and_json_stays_json(tmp_path: Path, name: str) -> None:
    """A file can't be read back, or holds what it should not."""
    learn(["12345678", "planted-é"])
    path, data = tmp_path / name, {"error": "planted-é", "n": 12345678}
    line = json.dumps(data) + "\n"
    if "l" in path.suffix or path.suffix == ".gz":
        with files.lines(path) as lines:
            lines.write(line)
            lines.flush()
    else:
        files.write(path, line)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt") as file:
        text = str(file.read())
    assert "planted" not in text
    if ".json" in name:
        assert json.loads(text) == {"error": VEIL, "n": 12345678}


SECRETS = st.text(string.ascii_letters + string.digits + "-_é/+", min_size=8, max_size=40)


@given(SECRETS, st.lists(st.integers(0, 200), max_size=8), st.text(max_size=80))
def test_a_flow_is_veiled_however_it_is_cut(secret: str, cuts: list[int], around: str) -> None:
    """A key that two pieces of a log share is written in full."""
    veil.forget()
    learn([secret])
    content = f"{around}\nkey {secret} x\n--api-key KKK\n{around}".encode()
    flow, shown, start = files.Flow(), b"", 0
    for cut in [*sorted(cuts), len(content)]:
        shown += flow.add(content[start:cut])
        start = max(start, cut)
    shown += flow.end()
    assert shown.decode() == veiled(content.decode())
    if secret not in VEIL:
        assert secret.encode() not in shown


def test_a_flow_without_an_end_of_line_holds_back_little() -> None:
    """A server that never ends its line takes all memory, or its secret is cut in two."""
    learn(["planted-key"])
    flow, shown = files.Flow(), b""
    for _ in range(40):
        shown += flow.add(b"x" * 9_995 + b"planted")
        shown += flow.add(b"-key")
        assert len(flow._rest) < 80_000
    shown += flow.end()
    assert b"planted" not in shown
    assert shown.count(VEIL.encode()) == 40


def test_bytes_that_are_no_text_are_kept() -> None:
    """A log in another encoding is changed by being collected."""
    flow, content = files.Flow(), bytes(range(256)) * 3
    assert flow.add(content) + flow.end() == content
