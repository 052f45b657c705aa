"use strict";
// Lines, markers, cells and axes, drawn as SVG over a canvas. `Plot.react(id, traces, layout)` draws; the names of what
// traces and layouts contain are those of plotly.js, of which this is the small part that the pages use.
const Plot = (() => {
  const SANS = "system-ui, sans-serif";
  const escaped = (text) => String(text).replace(/&(?!\w+;|#)/g, "&amp;").replace(/</g, "&lt;");
  const pen = document.createElement("canvas").getContext("2d");
  const plain = (text) => String(text).replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");

  function widthOf(text, font, bold) {
    pen.font = `${bold ? "bold " : ""}${font.size}px ${font.family || SANS}`;
    return pen.measureText(plain(text)).width;
  }

  // ---- scales and ticks ----------------------------------------------------------------------------------------------
  const onAxis = (axis, value) => (axis.type === "log" ? Math.log10(value) : Number(value));
  const usable = (axis, value) => value !== null && Number.isFinite(onAxis(axis, value));

  function rangeOf(axis, values) {
    if (axis.range) return axis.range;
    const places = values.filter((value) => usable(axis, value)).map((value) => onAxis(axis, value));
    let low = Infinity, high = -Infinity;
    for (const place of places) { low = Math.min(low, place); high = Math.max(high, place); }
    if (!places.length) return [0, 1];
    if (axis.rangemode === "tozero") { low = Math.min(low, 0); high = Math.max(high, 0); }
    const room = 0.06 * (high - low) || 0.5;
    return [low === 0 && axis.rangemode === "tozero" ? 0 : low - room, high + room];
  }

  function niceTicks(low, high, most) {
    const rough = (high - low) / Math.max(1, most), ten = 10 ** Math.floor(Math.log10(rough));
    const step = ten * ([1, 2, 5, 10].find((factor) => factor * ten >= rough) || 10);
    const ticks = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) ticks.push(k * step);
    return ticks;
  }

  function logTicks(low, high, most) {
    const every = Math.max(1, Math.ceil((high - low) / most)), decades = [];
    for (let ten = Math.ceil(low - 1e-9); ten <= high + 1e-9; ten += 1) if (ten % every === 0) decades.push(10 ** ten);
    if (decades.length > 1) return decades;
    const finer = [1, 2, 3, 5].flatMap((m) => [Math.floor(low), Math.floor(low) + 1].map((ten) => m * 10 ** ten));
    const inside = finer.filter((value) => Math.log10(value) >= low && Math.log10(value) <= high).sort((a, b) => a - b);
    return inside.length > 1 ? inside : niceTicks(10 ** low, 10 ** high, most).filter((value) => value > 0);
  }

  function tickText(value) {
    const size = Math.abs(value), short = Number(value.toPrecision(8));
    return size !== 0 && (size >= 1e6 || size < 1e-4) ? short.toExponential().replace("e+", "e") : String(short);
  }

  function scaled(axis, values, from, to) {
    const range = rangeOf(axis, values), most = axis.nticks || 6;
    const pixel = (place) => from + ((place - range[0]) / (range[1] - range[0])) * (to - from);
    const found = axis.type === "log" ? logTicks(...range, most) : niceTicks(...range, most);
    const ticks = axis.tickvals ? axis.tickvals.map((at, k) => [at, axis.ticktext[k]]) : found.map((at) => [at, tickText(at)]);
    return { axis, range, from, to, ticks, pixel, of: (value) => pixel(onAxis(axis, value)),
      back: (at) => range[0] + ((at - from) / (to - from)) * (range[1] - range[0]) };
  }

  // ---- pieces of SVG -------------------------------------------------------------------------------------------------
  function words(x, y, text, { anchor = "middle", font, color = "", bold = false, angle = 0, name = "" }) {
    const fill = `fill="${color || font.color}"`, turn = angle ? ` transform="rotate(${angle} ${x} ${y})"` : "";
    return `<text x="${x}" y="${y}" text-anchor="${anchor}" font-size="${font.size}" ${fill}${turn}${bold ? ' font-weight="700"' : ""}${name}>${escaped(text)}</text>`;
  }

  const DASHES = { solid: "", dot: "2 3", dash: "6 4" };
  const dashed = (dash) => (dash ? ` stroke-dasharray="${DASHES[dash] ?? dash.replace(/px/g, "")}"` : "");
  const stroke = (line) => `fill="none" stroke="${line.color}" stroke-width="${line.width}"${dashed(line.dash)}`;

  function path(trace, sx, sy) {
    let d = "", up = true;
    trace.x.forEach((x, k) => {
      const y = trace.y[k];
      if (!usable(sy.axis, y) || !usable(sx.axis, x)) { up = true; return; }
      d += `${up ? "M" : "L"}${sx.of(x).toFixed(1)} ${sy.of(y).toFixed(1)}`;
      up = false;
    });
    return d && `<path d="${d}" stroke-linejoin="round" ${stroke(trace.line)}/>`;
  }

  function star(x, y, r) {
    const corner = (k) => { const a = (Math.PI * (k - 2.5)) / 5, d = k % 2 ? 0.42 * r : r; return `${(x + d * Math.cos(a)).toFixed(1)} ${(y + d * Math.sin(a)).toFixed(1)}`; };
    return `M${Array.from({ length: 10 }, (_, k) => corner(k)).join("L")}Z`;
  }

  function mark(x, y, { symbol = "circle", size = 6, color = "none", opacity = 1, line = { width: 0, color: "none" } }) {
    const r = size / 2, edge = `stroke="${line.color}" stroke-width="${line.width}" opacity="${opacity}"`;
    if (symbol === "x-thin") return `<path d="M${x - r} ${y - r}L${x + r} ${y + r}M${x - r} ${y + r}L${x + r} ${y - r}" fill="none" ${edge}/>`;
    if (symbol === "line-ew") return `<path d="M${x - r} ${y}H${x + r}" fill="none" ${edge}/>`;
    if (symbol === "star") return `<path d="${star(x, y, r)}" fill="${color}" stroke-linejoin="round" ${edge}/>`;
    return `<circle cx="${x}" cy="${y}" r="${r}" fill="${color}" ${edge}/>`;
  }

  function markers(trace, sx, sy) {
    const at = trace.x.map((x, k) => [x, trace.y[k]]).filter(([x, y]) => usable(sx.axis, x) && usable(sy.axis, y));
    return at.map(([x, y]) => mark(sx.of(x), sy.of(y), { color: trace.line?.color, ...trace.marker })).join("");
  }

  function shape(s, sx, sy, frame) {
    const paper = (ref) => ref === "paper";
    const [x0, x1] = paper(s.xref) ? [sx.from, sx.to] : [sx.of(s.x0), sx.of(s.x1)];
    const [y0, y1] = paper(s.yref) ? [frame.top, frame.bottom] : [sy.of(s.y0), sy.of(s.y1)];
    if (s.type === "line") return `<line x1="${x0}" x2="${x1}" y1="${y0}" y2="${y1}" ${stroke(s.line)}/>`;
    return `<rect x="${Math.min(x0, x1)}" y="${Math.min(y0, y1)}" width="${Math.abs(x1 - x0)}" height="${Math.abs(y1 - y0)}" fill="${s.fillcolor}" opacity="${s.opacity}"/>`;
  }

  // ---- axes ----------------------------------------------------------------------------------------------------------
  // A tick's text is a string, or two lines.
  function tickLines(text, x, y, anchor, font, muted) {
    const [first, second] = Array.isArray(text) ? text : [text, ""];
    return words(x, y, first, { anchor, font }) + (second ? words(x, y + 14, second, { anchor, font: { ...font, size: 11 }, color: muted }) : "");
  }

  // The title in the space that there is: without its note, and smaller, if it is too long.
  function title(axis, font, room, x, y, angle) {
    const { text = "", note = "" } = axis.title || {};
    if (!text) return "";
    const kept = note && widthOf(text + note, font) <= room ? note : "";
    const size = Math.max(9, Math.min(font.size, (font.size * room) / Math.max(1, widthOf(text + kept, font))));
    const tail = kept ? `<tspan fill="${axis.tickcolor}" font-size="${size - 1}"> ${escaped(kept)}</tspan>` : "";
    return words(x, y, text, { font: { ...font, size }, angle }).replace("</text>", `${tail}</text>`);
  }

  function xAxis(s, bottom, width, font, grid) {
    const { axis } = s, small = axis.tickfont || font, y = bottom + 4 + small.size;
    const two = s.ticks.some(([, text]) => Array.isArray(text) && text[1]);
    let last = -Infinity;
    const drawn = s.ticks.map(([at, text]) => {
      const x = s.of(at), half = Math.max(...[text].flat().map((line) => widthOf(line, small))) / 2;
      const line = `<line x1="${x}" x2="${x}" y1="${bottom}" y2="${bottom + 4}" stroke="${axis.tickcolor}"/>${axis.showgrid === false ? "" : grid(x)}`;
      if (x - half < last + 4) return line;
      last = x + half;
      return line + tickLines(text, Math.min(x, width - half - 1), y, "middle", small, axis.tickcolor);
    });
    return drawn.join("") + title(axis, font, s.to - s.from, (s.from + s.to) / 2, y + (two ? 14 : 0) + 6 + font.size, 0);
  }

  function yAxis(s, left, right, font) {
    const { axis } = s, small = axis.tickfont || font, onRight = axis.side === "right", x = onRight ? right : left;
    const sign = onRight ? 1 : -1, widest = Math.max(0, ...s.ticks.map(([, text]) => Math.max(...[text].flat().map((line) => widthOf(line, small)))));
    const drawn = s.ticks.map(([at, text]) => {
      const y = s.of(at), two = Array.isArray(text) && text[1];
      const line = axis.showgrid === false ? "" : `<line x1="${left}" x2="${right}" y1="${y}" y2="${y}" stroke="${axis.gridcolor}"/>`;
      const tick = axis.ticks === "" ? "" : `<line x1="${x}" x2="${x + 4 * sign}" y1="${y}" y2="${y}" stroke="${axis.tickcolor}"/>`;
      return line + tick + tickLines(text, x + 7 * sign, y + small.size / 3 - (two ? 7 : 0), onRight ? "start" : "end", small, axis.tickcolor);
    });
    const middle = (s.from + s.to) / 2, away = Math.max(font.size - 1, x - 12 - widest - 4);
    return drawn.join("") + title(axis, font, Math.abs(s.to - s.from), away, middle, -90);
  }

  // ---- cells and their colors ------------------------------------------------------------------------------------------
  const channels = (hex) => (hex.length === 4 ? [...hex.slice(1)].map((c) => c + c) : hex.slice(1).match(/../g)).map((c) => parseInt(c, 16));

  function colorAt(stops, share) {
    let k = 0;
    while (k < stops.length - 2 && share > stops[k + 1][0]) k++;
    const [[low, from], [high, to]] = [stops[k], stops[k + 1]];
    const part = Math.min(1, Math.max(0, high > low ? (share - low) / (high - low) : 1));
    return `rgb(${channels(from).map((c, i) => Math.round(c + part * (channels(to)[i] - c))).join(",")})`;
  }

  function paint(canvas, trace, sx, sy) {
    const context = canvas.getContext("2d"), ys = trace.y.length > trace.z.length ? trace.y : trace.y.map((y) => y - 0.5).concat(trace.y.length - 0.5);
    const known = new Map(), xs = trace.x.map((x) => sx.of(x)), rows = ys.map((y) => sy.of(y));
    context.save();
    context.beginPath();
    context.rect(Math.min(sx.from, sx.to), Math.min(sy.from, sy.to), Math.abs(sx.to - sx.from), Math.abs(sy.to - sy.from));
    context.clip();
    trace.z.forEach((row, j) => row.forEach((z, i) => {
      if (z === null) return;
      const share = Math.round(1000 * (z - trace.zmin) / (trace.zmax - trace.zmin)) / 1000;
      if (!known.has(share)) known.set(share, colorAt(trace.colorscale, share));
      context.fillStyle = known.get(share);
      const [x0, x1] = [Math.round(xs[i]), Math.round(xs[i + 1])], [y0, y1] = [Math.round(rows[j]), Math.round(rows[j + 1])];
      context.fillRect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
    }));
    context.restore();
  }

  function colorbar(trace, right, bottom, wide, font, muted) {
    const { zmin, zmax, colorscale, colorbar: { tickvals, ticktext } } = trace, left = right - wide;
    const stops = colorscale.map(([at, color]) => `<stop offset="${at}" stop-color="${color}"/>`).join("");
    const values = tickvals || niceTicks(zmin, zmax, 5);
    let last = -Infinity;
    const labels = values.map((value, k) => {
      const text = ticktext ? ticktext[k] : tickText(value), x = left + ((value - zmin) / (zmax - zmin)) * wide, half = widthOf(text, font) / 2;
      if (x < left - 1 || x > right + 1 || x - half < last + 6) return "";
      last = x + half;
      return words(x, bottom - 2, text, { font, color: muted, anchor: x + half > right + 8 ? "end" : "middle" });
    });
    return `<defs><linearGradient id="ramp">${stops}</linearGradient></defs><rect x="${left}" y="${bottom - 24}" width="${wide}" height="8" fill="url(#ramp)"/>${labels.join("")}`;
  }

  // ---- labels: moved along their line, or left out, where they would cover a mark or another label --------------------
  const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

  function boxOf(x, y, wide, tall, align, angle) {
    const turn = (angle * Math.PI) / 180, shift = { left: 0, center: -0.5, right: -1 }[align] ?? -0.5;
    const corners = [[0, -0.5], [1, -0.5], [0, 0.5], [1, 0.5]].map(([u, v]) => [(u + shift) * wide, v * tall]);
    const xs = corners.map(([u, v]) => x + u * Math.cos(turn) - v * Math.sin(turn)), ys = corners.map(([u, v]) => y + u * Math.sin(turn) + v * Math.cos(turn));
    return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  }

  function label(a, sx, sy, frame, taken) {
    const bold = a.text.startsWith("<b>"), text = a.text.replace(/<\/?b>/g, ""), angle = a.textangle || 0, align = a.xanchor || "center";
    const x = a.xref === "paper" ? sx.from + a.x * (sx.to - sx.from) : sx.pixel(a.x), y = a.yref === "paper" ? frame.top - 5 : sy.pixel(a.y) + a.font.size / 3;
    const anchor = { left: "start", center: "middle", right: "end" }[align], wide = widthOf(text, a.font, bold), turn = (angle * Math.PI) / 180;
    const inside = ([x0, y0, x1, y1]) => a.yref === "paper" || (x0 >= sx.from - 3 && x1 <= sx.to + 3 && y0 >= frame.top - 3 && y1 <= frame.bottom + 3);
    for (const step of a.yref === "paper" || a.xref === "paper" ? [0] : [0, 18, -18, 36, -36, 60, -60, 90, -90, 130, -130]) {
      const [u, v] = [x + step * Math.cos(turn), y + step * Math.sin(turn)], box = boxOf(u, v - a.font.size / 3, wide, a.font.size, align, angle);
      if (taken.some((other) => overlap(box, other)) || !(inside(box) || a.xref === "paper")) continue;
      taken.push(box);
      const name = ` class="annotation-text${a.onDark ? " on-dark" : ""}"${a.name ? ` data-name="${a.name}"` : ""}`;
      return words(u, v, text, { anchor, font: a.font, bold, angle, name });
    }
    return "";
  }

  // ---- the whole plot --------------------------------------------------------------------------------------------------
  function scalesOf(traces, layout, frame) {
    const valuesOn = (axis) => traces.filter((t) => t.type === "scatter" && (t.yaxis || "y") === axis).flatMap((t) => t.y);
    const sx = scaled(layout.xaxis, traces.flatMap((t) => t.x), frame.left, frame.right), ys = {};
    for (const [key, short] of [["yaxis", "y"], ["yaxis2", "y2"]]) {
      const axis = layout[key];
      if (!axis) continue;
      const [low, high] = axis.domain || [0, 1], tall = frame.bottom - frame.top;
      ys[short] = scaled(axis, valuesOn(short), frame.bottom - low * tall, frame.bottom - high * tall);
    }
    return [sx, ys];
  }

  function react(id, traces, layout) {
    const div = document.getElementById(id), { width, height, margin, font } = layout;
    const frame = { left: margin.l, right: width - margin.r, top: margin.t, bottom: height - margin.b };
    const [sx, ys] = scalesOf(traces, layout, frame), yOf = (t) => ys[t.yaxis || "y"];
    const cells = traces.find((t) => t.type === "heatmap");
    if (!div.firstChild) div.innerHTML = '<canvas></canvas><div></div>';
    const [canvas, over] = div.children;
    div.style.position = "relative";
    canvas.style.cssText = `position:absolute;left:0;top:0;width:${width}px;height:${height}px`;
    over.style.cssText = "position:relative";
    const key = [width, height, sx.range, cells && yOf(cells).range].join();
    if (canvas.cells !== cells || canvas.key !== key) {
      const ratio = window.devicePixelRatio || 1;
      [canvas.width, canvas.height, canvas.cells, canvas.key] = [width * ratio, height * ratio, cells, key];
      canvas.getContext("2d").scale(ratio, ratio);
      if (cells) paint(canvas, cells, sx, yOf(cells));
    }
    over.innerHTML = drawn(traces, layout, frame, sx, ys);
    Object.assign(div, { data: traces, layout, scales: { x: sx, ...ys }, frame });
    listen(div, over);
  }

  function drawn(traces, layout, frame, sx, ys) {
    const { width, height, font, shapes = [], annotations = [] } = layout, main = ys.y, clip = `clip${Math.random().toString(36).slice(2)}`;
    const visible = Object.values(ys).filter((s) => s.axis.visible !== false && s.from !== s.to);
    const gridLine = (x) => `<line x1="${x}" x2="${x}" y1="${frame.top}" y2="${frame.bottom}" stroke="${layout.xaxis.gridcolor || "none"}"/>`;
    const lines = traces.filter((t) => t.type === "scatter").map((t) => {
      const s = ys[t.yaxis || "y"];
      return (t.mode.includes("lines") ? path(t, sx, s) : "") + (t.mode.includes("markers") ? markers(t, sx, s) : "");
    });
    const bar = traces.find((t) => t.colorbar), muted = layout.xaxis.tickcolor;
    const below = shapes.filter((s) => s.layer === "below"), above = shapes.filter((s) => s.layer !== "below");
    const taken = traces.filter((t) => t.mode === "markers" && t.marker.size >= 10).flatMap((t) => t.x.map((x, k) => [x, t.y[k]]).filter(([x, y]) => usable(sx.axis, x) && usable(main.axis, y))
      .map(([x, y]) => { const r = t.marker.size / 2 + 2; return [sx.of(x) - r, ys[t.yaxis || "y"].of(y) - r, sx.of(x) + r, ys[t.yaxis || "y"].of(y) + r]; }));
    const box = layout.xaxis.mirror ? `<rect x="${frame.left}" y="${frame.top}" width="${frame.right - frame.left}" height="${frame.bottom - frame.top}" fill="none" stroke="${layout.xaxis.linecolor}"/>` : "";
    const paperLabels = annotations.map((a) => label(a, sx, main, frame, taken)).join("");
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="${escaped(font.family || SANS).replace(/"/g, "'")}" style="display:block">
      <clipPath id="${clip}"><rect x="${frame.left}" y="${frame.top - 4}" width="${frame.right - frame.left}" height="${frame.bottom - frame.top + 8}"/></clipPath>
      <g clip-path="url(#${clip})">${below.map((s) => shape(s, sx, main, frame)).join("")}</g>
      ${visible.map((s) => yAxis(s, frame.left, frame.right, font)).join("")}${xAxis(sx, frame.bottom, width, font, gridLine)}
      <g clip-path="url(#${clip})">${lines.join("")}${above.map((s) => shape(s, sx, main, frame)).join("")}</g>
      ${box}${paperLabels}${layout.title ? words(frame.left, 15, layout.title.text, { font: layout.title.font, anchor: "start" }) : ""}
      ${bar ? colorbar(bar, frame.right - 8, height, Math.min(260, 0.5 * (frame.right - frame.left)), { ...font, size: 11 }, muted) : ""}
      <g class="hover" pointer-events="none"></g>
      <rect class="pointer" x="${frame.left}" y="${frame.top}" width="${frame.right - frame.left}" height="${frame.bottom - frame.top}" fill="transparent"/></svg>`;
  }

  // ---- pointer ---------------------------------------------------------------------------------------------------------
  // Where an event is, on the axes: {x, y, y2}, on a logarithmic axis the logarithm.
  function at(id, event) {
    const div = document.getElementById(id), box = div.getBoundingClientRect();
    const point = { x: div.scales.x.back(event.clientX - box.left) };
    for (const name of ["y", "y2"]) if (div.scales[name]) point[name] = div.scales[name].back(event.clientY - box.top);
    return point;
  }

  function listen(div, over) {
    const pointer = over.querySelector(".pointer");
    over.querySelectorAll("[data-name]").forEach((text) => {
      text.style.cursor = "pointer";
      text.addEventListener("click", () => div.onlabel?.(text.dataset.name));
    });
    if (div.layout.hovermode === "x") {
      pointer.addEventListener("pointermove", (event) => nearest(div, over, event));
      pointer.addEventListener("pointerleave", () => { over.querySelector(".hover").innerHTML = ""; });
    }
    if (div.layout.dragmode === "zoom") pointer.addEventListener("pointerdown", (event) => zoom(div, over, event));
  }

  function nearest(div, over, event) {
    const { x: sx, ...ys } = div.scales, mouse = event.clientX - div.getBoundingClientRect().left, { font, frame } = { ...div.layout, frame: div.frame };
    const shown = div.data.filter((t) => t.hoverinfo === "x+y").flatMap((t) => {
      const s = ys[t.yaxis || "y"], points = t.x.map((x, k) => [x, t.y[k]]).filter(([x, y]) => usable(sx.axis, x) && usable(s.axis, y));
      if (!points.length) return [];
      const [x, y] = points.reduce((a, b) => (Math.abs(sx.of(b[0]) - mouse) < Math.abs(sx.of(a[0]) - mouse) ? b : a));
      return [{ x: sx.of(x), y: s.of(y), text: `${tickText(Number(x.toPrecision(4)))}: ${tickText(Number(y.toPrecision(3)))}`, color: t.line.color }];
    });
    over.querySelector(".hover").innerHTML = shown.map(({ x, y, text, color }) => {
      const wide = widthOf(text, font) + 10, left = Math.min(Math.max(x + 8, frame.left), frame.right - wide), top = Math.max(frame.top, y - 24);
      return `<circle cx="${x}" cy="${y}" r="3.5" fill="${color}"/><rect x="${left}" y="${top}" width="${wide}" height="18" rx="3" fill="#fff" stroke="${color}"/>${words(left + 5, top + 13, text, { font, color: "#1b1f24", anchor: "start" })}`;
    }).join("");
  }

  function zoom(div, over, down) {
    const left = div.getBoundingClientRect().left, from = down.clientX, pointer = over.querySelector(".pointer"), { frame } = div;
    const ends = (event) => [Math.min(from, event.clientX) - left, Math.max(from, event.clientX) - left];
    const move = (event) => {
      const [a, b] = ends(event);
      if (b - a > 5) over.querySelector(".hover").innerHTML = `<rect x="${a}" y="${frame.top}" width="${b - a}" height="${frame.bottom - frame.top}" fill="#5c646f" opacity="0.2"/>`;
    };
    const up = (event) => {
      window.removeEventListener("pointermove", move);
      const [a, b] = ends(event), hover = over.querySelector(".hover");
      if (hover) hover.innerHTML = "";
      if (b - a > 5) div.onzoom?.([div.scales.x.back(Math.max(a, frame.left)), div.scales.x.back(Math.min(b, frame.right))]);
    };
    if (pointer) window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", up, { once: true });
  }

  return { react, at };
})();
