"""The questions to a server in their order, written once, and who gets a server to ask them.

Three drivers get a server and add nothing to the questions: `ci.graph.host` starts one on this
host, the Dagger module (`ci.module`) runs the image as a service beside which
`sglang-ci prove URL` runs, and that command takes any server that runs already.
"""

LEAVES = ("server.log",)
"""Patterns of the files that it leaves beside a report."""
