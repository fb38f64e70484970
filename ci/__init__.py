"""Prove SGLang serving images, from a commit to production."""
