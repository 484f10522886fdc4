"""A session's report as a page: one HTML file that needs nothing else, to be looked at in any browser."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

import numpy as np

from drift_robot.charts import to_svg
from drift_robot.session_charts import draw_session
from drift_robot.session_report import Event, SessionReport
from drift_robot.statistics import Rate

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1f2328; margin: 0 auto; max-width: 1180px; padding: 24px; }
h1 { font-size: 26px; margin: 0; } h2 { font-size: 18px; margin: 32px 0 8px; }
.quiet { color: #57606a; } .bad { color: #cf222e; } .good { color: #1a7f37; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 12px; margin: 20px 0; }
.card { border: 1px solid #d0d7de; border-radius: 8px; padding: 10px 14px; }
.card b { display: block; font-size: 25px; line-height: 1.25; } .card span { color: #57606a; font-size: 13px; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 3px 14px 3px 0; border-bottom: 1px solid #eaeef2; vertical-align: top; }
svg { width: 100%; height: auto; } details { margin-top: 12px; } summary { cursor: pointer; }
"""
MODES = {"collect": "Collecting demonstrations", "adapt": "Adapting", "evaluate": "Evaluating"}


def page(report: SessionReport) -> str:
    """Return the page's HTML."""
    mode = MODES.get(report.sittings[-1].mode, "Session") if report.sittings else "Session"
    charts = draw_session(report, to_svg) or '<p class="quiet">There is nothing to draw yet.</p>'
    parts = [
        f"<h1>{escape(mode)}: {escape(report.task)}</h1>",
        f'<p class="quiet">{_whereabouts(report)}</p>',
        _endings(report),
        f'<div class="cards">{"".join(_cards(report))}</div>',
        charts,
        *_sections(report),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(mode)}: {escape(report.task)}</title><style>{STYLE}</style></head>\n"
        f"<body>{chr(10).join(parts)}</body></html>\n"
    )


def _whereabouts(report: SessionReport) -> str:
    words = [report.folder, report.operator, f"drift-robot {report.software}"]
    if report.sittings:
        last = report.sittings[-1]
        words.append("in lock-step" if last.device is None else f"in real time, device {last.device}")
        words.append(f"{_time(report.sittings[0].began_utc)} to {_time(last.ended_utc)} UTC")
    return escape(" · ".join(word for word in words if word))


def _endings(report: SessionReport) -> str:
    """Say how the session ended, and where it broke off."""
    if not report.sittings:
        return '<p class="quiet">What happened beside the episodes was not recorded.</p>'
    lines = [sitting.ending or "It was killed: no end was recorded." for sitting in report.sittings]
    if len(lines) == 1:
        return f"<p>{escape(lines[0])}</p>"
    return f"<ol>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ol>"


def _cards(report: SessionReport) -> Iterable[str]:
    places: list[str] = [row.place for row in report.episodes]
    aside = [
        f"{places.count(place)} {words}" for place, words in (("bin", "in the bin"), ("interrupted", "interrupted"))
    ]
    yield _card(f"{places.count('session')}", "episodes", ", ".join(words for words in aside if words[0] != "0"))
    yield _card(f"{report.success.rate:.0%}", "success", _interval(report.success))
    lengths_s = report.interventions_s
    if report.versions:
        median = f"median {np.median(lengths_s):.1f} s, longest {max(lengths_s):.1f} s" if lengths_s else ""
        yield _card(f"{len(lengths_s)}", "interventions", median)
    yield _card(f"{report.expert_steps}", "expert steps", "labels to learn from")
    if report.training:
        last = report.training[-1]
        offers = [training.offer for training in report.training]
        yield _card(
            f"{last.training_s / 60:.1f} min",
            "training",
            f"{last.rounds} rounds, {last.updates} batches of {np.mean([t.batch_ms for t in report.training]):.0f} ms",
        )
        yield _card(
            f"{len(report.swaps)}",
            "versions swapped in",
            f"{offers.count('published')} published, {offers.count('refused')} refused",
        )
    restarts = sum(report.restarts.values())
    yield _card(
        f"{len(report.faults)}", "faults", f"{restarts} restarts of processes", bad=bool(report.faults or restarts)
    )


def _card(figure: str, name: str, more: str, bad: bool = False) -> str:
    colour = ' class="bad"' if bad else ""
    return f'<div class="card"><b{colour}>{escape(figure)}</b>{escape(name)}<br><span>{escape(more)}</span></div>'


def _sections(report: SessionReport) -> Iterable[str]:
    if report.versions:
        rows = [
            (f"v{row.version}", row.episodes, _rate(row.success), _rate(row.alone), row.interventions)
            for row in report.versions
        ]
        heads = ("version", "episodes", "success (95 % interval)", "without help (95 % interval)", "interventions")
        yield "<h2>Versions</h2>" + _table(heads, rows)
    if report.latencies:
        quantiles = [
            (latency.name, latency.meaning, len(latency.values_ms),
             *(f"{latency.quantile_ms(share):.1f} ms" for share in (0.5, 0.99, 1.0)))
            for latency in report.latencies
        ]  # fmt: skip
        yield "<h2>Latencies</h2>" + _table(("", "measured", "number", "median", "99 %", "longest"), quantiles)
    if report.cadence:
        loops = []
        for loop in ("control", "arm"):
            own = [row for row in report.cadence if row.loop == loop]
            if own:
                lowest, late = min(row.lowest_hz for row in own), max(row.worst_late_s for row in own)
                loops.append((loop, f"{own[-1].target_hz:.0f} Hz", f"{lowest:.1f} Hz", f"{1000 * late:.0f} ms"))
        yield "<h2>Cadence</h2>" + _table(("loop", "wanted", "lowest over 2 s", "latest"), loops)
    if report.faults or report.restarts or report.refusals or report.damaged:
        yield "<h2>Faults and refusals</h2>" + _table(
            ("", "what", "times or when"),
            [
                *(("fault", event["sentence"], _time(event["utc"])) for event in report.faults),
                *(("restarted", f"the {name} process", f"{count} times") for name, count in report.restarts.items()),
                *(("not done", sentence, f"{count} times") for sentence, count in report.refusals.items()),
                *(("damaged", sentence, "") for sentence in report.damaged),
            ],
        )
    if report.swaps or any(training.offer == "refused" for training in report.training):
        yield "<h2>Versions offered</h2>" + _table(("when", "what", ""), _offers(report))
    yield _folded("Every episode", _episodes(report))
    if report.said:
        yield _folded("What was said", _table(("when", ""), [(_time(e["utc"]), e["sentence"]) for e in report.said]))


def _offers(report: SessionReport) -> list[tuple[object, ...]]:
    """Return what became of each version, by time: published or refused by the trainer, swapped in by the session."""
    published, refused = ([t for t in report.training if t.offer == offer] for offer in ("published", "refused"))
    offers = [
        *((training.utc, f"version {training.version} is published", "") for training in published),
        *((training.utc, "a candidate is refused", training.message) for training in refused),
    ]
    swaps = [(swap["utc"], f"version {swap['version']} is swapped in", _waited(report, swap)) for swap in report.swaps]
    return [(_time(utc), what, more) for utc, what, more in sorted(offers + swaps)]


def _waited(report: SessionReport, swap: Event) -> str:
    """Return which version a swap has replaced, and how long the new one had waited for the end of an episode."""
    replaced = f"in place of version {swap['before']}"
    published = [t.utc for t in report.training if t.offer == "published" and t.version == swap["version"] and t.utc]
    if not published or swap["version"] < swap["before"]:  # an earlier version came back
        return replaced
    waited_s = (datetime.fromisoformat(swap["utc"]) - datetime.fromisoformat(published[0])).total_seconds()
    return f"{waited_s:.1f} s after it was published, {replaced}"


def _episodes(report: SessionReport) -> str:
    alarms = any(row.alarm is not None for row in report.episodes)
    heads = (
        "number",
        "",
        "outcome",
        "version",
        "s",
        "steps",
        "expert steps",
        "interventions",
        *(("alarm level", "raised") if alarms else ()),
    )
    rows = [
        (row.index, "" if row.place == "session" else row.place, row.outcome,
         f"v{row.version}" if row.version >= 0 else "-", f"{row.duration_s:.1f}", row.steps, row.expert_steps,
         ", ".join(f"{length_s:.1f} s" for length_s in row.interventions_s),
         *(("-" if row.alarm is None else f"{row.alarm:.2g}", row.alarms) if alarms else ()))
        for row in report.episodes
    ]  # fmt: skip
    return _table(heads, rows)


def _folded(title: str, content: str) -> str:
    return f"<details><summary><b>{escape(title)}</b></summary>{content}</details>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _interval(rate: Rate) -> str:
    return f"{rate.low:.0%} to {rate.high:.0%} (95 %)" if rate.episodes else ""


def _rate(rate: Rate) -> str:
    return f"{rate.rate:.0%} ({rate.low:.0%} to {rate.high:.0%})"


def _time(utc: str) -> str:
    return datetime.fromisoformat(utc).strftime("%Y-%m-%d %H:%M:%S") if utc else ""
