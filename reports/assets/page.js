"use strict";
(() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colors = () => Array.from({ length: 8 }, (_, at) => css(`--c${at}`));
  const dashes = [[], [6, 3], [2, 3], [8, 3, 2, 3]];

  // Three significant digits, as the tables have them.
  const digits = (value) => {
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 999.5) return Math.round(value).toLocaleString("en-US");
    return value.toPrecision(3).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
  };
  const two = (number) => String(number).padStart(2, "0");
  // Hours where the longest time of an axis has some, so that 1:30 is never both.
  const clock = (seconds, most = seconds) => {
    const all = Math.round(seconds), h = Math.floor(all / 3600), m = Math.floor(all / 60), s = all % 60;
    return most >= 3600 ? `${h}:${two(m % 60)}:${two(s)}` : `${m}:${two(s)}`;
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

  // Steps of a clock that people count in; from a day on, days.
  const DAY = 86400, clockSteps = [0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 14400, 21600, 43200];
  const roundSteps = [];
  for (let power = -12; power < 16; power += 1) roundSteps.push(...[1, 2, 5].map((step) => Number(`${step}e${power}`)));
  for (let days = 1; days < 1e6; days *= 10) clockSteps.push(days * DAY, 2 * days * DAY, 5 * days * DAY);
  // The one unit of an axis of seconds: the one that its greatest number is written in.
  const units = [["µs", 1e-6, 9.995e-4], ["ms", 1e-3, 0.9995], ["s", 1, 600], ["min", 60, 36000], ["h", 3600, Infinity]];
  const unitOf = (measure, most) => (measure === "seconds" ? units.find(([, , below]) => most < below) : ["", 1]);
  // The ticks of an axis in words, all in one form.
  const ticks = (measure, all, most) => {
    const some = all.filter((value) => value !== null), whole = (value, by) => Math.abs(value / by - Math.round(value / by)) < 1e-6;
    const [name, size] = unitOf(measure, most);
    const text = (value) => {
      if (measure === "clock") return most >= 2 * DAY && some.every((one) => whole(one, DAY)) ? `${Math.round(value / DAY)} d` : clock(value, most);
      if (measure === "seconds") return value === 0 ? `0 ${name}` : `${digits(value / size)} ${name}`;
      if (measure !== "dollars" || value === 0 || some.every((one) => whole(one, 1))) return write(measure, value);
      const decimals = [2, 3, 4, 5, 6, 7, 8].find((count) => some.every((one) => whole(one, 10 ** -count))) ?? 9;
      return `$${value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals })}`;
    };
    return all.map((value) => (value === null ? "" : text(value)));
  };
  // Paper has more dots than a screen: for it everything is drawn larger, and shown at its size.
  let zoom = 1;
  const font = (size) => `${size * zoom}px system-ui, sans-serif`;
  const ruler = document.createElement("canvas").getContext("2d");
  const wide = (text) => { ruler.font = font(12); return ruler.measureText(text).width; };
  const widest = (texts) => Math.max(0, ...texts.map(wide));
  // As much of a name as there is room for.
  const cut = (name, room, length) => {
    let kept = name;
    while (kept.length > 1 && length(kept) > room) kept = `${kept.replace(/…$/, "").slice(0, -1)}…`;
    return kept;
  };

  // Names of marks, from the left and those on the x axis first, each where none lies over another.
  const marksOf = (data) => ({
    hooks: {
      draw: [(u) => {
        const { ctx, bbox } = u, ratio = zoom * u.ctx.canvas.width / u.width, gap = 4 * ratio, high = 14 * ratio;
        const right = bbox.left + bbox.width, foot = bbox.top + bbox.height, taken = [];
        ctx.save();
        ctx.strokeStyle = css("--missed"); ctx.lineWidth = ratio; ctx.setLineDash([4 * ratio, 4 * ratio]);
        ctx.font = `${11 * ratio}px system-ui, sans-serif`; ctx.textAlign = "left";
        const seen = data.marks.filter((mark) => { const { min, max } = u.scales[mark.x ? "x" : "y"]; return mark.at >= min && mark.at <= max; });
        const placed = seen.map((mark) => ({ ...mark, place: u.valToPos(mark.at, mark.x ? "x" : "y", true) })).sort((a, b) => b.x - a.x || a.place - b.place);
        for (const { x, place } of placed) {
          ctx.beginPath();
          if (x) { ctx.moveTo(place, bbox.top); ctx.lineTo(place, foot); } else { ctx.moveTo(bbox.left, place); ctx.lineTo(right, place); }
          ctx.stroke();
        }
        for (const { x, place, name } of placed) {
          const text = cut(name, bbox.width - 2 * gap, (kept) => ctx.measureText(kept).width), width = ctx.measureText(text).width;
          const from = Math.max(bbox.left + gap, Math.min(x && place + gap + width <= right ? place + gap : x ? place - gap - width : right - gap - width, right - gap - width));
          const step = x || place > bbox.top + 16 * ratio ? -high : high;
          let base = x ? foot - gap : step < 0 ? place - gap : place + 12 * ratio;
          const free = () => taken.every((one) => one.from > from + width + gap || one.to + gap < from || Math.abs(one.base - base) >= high);
          while (!free() && base > bbox.top && base < foot) base += step;
          taken.push({ from, to: from + width, base });
          ctx.fillStyle = css("--panel"); ctx.globalAlpha = 0.8; ctx.fillRect(from - ratio, base - 10 * ratio, width + 2 * ratio, 13 * ratio);
          ctx.fillStyle = css("--soft"); ctx.globalAlpha = 1; ctx.fillText(text, from, base);
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

  // 1, 2 and 5 of each decade in sight, in the unit of the axis.
  const decades = (measure) => (u, _, least, most) => {
    const all = [], [, size] = unitOf(measure, most);
    for (let power = Math.floor(Math.log10(least / size)); power <= Math.log10(most / size); power += 1) {
      for (const step of [1, 2, 5]) {
        const value = step * 10 ** power * size;
        if (value >= least && value <= most) all.push(value);
      }
    }
    return all;
  };
  // Those whose texts have room beside each other, from the left.
  const apart = (u, all, texts) => {
    let free = -Infinity;
    return texts.map((text, at) => {
      if (all[at] === null || text === "") return "";
      const place = u.valToPos(all[at], "x"), half = wide(text) / 2;
      if (place - half < free) return "";
      free = place + half + 10 * zoom;
      return text;
    });
  };

  // A logarithmic axis ends where the numbers do, and points keep off the edge.
  const across = (data) => (u, least, most) => {
    if (least === null) return [0, 1];
    if (data.x.log) return data.scattered ? [least / 1.15, most * 1.15] : [least, most];
    const gap = data.scattered ? (most - least) * 0.05 + 1e-9 : 0;
    return [least - gap, most + gap];
  };

  // How wide about the last tick of an axis is.
  const endOf = (of, most) => widest(of.measure === "clock" ? ticks(of.measure, [most], most) : [write(of.measure, most)]);
  const axisOf = (data, key) => {
    const of = data[key], numbers = key === "x" ? data.at : data.lines.flatMap((line) => line.values);
    const isTime = of.measure === "clock" || (of.measure === "seconds" && Math.max(...numbers) >= 600);
    const grid = { stroke: css("--grid"), width: zoom }, texts = (u, all) => ticks(of.measure, all, u.scales[key].max);
    return {
      stroke: css("--soft"), grid, ticks: { ...grid, size: 6 * zoom }, font: font(12), gap: 5 * zoom, incrs: isTime ? clockSteps : roundSteps,
      splits: of.log ? decades(of.measure) : undefined, filter: of.log ? (_, all) => all : undefined,
      label: key === "x" ? of.label : cut(of.label, 215 * zoom, wide), labelFont: font(12), labelSize: 20 * zoom, labelGap: 2 * zoom,
      ...(key === "x"
        ? { size: 26 * zoom, space: (_, __, ___, most) => endOf(of, most) + 20 * zoom, values: (u, all) => apart(u, all, texts(u, all)) }
        : { size: (_, all) => 14 * zoom + widest(all ?? []), space: 30 * zoom, values: texts }),
    };
  };

  const options = (data, width) => {
    const palette = colors();
    const told = (measure) => (_, value, __, at) => (at === null ? "" : write(measure, value));
    const line = (entry, at) => {
      const color = palette[at % palette.length];
      return {
        label: entry.name, stroke: color, width: 2 * zoom, dash: dashes[Math.floor(at / palette.length) % dashes.length].map((length) => length * zoom), spanGaps: false,
        points: data.scattered ? { show: true, size: 9 * zoom, fill: color } : { show: false },
        paths: data.scattered ? () => null : undefined,
        value: told(data.y.measure),
      };
    };
    return {
      width: width * zoom, height: 260 * zoom,
      padding: [12 * zoom, endOf(data.x, data.at.at(-1)) / 2 + 4 * zoom, 0, 0],
      cursor: { y: false, sync: data.x.measure === "clock" ? { key: "clock", setSeries: false } : undefined },
      scales: { x: { time: false, distr: data.x.log ? 3 : 1, range: across(data) }, y: { distr: data.y.log ? 3 : 1, range: span(data) } },
      axes: [axisOf(data, "x"), axisOf(data, "y")],
      series: [{ label: data.x.label, value: told(data.x.measure) }, ...data.lines.map(line)],
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
  const fileName = (title) => title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");

  const saveText = (title, text) => save(`${fileName(title)}.csv`, `data:text/csv;charset=utf-8,${encodeURIComponent(text)}`);
  // A row of buttons above the caption.
  const toolsOf = (figure, title) => {
    const row = document.createElement("div");
    row.className = "tools";
    figure.querySelector("figcaption").before(row);
    const button = (text, act) => {
      const made = document.createElement("button");
      made.type = "button"; made.textContent = text;
      made.setAttribute("aria-label", `${text}: ${title}`);
      made.addEventListener("click", act);
      row.append(made);
      return made;
    };
    return [row, button];
  };

  const tools = (figure, data, plot) => {
    const [row, button] = toolsOf(figure, data.title);
    let table = null;
    const show = button("Table", () => {
      if (table) { table.remove(); table = null; } else { table = pointsTable(data); row.after(table); }
      show.setAttribute("aria-expanded", String(table !== null));
    });
    show.setAttribute("aria-expanded", "false");
    button("CSV", () => {
      const lines = [headers(data).map(quoted), ...rowsOf(data).map((all) => all.map((value) => (value === null ? "" : String(value))))];
      saveText(data.title, `${lines.map((line) => line.join(",")).join("\n")}\n`);
    });
    button("PNG", () => save(`${fileName(data.title)}.png`, plot.current.ctx.canvas.toDataURL("image/png")));
    button("Show all", () => plot.current.setData(plot.current.data, true));
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

  // What leads on to the right out of sight says so.
  const scrolled = new ResizeObserver((all) => all.forEach(({ target }) => {
    const isMore = target.scrollWidth > target.clientWidth + 1;
    target.classList.toggle("more", isMore);
  }));
  document.querySelectorAll(".scroll").forEach((box) => scrolled.observe(box));

  // Half the width of A4 or Letter without its margins, in pixels.
  const ON_PAPER = 312;
  const drawn = [];
  for (const figure of document.querySelectorAll("figure")) {
    const file = figure.querySelector("script.csv");
    if (file) {
      // What is markup shows its numbers itself; the file has them in full.
      const title = figure.querySelector("h3").textContent, [, button] = toolsOf(figure, title);
      button("CSV", () => saveText(title, JSON.parse(file.textContent)));
      continue;
    }
    const source = figure.querySelector('script[type="application/json"]');
    const data = JSON.parse(source.textContent), box = figure.querySelector(".plot"), plot = { current: null };
    const values = [data.at, ...data.lines.map((line) => line.values)];
    const draw = () => {
      if (plot.current) plot.current.destroy();
      plot.current = new uPlot(options(data, zoom === 1 ? box.clientWidth : ON_PAPER), values, box);
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
    if (one && zoom === 1 && width > 0 && width !== one.plot.current.width) one.plot.current.setSize({ width, height: 260 });
  }));
  drawn.forEach((one) => fit.observe(one.box));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  // Paper is white, and as wide as it is.
  addEventListener("beforeprint", () => { document.documentElement.dataset.theme = "light"; zoom = 2; document.querySelectorAll("details").forEach((one) => { one.dataset.was = one.open; one.open = true; }); redraw(); });
  addEventListener("afterprint", () => { delete document.documentElement.dataset.theme; zoom = 1; document.querySelectorAll("details").forEach((one) => { one.open = one.dataset.was === "true"; }); redraw(); });
})();
