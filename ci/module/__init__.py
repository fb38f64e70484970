"""The Dagger module: the graph in containers. The only room that imports dagger.

One noun a file, and its methods return the next noun: `SglangCi → Image → Server → Report`,
and `Image → Release`. Plain functions (`build`, `prober`, `publisher`) do the work; the objects
document and delegate.
"""

from ci.module.image import Image
from ci.module.main import SglangCi
from ci.module.release import Environment, Release
from ci.module.report import Report
from ci.module.server import Server

__all__ = ["Environment", "Image", "Release", "Report", "Server", "SglangCi"]
