"""Embeddings, where the model makes them."""

import math

import pytest

from ci.smoke.answers import Embeddings, read
from ci.smoke.ask import Ask
from ci.smoke.refusal import refused
from ci.smoke.server import Server

pytestmark = pytest.mark.needs("embedding")

TEXTS = ["The cat sat on the mat", "Interest rates rose again", "Hello"]
"""They end differently: a random model may look at little else."""


def embed(ask: Ask, texts: str | list[str]) -> list[tuple[float, ...]]:
    """Return the vectors of texts."""
    answer = ask.post("/v1/embeddings", {"model": ask.model, "input": texts})
    found = read(Embeddings, answer, "POST /v1/embeddings")
    assert found.usage.prompt_tokens > 0, "usage counts no prompt token"
    indices = [one.index for one in found.data]
    assert indices == list(range(len(indices))), f"indices are {indices}"
    return [one.embedding for one in found.data]


def test_bad_request_is_refused(ask: Ask, server: Server) -> None:
    """A request without a text gets 4xx, and the server serves on."""
    refused(ask.client.post("/v1/embeddings", json={"model": ask.model}), server)
    embed(ask, TEXTS[0])


def likeness(left: tuple[float, ...], right: tuple[float, ...]) -> float:
    """Return the cosine of the angle between two vectors."""
    product = sum(one * other for one, other in zip(left, right, strict=True))
    return product / (math.hypot(*left) * math.hypot(*right))


def test_vectors_are_usable(ask: Ask) -> None:
    """Vectors are of one length, finite, and not zero."""
    vectors = embed(ask, TEXTS)
    assert len(vectors) == len(TEXTS), f"{len(vectors)} vectors for {len(TEXTS)} texts"
    assert len({len(vector) for vector in vectors}) == 1, "vectors are of different lengths"
    norms = [math.hypot(*vector) for vector in vectors]
    assert all(math.isfinite(norm) and norm > 0 for norm in norms), f"lengths are {norms}"


def test_batch_equals_single(ask: Ask) -> None:
    """A text's vector is the same alone and in a batch, and in order."""
    for text, together in zip(TEXTS, embed(ask, TEXTS), strict=True):
        alone = embed(ask, text)[0]
        assert likeness(alone, together) > 0.99, f"another vector in a batch: {text!r}"


def test_texts_are_told_apart(ask: Ask) -> None:
    """Different texts have different vectors."""
    first, second, _ = embed(ask, TEXTS)
    assert first != second, "two different texts have one vector"
