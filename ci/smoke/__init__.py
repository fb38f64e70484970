"""Smoke cases: a pytest plugin, a suite, and the runner that turns them into a check."""
