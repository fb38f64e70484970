"""A model of Llama-3-8B's shape: configuration and tokenizer, no weights.

    python -m benchmarks.gpu.model FOLDER

The tokenizer is the packaged tiny one's, filled up to the shape's vocabulary with words that
no text is made into but that a random model says, so that every answer has a text. SGLang
fills the weights itself (`--load-format dummy`); nothing is downloaded.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from ci.bench.prompts import word
from ci.platform import TINY_MODEL

SPACE = "\u0120"
"""How a byte-level tokenizer writes a leading space."""

SHAPE: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"},
    "tie_word_embeddings": False,
    "vocab_size": 128256,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
    "dtype": "bfloat16",
    "torch_dtype": "bfloat16",
}
"""Llama 3 8B's configuration, with the ids of the tiny tokenizer's special tokens."""


def make(folder: Path) -> Path:
    """Write the model to `folder`, which is made, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer_config.json", "chat_template.jinja", "launch.flags"):
        if (TINY_MODEL / name).is_file():
            shutil.copyfile(TINY_MODEL / name, folder / name)
    tokenizer = json.loads((TINY_MODEL / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    taken = set(vocabulary)
    words = _words(taken)
    for token in range(max(vocabulary.values()) + 1, SHAPE["vocab_size"]):
        vocabulary[next(words)] = token
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(SHAPE, indent=1) + "\n", encoding="utf-8")
    return folder


def _words(taken: set[str]) -> Iterator[str]:
    """Yield words with a leading space that aren't taken."""
    return (text for text in (f"{SPACE}{word(number)}" for number in count()) if text not in taken)


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
