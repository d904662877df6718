"use strict";
(() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colors = () => Array.from({ length: 8 }, (_, at) => css(`--c${at}`));
  const dashes = [[], [6, 3], [2, 3], [8, 3, 2, 3]];

  // Three significant digits, as the tables have them.
  const digits = (value) => {
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1000) return Math.round(value).toLocaleString("en-US");
    return value.toPrecision(3).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
  };
  const two = (number) => String(number).padStart(2, "0");
  const clock = (seconds) => {
    const all = Math.round(seconds), h = Math.floor(all / 3600), m = Math.floor(all / 60) % 60, s = all % 60;
    return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
  };
  const seconds = (value) => {
    const size = Math.abs(value);
    if (size === 0) return "0 s";
    if (size < 9.995e-4) return `${digits(value * 1e6)} µs`;
    if (size < 0.9995) return `${digits(value * 1e3)} ms`;
    if (size < 600) return `${digits(value)} s`;
    return size < 36000 ? `${digits(value / 60)} min` : `${digits(value / 3600)} h`;
  };
  const written = {
    clock, seconds,
    dollars: (value) => `$${digits(value)}`,
    share: (value) => `${digits(value * 100)} %`,
    per_second: (value) => `${digits(value)}/s`,
    count: digits,
  };
  const write = (measure, value) => (value === null || value === undefined ? "–" : written[measure](value));

  // Steps of a clock that people count in.
  const clockSteps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 14400, 21600, 43200, 86400, 172800, 604800, 2592000];

  const marksOf = (data) => ({
    hooks: {
      draw: [(u) => {
        const { ctx, bbox } = u;
        ctx.save();
        ctx.strokeStyle = css("--missed"); ctx.fillStyle = css("--soft"); ctx.lineWidth = devicePixelRatio; ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
        ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
        // Names of marks on the x axis, from the left, in rows so that none lies over another.
        const ends = [], marks = [...data.marks].sort((a, b) => a.at - b.at);
        for (const mark of marks) {
          const scale = u.scales[mark.x ? "x" : "y"];
          if (mark.at < scale.min || mark.at > scale.max) continue;
          const place = u.valToPos(mark.at, mark.x ? "x" : "y", true);
          ctx.beginPath();
          if (mark.x) { ctx.moveTo(place, bbox.top); ctx.lineTo(place, bbox.top + bbox.height); }
          else { ctx.moveTo(bbox.left, place); ctx.lineTo(bbox.left + bbox.width, place); }
          ctx.stroke();
          const right = mark.x && place > bbox.left + bbox.width * 0.7;
          ctx.textAlign = right || !mark.x ? "right" : "left";
          const gap = 4 * devicePixelRatio;
          if (mark.x) {
            const wide = ctx.measureText(mark.name).width, from = right ? place - gap - wide : place + gap;
            const found = ends.findIndex((end) => end < from), row = found < 0 ? ends.length : found;
            ends[row] = from + wide + gap;
            ctx.fillText(mark.name, place + (right ? -gap : gap), bbox.top + bbox.height - gap - row * 14 * devicePixelRatio);
          }
          else ctx.fillText(mark.name, bbox.left + bbox.width - gap, place > bbox.top + 16 * devicePixelRatio ? place - gap : place + 12 * devicePixelRatio);
        }
        ctx.restore();
      }],
    },
  });

  // Marks must be in sight, but not at the price of all else.
  const span = (data) => (u, least, most) => {
    if (least === null) return [0, 1];
    const marks = data.marks.filter((mark) => !mark.x && mark.at > 0 && mark.at < 3 * most).map((mark) => mark.at);
    const top = Math.max(most, ...marks);
    if (data.y.log) return [Math.min(least, ...marks) / 1.15, top * 1.15];
    if (data.y.measure === "share" && top <= 1) return [0, Math.max(0.05, top > 0.7 ? 1.02 : top * 1.1)];
    return [data.scattered ? Math.min(least, ...marks) * 0.9 : 0, (top || 1) * 1.08];
  };

  // 1, 2 and 5 of each decade in sight.
  const decades = (u, _, least, most) => {
    const all = [];
    for (let power = Math.floor(Math.log10(least)); power <= Math.log10(most); power += 1) {
      for (const step of [1, 2, 5]) {
        const value = step * 10 ** power;
        if (value >= least && value <= most) all.push(value);
      }
    }
    return all;
  };

  // A logarithmic axis ends where the numbers do, and points keep off the edge.
  const across = (data) => (u, least, most) => {
    if (least === null) return [0, 1];
    if (data.x.log) return data.scattered ? [least / 1.15, most * 1.15] : [least, most];
    const gap = data.scattered ? (most - least) * 0.05 + 1e-9 : 0;
    return [least - gap, most + gap];
  };

  const options = (data, box) => {
    const palette = colors(), grid = { stroke: css("--grid"), width: 1 }, ink = css("--soft");
    const axis = (of, more) => ({ stroke: ink, grid, ticks: grid, font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", labelSize: 18, label: of.label, values: (_, all) => all.map((value) => (value === null ? "" : write(of.measure, value))), ...more });
    const line = (entry, at) => {
      const color = palette[at % palette.length];
      return {
        label: entry.name, stroke: color, width: 2, dash: dashes[Math.floor(at / palette.length) % dashes.length], spanGaps: false,
        points: data.scattered ? { show: true, size: 9, fill: color } : { show: false },
        paths: data.scattered ? () => null : undefined,
        value: (_, value) => write(data.y.measure, value),
      };
    };
    return {
      width: box.clientWidth, height: 260,
      cursor: { y: false, sync: data.x.measure === "clock" ? { key: "clock", setSeries: false } : undefined },
      scales: { x: { time: false, distr: data.x.log ? 3 : 1, range: across(data) }, y: { distr: data.y.log ? 3 : 1, range: span(data) } },
      axes: [axis(data.x, { splits: data.x.log ? decades : undefined, filter: data.x.log ? (_, all) => all : undefined, incrs: data.x.measure === "clock" ? clockSteps : undefined, space: 70 }), axis(data.y, { size: 66, splits: data.y.log ? decades : undefined, filter: data.y.log ? (_, all) => all : undefined })],
      series: [{ label: data.x.label, value: (_, value) => write(data.x.measure, value) }, ...data.lines.map(line)],
      plugins: [marksOf(data)],
      legend: { live: true, markers: { fill: (_, at) => palette[(at - 1) % palette.length] } },
    };
  };

  const rowsOf = (data) => data.at.map((at, row) => [at, ...data.lines.map((line) => line.values[row])]);
  const headers = (data) => [`${data.x.label} (${unit[data.x.measure]})`, ...data.lines.map((line) => `${line.name} (${unit[data.y.measure]})`)];
  const unit = { clock: "s", seconds: "s", dollars: "USD", share: "ratio", per_second: "1/s", count: "count" };
  const quoted = (text) => {
    // A spreadsheet takes what begins like this for a formula.
    const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };

  const save = (name, url) => {
    const link = document.createElement("a");
    link.href = url; link.download = name;
    link.click();
  };
  const fileName = (data) => data.title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");

  const tools = (figure, data, plot) => {
    const row = document.createElement("div");
    row.className = "tools";
    const button = (text, act) => {
      const made = document.createElement("button");
      made.type = "button"; made.textContent = text;
      made.setAttribute("aria-label", `${text}: ${data.title}`);
      made.addEventListener("click", act);
      row.append(made);
      return made;
    };
    let table = null;
    const show = button("Table", () => {
      if (table) { table.remove(); table = null; } else { table = pointsTable(data); row.after(table); }
      show.setAttribute("aria-expanded", String(table !== null));
    });
    show.setAttribute("aria-expanded", "false");
    button("CSV", () => {
      const lines = [headers(data).map(quoted), ...rowsOf(data).map((all) => all.map((value) => (value === null ? "" : String(value))))];
      save(`${fileName(data)}.csv`, `data:text/csv;charset=utf-8,${encodeURIComponent(lines.map((line) => line.join(",")).join("\n") + "\n")}`);
    });
    button("PNG", () => save(`${fileName(data)}.png`, plot.current.ctx.canvas.toDataURL("image/png")));
    button("Show all", () => plot.current.setData(plot.current.data, true));
    figure.querySelector("figcaption").before(row);
  };

  const pointsTable = (data) => {
    const box = document.createElement("div");
    box.className = "points"; box.tabIndex = 0;
    box.setAttribute("role", "region"); box.setAttribute("aria-label", `${data.title}: data`);
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    for (const text of headers(data)) { const cell = document.createElement("th"); cell.scope = "col"; cell.textContent = text; head.append(cell); }
    const body = table.createTBody();
    for (const all of rowsOf(data)) {
      const row = body.insertRow();
      all.forEach((value, at) => { row.insertCell().textContent = write(at === 0 ? data.x.measure : data.y.measure, value); });
    }
    box.append(table);
    return box;
  };

  // The names of the lines switch them on and off, by keyboard too.
  const switches = (box) => {
    for (const name of box.querySelectorAll(".u-legend .u-series:not(:first-child) th")) {
      name.tabIndex = 0;
      name.setAttribute("role", "button");
      name.setAttribute("aria-pressed", "true");
      name.addEventListener("click", () => setTimeout(() => name.setAttribute("aria-pressed", String(!name.parentElement.classList.contains("u-off")))));
      name.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); name.click(); } });
    }
  };

  const drawn = [];
  for (const figure of document.querySelectorAll("figure")) {
    const source = figure.querySelector('script[type="application/json"]');
    if (!source) continue;
    const data = JSON.parse(source.textContent), box = figure.querySelector(".plot"), plot = { current: null };
    const values = [data.at, ...data.lines.map((line) => line.values)];
    const draw = () => {
      if (plot.current) plot.current.destroy();
      plot.current = new uPlot(options(data, box), values, box);
      const drawing = box.querySelector(".u-wrap");
      drawing.setAttribute("role", "img");
      drawing.setAttribute("aria-label", box.getAttribute("aria-label"));
      switches(box);
    };
    draw();
    tools(figure, data, plot);
    drawn.push({ box, plot, draw });
  }
  const redraw = () => drawn.forEach((one) => one.draw());
  const fit = new ResizeObserver((all) => all.forEach((entry) => {
    const one = drawn.find((one) => one.box === entry.target);
    const width = Math.floor(entry.contentRect.width);
    if (one && width > 0 && width !== one.plot.current.width) one.plot.current.setSize({ width, height: 260 });
  }));
  drawn.forEach((one) => fit.observe(one.box));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  // Paper is white.
  addEventListener("beforeprint", () => { document.documentElement.dataset.theme = "light"; document.querySelectorAll("details").forEach((one) => { one.dataset.was = one.open; one.open = true; }); redraw(); });
  addEventListener("afterprint", () => { delete document.documentElement.dataset.theme; document.querySelectorAll("details").forEach((one) => { one.open = one.dataset.was === "true"; }); redraw(); });
})();
