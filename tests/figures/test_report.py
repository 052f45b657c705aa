"""Report of a watched run: arrays, text, page and picture, and rejected records."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from test_html import browser, embedded, needs_browser, silent, text  # noqa: F401

import betaplane
from betaplane.errors import BadInput
from betaplane.figures.report import (
    as_json,
    as_text,
    quantity,
    report_html,
    report_png,
    watched_run,
)
from betaplane.figures.report.page import MAX_COLUMNS, MAX_POINTS
from betaplane.figures.report.quantities import column_maxima, column_starts, edges
from betaplane.monitor import read_lines

STEPS, BROKEN = 120, 90
START = {
    "kind": "start",
    "optimizer": "AdamW",
    "module": "torch.optim.adamw",
    "groups": [{"lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8}],
    "every": 10,
    "time": "2026-01-01T00:00:00+00:00",
    "versions": {"torch": "2.13.0"},
}
REPLAYED = {
    "layer": "layer.1",
    "last": BROKEN,
    "actual": 3.0,
    "band": 1e-3,
    "sizes": [1e-4 * (1 + i % 3) for i in range(56)] + [3e-3] * 8,
    "outcomes": [
        {"name": "beta2=0.99", "change": {"beta2": 0.99}, "peak": 0.8, "averts": True},
        {"name": "eps=1e-10", "change": {"eps": 1e-10}, "peak": None, "averts": False},
    ],
}


def alert(step: int, cause: str, layer: str = "", **more: object) -> dict:
    fields = {
        "evidence": "2 < 3 & more",
        "why": "It harms.",
        "change": "beta2=0.95",
        "source": "A. Author, 2020",
    }
    return {"kind": "alert", "step": step, "layer": layer, "cause": cause, **fields, **more}


def record(layers: int = 3, every: int = 10) -> list[dict]:
    rows: list[dict] = [START]
    for step in range(1, STEPS + 1):
        rows.append(
            {"kind": "losses", "steps": [step], "values": [1.0 / step if step < 100 else None]}
        )
        for i in range(layers if step % every == 0 else 0):
            size = 5.0 if step == BROKEN and i == 1 else 0.5
            numbers = {
                "update_rms": size,
                "lag": size,
                "snr": None,
                "below_eps": 0.25,
                "finite": True,
                "lr": 1e-3,
            }
            rows.append(
                {
                    "kind": "reading",
                    "layer": f"layer.{i}",
                    "step": step,
                    "dtype": "float32",
                    **numbers,
                }
            )
    rows.append(alert(BROKEN, "second moment too noisy"))
    rows.append(alert(BROKEN, "stale second moment", "layer.1", replayed=REPLAYED))
    return rows


def page(rows: list[dict]) -> str:
    run = watched_run(rows)
    return report_html(run, "run.jsonl", quantity(run))


def test_record_becomes_arrays():
    run = watched_run(record())
    assert run.steps.tolist() == [*range(1, STEPS + 1)]
    assert run.losses[3] == 0.25
    assert math.isnan(run.losses[-1])
    assert run.layers == ["layer.0", "layer.1", "layer.2"]
    assert run.at.tolist() == [*range(10, STEPS + 1, 10)]
    assert run.values["update_rms"][1].tolist() == [
        5.0 if step == BROKEN else 0.5 for step in run.at
    ]
    assert [alert["cause"] for alert in run.alerts] == [
        "stale second moment",
        "second moment too noisy",
    ]


def test_whole_model_is_the_first_row(tmp_path):
    """The same values as `Watcher.totals`, from the record alone."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 30), torch.nn.Linear(30, 2))
    optimizer, path = torch.optim.AdamW(model.named_parameters(), 1e-2), tmp_path / "run.jsonl"
    with betaplane.watch(optimizer, path, every=2, budget=math.inf, console=False) as watcher:
        for _ in range(6):
            optimizer.zero_grad()
            model(torch.randn(16, 8)).square().mean().backward()
            optimizer.step()
        total = watcher.totals()[-1]
    run = watched_run(read_lines(path))
    assert run.layers == ["whole model", "0.weight", "0.bias", "1.weight", "1.bias"]
    assert run.at.tolist() == [1, 2, 4, 6]
    for name in (
        "update_rms",
        "lag",
        "ratio",
        "reach",
        "below_eps",
        "snr",
        "g_rms",
        "weight_rms",
        "weight_max",
    ):
        assert run.values[name][0, -1] == pytest.approx(getattr(total, name), rel=1e-5), name
    # no angle of a whole follows from those of its parts
    assert np.isnan(run.values["angle"][0]).all()


def test_last_run_is_the_default_of_several():
    rows = [
        *record(),
        {**START, "optimizer": "Lion"},
        {"kind": "losses", "steps": [1], "values": [7.0]},
    ]
    assert watched_run(rows).start["optimizer"] == "Lion"
    assert watched_run(rows, 1).last == STEPS
    assert "run 1 of 2 in the file" in as_text(watched_run(rows, 1), "run.jsonl")


def test_text_has_a_few_lines():
    lines = as_text(watched_run(record()), "run.jsonl").splitlines()
    assert (
        lines[0]
        == "run.jsonl: AdamW, lr 0.001, betas (0.9, 0.999), eps 1e-08, 120 steps, 3 tensors"
    )
    assert lines[1] == "loss 1 at first, 0.0101 at best, not finite at last"
    assert lines[2] == "First cause: stale second moment, step 90 in layer.1"
    assert lines[3].startswith(
        "1. step 90 in layer.1: stale second moment. 2 < 3 & more. It harms. Change: beta2=0.95."
    )
    assert as_text(watched_run(record()[:-2]), "run.jsonl").endswith("No alert in 120 steps")


def test_json_is_strict():
    report = json.loads(json.dumps(as_json(watched_run(record())), allow_nan=False))
    assert report["loss"] == {"first": 1.0, "best": 1 / 99, "last": None}
    assert report["layers"][1]["update_rms"] == {"last": 0.5, "largest": 5.0}
    assert report["alarms"][0]["replayed"]["outcomes"][0]["averts"]


def test_page_contains_every_value():
    data = embedded(page(record()))
    assert data["first"] == "lag"
    assert [each["name"] for each in data["quantities"]] == ["update_rms", "lag", "below_eps"]
    values = np.frombuffer(base64.b64decode(data["quantities"][0]["values"]), "<f4").reshape(3, 12)
    assert np.array_equal(values, watched_run(record()).values["update_rms"].astype("f4"))
    assert data["alerts"][0] == {"step": 90, "layer": "layer.1", "cause": "stale second moment"}


def test_texts_are_escaped():
    bad = "</script><script>alert(1)</script>"
    rows = [{**row, "layer": bad} if row["kind"] == "reading" else row for row in record()]
    text = page([*rows, alert(BROKEN, bad, bad, replayed={**REPLAYED, "layer": bad})])
    assert "<script>alert" not in text
    assert "2 &lt; 3 &amp; more" in text


def test_alert_card_shows_the_replay():
    text = page(record())
    assert text.count('<rect class="out"') == 8
    assert "<code>beta2=0.99</code>" in text
    assert "not finite" in text
    assert text.count("<td>within</td>") == 1
    calm = alert(BROKEN, "eps dominates", "layer.0", replayed={**REPLAYED, "actual": 0.5})
    assert "no update left its normal band" in page([*record(), calm])


def test_many_readings_share_columns_that_show_spikes():
    rows = record(layers=1)[:1]
    for step in range(1, 3001):
        rows.append(
            {"kind": "reading", "layer": "w", "step": step, "lag": 9.0 if step == 1234 else 1.0}
        )
        rows.append(
            {
                "kind": "losses",
                "steps": [3 * step, 3 * step + 1],
                "values": [1.0, 7.0 if step == 999 else 1.0],
            }
        )
    run = watched_run(rows)
    starts = column_starts(run, MAX_COLUMNS)
    assert len(starts) == MAX_COLUMNS
    maxima = column_maxima(run.values["lag"], starts)
    assert maxima.max() == 9.0
    at = edges(run, starts)
    assert at[maxima[0].argmax()] < 1234 < at[maxima[0].argmax() + 1]
    loss = embedded(page(rows))["loss"]
    assert len(loss["steps"]) <= MAX_POINTS
    assert max(loss["values"]) == 7.0


@pytest.mark.parametrize(
    "rows", [record(), record(200), record()[:1] + record()[-2:]], ids=["few", "200", "no layer"]
)
def test_picture_is_a_png(rows: list[dict]):
    run = watched_run(rows)
    assert report_png(run, "run.jsonl", quantity(run), dpi=40).startswith(b"\x89PNG")


def test_quantity_is_found_by_name():
    run = watched_run(record())
    assert quantity(run, "lag").label == "RMS_t"
    assert quantity(watched_run(record()[:1] + record()[-2:])) is None


def test_causes_of_older_records_get_their_present_name():
    old = alert(BROKEN, "second moment lost in its type", "layer.1")
    [loaded] = watched_run([*record()[:-2], old]).alerts
    assert loaded == {**old, "cause": "second moment underflow"}


def without(row: dict, name: str) -> dict:
    return {key: value for key, value in row.items() if key != name}


WRONG = {
    "empty": (lambda: watched_run([]), "Nothing was read in this run: expected a record of a watched run (report)."),
    "another file": (lambda: watched_run([{"a": 1}]), "Nothing was read in this run"),
    "only a start": (lambda: watched_run([START]), "Nothing was read in this run"),
    "run": (lambda: watched_run(record(), 2), "There is no such run in the record: got 2; expected 1 to 1 (report)."),
    "quantity": (
        lambda: quantity(watched_run(record()), "lagg"),
        "Unknown quantity 'lagg'. Did you mean 'lag'? Choose one of: update_rms, lag, below_eps (quantity). Try: "
        'quantity="lag"',
    ),
    "step": (
        lambda: watched_run([without(row, "step") for row in record()[-1:]]),
        "A line of kind alert has no usable step: got None;",
    ),
    "layer": (lambda: watched_run([{"kind": "reading", "step": 1}]), "A line of kind reading has no usable layer: got"),
    "values": (lambda: watched_run([{"kind": "losses", "steps": [1]}]), "A line of kind losses has no usable values:"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_rejected(name: str):
    call, message = WRONG[name]
    with pytest.raises(BadInput) as caught:
        call()
    assert str(caught.value).startswith(message)


# replacements for an item of a damaged line
LEAVES = [None, -1, 10**400, "x", [None], [{}], {}, {"x": [None]}, float("nan")]
READ = {"kind": "reading", "layer": "layer.0", "step": 10, "shape": [3], "lag": 1.0}
LINES = [
    START,
    READ,
    {"kind": "losses", "steps": [1], "values": [0.5]},
    alert(BROKEN, "dead rows", replayed=REPLAYED),
]


def damaged(value: Any) -> Iterator[tuple[Any, str]]:
    """Every copy of a value with one item replaced, and the name of the item."""
    for name, inner in (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    ):
        changed = [(leaf, "") for leaf in LEAVES] + [*damaged(inner)]
        for leaf, deeper in changed:
            copy = {**value} if isinstance(value, dict) else [*value]
            copy[name] = leaf
            yield copy, f"{name}.{deeper}" if isinstance(value, dict) else deeper


def refusal(rows: list[dict]) -> str:
    """The error of a report, "" if there is none."""
    try:
        run = watched_run(rows)
    except BadInput as error:
        return str(error)
    as_text(run, "run.jsonl")
    json.dumps(as_json(run))
    report_html(run, "run.jsonl", quantity(run))
    return ""


@pytest.mark.parametrize("i", range(4), ids=[row["kind"] for row in LINES])
def test_damaged_line_is_reported_or_ignored(i: int):
    """For any damage the report is written, or the error names the line's kind and field."""
    short = {**REPLAYED, "sizes": REPLAYED["sizes"][:2], "outcomes": REPLAYED["outcomes"][:1]}
    line = {**LINES[i], "replayed": short} if "replayed" in LINES[i] else LINES[i]
    refusals = [
        (place, refusal([*LINES[:i], row, *LINES[i + 1 :]])) for row, place in damaged(line)
    ]
    sentences = [(place.split(".")[0], sentence) for place, sentence in refusals if sentence]
    assert sentences
    for name, sentence in sentences:
        assert sentence.startswith(
            ("A line" if name == "kind" else f"A line of kind {line['kind']}") + " has no usable "
        )
        assert name in sentence


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"shape": [None]},
            "A line of kind reading has no usable shape: got None; expected lines that watch wrote",
        ),
        (
            {"kind": "losses", "steps": [None], "values": [1.0]},
            "A line of kind losses has no usable steps: got None",
        ),
        ({"kind": "start", "groups": -1}, "A line of kind start has no usable groups: got -1"),
        (
            {"kind": "start", "versions": None},
            "A line of kind start has no usable versions: got None",
        ),
        (
            alert(1, "dead rows", replayed="x"),
            "A line of kind alert has no usable replayed: got 'x'",
        ),
        (
            alert(1, "dead rows", replayed={"x": 1}),
            "A line of kind alert has no usable replayed.layer: got None",
        ),
        ({"kind": {}}, "A line has no usable kind: got {}"),
    ],
)
def test_damaged_field_is_named(change: dict, message: str):
    with pytest.raises(BadInput) as caught:
        watched_run([{**READ, **change}])
    assert str(caught.value).startswith(message)


def test_missing_or_non_finite_losses_are_described():
    never = watched_run([READ, {"kind": "losses", "steps": [1, 2], "values": [None, None]}])
    assert "\nloss not finite at any of the 2 steps that have one\n" in as_text(never, "run.jsonl")
    assert report_png(never, "run.jsonl", quantity(never), dpi=40).startswith(b"\x89PNG")
    assert "no loss was given" in as_text(watched_run([READ]), "run.jsonl")


def opened(browser, rows, folder):  # noqa: F811
    path = folder / "run.html"
    path.write_text(page(rows), encoding="utf-8")
    browser.get(path.as_uri())
    assert browser.execute_script("return document.documentElement.dataset.ready") == "true"


def drawn(browser) -> list[float]:  # noqa: F811
    return browser.execute_script("return Array.from(document.getElementById('curve').data[0].y)")


def numbers(browser) -> dict[str, str]:  # noqa: F811
    return dict(zip(*[iter(text(browser, "numbers").splitlines())] * 2, strict=True))


@needs_browser
@pytest.mark.parametrize("layers", [0, 200])
def test_page_opens_without_errors_or_network_at_any_width(browser, layers, tmp_path):  # noqa: F811
    opened(browser, record(layers), tmp_path)
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if url.startswith(("http", "ws", "ftp"))] == []
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    narrow = {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    try:
        # the page waits 100 ms before it draws again
        browser.execute_async_script("setTimeout(arguments[0], 600)")
        paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert sum(int(part) for part in paper.removeprefix("rgb(").rstrip(")").split(",")) < 100
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        assert silent(browser)
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@needs_browser
def test_page_starts_at_the_first_alert_and_follows_mouse_and_keyboard(browser, tmp_path):  # noqa: F811
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.select import Select

    opened(browser, record(), tmp_path)
    assert (text(browser, "layer"), text(browser, "at")) == ("layer.1", "step 90")
    assert numbers(browser) == {"update RMS": "5", "RMS_t": "5", "share below eps": "0.25"}
    assert max(drawn(browser)) == 5.0
    plot = browser.find_element("id", "map")
    plot.send_keys(Keys.ARROW_UP, Keys.ARROW_RIGHT)
    assert (text(browser, "layer"), text(browser, "at")) == ("layer.0", "step 100")
    assert max(drawn(browser)) == 0.5
    Select(browser.find_element("id", "quantity")).select_by_value("below_eps")
    assert text(browser, "about").startswith("share of elements")
    assert drawn(browser) == [0.25] * 12
    cells = browser.find_element("css selector", "#plot .pointer")
    across, down = (
        round(share * cells.size[side]) for share, side in ((-0.4, "width"), (0.47, "height"))
    )
    ActionChains(browser).move_to_element_with_offset(cells, across, down).click().perform()
    assert (text(browser, "layer"), text(browser, "at"), text(browser, "pin")) == (
        "layer.2",
        "step 10",
        "pinned",
    )
    assert silent(browser)
