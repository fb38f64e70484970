"""The distribution specification, as `tests.fakes.registry` holds to it."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

from ci.registry.oci import INDEX, digest_of

if TYPE_CHECKING:
    from tests.fakes.registry import FakeRegistry, Handler

USER = "robot"
PASSWORD = "planted-secret-7f3a9c"
"""No output may ever hold it."""
_LOCATION = "/v2/{}/blobs/uploads/{}?_state=planted-secret-state"


class Exchange:
    """One request to a registry that has no fault, and its answer."""

    def __init__(self, handler: Handler, registry: FakeRegistry) -> None:
        """Answer the request that `handler` has read the head of."""
        self.handler, self.registry = handler, registry
        self.url = urlsplit(handler.path)
        self.query = {name: values[-1] for name, values in parse_qs(self.url.query).items()}

    def run(self) -> None:
        """Answer."""
        self.handler.body()
        for pattern, act in ROUTES.items():
            match = re.fullmatch(pattern, f"{self.handler.command} {self.url.path}")
            if match and (act is Exchange.token or act is Exchange.stored or self.admitted()):
                with self.registry.lock:
                    act(self, *match.groups())
                return
            if match:
                return
        self.error(404, "UNSUPPORTED")

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        """Answer; `headers` have `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.handler.answer(status, content, named)

    def error(self, status: int, code: str, **headers: str) -> None:
        """Answer with an error as registries word it."""
        error = {"code": code, "message": code.lower().replace("_", " ")}
        self.answer(status, json.dumps({"errors": [error]}).encode(), **headers)

    def admitted(self) -> bool:
        """Return whether the sender may ask that; say so where not."""
        kind = self.registry.login
        scheme, _, value = self.handler.headers.get("Authorization", "").partition(" ")
        scope = self.scope()
        if not kind or (scheme == kind and self.valid(kind, value, scope)):
            return True
        realm = f'{kind} realm="http://{self.registry.address}/token"'
        challenge = f'{realm},service="fake",scope="{scope}"' if kind == "Bearer" else realm
        self.error(401, "UNAUTHORIZED", WWW_Authenticate=challenge)
        return False

    def scope(self) -> str:
        """Return the scope that the request needs."""
        repository = self.url.path.removeprefix("/v2/").rsplit("/", 2)[0].split("/blobs")[0]
        reads = self.handler.command in {"GET", "HEAD"}
        return f"repository:{repository}:{'pull' if reads else 'pull,push'}"

    def valid(self, kind: str, value: str, scope: str) -> bool:
        """Return whether credentials of a kind allow a scope."""
        if kind == "Basic":
            return b64decode(value).decode() == f"{USER}:{PASSWORD}"
        given = self.registry.tokens.get(value, "")
        return bool(given) and given.startswith(scope)

    def token(self) -> None:
        """Give a token for the scope that is asked for."""
        scheme, _, value = self.handler.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic" or not self.valid("Basic", value, ""):
            self.error(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="token"')
            return
        token = f"planted-secret-token-{len(self.registry.requests)}"
        self.registry.tokens[token] = self.query["scope"]
        self.answer(200, json.dumps({"token": token}).encode())

    def base(self) -> None:
        """Say that this is a registry."""
        self.answer(200, b"{}")

    def manifest(self, target: str) -> None:
        """Give a manifest."""
        digest = self.registry.tags.get(target, target)
        if digest not in self.registry.manifests:
            self.error(404, "MANIFEST_UNKNOWN")
            return
        media_type, content = self.registry.manifests[digest]
        self.answer(200, content, Content_Type=media_type, Docker_Content_Digest=digest)

    def put_manifest(self, target: str) -> None:
        """Store a manifest, where its tag names what the sender believes it to name."""
        content, media_type = self.handler.body(), self.handler.headers["Content-Type"]
        digest, document = digest_of(content), json.loads(content)
        if self.registry.swaps and not self.expected(self.registry.tags.get(target)):
            self.error(412, "PRECONDITION_FAILED")
            return
        if not self.complete(document) or (":" in target and target != digest):
            self.error(400, "MANIFEST_INVALID")
            return
        self.registry.put(media_type, content, "" if ":" in target else target)
        subject = (document.get("subject") or {}).get("digest", "")
        seen = {"OCI_Subject": subject} if subject and self.registry.referrers_api else {}
        self.answer(201, Docker_Content_Digest=digest, **seen)

    def complete(self, document: Mapping[str, Any]) -> bool:
        """Return whether everything that a manifest names is there."""
        config = [document["config"]] if "config" in document else []
        blobs = {part["digest"] for part in (*config, *document.get("layers", ()))}
        manifests = {part["digest"] for part in document.get("manifests", ())}
        return blobs <= set(self.registry.blobs) and manifests <= set(self.registry.manifests)

    def expected(self, digest: str | None) -> bool:
        """Return whether what a tag names is what the request's condition says."""
        match = self.handler.headers.get("If-Match")
        absent = self.handler.headers.get("If-None-Match")
        return match in {None, f'"{digest}"'} and not (absent == "*" and digest)

    def blob(self, digest: str) -> None:
        """Give a blob, or the address where it is stored."""
        if digest not in self.registry.blobs:
            self.error(404, "BLOB_UNKNOWN")
        elif self.registry.redirects and self.handler.command == "GET":
            there = self.registry.address.replace("127.0.0.1", "localhost")
            self.answer(307, Location=f"http://{there}/storage/{digest}?signature=planted-secret")
        else:
            content = self.registry.blobs[digest]
            self.answer(200, content, Docker_Content_Digest=digest)

    def stored(self, digest: str) -> None:
        """Give a blob from a store that doesn't take a registry's credentials."""
        if "Authorization" in self.handler.headers:
            self.answer(400, b"only one auth mechanism allowed")
        else:
            self.answer(200, self.registry.blobs[digest])

    def begin(self, repository: str) -> None:
        """Begin an upload."""
        location = _LOCATION.format(quote(repository), len(self.registry.requests))
        self.answer(202, Location=location)

    def cancel(self) -> None:
        """Cancel an upload."""
        self.answer(204)

    def upload(self) -> None:
        """Store a blob."""
        content = self.handler.body()
        if "_state" not in self.query or digest_of(content) != self.query.get("digest"):
            self.error(400, "DIGEST_INVALID")
            return
        self.registry.blobs[digest_of(content)] = content
        self.answer(201, Docker_Content_Digest=digest_of(content))

    def referrers(self, digest: str) -> None:
        """List what is attached to a digest."""
        if not self.registry.referrers_api:
            self.answer(404, b"404 page not found\n", Content_Type="text/plain")
            return
        entries = []
        for own, (media_type, content) in self.registry.manifests.items():
            document = json.loads(content)
            if (document.get("subject") or {}).get("digest") == digest:
                about = {key: document[key] for key in ("artifactType", "annotations")}
                place = {"mediaType": media_type, "digest": own, "size": len(content)}
                entries.append(place | about)
        index = {"schemaVersion": 2, "mediaType": INDEX}
        self.paged(entries, lambda part: index | {"manifests": part}, INDEX)

    def tags(self) -> None:
        """List all tags."""
        if not self.registry.tags:
            self.error(404, "NAME_UNKNOWN")
            return
        self.paged(sorted(self.registry.tags), lambda part: {"tags": part}, "application/json")

    def paged(self, entries: Sequence[Any], wrap: Callable[[Any], Any], media_type: str) -> None:
        """Answer with a page of a list."""
        start = int(self.query.get("start", "0"))
        end = start + self.registry.page
        more = {"Link": f'<{self.url.path}?start={end}>; rel="next"'} if end < len(entries) else {}
        content = json.dumps(wrap(entries[start:end])).encode()
        self.answer(200, content, Content_Type=media_type, **more)


ROUTES: Mapping[str, Callable[..., None]] = {
    r"GET /token": Exchange.token,
    r"(?:GET|HEAD) /storage/(.+)": Exchange.stored,
    r"GET /v2/": Exchange.base,
    r"(?:GET|HEAD) /v2/.+/manifests/([^/]+)": Exchange.manifest,
    r"PUT /v2/.+/manifests/([^/]+)": Exchange.put_manifest,
    r"(?:GET|HEAD) /v2/.+/blobs/(sha256:[0-9a-f]+)": Exchange.blob,
    r"POST /v2/(.+)/blobs/uploads/": Exchange.begin,
    r"PUT /v2/.+/blobs/uploads/\w+": Exchange.upload,
    r"DELETE /v2/.+/blobs/uploads/\w+": Exchange.cancel,
    r"GET /v2/.+/referrers/([^/]+)": Exchange.referrers,
    r"GET /v2/.+/tags/list": Exchange.tags,
}
