"""Routes of SGLang that change the server for everybody, by what they change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ci.settings.fuzz import CHANGING

GROUPS = {
    "logging": r"logging|trace_level|dumper",
    "adapters": r"lora",
    "memory": r"memory_occupation",
    "profiling": r"profile|expert_distribution",
    "weights": r"weight|remote_instance",
    "cache": r"flush_cache|hicache",
    "requests": r"abort_request|pause_generation|continue_generation|slow_down",
    "sessions": r"(open|close)_session",
    "corpora": r"corpus|corpora",
    "state and roles": r"internal_state|role_switch|elastic_ep|freeze_gc",
}
"""What is changed, and how a path shows it; the first that fits counts."""
OTHERS = "others"
READING = (
    r"GET /(list_external_corpora|is_scaling_elastic_ep|get_hicache_l3_cache_layout"
    r"|(get_)?remote_instance_transfer_engine_info|hicache/storage-backend)"
)
"""Operations with such names that change nothing."""
METHODS = ("get", "put", "post", "delete", "patch")

KNOWN: Mapping[str, tuple[str, ...]] = {
    "GET|POST": (
        *("/configure_logging", "/set_trace_level", "/start_profile", "/stop_profile"),
        *("/start_expert_distribution_record", "/stop_expert_distribution_record"),
        *("/dump_expert_distribution_record", "/get_weights_by_name", "/weights_checker"),
        *("/release_memory_occupation", "/resume_memory_occupation", "/flush_cache"),
        *("/slow_down", "/open_session", "/close_session", "/freeze_gc"),
    ),
    "POST": (
        *("/update_weights_from_disk", "/update_weights_from_tensor", "/update_weight_version"),
        *("/update_weights_from_distributed", "/update_weights_from_ipc", "/begin_weight_update"),
        *("/end_weight_update", "/init_weights_update_group", "/destroy_weights_update_group"),
        *("/init_weights_send_group_for_remote_instance", "/send_weights_to_remote_instance"),
        *("/load_lora_adapter", "/load_lora_adapter_from_tensors", "/unload_lora_adapter"),
        *("/abort_request", "/pause_generation", "/continue_generation", "/pd_role_switch"),
        *("/add_external_corpus", "/remove_external_corpus", "/scale_elastic_ep"),
        *("/hicache/storage-backend/clear", "/dumper/{method}"),
    ),
    "PUT|POST": ("/set_internal_state",),
    "PUT|DELETE": ("/hicache/storage-backend",),
}
"""Those of SGLang 0.5.23, for a server that doesn't describe itself."""
ARGUED = frozenset(
    {
        *("/configure_logging", "/set_internal_state", "/open_session", "/close_session"),
        *("/update_weights_from_disk", "/update_weights_from_tensor", "/load_lora_adapter"),
        *("/update_weights_from_distributed", "/init_weights_update_group", "/unload_lora_adapter"),
        *("/add_external_corpus", "/remove_external_corpus", "/scale_elastic_ep", "/slow_down"),
        *("/get_weights_by_name", "/release_memory_occupation", "/resume_memory_occupation"),
        "/set_trace_level",
    }
)
"""Paths that do nothing without what body or query says, in every version that has them."""


@dataclass(frozen=True)
class Route:
    """An operation that changes the server.

    Args:
        method: Its HTTP method.
        path: Its path, as the schema writes it.
        described: What the schema says of it; None where the server doesn't describe it.
    """

    method: str
    path: str
    described: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """Method and path."""
        return f"{self.method} {self.path}"

    @property
    def group(self) -> str:
        """What it changes."""
        path = self.path.lower()
        fits = (name for name, pattern in GROUPS.items() if re.search(pattern, path))
        return next(fits, OTHERS)

    @property
    def changes(self) -> bool:
        """Whether it changes the server, going by its name."""
        if re.fullmatch(READING, self.name):
            return False
        return self.group != OTHERS or any(re.fullmatch(one, self.name) for one in CHANGING)

    @property
    def target(self) -> str:
        """A path to ask, with something in place of parameters."""
        return re.sub(r"\{[^}]*\}", "x", self.path)


def routes(document: Mapping[str, Any] | None) -> list[Route]:
    """Return the routes that change a server: those that it describes, and those that SGLang has.

    Args:
        document: The server's OpenAPI document; None where it gives none.
    """
    found = {one.name: one for one in _known()}
    for path, item in ((document or {}).get("paths") or {}).items():
        described = item if isinstance(item, dict) else {}
        for method in METHODS:
            if isinstance(described.get(method), dict):
                route = Route(method.upper(), path, described[method])
                found |= {route.name: route} if route.changes else {}
    return list(found.values())


def _known() -> Iterator[Route]:
    for methods, paths in KNOWN.items():
        yield from (Route(method, path) for path in paths for method in methods.split("|"))
