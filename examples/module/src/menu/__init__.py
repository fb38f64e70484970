"""A project's own pipeline: the graph of sglang-ci with its model, its cases, and a stage more."""

from typing import Annotated

import dagger
from dagger import DefaultPath, Doc, dag, function, object_type

ASK = """
import json, urllib.request
body = {"text": "Starters:", "sampling_params": {"regex": "(soup|salad)", "max_new_tokens": 8}}
request = urllib.request.Request("http://server:30000/generate", json.dumps(body).encode(),
                                 {"Content-Type": "application/json"})
print(json.load(urllib.request.urlopen(request, timeout=60))["text"])
"""


@object_type
class Menu:
    """Proves the model that writes our menus, and publishes the image that serves it."""

    model: Annotated[dagger.Directory, Doc("Folder of the model")]
    cases: Annotated[dagger.Directory, DefaultPath("cases"), Doc("Our smoke cases")]

    def server(self) -> dagger.SglangCiServer:
        """Return our image as a service."""
        return dag.sglang_ci(model=self.model, smoke_cases=self.cases).image().serve()

    @function(cache="session")
    async def starter(self) -> str:
        """Return a starter that the served model chose: a stage of our own."""
        server = self.server()
        await server.ready().sync()
        return await (
            dag.container()
            .from_("python:3.11-slim")
            .with_service_binding("server", server.service())
            .with_exec(["python3", "-c", ASK])
            .stdout()
        )

    @function(cache="session")
    async def ci(self) -> dagger.Directory:
        """Return the report of every check, our stage's answer beside it."""
        report = self.server().report()
        return report.with_new_file("starter.txt", await self.starter())
