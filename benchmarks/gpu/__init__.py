"""The whole of sglang-ci on a real accelerator: proof, bench and gate on a Llama-3-8B shape."""
