"""The demonstration of a deployment, in one container of an image: servers, HAProxy, streams."""

import uuid

import dagger
from dagger import dag

from ci.module import prober
from ci.module.build import USER
from ci.module.engine import explained
from ci.module.report import Report

INSTALLER = "requirements/install.sh"
AT = "/opt/demo"


async def demonstrated(image: dagger.Container) -> Report:
    """Return what `sglang-ci deploy demo` finds in a container of `image`, with Debian's HAProxy.

    Raises:
        ImageUnavailable: HAProxy can't be installed there.
    """
    script = dag.current_module().source().file(INSTALLER)
    with explained("HAProxy can't be installed in the image"):
        routed = await (
            image.with_user("root")
            .with_mounted_file(f"{AT}/{INSTALLER}", script)
            .with_exec(["sh", f"{AT}/{INSTALLER}", "haproxy"], use_entrypoint=False)
            .with_directory("/report", dag.directory(), owner=USER)
            .with_user(USER)
            .with_env_variable("RUN_ID", uuid.uuid4().hex)
            .sync()
        )
    asked = prober.ask(routed, "deploy", "demo")
    return await Report.of(await prober.answer(asked, "deploy"))
