"""A server that may be hurt: the same image under a fault agent, for one check, never published."""

import dagger
from dagger import dag

SOURCE = "ci/health/agent.py"
AGENT = "/opt/fault-agent/agent.py"
PORT = 30_999


async def service(container: dagger.Container, arguments: list[str]) -> dagger.Service:
    """Return `container` as a service whose server is the child of a fault agent.

    So the container outlives the server and can tell how it ended, and each deadly fault gets
    a fresh server in it. The agent is mounted, and what is published isn't made from this.
    """
    starts = await container.entrypoint()
    agent = ["python3", "-I", AGENT, "--port", str(PORT), "--", *starts]
    source = dag.current_module().source().file(SOURCE)
    return (
        container.with_mounted_file(AGENT, source)
        .with_entrypoint(agent)
        .as_service(args=arguments, use_entrypoint=True)
    )


def run_of(run: str) -> str:
    """Return the run whose log such a server of `run` writes: two can't write one."""
    return f"{run}-victim"


async def agent(service: dagger.Service) -> str:
    """Return the URL of the fault agent in `service`."""
    return f"http://{await service.hostname()}:{PORT}"
