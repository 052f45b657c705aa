"""The page is one file, escapes its texts, keeps its curves, and works in a browser."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from examples import ALL, bulge

from betaplane.figures import _curves, html

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
BROWSER = bool(CHROMIUM and DRIVER and importlib.util.find_spec("selenium"))
needs_browser = pytest.mark.skipif(not BROWSER, reason="needs chromium, chromedriver and selenium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,1000",
)  # fmt: skip


def embedded(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found
    return json.loads(found[1])


@pytest.mark.parametrize("name", ALL)
def test_every_example_is_one_page_of_strict_json(name):
    page = html(ALL[name]())
    data = embedded(page)
    assert len(base64.b64decode(data["codes"])) == len(data["x"]["values"]) * len(
        data["y"]["values"]
    )
    assert len(page.encode()) < 1.5e6


def test_texts_are_escaped():
    page = html(ALL["all_good"]())
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_what_is_not_finite_is_said_in_json():
    phase_map = bulge()
    data = embedded(
        html(
            replace(phase_map, initial=float("nan"), p_fail=np.full(phase_map.p_fail.shape, np.nan))
        )
    )
    assert data["initial"] is None
    assert "inf" in data["cells"]["score"]


@pytest.mark.parametrize("shift", [0.0, -3.0], ids=["positive", "of any sign"])
def test_curves_survive_one_byte_a_point(shift):
    phase_map = replace(bulge(), best=0.02 + shift)
    curves = [cell.curve + shift for cell in phase_map.cells.values()]
    code = _curves.encode(phase_map, curves)
    assert code["log"] == (shift == 0.0)
    levels = np.frombuffer(base64.b64decode(code["codes"]), np.uint8)
    parts = np.split(levels, np.cumsum(code["lengths"])[:-1])
    for curve, part, low, high in zip(curves, parts, code["lows"], code["highs"], strict=True):
        u = low + (part - 1.0) / code["levels"] * (high - low)
        back = 10**u if code["log"] else code["best"] + code["unit"] * np.sinh(u)
        finite = np.isfinite(curve)
        assert ((part > 0) == finite).all()
        assert np.allclose(back[finite], curve[finite], rtol=0.05, atol=0.02)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def opened(browser, phase_map, folder):
    path = folder / "map.html"
    path.write_text(html(phase_map), encoding="utf-8")
    browser.get(path.as_uri())
    assert browser.execute_script("return document.documentElement.dataset.ready") == "true"
    return browser


def text(browser, element: str) -> str:
    return browser.find_element("id", element).text


def silent(browser) -> bool:
    return [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def loss_drawn(browser) -> list[float]:
    return browser.execute_script("return document.getElementById('curve').data[0].y")


@needs_browser
@pytest.mark.parametrize("name", ["bulge", "all_good"])
def test_it_opens_without_errors_or_network(browser, name, tmp_path):
    opened(browser, ALL[name](), tmp_path)
    assert silent(browser)
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if url.startswith(("http", "ws", "ftp"))] == []


@needs_browser
def test_hovering_a_cell_shows_its_curve(browser, tmp_path):
    from selenium.webdriver.common.action_chains import ActionChains

    phase_map = bulge()
    opened(browser, phase_map, tmp_path)
    before = loss_drawn(browser)
    drag = browser.find_element("css selector", "#plot .pointer")
    ActionChains(browser).move_to_element_with_offset(
        drag, 0, round(0.35 * drag.size["height"])
    ).perform()
    shown = dict(part.rsplit(" ", 1) for part in text(browser, "settings").split(", "))
    data = embedded(html(phase_map))
    i, j = (data[side]["values"].index(shown[data[side]["symbol"]]) for side in "xy")
    cell = phase_map.cells[i, j]
    after = loss_drawn(browser)
    assert after != before
    expected = [value for value in cell.curve if np.isfinite(value)]
    assert np.allclose([y for y in after if y is not None], expected, rtol=0.08)
    assert text(browser, "chip") == ("good", "degraded", "failing")[cell.verdict]


@needs_browser
def test_keys_move_pin_and_let_go(browser, tmp_path):
    from selenium.webdriver.common.keys import Keys

    opened(browser, ALL["quadtree"](), tmp_path)
    assert silent(browser)
    first = text(browser, "settings")
    stage = browser.find_element("id", "map")
    stage.send_keys(Keys.ARROW_LEFT)
    assert text(browser, "settings") != first
    stage.send_keys(Keys.ENTER)
    assert "pinned" in text(browser, "pin")
    stage.send_keys(Keys.ESCAPE)
    assert "pinned" not in text(browser, "pin")


@needs_browser
def test_a_diverged_cell_says_so(browser, tmp_path):
    from selenium.webdriver.common.keys import Keys

    opened(browser, ALL["all_failing"](), tmp_path)
    assert silent(browser)
    stage = browser.find_element("id", "map")
    for _ in range(6):
        stage.send_keys(Keys.ARROW_UP, Keys.ARROW_RIGHT)
    assert text(browser, "score") == "diverged"
    assert text(browser, "chip") == "failing"
    assert len(loss_drawn(browser)) > 10


@needs_browser
def test_a_predicted_cell_tells_what_was_replayed(browser, tmp_path):
    from betaplane.maps import predict_map
    from betaplane.problems import counterexample
    from betaplane.replay import record_problem, replay_gradients

    replay = replay_gradients(
        record_problem(counterexample(n=10), steps=10), [0.0, 0.5, 0.9], [0.5, 0.9, 0.99, 0.999]
    )
    opened(browser, predict_map(replay), tmp_path)
    assert silent(browser)
    assert text(browser, "curve-title").startswith("cost ")
    assert "predicted, not trained" in text(browser, "pin")
    assert text(browser, "final") == ""  # not shown: there are no losses
    assert not browser.find_element("id", "curve").is_displayed()


def test_undecided_cells_are_marked_and_explained():
    plain = bulge(points=8)
    spots = [(1, 2), (3, 4)]
    cells = {spot: replace(cell, decided=spot not in spots) for spot, cell in plain.cells.items()}
    page = html(replace(plain, cells=cells))
    places = [[plain.x.positions[i], plain.y.positions[j]] for i, j in spots]
    assert np.allclose(embedded(page)["undecided"], places, rtol=1e-4)
    assert "<b>✕ undecided</b> seeds disagree" in page
    assert embedded(html(plain))["undecided"] == []
    assert "undecided</b>" not in html(plain)
