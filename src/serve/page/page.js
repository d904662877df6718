// The page: a scenario, its sliders, and the answer line by line as it comes.
// Everything that comes from a scenario is shown as text, never as markup.
"use strict";

const byId = (id) => document.getElementById(id);
const session = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) =>
  b.toString(16).padStart(2, "0")).join("");

let source = null;      // { scenario } or { text }
let sliders = [];       // what the server says, each with `now`, the place it stands at
let pinned = null;      // a variant, with words for it
let running = null;     // the controller of the question under way
let writing = null;     // that of the report under way
let wanted = false;     // whether a report is wanted as soon as the answer is complete
let loading = 0;        // counts requests for sliders: only the latest one is shown
let timer = 0;
let asked = 0;

function element(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (name) made.className = name;
  return made;
}

function post(path, body, signal) {
  return fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
}

// Overrides of the places that are not the scenario's own; another policy goes first, since it
// replaces what the others change.
function changes() {
  const moved = sliders.map((one) => one.stops[one.now].set).filter((set) => set !== null);
  return moved.sort((a, b) => b.startsWith("policy=") - a.startsWith("policy="));
}

function variant() {
  return { ...source, set: changes() };
}

function question() {
  return pinned ? { session, ask: variant(), pinned: pinned.variant } : { session, ask: variant() };
}

function showProblems(answer) {
  const list = byId("problems");
  list.replaceChildren();
  for (const problem of answer.problems || []) {
    const item = element("li");
    item.append(element("span", `Line ${problem.line}, column ${problem.column}`, "place"));
    if (problem.file.startsWith("--set")) item.firstChild.textContent = problem.file;
    item.append(`: ${problem.key ? problem.key + ": " : ""}${problem.message}`);
    if (problem.help) item.append(element("span", problem.help, "help"));
    list.append(item);
  }
  byId("problem-text").textContent = (answer.problems || []).length > 0 ? "" : answer.error;
  byId("problem").hidden = false;
  setStatus("");
  byId("progress").classList.add("done");
}

function setStatus(text) {
  byId("status").textContent = text;
}

function unreachable(error) {
  if (error.name === "AbortError") return;
  showProblems({ error: "The server cannot be reached. Is surgeline serve still running?" });
}

async function load(chosen) {
  if (running) running.abort();
  clearTimeout(timer);
  const mine = ++loading;
  let answer;
  try {
    const response = await post("api/sliders", { ...chosen, set: [] });
    answer = await response.json();
    if (mine !== loading) return false;
    if (!response.ok) {
      showProblems(answer);
      return false;
    }
  } catch (error) {
    unreachable(error);
    return false;
  }
  source = chosen;
  pinned = null;
  sliders = answer.sliders.map((one) => ({ ...one, now: one.at }));
  byId("question").textContent = answer.question || answer.name;
  document.title = `${answer.name}: what if?`;
  byId("text").value = answer.text;
  byId("paste").hidden = true;
  byId("shared").hidden = true;
  showPin();
  showSliders();
  ask();
  return true;
}

function showSliders() {
  const all = byId("sliders");
  all.replaceChildren();
  const groups = [...new Set(sliders.map((one) => one.group))];
  for (const group of groups) {
    const inside = sliders.filter((one) => one.group === group);
    const field = element("fieldset");
    field.append(element("legend", group));
    inside.forEach((one) => field.append(slider(one)));
    if (group === "Prices" && inside.length > 3) {
      const folded = element("details", null, "group");
      folded.append(element("summary", `${group} (${inside.length})`));
      field.firstChild.className = "skip";
      folded.append(field);
      all.append(folded);
    } else {
      all.append(field);
    }
  }
  if (sliders.length === 0) all.append(element("p", "This scenario has nothing that can be moved."));
}

function slider(one) {
  const id = `s${sliders.indexOf(one)}`;
  const row = element("div", null, "slider");
  const label = element("label", one.label);
  label.htmlFor = id;
  const few = one.stops.length <= 3;
  const input = element(few ? "select" : "input");
  const output = element("output", few ? "" : one.stops[one.now].text);
  output.htmlFor = id;
  const was = element("span", "", "was");
  if (few) {
    one.stops.forEach((stop, at) => {
      const option = element("option", stop.text);
      option.value = String(at);
      input.append(option);
    });
  } else {
    input.type = "range";
    input.min = "0";
    input.max = String(one.stops.length - 1);
    input.step = "1";
  }
  input.id = id;
  input.dataset.key = one.key;
  input.value = String(one.now);
  const show = () => {
    const stop = one.stops[one.now];
    if (!few) {
      output.textContent = stop.text;
      input.setAttribute("aria-valuetext", stop.text);
    }
    row.classList.toggle("moved", one.now !== one.at);
    was.textContent = one.now === one.at ? "" : `in the file: ${one.stops[one.at].text}`;
  };
  input.addEventListener("input", () => {
    one.now = Number(input.value);
    show();
    byId("shared").hidden = true;
    clearTimeout(timer);
    timer = setTimeout(one.key === "policy" ? otherPolicy : ask, 150);
  });
  show();
  row.append(label, output, input, was);
  return row;
}

// Another policy has other rules: what was moved stays moved where there is such a place.
async function otherPolicy() {
  const policy = sliders.find((one) => one.key === "policy");
  const set = policy.stops[policy.now].set;
  const mine = ++loading;
  try {
    const response = await post("api/sliders", { ...source, set: set === null ? [] : [set] });
    const answer = await response.json();
    if (mine !== loading) return;
    if (!response.ok) {
      showProblems(answer);
      return;
    }
    const before = new Map(sliders.map((one) => [one.key, one.stops[one.now].set]));
    sliders = answer.sliders.map((one) => {
      if (one.key === "policy") return policy;
      const moved = before.get(one.key) ?? null;
      const at = moved === null ? -1 : one.stops.findIndex((stop) => stop.set === moved);
      return { ...one, now: at < 0 ? one.at : at };
    });
    showSliders();
    document.querySelector('[data-key="policy"]').focus();
    ask();
  } catch (error) {
    unreachable(error);
  }
}

async function ask() {
  clearTimeout(timer);
  dropReport();
  if (running) running.abort();
  const mine = new AbortController();
  running = mine;
  asked += 1;
  byId("problem").hidden = true;
  byId("answer").classList.add("stale");
  byId("answer").dataset.state = "asked";
  setStatus("asking");
  const bar = byId("progress");
  bar.classList.remove("done");
  bar.value = 0;
  try {
    const response = await post("api/answer", question(), mine.signal);
    if (response.status === 503) {
      setStatus("many questions are waiting; asking again in 2 s");
      timer = setTimeout(ask, 2000);
      return;
    }
    if (!response.ok) {
      showProblems(await response.json());
      return;
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done || running !== mine) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) take(JSON.parse(line));
    }
  } catch (error) {
    if (running === mine) unreachable(error);
  }
}

function take(event) {
  if (event.event === "waiting") {
    setStatus(event.ahead > 0 ? `waiting, ${event.ahead} before this one` : "starting");
  } else if (event.event === "progress") {
    byId("progress").max = event.of;
    byId("progress").value = event.done;
    setStatus(`${event.what}: ${event.done} of ${event.of} replications`);
  } else if (event.event === "answer") {
    showAnswer(event);
  } else if (event.event === "refused") {
    showProblems(event);
  }
}

function paragraphs(into, texts, tag) {
  into.replaceChildren(...texts.map((text) => element(tag, text)));
}

function showAnswer(answer) {
  const of = byId("answer");
  of.classList.remove("stale");
  of.dataset.state = answer.final ? "final" : "first";
  of.dataset.asked = String(asked);
  const runs = `${answer.replications} replication${answer.replications === 1 ? "" : "s"}`;
  if (answer.final) {
    setStatus(runs);
    byId("progress").classList.add("done");
    if (wanted) report();
  } else {
    setStatus(`so far, after ${runs}`);
  }
  paragraphs(byId("banners"), [answer.cut, ...answer.banners].filter(Boolean), "p");
  byId("verdict").className = answer.verdict || "";
  // The region is read aloud when it changes: only what stays is worth that.
  byId("verdict").setAttribute("aria-live", answer.final ? "polite" : "off");
  byId("sentence").textContent = (answer.final ? "" : "So far: ") + answer.sentence;
  byId("against").textContent = answer.against_pinned || "";
  byId("numbers").replaceChildren(...answer.numbers.map(tile));
  const [spend, cost, p95] = answer.numbers.map((number) => number.now.text);
  const goals = answer.objectives.filter((judged) => judged.met).length;
  const judged = answer.objectives.length > 0 ? ` · ${goals} of ${answer.objectives.length} objectives met` : "";
  byId("glance").textContent = `${spend} a month · ${cost} a task · p95 ${p95}${judged}`;
  byId("objectives-part").hidden = answer.objectives.length === 0;
  byId("objectives").replaceChildren(...answer.objectives.map(objective));
  byId("stability").textContent = answer.stability || "";
  paragraphs(byId("advice"), answer.advice, "li");
  byId("origin").textContent = answer.origin.join("; ");
}

function tile(number) {
  const all = element("div");
  all.dataset.path = number.path;
  all.append(element("dt", number.of ? `${number.label} of ${number.of}` : number.label));
  const { text, interval, reason } = number.now;
  all.append(element("dd", text, "value"));
  all.append(element("dd", interval || reason || "", "interval"));
  const change = number.change;
  if (change) {
    const way = change.better === null ? "" : change.better ? " better" : " worse";
    const word = change.better === null ? "" : change.better ? ", better" : ", worse";
    const chance = change.certain || change.difference === 0 ? "" : ", may be chance";
    const same = change.difference === 0;
    const words = same ? "no change" : `${change.text} (${change.relative})${word}${chance}`;
    all.append(element("dd", words, "change" + way));
    if (!same && change.interval) all.append(element("dd", `change: ${change.interval}`, "interval"));
    all.append(element("dd", `pinned: ${change.pinned.text}`, "pinned"));
  }
  return all;
}

function objective(judged) {
  const name = judged.met === null ? "undecided" : judged.met ? "met" : "missed";
  const item = element("li");
  item.append(element("span", `${judged.mark} ${name}`, `word ${name}`));
  item.append(` ${judged.promise}: ${judged.found}${judged.note ? ` (${judged.note})` : ""}`);
  return item;
}

function sayOfReport(text) {
  byId("report-status").textContent = text;
}

// Another question is on the page: nobody waits for the report of the one before.
function dropReport() {
  wanted = false;
  if (writing) writing.abort();
  writing = null;
  sayOfReport("");
}

function keep(blob, name, link) {
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(blob);
  link.download = name;
}

// The report is of all replications, so the answer comes first: then most of them are known.
async function report() {
  if (writing) return;
  wanted = byId("answer").dataset.state !== "final";
  if (wanted) {
    sayOfReport("The report is written as soon as the answer is complete.");
    return;
  }
  const mine = new AbortController();
  writing = mine;
  sayOfReport("Writing the report.");
  try {
    const response = await post("api/report", question(), mine.signal);
    if (!response.ok) {
      const busy = response.status === 503;
      const answer = await response.json();
      if (writing === mine) sayOfReport(busy ? "Many questions are waiting; try again in a moment." : answer.error);
      return;
    }
    const blob = await response.blob();
    if (writing !== mine) return;
    const named = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") || "");
    const link = element("a");
    keep(blob, named ? named[1] : "report.html", link);
    link.click();
    sayOfReport(`The report is in ${link.download}, among your downloads.`);
  } catch (error) {
    if (writing === mine) sayOfReport("The server cannot be reached. Is surgeline serve still running?");
  } finally {
    if (writing === mine) writing = null;
  }
}

function showPin() {
  byId("unpin").hidden = pinned === null;
  byId("pinned").hidden = pinned === null;
  byId("pin").textContent = pinned ? "Pin this instead" : "Pin as baseline";
  byId("pinned").textContent = pinned ? `Pinned: ${pinned.words}` : "";
}

byId("pin").addEventListener("click", () => {
  const now = variant();
  pinned = { variant: now, words: now.set.length === 0 ? "the scenario as written" : now.set.join(", ") };
  showPin();
  ask();
});
byId("unpin").addEventListener("click", () => {
  pinned = null;
  showPin();
  byId("pin").focus();
  ask();
});
byId("reset").addEventListener("click", () => {
  const policy = sliders.find((one) => one.key === "policy" && one.now !== one.at);
  sliders.forEach((one) => { one.now = one.at; });
  byId("shared").hidden = true;
  showSliders();
  if (policy) otherPolicy();
  else ask();
});
byId("share").addEventListener("click", async () => {
  try {
    const response = await post("api/share", variant());
    const answer = await response.json();
    if (!response.ok) {
      showProblems(answer);
      return;
    }
    byId("command").value = answer.command;
    byId("command-label").textContent = pinned
      ? "The command for the sliders as they are, without the baseline"
      : "The command that says the same";
    keep(new Blob([answer.text], { type: "application/toml" }), answer.file, byId("download"));
    byId("shared").hidden = false;
    byId("command").focus();
    byId("command").select();
  } catch (error) {
    unreachable(error);
  }
});
byId("report").addEventListener("click", report);
byId("copy").addEventListener("click", async () => {
  byId("command").select();
  try {
    await navigator.clipboard.writeText(byId("command").value);
    byId("copy").textContent = "Copied";
  } catch {
    byId("copy").textContent = "Selected: press Ctrl+C";
  }
  setTimeout(() => { byId("copy").textContent = "Copy the command"; }, 2000);
});
byId("own").addEventListener("click", () => {
  byId("paste").hidden = !byId("paste").hidden;
  if (!byId("paste").hidden) byId("text").focus();
});
byId("close").addEventListener("click", () => {
  byId("paste").hidden = true;
  byId("problem").hidden = true;
  byId("own").focus();
});
byId("use").addEventListener("click", async () => {
  if (await load({ text: byId("text").value })) {
    const select = byId("scenario");
    if (select.options[0].value !== "") {
      const own = element("option", "your own text");
      own.value = "";
      select.prepend(own);
    }
    select.value = "";
  } else {
    byId("problem").scrollIntoView({ block: "nearest" });
  }
});
byId("file").addEventListener("change", async () => {
  const [file] = byId("file").files;
  if (file) byId("text").value = await file.text();
});
byId("scenario").addEventListener("change", () => {
  const name = byId("scenario").value;
  if (name !== "") load({ scenario: name });
});

(async () => {
  try {
    const response = await fetch("api/scenarios");
    const { scenarios } = await response.json();
    for (const one of scenarios) {
      const option = element("option", one.name);
      option.value = one.name;
      option.title = one.question;
      byId("scenario").append(option);
    }
    const first = "support-reply";
    byId("scenario").value = first;
    load({ scenario: first });
  } catch (error) {
    unreachable(error);
  }
})();
