"""The subcommands of `sglang-ci`, one module a room; `app` puts them together."""
