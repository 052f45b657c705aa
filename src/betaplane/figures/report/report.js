"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const { layers, steps, edges, alerts, colors } = data;
  const tables = new Map(data.quantities.map((q) => [q.name, decode(q.values)]));
  const known = new Map(data.quantities.map((q) => [q.name, q]));
  const lossTall = 190, gap = 34, above = 24, below = 78, rowTall = Math.min(26, Math.max(4, 420 / Math.max(layers.length, 1)));
  const mapTall = layers.length ? Math.min(1400, Math.max(60, Math.round(rowTall * layers.length))) : 0;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let drawn = null, shown = data.first, here = firstSpot(), pinned = false, range = null, zoomed = false;

  function decode(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Float32Array(bytes.buffer);
  }

  // Begin at the first alert's layer and step.
  function firstSpot() {
    const alert = alerts[0], layer = alert ? Math.max(0, layers.indexOf(alert.layer)) : 0;
    const column = alert ? edges.findIndex((edge) => edge > alert.step) - 1 : steps.length - 1;
    return [layer, column < 0 ? steps.length - 1 : column];
  }

  const valueOf = (name, layer, column) => tables.get(name)[layer * steps.length + column];
  const number = (value) => (Number.isFinite(value) ? String(Number(value.toPrecision(3))) : "–");
  const ink = () => getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
  const muted = () => getComputedStyle(document.documentElement).getPropertyValue("--muted").trim();
  const rule = () => getComputedStyle(document.documentElement).getPropertyValue("--rule").trim();
  const font = () => ({ family: getComputedStyle(document.body).fontFamily, size: 12, color: ink() });
  const alertColor = () => (dark.matches ? "#f08cb8" : colors.solid[2]);
  const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");

  // ---- the layers ------------------------------------------------------------------------------------------------
  // Values below `edge` are teal, those above it orange to plum; a quantity without an edge is teal throughout.
  function scale(q, low, high) {
    const [calm, warm, bad] = colors.ramps;
    if (q.edge === null) return [[0, calm[0]], [0.5, calm[1]], [1, "#14524b"]];
    const at = Math.min(0.999, Math.max(0.001, (place(q, q.edge) - low) / (high - low)));
    return [[0, calm[0]], [at, "#2f8f84"], [at, warm[0]], [at + 0.5 * (1 - at), warm[1]], [1, bad[0]]];
  }

  const place = (q, value) => (q.log ? Math.log10(value) : value);

  function ends(q) {
    const all = Array.from(tables.get(q.name), (value) => place(q, value)).filter(Number.isFinite);
    let low = Infinity, high = -Infinity;
    for (const value of all) { low = Math.min(low, value); high = Math.max(high, value); }
    if (!all.length) [low, high] = [0, 1];
    if (q.edge !== null) high = Math.max(high, place(q, q.edge) + (q.log ? 0.3 : 0.5 * q.edge));
    if (!q.log) low = Math.min(low, 0);
    if (q.log && q.edge !== null) low = Math.max(low, place(q, q.edge) - 4);
    return high - low > 1e-6 ? [low, high] : [low - 0.5, high + 0.5];
  }

  function heatmap() {
    const q = known.get(shown), [low, high] = ends(q), table = tables.get(shown);
    const z = layers.map((_, i) => Array.from(table.subarray(i * steps.length, (i + 1) * steps.length), (value) => {
      const at = place(q, value);
      return at === -Infinity ? low : Number.isFinite(at) ? at : null;
    }));
    const ticks = q.log ? decades(low, high) : undefined;
    return { type: "heatmap", x: edges, y: layers.map((_, i) => i), z, zmin: low, zmax: high, colorscale: scale(q, low, high), hoverinfo: "none", yaxis: "y2",
      colorbar: { orientation: "h", thickness: 8, len: 0.5, x: 1, xanchor: "right", yref: "container", y: 0, yanchor: "bottom", ypad: 2, outlinewidth: 0, tickfont: { ...font(), size: 11, color: muted() },
        ...(ticks ? { tickvals: ticks, ticktext: ticks.map((tick) => number(10 ** tick)) } : { nticks: 5 }) } };
  }

  function decades(low, high) {
    const every = Math.max(1, Math.ceil((high - low) / 5));
    const found = [];
    for (let ten = Math.ceil(low); ten <= high; ten += every) found.push(ten);
    return found.length > 1 ? found : [low, (low + high) / 2, high];
  }

  function lossLine() {
    const { steps: x, values: y } = data.loss;
    return { type: "scatter", mode: "lines", x, y, line: { color: ink(), width: 1.4 }, hoverinfo: "none", showlegend: false };
  }

  const lossLog = (() => {
    const found = data.loss.values.filter((value) => typeof value === "number");
    return found.length > 0 && Math.min(...found) > 0 && Math.max(...found) > 20 * Math.min(...found);
  })();

  // ---- alerts: one line per step, with the numbers of its alerts ----------------------------------------------------------------
  function marks() {
    const steps = [...new Set(alerts.map((alert) => alert.step))];
    const shapes = steps.map((step) => ({ type: "line", x0: step, x1: step, y0: 0, y1: 1, yref: "paper", line: { color: alertColor(), width: 1.5, dash: "dot" } }));
    const annotations = steps.map((step) => {
      const numbers = alerts.flatMap((alert, i) => (alert.step === step ? [i + 1] : []));
      return { x: step, y: 1, yref: "paper", yanchor: "bottom", showarrow: false, captureevents: true, name: String(numbers[0]),
        text: `<b>${numbers.length > 2 ? `${numbers[0]}–${numbers[numbers.length - 1]}` : numbers.join(", ")}</b>`, font: { ...font(), color: alertColor() } };
    });
    return { shapes: [...broken(), ...shapes], annotations };
  }

  // Stretches of steps whose loss is not finite.
  function broken() {
    const { steps: at, values } = data.loss, bands = [];
    values.forEach((value, k) => {
      if (Number.isFinite(value)) return;
      const last = bands[bands.length - 1], x1 = at[k] + 0.5;
      if (last && k > 0 && last.x1 === at[k - 1] + 0.5) last.x1 = x1;
      else bands.push({ type: "rect", layer: "below", x0: at[k] - 0.5, x1, y0: 0, y1: 1, yref: "paper", fillcolor: alertColor(), opacity: 0.16 });
    });
    return bands;
  }

  // ---- both together ----------------------------------------------------------------------------------------------
  const short = (name, most) => (name.length > most ? `…${name.slice(1 - most)}` : name);

  function sizes() {
    const wide = Math.round(byId("map").clientWidth), longest = Math.max(0, ...layers.map((layer) => layer.length));
    const left = Math.max(58, Math.min(wide < 520 ? 92 : 160, 16 + Math.ceil(6.6 * longest)));
    const tall = (data.loss.steps.length ? lossTall + gap : 0) + mapTall + above + below;
    return { wide, left, tall, plotTall: tall - above - below };
  }

  function layerAxis(left) {
    const every = Math.max(1, Math.ceil((13 * layers.length) / Math.max(mapTall, 1)));
    const kept = layers.map((_, i) => i).filter((i) => i % every === 0);
    return { tickvals: kept, ticktext: kept.map((i) => escaped(short(layers[i], Math.floor((left - 12) / 6.6)))), range: [layers.length - 0.5, -0.5] };
  }

  function layout() {
    const { wide, left, tall, plotTall } = sizes(), split = mapTall / Math.max(plotTall, 1), small = { ...font(), size: 11 };
    const axis = { fixedrange: true, zeroline: false, gridcolor: rule(), linecolor: muted(), tickcolor: muted(), tickfont: small };
    const loss = data.loss.steps.length > 0;
    return { width: wide, height: tall, margin: { l: left, r: 12, t: above, b: below }, font: font(), dragmode: "zoom", hovermode: "closest", showlegend: false,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", ...marks(),
      xaxis: { ...axis, fixedrange: false, range: range || [Math.min(0.5, edges[0] ?? 0.5), data.last + 0.5], anchor: layers.length ? "y2" : "y", title: { text: "step", standoff: 2 }, showgrid: false, ticks: "outside", ticklen: 4, exponentformat: "none" },
      yaxis: { ...axis, visible: loss, domain: [loss ? Math.min(1, split + gap / plotTall) : 1, 1], type: lossLog ? "log" : "linear", title: { text: "loss", standoff: 6 }, exponentformat: "none", nticks: 5, ...(lossLog ? { dtick: 1 } : {}) },
      yaxis2: { ...axis, domain: [0, layers.length ? split : 0], showgrid: false, ticks: "", ...layerAxis(left) } };
  }

  function draw() {
    drawn = layers.length ? heatmap() : null;
    drawPlot();
    byId("about").textContent = shown ? known.get(shown).about : "";
    byId("whole").hidden = range === null;
    show();
  }

  function drawPlot() {
    Plot.react("plot", [lossLine(), ...(drawn ? [drawn, spot()] : [])], layout());
  }

  function spot() {
    const [i, j] = here;
    return { type: "scatter", mode: "lines", yaxis: "y2", hoverinfo: "skip", showlegend: false, line: { color: ink(), width: pinned ? 2.5 : 1.5 },
      x: [edges[j], edges[j + 1], edges[j + 1], edges[j], edges[j]], y: [i - 0.5, i - 0.5, i + 0.5, i + 0.5, i - 0.5] };
  }

  // ---- one layer --------------------------------------------------------------------------------------------------
  function show() {
    if (!layers.length) { byId("layer").textContent = "No layer was read"; byId("curve").hidden = true; return; }
    const [i, j] = here;
    byId("at").textContent = `step ${steps[j].toLocaleString("en")}`;
    byId("pin").textContent = pinned ? "pinned" : "";
    byId("layer").textContent = layers[i];
    const rows = data.quantities.map((q) => {
      const value = valueOf(q.name, i, j), box = document.createElement("div");
      box.className = q.edge !== null && value >= q.edge ? "trouble" : "";
      box.title = q.about;
      box.append(Object.assign(document.createElement("dt"), { textContent: q.label }), Object.assign(document.createElement("dd"), { textContent: number(value) }));
      return box;
    });
    byId("numbers").replaceChildren(...rows);
    curve(i, j);
  }

  function curve(i, j) {
    const q = known.get(shown), small = { ...font(), size: 11 };
    const y = steps.map((_, k) => valueOf(shown, i, k)).map((value) => (Number.isFinite(value) && (!q.log || value > 0) ? value : null));
    const axis = { fixedrange: true, zeroline: false, gridcolor: rule(), linecolor: muted(), tickfont: small, tickcolor: muted() };
    const lines = q.edge === null ? [] : [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: q.edge, y1: q.edge, line: { color: alertColor(), width: 1, dash: "dot" } }];
    const positive = y.filter((value) => value !== null), top = Math.max(...positive), low = Math.min(...positive);
    const log = q.log && top > 3 * low;
    Plot.react("curve", [
      { type: "scatter", mode: steps.length < 60 ? "lines+markers" : "lines", x: steps, y, line: { color: colors.solid[0], width: 1.8 }, marker: { size: 4 }, hoverinfo: "x+y" },
      { type: "scatter", mode: "markers", x: [steps[j]], y: [y[j]], marker: { size: 9, color: ink() }, hoverinfo: "skip" },
    ], { width: byId("curve").clientWidth, height: byId("curve").clientHeight, margin: { l: 52, r: 10, t: 26, b: 30 }, font: small, showlegend: false, dragmode: false, hovermode: "x",
      title: { text: q.label, x: 0, xanchor: "left", y: 0.97, font: { ...small, color: muted() } }, shapes: q.edge !== null && q.edge < 3 * top ? lines : [],
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hoverlabel: { bgcolor: "#fff", font: { color: "#1b1f24" } },
      xaxis: { ...axis, range: range || [Math.min(0.5, edges[0]), data.last + 0.5], nticks: 5, exponentformat: "none" },
      yaxis: { ...axis, type: log ? "log" : "linear", nticks: 5, exponentformat: "power", rangemode: log ? "normal" : "tozero", ...(log && top > 30 * low ? { dtick: Math.max(1, Math.ceil(Math.log10(top / low) / 5)) } : {}) } });
  }

  // ---- mouse and keyboard ------------------------------------------------------------------------------------------
  function go(spotAt, pin) {
    here = spotAt;
    pinned = pin;
    drawPlot();
    show();
  }

  function under(event) {
    const { x, y2 } = Plot.at("plot", event), y = Math.round(y2);
    const j = edges.findIndex((edge) => edge > x) - 1;
    return j >= 0 && y >= 0 && y < layers.length ? [y, j] : null;
  }

  const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

  function key(event) {
    const within = (value, size) => Math.min(Math.max(value, 0), size - 1);
    if (!layers.length) return;
    if (moves[event.key]) go([within(here[0] + moves[event.key][0], layers.length), within(here[1] + moves[event.key][1], steps.length)], false);
    else if (event.key === "Enter" || event.key === " ") go(here, !pinned);
    else if (event.key === "Escape") go(here, false);
    else return;
    event.preventDefault();
  }

  function light(numberOf) {
    document.querySelectorAll("article").forEach((article) => article.classList.toggle("lit", article.id === `alert-${numberOf}`));
    byId(`alert-${numberOf}`)?.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }

  function listen() {
    const plot = byId("plot");
    plot.onzoom = (ends) => { range = ends; zoomed = true; draw(); };
    plot.onlabel = light;
    if (!layers.length) return;
    plot.addEventListener("mousemove", (event) => { const at = under(event); if (at && !pinned && String(at) !== String(here)) go(at, false); });
    plot.addEventListener("click", (event) => {
      const at = under(event), released = zoomed;  // the end of a drag is a click too
      zoomed = false;
      if (at && !released) go(at, !(pinned && String(at) === String(here)));
    });
    byId("map").addEventListener("keydown", key);
  }

  data.quantities.forEach((q) => byId("quantity").append(new Option(q.label, q.name, false, q.name === shown)));
  byId("quantity").addEventListener("change", (event) => { shown = event.target.value; draw(); });
  byId("whole").addEventListener("click", () => { range = null; draw(); });
  draw();
  listen();
  dark.addEventListener("change", draw);
  let drawnWide = byId("map").clientWidth;
  new ResizeObserver(() => {
    if (byId("map").clientWidth === drawnWide) return;
    drawnWide = byId("map").clientWidth;
    draw();
  }).observe(byId("map"));
  document.documentElement.dataset.ready = "true";
})();
