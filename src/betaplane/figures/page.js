"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { x, y, cells, colors } = data;
  const byId = (id) => document.getElementById(id);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const codes = bytes(data.codes);
  const width = x.values.length, height = y.values.length;
  const rowOf = new Map(cells.index.map((index, row) => [index, row]));
  const margin = { l: 78, r: 24, t: 14, b: 62 };
  const font = { family: getComputedStyle(document.body).fontFamily, size: 13, color: colors.ink };
  let here = data.first, pinned = null;

  // ---- numbers -------------------------------------------------------------------------------------------------
  const number = (value) =>
    value === "inf" ? "diverged" : value === null || value === undefined ? "–" : String(Number(value.toPrecision(4)));
  const percent = (value) => (value === null ? "–" : `${Math.round(100 * value)}%`);
  const verdictOf = (index) => Math.floor(codes[index] / data.levelsPerVerdict);

  // ---- loss curves: see _curves.py -------------------------------------------------------------------------------
  const offsets = [0];
  data.curves.lengths.forEach((length) => offsets.push(offsets[offsets.length - 1] + length));
  const curveCodes = bytes(data.curves.codes);
  const longest = Math.max(2, ...data.curves.lengths);

  function curveOf(row) {
    const { log, best, unit, levels, lows, highs } = data.curves;
    const losses = Array.from(curveCodes.subarray(offsets[row], offsets[row + 1]), (code) => {
      if (code === 0) return null;
      const u = lows[row] + ((code - 1) / levels) * (highs[row] - lows[row]);
      return log ? Math.pow(10, u) : best + unit * Math.sinh(u);
    });
    const steps = losses.map((_, k) => (k / (longest - 1)) * (data.steps || longest - 1));
    return { steps, losses };
  }

  // ---- the map ---------------------------------------------------------------------------------------------------
  function colorscale() {
    const whole = (data.levelsPerVerdict - 1) / data.levelsPerVerdict;
    const stops = colors.ramps.flatMap(([start, end], v) => [[v / 3, start], [(v + whole) / 3, end]]);
    return [...stops, [1, colors.ramps[2][1]]];
  }

  function heatmap() {
    const z = Array.from({ length: height }, (_, j) =>
      Array.from({ length: width }, (_, i) => codes[i * height + j] / data.levelsPerVerdict));
    return { type: "heatmap", x: x.edges, y: y.edges, z, zmin: 0, zmax: 3, colorscale: colorscale(), showscale: false, hoverinfo: "none" };
  }

  function points(spots, extra) {
    return { type: "scatter", mode: "markers", x: spots.map((spot) => spot[0]), y: spots.map((spot) => spot[1]), hoverinfo: "skip", showlegend: false, ...extra };
  }

  function overlay() {
    const lines = data.lines.flatMap((parts, k) => parts.map((part, dark) => points(part, {
      mode: "lines", line: { color: dark ? "#fff" : colors.ink, width: 1.9, dash: data.dashes[k] } })));
    const dots = points(data.dots, { marker: { size: Math.min(3, Math.max(2, 90 / Math.max(width, height))), color: colors.ink, opacity: 0.4 } });
    const marks = points(data.marks, { marker: { size: 10, color: "#fff", line: { color: colors.ink, width: 2 } } });
    const crosses = points(data.undecided, { marker: { symbol: "x-thin", size: 6, line: { color: colors.ink, width: 1.4 } } });
    return [dots, crosses, ...lines, ...star(), marks];
  }

  function star() {
    if (!data.star) return [];
    const [u, v, low, high] = data.star;
    const bar = (line, size) => points([[u, low], [u, high]], {
      mode: "lines+markers", line: { width: line, color: line > 3 ? "#fff" : colors.ink },
      marker: { symbol: "line-ew", size, line: { width: line, color: line > 3 ? "#fff" : colors.ink } } });
    return [bar(5, 15), bar(2.2, 13), points([[u, v]], { marker: { symbol: "star", size: 20, color: "#fff", line: { color: colors.ink, width: 2 } } })];
  }

  const annotations = data.labels.map(([u, v, text, align, angle, bold, dark]) => ({
    x: u, y: v, text: bold ? `<b>${text}</b>` : text, textangle: -angle, showarrow: false, xanchor: align, borderpad: 0,
    onDark: dark, font: { ...font, color: dark ? "#fff" : colors.ink } }));

  function axisOf(axis) {
    const text = ([, first, below]) => [first, below];
    const note = axis.ticks.some((tick) => tick[2] !== "") ? ` (below: ${axis.symbol})` : "";
    return { range: [axis.edges[0], axis.edges[axis.edges.length - 1]], fixedrange: true, showgrid: false, zeroline: false,
      ticks: "outside", ticklen: 4, tickcolor: colors.muted, tickvals: axis.ticks.map((tick) => tick[0]),
      ticktext: axis.ticks.map(text), showline: true, mirror: true, linecolor: colors.muted, linewidth: 1,
      title: { text: axis.label, note } };
  }

  function size() {
    const wide = Math.round(byId("map").clientWidth);
    return { width: wide, height: wide - margin.l - margin.r + margin.t + margin.b };
  }

  const layout = () => ({ ...size(), margin, font, dragmode: false, hovermode: "closest", showlegend: false, annotations,
    xaxis: axisOf(x), yaxis: axisOf(y), paper_bgcolor: "#fff", plot_bgcolor: "#fff" });

  function moveCursor() {
    const { width: wide, height: tall } = size();
    const span = (axis, length) => (edge) => ((edge - axis.edges[0]) / (axis.edges[axis.edges.length - 1] - axis.edges[0])) * length;
    const [u, v] = [span(x, wide - margin.l - margin.r), span(y, tall - margin.t - margin.b)];
    const [i, j] = here, box = byId("cursor");
    box.hidden = false;
    box.classList.toggle("pinned", pinned !== null);
    box.style.width = `${u(x.edges[i + 1]) - u(x.edges[i])}px`;
    box.style.height = `${v(y.edges[j + 1]) - v(y.edges[j])}px`;
    box.style.transform = `translate(${margin.l + u(x.edges[i])}px, ${tall - margin.b - v(y.edges[j + 1])}px)`;
  }

  if (data.predicted) document.body.classList.add("predicted");  // which has no losses and no seeds

  // ---- the cell --------------------------------------------------------------------------------------------------
  function show(i, j) {
    here = [i, j];
    const index = i * height + j, row = rowOf.get(index), verdict = verdictOf(index);
    byId("chip").textContent = data.verdicts[verdict];
    byId("chip").className = `chip ${data.chips[verdict]}`;
    byId("pin").textContent = [row === undefined ? "not trained: inferred from the cells around it" : seeds(row), pinned ? "pinned" : ""].filter(Boolean).join(" · ");
    byId("settings").textContent = [[x, i], [y, j]].map(([axis, k]) => `${axis.symbol} ${axis.values[k]}`).join(", ");
    byId("horizons").textContent = horizons(i, j);
    byId("score").textContent = row === undefined ? "–" : number(cells.score[row]);
    byId("final").textContent = row === undefined ? "–" : number(cells.final[row]);
    showChance(index, row);
    showCurve(index, row, verdict);
    moveCursor();
  }

  const seeds = (row) => (data.predicted ? "predicted, not trained" : cells.seeds[row] === 1 ? "1 seed" : `${cells.seeds[row]} seeds`);

  function horizons(i, j) {
    const texts = [[x, i], [y, j]].filter(([axis, k]) => axis.horizons[k]).map(([axis, k]) => `${axis.symbol} ${axis.horizons[k]}`);
    return texts.length ? `memory horizon: ${texts.join(", ")} steps` : "";
  }

  function showChance(index, row) {
    const [p, low, high] = row === undefined ? [data.pFail[index], null, null] : cells.p[row];
    byId("pfail").textContent = low === null ? percent(p) : `${percent(p)} (${percent(low)} to ${percent(high)})`;
    const [bar, tick] = byId("interval").children;
    bar.style.left = percent(low ?? p ?? 0);
    bar.style.width = percent(low === null ? 0 : high - low);
    tick.style.left = percent(p ?? 0);
    tick.hidden = p === null;
  }

  function showCurve(index, row, verdict) {
    if (data.predicted) {  // nothing was trained: a sentence, and no curve
      byId("curve-title").textContent = data.predicted[index] || "";
      byId("curve").hidden = true;
      return;
    }
    const source = row ?? rowOf.get(data.nearest[index]);
    const borrowed = row === undefined;
    byId("curve-title").textContent = source === undefined ? "No loss curve: nothing was trained"
      : borrowed ? `${data.measure} of the nearest trained cell, ${nameOf(cells.index[source])}` : `${data.measure}, median seed`;
    if (data.heldOut[source]) byId("curve-title").textContent += "; dashed: held-out data, right axis";
    const traces = [];
    if (source !== undefined) traces.push(...curveTraces(source, borrowed, verdict));
    const top = Math.max(...traces.flatMap((trace) => trace.y.filter((loss) => loss !== null)));
    const heldOut = data.heldOut[source];
    if (heldOut) traces.push(heldOutTrace(heldOut, traces[0].x));
    Plot.react("curve", traces, { ...curveLayout(top), ...(heldOut ? rightAxis() : {}) });
  }

  const nameOf = (index) => `${x.symbol} ${x.values[Math.floor(index / height)]}, ${y.symbol} ${y.values[index % height]}`;

  function curveTraces(row, borrowed, verdict) {
    const { steps, losses } = curveOf(row);
    const color = borrowed ? colors.muted : colors.solid[verdict];
    const line = points([], { mode: "lines", x: steps, y: losses, hoverinfo: "x+y", line: { color: color, width: 2.2, dash: borrowed ? "dot" : "solid" } });
    const last = losses.reduce((found, loss, k) => (loss === null ? found : k), -1);
    if (cells.score[row] !== "inf" || last < 0) return [line];
    return [line, points([[steps[last], losses[last]]], { cliponaxis: true, marker: { symbol: "x-thin", size: 11, line: { width: 2.5, color: color } } })];
  }

  // The held-out loss or metric, which may have another unit, on an axis of its own.
  function heldOutTrace(values, steps) {
    const end = steps[steps.length - 1] || 1;
    return points([], { mode: "lines", x: values.map((_, k) => (end * (k + 1)) / values.length), y: values,
      yaxis: "y2", hoverinfo: "x+y", line: { color: colors.ink, width: 1.4, dash: "dash" } });
  }

  const rightAxis = () => ({ margin: { l: 52, r: 52, t: 6, b: 40 },
    yaxis2: { overlaying: "y", side: "right", showgrid: false, zeroline: false, fixedrange: true, nticks: 5 } });

  // One axis for all cells, so that they compare; a curve that leaves through its top gets some room above.
  function lossEnds(top) {
    const { log, ends } = data.lossAxis;
    if (!ends) return ends;
    const wanted = (log ? Math.log10(top) : top) + 0.05 * (ends[1] - ends[0]);
    return [ends[0], wanted > ends[1] ? Math.min(wanted, ends[1] + (log ? 1 : 6) * (ends[1] - ends[0])) : ends[1]];
  }

  function curveLayout(top) {
    const { log, levels } = data.lossAxis, ends = lossEnds(top);
    const on = (loss) => (log ? Math.log10(loss) : loss);
    const stops = ends && levels.length ? [ends[0], ...levels.map(on), ends[1]] : [];
    const bands = stops.slice(1).map((stop, v) => ({ type: "rect", layer: "below", xref: "paper", x0: 0, x1: 1, line: { width: 0 },
      fillcolor: colors.solid[v], opacity: 0.13, y0: raw(Math.max(stops[0], stops[v])), y1: raw(Math.max(stops[0], stop)) }));
    const names = stops.slice(1).map((stop, v) => ({ text: data.verdicts[v], showarrow: false, xref: "paper", x: 1, xanchor: "right",
      y: (Math.max(stops[0], stops[v]) + stop) / 2, font: { ...font, size: 11, color: colors.muted }, room: stop - stops[v] }))
      .filter((each) => each.room > 0.06 * (ends[1] - ends[0])).map(({ room, ...each }) => each);
    function raw(value) { return log ? Math.pow(10, value) : value; }
    const axis = { fixedrange: true, zeroline: false, gridcolor: "rgba(0,0,0,0.06)", linecolor: colors.muted, ticks: "outside", ticklen: 4, tickcolor: colors.muted };
    return { margin: { l: 52, r: 20, t: 6, b: 40 }, width: byId("curve").clientWidth, height: byId("curve").clientHeight, font: { ...font, size: 12 }, showlegend: false, dragmode: false,
      hovermode: "x", shapes: bands, annotations: names,
      xaxis: { ...axis, title: { text: data.steps ? "step" : "fraction of training", standoff: 4 }, range: [0, data.steps || longest - 1] },
      yaxis: { ...axis, type: log ? "log" : "linear", range: ends || undefined, autorange: !ends, exponentformat: "none", nticks: 6,
        ...(log ? { dtick: ends[1] - ends[0] > 1.2 ? 1 : "D2" } : {}) } };
  }

  // ---- hand and keyboard -----------------------------------------------------------------------------------------
  function spotOf(event) {
    const { x: u, y: v } = Plot.at("plot", event);
    const [i, j] = [x.edges.findIndex((edge) => edge > u) - 1, y.edges.findIndex((edge) => edge > v) - 1];
    return i >= 0 && j >= 0 ? [i, j] : null;
  }

  function pin(spot) {
    pinned = pinned && spot && pinned[0] === spot[0] && pinned[1] === spot[1] ? null : spot;
    show(...(spot || here));
  }

  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

  function key(event) {
    const within = (value, size) => Math.min(Math.max(value, 0), size - 1);
    if (moves[event.key]) {
      const [di, dj] = moves[event.key];
      pinned = null;
      show(within(here[0] + di, width), within(here[1] + dj, height));
    } else if (event.key === "Enter" || event.key === " ") pin(here);
    else if (event.key === "Escape") pin(null);
    else return;
    event.preventDefault();
  }

  async function copy() {
    const code = byId("code"), button = byId("copy");
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  function draw() {
    Plot.react("plot", [heatmap(), ...overlay()], layout());
    show(...here);
  }

  draw();
  byId("plot").addEventListener("pointermove", (event) => { const spot = spotOf(event); if (spot && !pinned && String(spot) !== String(here)) show(...spot); });
  byId("plot").addEventListener("click", (event) => { const spot = spotOf(event); if (spot) pin(spot); });
  byId("map").addEventListener("keydown", key);
  byId("copy")?.addEventListener("click", copy);
  let drawnWide = byId("map").clientWidth;
  new ResizeObserver(() => {
    if (byId("map").clientWidth === drawnWide) return;
    drawnWide = byId("map").clientWidth;
    draw();
  }).observe(byId("map"));
  document.documentElement.dataset.ready = "true";
})();
