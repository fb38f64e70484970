"""Parts of a request as they are sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from ci.fuzz.values import text_of

JSON, FORM = "application/json", "multipart/form-data"
BOUNDARY = "sglang-ci"
"""Between the parts of a form: always the same, or no run could be repeated."""


def target(path: str, given: Mapping[str, Any]) -> str:
    """Return path and query with the values of their parameters."""
    query = {}
    for name, value in given.items():
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", quote(_text(value), safe="", errors="surrogatepass"))
        else:
            query[name] = _text(value)
    asked = urlencode(query, errors="surrogatepass")
    return f"{path}?{asked}" if asked else path


def body(value: Any, kind: str) -> tuple[bytes, dict[str, str]]:
    """Return the bytes of a body and its headers; nothing of either where `kind` is empty.

    Args:
        value: The body; the fields of a form where `kind` is one.
        kind: Its media type.
    """
    if kind == FORM:
        from urllib3.filepost import encode_multipart_formdata

        fields = {name: _part(name, _text(each)) for name, each in value.items()}
        return encode_multipart_formdata(fields, BOUNDARY)[0], {
            "Content-Type": f"{FORM}; boundary={BOUNDARY}"
        }
    return (text_of(value).encode(), {"Content-Type": JSON}) if kind else (b"", {})


def _part(name: str, text: str) -> Any:
    raw = text.encode(errors="surrogatepass")
    return (f"{name}.bin", raw) if name == "file" else raw


def _text(value: Any) -> str:
    return value if isinstance(value, str) else text_of(value)
