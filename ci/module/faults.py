"""A server that may be hurt, or started anew: the same image under an agent, never published."""

import dagger
from dagger import dag

SOURCE = "ci/health/agent.py"
AGENT = "/opt/fault-agent/agent.py"
PORT = 30_999
LINGER = "3600"
"""Seconds for which an agent without a server waits to be asked for one."""


async def service(
    container: dagger.Container, arguments: list[str], *, idle: bool = False
) -> dagger.Service:
    """Return `container` as a service whose server is the child of a fault agent.

    So the container outlives the server and can tell how it ended, and each deadly fault gets
    a fresh server in it. The agent is mounted, and what is published isn't made from this.

    Args:
        container: What runs.
        arguments: Of its entrypoint.
        idle: Whether the agent first starts the server when it is asked to.
    """
    waiting = ["--idle", "--linger", LINGER] if idle else []
    starts = await container.entrypoint()
    agent = ["python3", "-I", AGENT, "--port", str(PORT), *waiting, "--", *starts]
    source = dag.current_module().source().file(SOURCE)
    return (
        container.with_mounted_file(AGENT, source)
        .with_exposed_port(PORT)
        .with_entrypoint(agent)
        .as_service(args=arguments, use_entrypoint=True)
    )


def run_of(run: str) -> str:
    """Return the run whose log such a server of `run` writes: two can't write one."""
    return f"{run}-victim"


async def agent(service: dagger.Service) -> str:
    """Return the URL of the fault agent in `service`."""
    return f"http://{await service.hostname()}:{PORT}"
