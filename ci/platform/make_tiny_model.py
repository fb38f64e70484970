"""Make the packaged tiny model: a Llama with a byte-level tokenizer and no weights.

Run it where `transformers` is installed (any SGLang environment):

    python -m ci.platform.make_tiny_model [FOLDER]

Its output is committed in `ci/platform/tiny`, and a test makes it anew and compares.
SGLang fills the weights itself (`--load-format dummy`, seeded), so that a few
configuration files are a whole model that any CPU serves in milliseconds a token.
"""

import json
import sys
from pathlib import Path

from ci.platform import TINY_MODEL

VOCABULARY = 512
CONTEXT = 8192
SPECIAL = ("<s>", "</s>", "<pad>")

TEXT = """
The server listens on a port and answers each request with a stream of tokens.
{"name": "value", "count": 1, "items": [true, false, null], "city": "Paris"}
<item id="1">text</item> <name>value</name> key: value - first - second
user: assistant: system: What is the capital of the country? Answer in one word.
0 1 2 3 4 5 6 7 8 9 10 100 1000 2024 2025 2026
Every model that is served has a context, a vocabulary and a template; a conversation is
made of messages, and each message has a role and a content. Please write a short story
about the weather, the mountains and the sea; describe people, places, music, science and
history. Return only valid JSON with the requested keys, or a list of strings, or an
integer between one and ten. Hello world, how are you today? Thank you very much, I am fine.
Translate the following sentence into French, summarise this paragraph, explain why water
freezes, compare these numbers, complete the function, correct the error, choose an option.
def main(argument): return argument + 1  # comment  for index in range(10): print(index)
"""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ message['role'] + ': ' + message['content'] + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)

LAUNCH_FLAGS = """\
# Read by launch.sh: flags that belong to this model, before the caller's own.
--load-format=dummy
--enable-metrics
"""


def make(folder: Path) -> None:
    """Write configuration, tokenizer and launch flags to `folder`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT.splitlines(), trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIAL[0],
        eos_token=SPECIAL[1],
        pad_token=SPECIAL[2],
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
    ).save_pretrained(folder)
    LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        dtype="bfloat16",
    ).save_pretrained(folder)
    (folder / "launch.flags").write_text(LAUNCH_FLAGS)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else TINY_MODEL)
