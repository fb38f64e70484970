"""The boards for Grafana, by its own types (`grafana-foundation-sdk`, the extra `observe`)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from ci.errors import UsageError
from ci.extras import install
from ci.monitoring.panels import Board, Panel, boards
from ci.settings import Settings

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import dashboard as made
    from grafana_foundation_sdk.builders import timeseries
    from grafana_foundation_sdk.models.dashboard import DataSourceRef

SPAN, HEIGHT = 12, 8
"""Width of a panel, of 24, and height."""
SOURCE = "${datasource}"
DEPLOYED = "deployed"
"""Name of the annotation of deployments: a release that wasn't there a while ago."""


def dashboards(settings: Settings) -> dict[str, str]:
    """Return file name to the JSON of each board.

    Raises:
        UsageError: The extra `observe` isn't installed.
    """
    if find_spec("grafana_foundation_sdk") is None:
        raise UsageError(f"Grafana's boards need another package: {install('observe')}")
    return {f"{board.name}.json": _json(board, settings) for board in boards(settings)}


def _json(board: Board, settings: Settings) -> str:
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    return JSONEncoder(sort_keys=True, indent=1).encode(_dashboard(board, settings).build()) + "\n"


def _dashboard(board: Board, settings: Settings) -> made.Dashboard:
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    found = (
        Dashboard(board.title)
        .uid(f"sglang-ci-{board.name}")
        .tags(["sglang"])
        .readonly()
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
    )
    found = _with_variables(found, settings)
    found.annotation(_deployments(settings))
    for at, panel in enumerate(board.panels):
        found.with_panel(_panel(panel, at))
    return found


def _source() -> DataSourceRef:
    from grafana_foundation_sdk.models.dashboard import DataSourceRef

    return DataSourceRef(type_val="prometheus", uid=SOURCE)


def _with_variables(found: made.Dashboard, settings: Settings) -> made.Dashboard:
    from grafana_foundation_sdk.builders.dashboard import DatasourceVariable, QueryVariable

    environments = (
        QueryVariable("environment")
        .label("Environment")
        .datasource(_source())
        .query(f'label_values(up{{job="{settings.observe.job}"}}, environment)')
        .multi(True)  # noqa: FBT003
        .include_all(True)  # noqa: FBT003
        .all_value(".*")
    )
    source = DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    return found.with_variable(source).with_variable(environments)


def _deployments(settings: Settings) -> made.AnnotationQuery:
    from grafana_foundation_sdk.builders.dashboard import AnnotationQuery

    labels = "environment, slot, release, version"
    group = f'group by ({labels}) (up{{job="{settings.observe.job}",release!=""}}'
    return (
        AnnotationQuery()
        .name(DEPLOYED)
        .datasource(_source())
        .enable(True)  # noqa: FBT003
        .icon_color("blue")
        .expr(f"{group}) unless {group} offset 5m)")
    )


def _panel(panel: Panel, at: int) -> timeseries.Panel:
    from grafana_foundation_sdk.builders.common import VizLegendOptions
    from grafana_foundation_sdk.builders.prometheus import Dataquery
    from grafana_foundation_sdk.builders.timeseries import Panel as Timeseries
    from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
    from grafana_foundation_sdk.models.dashboard import GridPos

    legend = VizLegendOptions().show_legend(True)  # noqa: FBT003
    legend.display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    place = GridPos(h=HEIGHT, w=SPAN, x=at % 2 * SPAN, y=at // 2 * HEIGHT)
    drawn = (
        Timeseries()
        .id(at + 1)
        .title(panel.title)
        .description(panel.about)
        .unit(panel.unit)
        .min(0)
        .legend(legend)
        .datasource(_source())
        .grid_pos(place)
    )
    for number, query in enumerate(panel.queries):
        asked = Dataquery().expr(query.expr).legend_format(query.legend).range()
        drawn.with_target(asked.ref_id(chr(ord("A") + number)).datasource(_source()))
    return drawn
