"""Records the contract of one running server."""

from __future__ import annotations

import httpx

from ci.contract import info, introspect, metrics, routes
from ci.contract.answers import answers_part
from ci.contract.introspect import Interface
from ci.contract.model import Contract, ContractPart
from ci.errors import BadAnswer, NotSglang
from ci.report.model import now
from ci.server.documents import document
from ci.server.exchange import Exchange, Json, exchanging

OK = 200


async def record(
    url: str,
    interface: Interface | None = None,
    *,
    seconds: float = 60.0,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Contract:
    """Return what the server at `url` gives others to rely on.

    The server is asked a few dozen requests, generates some 300 tokens, and is as it was
    afterwards, but for its counters.

    Args:
        url: The server's base URL.
        interface: What its installation says of itself, where that can be seen.
        seconds: Most seconds of one request.
        transport: Another transport, for tests.

    Raises:
        SglangCiError: No SGLang server answers there, or an answer never came.
    """
    async with exchanging(url, seconds=seconds, transport=transport) as exchange:
        begin = await metrics.before(exchange)
        server = await info.info(exchange, "/server_info")
        model = await info.info(exchange, "/model_info")
        if server is None and model is None:
            raise NotSglang(exchange.url, "not an SGLang server: no /server_info, no /model_info")
        return Contract(
            recorded=now(),
            source=exchange.url,
            sglang=str((server or {}).get("version") or (interface or {}).get("sglang", "")),
            parts=await _parts(exchange, interface, begin, server, model),
        )


async def _parts(
    exchange: Exchange,
    interface: Interface | None,
    begin: metrics.Before,
    server: Json | None,
    model: Json | None,
) -> dict[str, ContractPart]:
    metric_part = await metrics.metrics_part(exchange, begin)
    route_part = await _routes(exchange)
    sampling = routes.sampling_items(route_part) | introspect.sampling_items(interface)
    sampling |= await info.sampling_items(exchange, server, model)
    name, context = await _model(exchange)
    return {
        "flags": introspect.flags_part(interface),
        "routes": route_part,
        "answers": await answers_part(exchange, name, context),
        "metrics": metric_part,
        "server_info": info.info_part(server, "/server_info"),
        "model_info": info.info_part(model, "/model_info"),
        "sampling": ContractPart(items=sampling, left_out=_unseen(interface)),
    }


def _unseen(interface: Interface | None) -> dict[str, str]:
    if interface is not None and "sampling" in interface:
        return {}
    return {"engine *": "a URL doesn't show the engine's own defaults"}


async def _routes(exchange: Exchange) -> ContractPart:
    answer = exchange.permitted("/openapi.json", await exchange.ask("GET", "/openapi.json"))
    if answer.status != OK:
        return ContractPart(absent=f"the server has no /openapi.json: HTTP {answer.status}")
    try:
        return routes.routes_part(document(answer.body))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        url = f"{exchange.url}/openapi.json"
        raise BadAnswer(url, f"is no OpenAPI document: {type(error).__name__}: {error}") from error


async def _model(exchange: Exchange) -> tuple[str, int]:
    """Return a name of the served model and its context in tokens; 0 where it isn't said."""
    models = await exchange.get("/v1/models")
    try:
        first = models["data"][0]
        return str(first["id"]), int(first.get("max_model_len") or 0)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise BadAnswer(f"{exchange.url}/v1/models", "is not a list of models") from error


def installed(interface: Interface, name: str) -> Contract:
    """Return the contract of an installation whose server isn't there: what it says of itself.

    Args:
        interface: What it says.
        name: What it is called in the comparison.
    """
    not_up = ContractPart(unknown=f"no server of {name} was up")
    parts = {"flags": introspect.flags_part(interface)}
    sampling = introspect.sampling_items(interface)
    if "openapi" in interface:
        parts["routes"] = routes.routes_part(interface["openapi"])
        sampling |= routes.sampling_items(parts["routes"])
    missing = interface["missing"]
    parts["routes"] = parts.get("routes") or ContractPart(
        unknown=str(missing.get("openapi", "not listed"))
    )
    parts |= dict.fromkeys(("answers", "metrics", "server_info", "model_info"), not_up)
    parts["sampling"] = ContractPart(
        items=sampling, left_out=dict.fromkeys(("server *", "/generate *"), not_up.unknown)
    )
    return Contract(recorded=now(), source=name, sglang=str(interface["sglang"]), parts=parts)
