"""What lets a real SGLang run with no accelerator: a platform plugin and a tiny model.

`cpu` is the plugin that SGLang discovers, `tiny/` the packaged model, and
`make_tiny_model` the script that made it.
"""

from pathlib import Path

TINY_MODEL = Path(__file__).parent / "tiny"
"""Folder of the packaged model: configuration and tokenizer, no weights (about 40 kB)."""
