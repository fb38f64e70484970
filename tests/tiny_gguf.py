"""Make a tiny model in llama.cpp's format: a Llama with random weights, about half a megabyte.

Its tokenizer and chat template are those of the packaged tiny model. Run it where `gguf` and
`numpy` are installed (any SGLang environment is one):

    python -m tests.tiny_gguf tiny.gguf [SEED]

Another seed gives other weights, thus another model of the same shape. Whatever it is asked,
a greedy answer is ASCII and doesn't end by itself, so that no text depends on where a stream is
cut. The format is GGUF:
github.com/ggml-org/ggml, docs/gguf.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ci.platform import TINY_MODEL

if TYPE_CHECKING:
    import numpy as np

CONTEXT = 4096
WIDTH, INNER, LAYERS, HEADS, GROUPS = 64, 128, 2, 4, 2
SPECIAL = 3
"""How many of the first tokens are control tokens: begin, end, padding."""
SPREAD = 0.2
"""Standard deviation of the weights: wide enough for answers that depend on their prompt."""


def make(file: Path, seed: int = 0) -> None:
    """Write the model to `file`; the same seed gives the same weights."""
    import gguf
    import numpy as np

    tokens = _tokenizer()
    writer = gguf.GGUFWriter(file, "llama")
    _describe(writer, len(tokens["vocab"]))
    _tell_tokens(writer, tokens, gguf.TokenType)
    words = _words(tokens)
    for name, weights in _weights(np.random.default_rng(seed), len(words)):
        if name == "output.weight":
            weights[[not _plain(word) for word in words]] = 0
        writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tokenizer() -> Any:
    return json.loads((TINY_MODEL / "tokenizer.json").read_text(encoding="utf-8"))["model"]


def _words(tokens: Any) -> list[str]:
    return sorted(tokens["vocab"], key=tokens["vocab"].__getitem__)


def _plain(word: str) -> bool:
    """Return whether a token is ASCII text, its spaces and line ends as the tokenizer has them."""
    text = word.replace("Ġ", " ").replace("Ċ", " ")
    return text.isascii() and not (text.startswith("<") and text.endswith(">"))


def _describe(writer: Any, vocabulary: int) -> None:
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(GROUPS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(vocabulary)


def _tell_tokens(writer: Any, tokens: Any, kinds: Any) -> None:
    words = _words(tokens)
    pairs = (pair if isinstance(pair, str) else " ".join(pair) for pair in tokens["merges"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(words)
    writer.add_token_types(
        [kinds.CONTROL if at < SPECIAL else kinds.NORMAL for at in range(len(words))]
    )
    writer.add_token_merges(list(pairs))
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(value=False)
    writer.add_chat_template((TINY_MODEL / "chat_template.jinja").read_text(encoding="utf-8"))


def _weights(draw: np.random.Generator, vocabulary: int) -> Iterator[tuple[str, Any]]:
    """Yield name and values of each tensor."""
    import numpy as np

    narrow = WIDTH // HEADS * GROUPS
    shapes = {"token_embd": (vocabulary, WIDTH), "output": (vocabulary, WIDTH)}
    for layer in range(LAYERS):
        block = {"attn_q": WIDTH, "attn_k": narrow, "attn_v": narrow, "attn_output": WIDTH}
        block |= {"ffn_gate": INNER, "ffn_up": INNER}
        shapes |= {f"blk.{layer}.{name}": (rows, WIDTH) for name, rows in block.items()}
        shapes[f"blk.{layer}.ffn_down"] = (WIDTH, INNER)
    for name, shape in shapes.items():
        yield f"{name}.weight", draw.normal(0, SPREAD, shape).astype(np.float32)
    norms = [f"blk.{layer}.{name}" for layer in range(LAYERS) for name in ("attn_norm", "ffn_norm")]
    for name in ("output_norm", *norms):
        yield f"{name}.weight", np.ones(WIDTH, np.float32)


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
