"""What the presets of dashboards draw, from what is declared: always the same for the same state. Pure.

Metrics of domains and of configuration sets exist where an event destination for CloudWatch has their dimensions, and
have these dimensions and no others. Where a dimension has values that nobody declares, such as a tag of the message, a
search finds the metrics. Rates of a set exist where its reputation metrics are enabled.

Source: SES Developer Guide, "Set up a CloudWatch event destination" and "Monitoring your sending reputation";
CloudWatch API reference, "Dashboard body structure and syntax"; CloudWatch User Guide, "CloudWatch search expressions".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from reconciler.model import Entry, State
from reconciler.resources import SECTIONS, children
from reconciler.resources.cloudwatch_dashboard import MOST_WIDGETS
from reconciler.resources.spec import Section, at_path

DRAWN: Final[Mapping[str, Section]] = {one.drawn_as: one for _, one in SECTIONS.values() if one.drawn_as}
"""Preset -> the section of the YAML that it draws."""
DOMAIN, SET = (DRAWN[preset].dimension for preset in ("domains", "sets"))
COUNTED: Final = ("Send", "Delivery", "Bounce", "Complaint", "Reject")
RATES: Final = ("Reputation.BounceRate", "Reputation.ComplaintRate")
HOUR: Final = 3600
WIDTH, HEIGHT = 12, 6

Dimensions = tuple[str, ...]
Metric = list[Any]


def body(preset: str, state: State) -> dict[str, Any]:
    """The body of a dashboard with a preset."""
    draw = {"domains": _domains, "sets": _sets, "account": _account}[preset]
    widgets = list(draw(state)) or [_text(f"Nothing is declared that the preset {preset} draws.")]
    for number, widget in enumerate(widgets):
        widget |= {"x": number % 2 * WIDTH, "y": number // 2 * HEIGHT, "width": WIDTH, "height": HEIGHT}
    return {"widgets": widgets}


def unpublished(preset: str, state: State) -> list[str]:
    """The regions in which nothing publishes the metrics of what a preset draws."""
    if preset not in DRAWN:
        return []
    drawn = {str(entry.region) for entry in _entries(state, preset) if not _has_rates(entry)}
    published = {str(one.region) for one in _entries(state, "sets") if _published(one, DRAWN[preset].dimension)}
    return sorted(drawn - published)


def _domains(state: State) -> Iterator[dict[str, Any]]:
    """A widget for each domain and region; where there are too many, one a metric, which a search fills."""
    entries, sets = _entries(state, "domains"), _entries(state, "sets")
    if len(entries) > MOST_WIDGETS:
        yield from _searched(entries, sets, DOMAIN)
        return
    for entry in entries:
        here = [one for one in sets if one.region == entry.region]
        own = [one for one in here if one.name in _named_by(entry)]
        found = {
            _series(dimensions, {DOMAIN: entry.name, SET: one.name})
            for one in own or here for dimensions in _published(one, DOMAIN)
        }  # fmt: skip
        yield _counts(entry, sorted(found) or [((DOMAIN, entry.name),)])


def _sets(state: State) -> Iterator[dict[str, Any]]:
    """Messages and rates of each configuration set in each of its regions."""
    entries = _entries(state, "sets")
    if 2 * len(entries) > MOST_WIDGETS:
        yield from _searched(entries, entries, SET)
        return
    for entry in entries:
        found = {_series(dimensions, {SET: entry.name}) for dimensions in _published(entry, SET)}
        yield _counts(entry, sorted(found) or [((SET, entry.name),)])
        yield _rates(f"{entry.name} in {entry.region}", str(entry.region), [SET, entry.name])


def _account(state: State) -> Iterator[dict[str, Any]]:
    for region in state.stack.regions:
        metrics: list[Metric] = [["AWS/SES", name] for name in COUNTED]
        yield _widget(f"Messages of {region}", region, metrics, stat="Sum")
        yield _rates(region, region, [])


def _entries(state: State, preset: str) -> list[Entry]:
    """What a preset draws, an entry a region, in an order of its own."""
    found = [entry for entry in state.section(DRAWN[preset].name) if entry.region is not None]
    return sorted(found, key=lambda entry: (entry.name, str(entry.region)))


def _named_by(entry: Entry) -> set[str | None]:
    """The sets that an entry names: those that its mail is sent with."""
    spec, sets = SECTIONS[entry.section][0], SECTIONS[DRAWN["sets"].name][0]
    return {one.name_in(entry.values) for one in spec.references if one.kind == sets.name}


def _has_rates(entry: Entry) -> bool:
    return at_path(entry.values, "reputation_options.reputation_metrics_enabled") is True


def _published(entry: Entry, wanted: str) -> list[Dimensions]:
    """The dimensions of the metrics that the event destinations of a set publish, those with ``wanted`` among them."""
    found: set[Dimensions] = set()
    for child in children(SECTIONS[entry.section][0].name):
        for _, _, destination in child.held_in(entry.values):
            listed = at_path(destination, "cloud_watch_destination.dimension_configurations") or ()
            names = tuple(sorted(str(one.get("dimension_name")) for one in listed if isinstance(one, Mapping)))
            if wanted in names and destination.get("enabled") is not False:
                found.add(names)
    return sorted(found)


def _series(dimensions: Dimensions, known: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Dimensions with their values; without a value those that nobody declares."""
    return tuple((name, known.get(name, "")) for name in dimensions)


def _counts(entry: Entry, found: Iterable[tuple[tuple[str, str], ...]]) -> dict[str, Any]:
    metrics = [_metric(name, series) for series in found for name in COUNTED]
    return _widget(f"{entry.name} in {entry.region}", str(entry.region), metrics, stat="Sum")


def _metric(name: str, series: Iterable[tuple[str, str]]) -> Metric:
    """A metric, or the search for those whose other dimensions have any value."""
    series = list(series)
    if all(value for _, value in series):
        return ["AWS/SES", name, *(text for pair in series for text in pair)]
    known = "".join(f' "{dimension}"="{value}"' for dimension, value in series if value)
    return [_search([dimension for dimension, _ in series], name, known)]


def _search(dimensions: Iterable[str], name: str, known: str = "") -> dict[str, str]:
    schema = ",".join(f'"{dimension}"' for dimension in dimensions)
    text = f'{{AWS/SES,{schema}}} MetricName="{name}"{known}'
    return {"expression": f"SEARCH('{text}', 'Sum', {HOUR})"}


def _searched(entries: list[Entry], sets: list[Entry], wanted: str) -> Iterator[dict[str, Any]]:
    """Where there is no room for each: a widget a region and metric, with all that a search finds."""
    for region in sorted({str(entry.region) for entry in entries}):
        here = {names for one in sets if one.region == region for names in _published(one, wanted)}
        for name in COUNTED:
            metrics: list[Metric] = [[_search(names, name)] for names in sorted(here) or [(wanted,)]]
            yield _widget(f"{name} by {wanted} in {region}", region, metrics, stat="Sum")


def _rates(title: str, region: str, dimensions: list[str]) -> dict[str, Any]:
    """The rates, with AWS's own lines for review (SES Developer Guide, "Amazon SES sending review process FAQs")."""
    bounces, complaints = RATES
    metrics: list[Metric] = [
        ["AWS/SES", bounces, *dimensions], ["AWS/SES", complaints, *dimensions, {"yAxis": "right"}],
    ]  # fmt: skip
    lines = [
        {"label": "bounces under review", "value": 0.05},
        {"label": "complaints under review", "value": 0.001, "yAxis": "right"},
    ]
    return _widget(f"Rates of {title}", region, metrics, stat="Average", annotations={"horizontal": lines})


def _widget(title: str, region: str, metrics: list[Metric], **more: Any) -> dict[str, Any]:
    drawn = {"title": title, "region": region, "view": "timeSeries", "period": HOUR, "metrics": metrics, **more}
    return {"type": "metric", "properties": drawn}


def _text(words: str) -> dict[str, Any]:
    return {"type": "text", "properties": {"markdown": words}}
