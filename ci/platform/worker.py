"""SGLang's application as each of several HTTP workers imports it: the one that drains."""

import logging
import os
import signal

from ci.platform.crew import CREW, Crew
from ci.platform.drain import attach
from ci.platform.promise import SECONDS

__all__ = ["app"]

# Until it has started it has no work, and by itself it would start before it ends.
own = signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

from sglang.srt.entrypoints.http_server import app  # noqa: E402 - takes seconds

try:
    crew = Crew(os.environ[CREW])
    crew.join()
    attach(float(os.environ[SECONDS]), crew)
except Exception:
    signal.signal(signal.SIGTERM, own)
    logging.getLogger(__name__).exception("draining is SGLang's own in this worker")
