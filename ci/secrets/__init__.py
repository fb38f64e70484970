"""Secrets of a run: which texts are some, and a veil over them in everything that is written."""
