"""The subcommands of `sglang-ci`, one module a room; `ci.cli` puts them together."""
