"""What a Prometheus' own configuration says of how a server is scraped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from ci.errors import UsageError
from ci.observe.relabel import Relabel, relabels, renaming
from ci.observe.scrapers import UNDERSCORES
from ci.settings.observe import ObserveSettings

RULES = "metric_relabel_configs"
VALIDATION, ESCAPING = "metric_name_validation_scheme", "metric_name_escaping_scheme"
"""What a Prometheus 3 calls how names may be, and how it has them written that aren't so."""
UTF_8 = "allow-utf-8"


@dataclass(frozen=True)
class ScrapeConfig:
    """How a server is scraped.

    Args:
        documents: The `metric_relabel_configs` as they are written.
        rules: The same, read.
        labels: Labels that targets are given.
        job: The scrape's name; empty where no configuration is known.
        legacy: Whether a Prometheus 3 asks for names without a colon.
    """

    documents: Sequence[Mapping[str, Any]] = ()
    rules: tuple[Relabel, ...] = ()
    labels: frozenset[str] = frozenset()
    job: str = ""
    legacy: bool = False


def scrape_config(settings: ObserveSettings) -> ScrapeConfig:
    """Return how the settings say that a server is scraped.

    Raises:
        UsageError: The configuration that they name can't be read, or has no such scrape.
    """
    if settings.scrape is None:
        documents = renaming(settings.rename)
        return ScrapeConfig(documents, relabels(documents))
    try:
        document = _document(settings.scrape)
        scrape = _scrape(_scrapes(document), settings.job)
        found = _of(scrape, settings.scrape.parent)
        return replace(found, legacy=_legacy(_general(document) | scrape))
    except UsageError as error:
        raise UsageError(f"{settings.scrape}: {error}") from error


def _document(path: Path) -> Any:
    """Return what stands in a file of YAML or JSON.

    Raises:
        UsageError: It is none.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path.name} can't be read: {error.strerror}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{path.name} is no YAML: {error}") from error


def _general(document: Any) -> dict[str, Any]:
    """Return what a configuration says of all scrapes."""
    found = document.get("global") if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


def _legacy(scrape: Mapping[str, Any]) -> bool:
    """Return whether a Prometheus 3 asks for names without a colon.

    Raises:
        UsageError: It asks for names in a way that isn't followed here.
    """
    usual = UNDERSCORES if scrape.get(VALIDATION) == "legacy" else UTF_8
    found = scrape.get(ESCAPING) or usual
    if found not in {UNDERSCORES, UTF_8}:
        raise UsageError(f"{ESCAPING}: {found} isn't followed here")
    return bool(found == UNDERSCORES)


def _scrapes(found: Any) -> list[dict[str, Any]]:
    """Return the scrapes of a configuration; of the list alone where it is one.

    Raises:
        UsageError: It is none.
    """
    scrapes = found.get("scrape_configs") if isinstance(found, dict) else found
    if not isinstance(scrapes, list) or not all(isinstance(one, dict) for one in scrapes):
        raise UsageError("has no scrape_configs, so it is no configuration of Prometheus")
    return scrapes


def _scrape(scrapes: Sequence[dict[str, Any]], job: str) -> dict[str, Any]:
    """Return the scrape of a job, or the only one that there is.

    Raises:
        UsageError: There is none such.
    """
    named = [one for one in scrapes if one.get("job_name") == job]
    if named or len(scrapes) == 1:
        return (named or list(scrapes))[0]
    there = ", ".join(str(one.get("job_name")) for one in scrapes) or "none"
    raise UsageError(f"has no job {job}, but {there}: name it by observe.job")


def _of(scrape: Mapping[str, Any], folder: Path) -> ScrapeConfig:
    documents = _list(scrape, RULES)
    written = (str(one.get("target_label", "")) for one in _list(scrape, "relabel_configs"))
    names = {*written, *_given(scrape, folder)}
    labels = frozenset(name for name in names if name and not name.startswith("__"))
    job = str(scrape.get("job_name", ""))
    return ScrapeConfig(documents, relabels(documents), labels, job)


def _given(scrape: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Yield the labels that lists of targets give, of the configuration and of files beside it."""
    lists: list[Any] = _list(scrape, "static_configs")
    for one in _list(scrape, "file_sd_configs"):
        for pattern in one.get("files") or ():
            path = folder / str(pattern)
            for file in sorted(path.parent.glob(path.name)):
                found = _document(file)
                lists += found if isinstance(found, list) else []
    for one in lists:
        labels = one.get("labels") if isinstance(one, dict) else None
        yield from map(str, labels or ())


def _list(scrape: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = scrape.get(key) or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise UsageError(f"{key} of {scrape.get('job_name')} is no list of tables")
    return list(found)
