"""Draw the pictures of the README anew: `make ci pictures`, which shows that run's report.

The graph is drawn from the questions as the code has them; the report is what a browser shows
of its page. The browser is Chromium, such as Debian's package of that name.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ci.graph.questions import QUESTIONS
from docs.pictures.graph import draw

HERE = Path(__file__).parent
SIZE = (1120, 860)
HANG = 120.0
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
)  # fmt: skip


def graph() -> str:
    """Return the picture of the graph, as SVG."""
    return draw([(question.name, question.asks) for question in QUESTIONS])


def photographed(page: Path, picture: Path, size: tuple[int, int] = SIZE) -> None:
    """Write the top of a page, as a browser shows it, as PNG.

    Args:
        page: An HTML or SVG file.
        picture: The file to write.
        size: Width and height of the window, in pixels.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("pictures: no browser: install the package chromium")
    with tempfile.TemporaryDirectory() as profile:
        told = (f"--user-data-dir={profile}", f"--screenshot={picture}")
        window = f"--window-size={size[0]},{size[1]}"
        subprocess.run(
            [browser, *QUIET, *told, window, page.absolute().as_uri()],
            check=True, capture_output=True, timeout=HANG,
        )  # fmt: skip


def main(report: Path) -> None:
    """Draw both.

    Args:
        report: Folder of a report.
    """
    (HERE / "graph.svg").write_text(graph(), encoding="utf-8")
    photographed(report / "index.html", HERE / "report.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
