"""HTML of one alert: its evidence, the remedy, and the replay of the last steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from betaplane.monitor.alert import shortened

WIDTH, HEIGHT = 400, 100  # of the drawing, which is stretched
MAX_BANDS = 4.0  # length of a full bar, in normal bands

Row = Mapping[str, Any]


def card(number: int, alert: Row) -> str:
    """An alert as a section of the page.

    Args:
        number: its position in the report, from 1.
        alert: the row of the record.
    """
    place = f"step {alert['step']:,}" + (f" in {alert['layer']}" if alert["layer"] else "")
    return (
        f'<article id="alert-{number}"><div>'
        f'<p class="where"><span class="chip failing">{number}</span>{escape(place)}</p>'
        f"<h3>{escape(alert['cause'])}</h3>"
        f"<p>{escape(alert['evidence'])}.</p><p class='why'>{escape(alert['why'])}</p>"
        f"<p class='change'><b>Change</b> <code>{escape(alert['change'])}</code></p>"
        f"{_examples(alert)}<p class='source'>{escape(alert['source'])}</p></div>"
        f"<div>{replay(alert.get('replayed') or {})}</div></article>"
    )


def _examples(alert: Row) -> str:
    """The action that was taken, and the examples of the step."""
    action, batch = alert.get("action"), alert.get("batch") or ()
    taken = f"<p><b>Action</b> {escape(str(action))}</p>" if action else ""
    return taken + (f"<p class='why'>Batch: {escape(shortened(batch))}</p>" if batch else "")


def replay(replayed: Row) -> str:
    """A replay as a drawing and a table; one sentence if every update stayed in its normal band."""
    if not replayed.get("outcomes") or not replayed.get("sizes"):
        return ""
    sizes = [size for size in replayed["sizes"] if size is not None]
    bars = drawing(sizes, replayed["band"], replayed["last"])
    title = f"Update sizes of {escape(replayed['layer'])}, the last {len(sizes)} steps"
    if not _exceeds_band(replayed["actual"]):
        note = "no update left its normal band, so other settings are not compared."
        return f"<p class='why'>{title}: {note}</p>{bars}"
    rows = "".join(
        _outcome(outcome["name"], outcome["peak"], outcome["averts"])
        for outcome in replayed["outcomes"]
    )
    head = "<tr><th>Replayed with</th><th>largest update, in bands</th><th></th></tr>"
    actual = _outcome("as it was", replayed["actual"], False)
    return (
        f"<p class='why'>{title}; the line is the top of their normal band.</p>"
        f"{bars}<table class='replayed'>{head}{actual}{rows}</table>"
    )


def drawing(sizes: Sequence[float], band: float | None, last: int) -> str:
    """Bars of update sizes on a logarithmic scale; later ones above the band are highlighted.

    The band comes from the earlier half.
    """
    positive = [size for size in sizes if size > 0]
    if not positive or band is None or band <= 0:
        return ""
    low = math.log(min(min(positive), band) / 1.3)
    high = math.log(max(max(positive), band) * 1.1)
    bar_width = WIDTH / len(sizes)

    def height(size: float) -> float:
        return HEIGHT * (math.log(size) - low) / (high - low) if size > 0 else 0.0

    classes = [
        "out" if size > band and 2 * i >= len(sizes) else "in" for i, size in enumerate(sizes)
    ]
    bars = "".join(
        f'<rect class="{css_class}" x="{i * bar_width:.2f}" y="{HEIGHT - height(size):.1f}" '
        f'width="{0.82 * bar_width:.2f}" height="{height(size):.1f}"/>'
        for i, (size, css_class) in enumerate(zip(sizes, classes, strict=True))
    )
    line, first = HEIGHT - height(band), last - len(sizes) + 1
    label = f"RMS of lr times update at steps {first} to {last}; the band ends at {band:.3g}"
    return (
        f'<svg class="sizes" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f'{bars}<line x1="0" x2="{WIDTH}" y1="{line:.1f}" y2="{line:.1f}"/></svg>'
        f'<p class="ends"><span>step {first:,}</span><span>{last:,}</span></p>'
    )


def _outcome(name: str, peak: float | None, averts: bool) -> str:
    share = 100 * min(peak if peak is not None else MAX_BANDS, MAX_BANDS) / MAX_BANDS
    text = "not finite" if peak is None else f"{peak:.2f}"
    label = "within" if averts else ""
    bar = f"<i class='{label or 'outside'}' style='width:{share:.0f}%'></i>"
    return f"<tr><td><code>{escape(name)}</code></td><td><span class='bar'>{bar}</span>{text}</td><td>{label}</td></tr>"


def _exceeds_band(actual: float | None) -> bool:
    """Whether there was a spike; the record has null for a size that is not finite."""
    return actual is None or actual > 1
