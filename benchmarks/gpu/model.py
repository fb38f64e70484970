"""A model of the shape of Llama 3: configuration, tokenizer, and random weights where asked.

    python -m benchmarks.gpu.model FOLDER [--shape 3b] [--weights]

The tokenizer is the packaged tiny one's, filled up to the shape's vocabulary with words that
no text is made into but that a random model says, so that every answer has a text. Without
weights SGLang fills them itself (`--load-format dummy`); nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import shutil
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

SHAPES: dict[str, dict[str, Any]] = {
    "8b": SHAPE,
    "3b": SHAPE
    | {
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 28,
        "num_attention_heads": 24,
    },
}
"""By their parameters; 3B is Llama 3.2's."""
DUMMY = "--load-format=dummy"
SPREAD = 0.02
"""Standard deviation of the weights, as Llama's own configuration starts them."""


def make(folder: Path, shape: str = "8b", *, weights: bool = False) -> Path:
    """Write the model to `folder`, which is made, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer_config.json", "chat_template.jinja", "launch.flags"):
        if (TINY_MODEL / name).is_file():
            shutil.copyfile(TINY_MODEL / name, folder / name)
    tokenizer = json.loads((TINY_MODEL / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    taken = set(vocabulary)
    words = _words(taken)
    sizes = SHAPES[shape]
    for token in range(max(vocabulary.values()) + 1, sizes["vocab_size"]):
        vocabulary[next(words)] = token
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(sizes, indent=1) + "\n", encoding="utf-8")
    if weights:
        _weigh(folder, sizes)
    return folder


def _weigh(folder: Path, sizes: dict[str, Any]) -> None:
    """Write random weights, a file for each layer, and take `dummy` out of the model's flags."""
    import torch
    from safetensors.torch import save_file

    device = "cuda" if torch.cuda.is_available() else "cpu"
    index: dict[str, str] = {}

    def keep(file: str, shapes: dict[str, tuple[int, ...]]) -> None:
        tensors = {
            name: torch.ones(size, dtype=torch.bfloat16)
            if len(size) == 1
            else (torch.randn(size, device=device) * SPREAD).to("cpu", torch.bfloat16)
            for name, size in shapes.items()
        }
        save_file(tensors, folder / file, metadata={"format": "pt"})
        index.update(dict.fromkeys(tensors, file))

    wide, vocabulary = sizes["hidden_size"], sizes["vocab_size"]
    for number in range(sizes["num_hidden_layers"]):
        of = {f"model.layers.{number}.{name}.weight": size for name, size in _layer(sizes).items()}
        keep(f"layer-{number:02}.safetensors", of)
    ends = {"model.embed_tokens": (vocabulary, wide), "lm_head": (vocabulary, wide)}
    named = {f"{name}.weight": size for name, size in ends.items()}
    keep("ends.safetensors", named | {"model.norm.weight": (wide,)})
    told = {"metadata": {}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(told), encoding="utf-8")
    flags = folder / "launch.flags"
    kept = [line for line in flags.read_text(encoding="utf-8").splitlines() if line != DUMMY]
    flags.write_text("\n".join(kept) + "\n", encoding="utf-8")


def _layer(sizes: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the weights of one layer by name, each with its shape."""
    wide, inner, head = sizes["hidden_size"], sizes["intermediate_size"], sizes["head_dim"]
    heads, shared = head * sizes["num_attention_heads"], head * sizes["num_key_value_heads"]
    return {
        "self_attn.q_proj": (heads, wide),
        "self_attn.k_proj": (shared, wide),
        "self_attn.v_proj": (shared, wide),
        "self_attn.o_proj": (wide, heads),
        "mlp.gate_proj": (inner, wide),
        "mlp.up_proj": (inner, wide),
        "mlp.down_proj": (wide, inner),
        "input_layernorm": (wide,),
        "post_attention_layernorm": (wide,),
    }


def _words(taken: set[str]) -> Iterator[str]:
    """Yield words with a leading space that aren't taken."""
    return (text for text in (f"{SPACE}{word(number)}" for number in count()) if text not in taken)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="8b")
    parser.add_argument("--weights", action="store_true")
    asked = parser.parse_args()
    print(make(asked.folder, asked.shape, weights=asked.weights))
