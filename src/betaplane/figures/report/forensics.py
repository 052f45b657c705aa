"""One alarm: what it rests on, what to change, and a replay of the last steps under other settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 400, 100  # of the drawing, which is stretched
MOST = 4.0  # times the band: where a bar ends

Row = Mapping[str, Any]


def card(number: int, alert: Row) -> str:
    """An alarm as a section of the page.

    Args:
        number: in the order told, from 1.
        alert: as the record has it.
    """
    place = f"step {alert['step']:,}" + (f" in {alert['layer']}" if alert["layer"] else "")
    return (
        f'<article id="alarm-{number}"><div>'
        f'<p class="where"><span class="chip failing">{number}</span>{escape(place)}</p>'
        f"<h3>{escape(alert['cause'])}</h3>"
        f"<p>{escape(alert['evidence'])}.</p><p class='why'>{escape(alert['why'])}</p>"
        f"<p class='change'><b>Change</b> <code>{escape(alert['change'])}</code></p>"
        f"<p class='source'>{escape(alert['source'])}</p></div>"
        f"<div>{replayed(alert.get('replayed') or {})}</div></article>"
    )


def replayed(found: Row) -> str:
    """A replay as a drawing and a table; a sentence where nothing left its normal band."""
    if not found.get("outcomes") or not found.get("sizes"):
        return ""
    sizes = [size for size in found["sizes"] if size is not None]
    whose = f"Update sizes of {escape(found['layer'])}, the last {len(sizes)} steps"
    if not _above(found["actual"]):
        told = "no update left its normal band, so other settings are not compared."
        return f"<p class='why'>{whose}: {told}</p>{drawing(sizes, found['band'], found['last'])}"
    rows = "".join(
        _outcome(each["name"], each["peak"], each["averts"]) for each in found["outcomes"]
    )
    head = "<tr><th>Replayed with</th><th>largest update, in bands</th><th></th></tr>"
    as_it_was = _outcome("as it was", found["actual"], False)
    return (
        f"<p class='why'>{whose}; the line is the top of their normal band.</p>"
        f"{drawing(sizes, found['band'], found['last'])}<table class='replayed'>{head}{as_it_was}{rows}</table>"
    )


def drawing(sizes: Sequence[float], band: float | None, last: int) -> str:
    """Bars of update sizes on a logarithmic scale; those of the later half that are above the band
    are marked.

    The earlier half is what the band was made of.
    """
    seen = [size for size in sizes if size > 0]
    if not seen or band is None or band <= 0:
        return ""
    low, high = math.log(min(min(seen), band) / 1.3), math.log(max(max(seen), band) * 1.1)
    wide = WIDTH / len(sizes)

    def height(size: float) -> float:
        return HEIGHT * (math.log(size) - low) / (high - low) if size > 0 else 0.0

    kinds = ["out" if size > band and 2 * i >= len(sizes) else "in" for i, size in enumerate(sizes)]
    bars = "".join(
        f'<rect class="{kind}" x="{i * wide:.2f}" y="{HEIGHT - height(size):.1f}" '
        f'width="{0.82 * wide:.2f}" height="{height(size):.1f}"/>'
        for i, (size, kind) in enumerate(zip(sizes, kinds, strict=True))
    )
    line, first = HEIGHT - height(band), last - len(sizes) + 1
    label = f"RMS of lr times update at steps {first} to {last}; the band ends at {band:.3g}"
    return (
        f'<svg class="sizes" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f'{bars}<line x1="0" x2="{WIDTH}" y1="{line:.1f}" y2="{line:.1f}"/></svg>'
        f'<p class="ends"><span>step {first:,}</span><span>{last:,}</span></p>'
    )


def _outcome(name: str, peak: float | None, averts: bool) -> str:
    share = 100 * min(peak if peak is not None else MOST, MOST) / MOST
    told = "not finite" if peak is None else f"{peak:.2f}"
    word = "within" if averts else ""
    bar = f"<i class='{word or 'outside'}' style='width:{share:.0f}%'></i>"
    return f"<tr><td><code>{escape(name)}</code></td><td><span class='bar'>{bar}</span>{told}</td><td>{word}</td></tr>"


def _above(actual: float | None) -> bool:
    """Whether there was something to avert; what is not finite is null in the record."""
    return actual is None or actual > 1
