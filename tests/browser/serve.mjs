// Walks the page of `surgeline serve` in a headless Chromium: pick, move, see, pin, compare, share, err.
//
//   node tests/browser/serve.mjs target/release/surgeline [FOLDER]
//
// Screenshots at 1280 and 390 pixels, light and dark, go to FOLDER. It needs Node and a Chromium (or
// $CHROMIUM) and nothing else: it speaks the DevTools protocol through a pipe. Without a Chromium it
// says so and passes. It asserts no duration; what a move takes is printed.

import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const [program = "target/debug/surgeline", folder] = process.argv.slice(2);
const chromium = [process.env.CHROMIUM, "chromium", "chromium-browser", "google-chrome"]
  .filter(Boolean)
  .find((name) => spawnSync(name, ["--version"]).status === 0);
if (!chromium) {
  console.log("skipped: there is no chromium; install one, or name it in CHROMIUM");
  process.exit(0);
}

const scratch = mkdtempSync(join(tmpdir(), "surgeline-browser-"));
const pictures = resolve(folder ?? join(scratch, "pictures"));
mkdirSync(pictures, { recursive: true });

const server = spawn(program, ["serve", "--port", "0"], { stdio: ["ignore", "pipe", "inherit"] });
const address = await new Promise((done, failed) => {
  server.stdout.once("data", (data) => done(String(data).trim()));
  server.once("exit", (code) => failed(new Error(`the server ended with ${code}`)));
});

const browser = spawn(chromium, [
  "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
  "--force-color-profile=srgb", "--hide-scrollbars", `--user-data-dir=${join(scratch, "profile")}`,
  "--remote-debugging-pipe", "about:blank",
], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });

const pending = new Map();
const heard = [];
let last = 0;
let rest = "";
browser.stdio[4].on("data", (data) => {
  const parts = (rest + data).split("\0");
  rest = parts.pop();
  for (const part of parts) {
    const message = JSON.parse(part);
    if (message.id === undefined) {
      heard.push(message);
      continue;
    }
    const { done, failed } = pending.get(message.id);
    pending.delete(message.id);
    if (message.error) failed(new Error(message.error.message));
    else done(message.result);
  }
});
let sessionId;
function call(method, params = {}) {
  last += 1;
  const id = last;
  browser.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
  return new Promise((done, failed) => pending.set(id, { done, failed }));
}

async function evaluate(expression) {
  const answer = await call("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
  if (answer.exceptionDetails) throw new Error(answer.exceptionDetails.exception.description);
  return answer.result.value;
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function until(what, expression, most = 60_000) {
  const end = Date.now() + most;
  while (Date.now() < end) {
    if (await evaluate(expression)) return;
    await pause(20);
  }
  throw new Error(`never: ${what}`);
}

const text = (selector) => evaluate(`document.querySelector(${JSON.stringify(selector)}).textContent`);
const click = (id) => evaluate(`document.getElementById(${JSON.stringify(id)}).click()`);
const state = (name) => `document.getElementById("answer").dataset.state === "${name}"`;
const isFinal = () => until("a final answer", state("final"));

async function key(name, code) {
  const params = { key: name, code: name, windowsVirtualKeyCode: code, nativeVirtualKeyCode: code };
  await call("Input.dispatchKeyEvent", { type: "rawKeyDown", ...params });
  await call("Input.dispatchKeyEvent", { type: "keyUp", ...params });
}

// Moves a slider as a hand on the keyboard does, and waits for the first answer to it.
async function move(label, steps) {
  await evaluate(`document.querySelector('[data-key="${label}"]').focus()`);
  const before = Number(await evaluate("asked"));
  const began = performance.now();
  for (let at = 0; at < Math.abs(steps); at += 1) {
    if (steps > 0) await key("ArrowRight", 39);
    else await key("ArrowLeft", 37);
  }
  await until("an answer to a move",
    `document.getElementById("answer").dataset.asked > ${before} && !document.getElementById("answer").classList.contains("stale")`);
  return performance.now() - began;
}

async function picture(name) {
  for (const [width, height] of [[1280, 900], [390, 844]]) {
    for (const scheme of ["light", "dark"]) {
      await call("Emulation.setDeviceMetricsOverride",
        { width, height, deviceScaleFactor: 1, mobile: width < 500 });
      await call("Emulation.setEmulatedMedia",
        { features: [{ name: "prefers-color-scheme", value: scheme }] });
      await pause(250);
      const wide = await evaluate("document.documentElement.scrollWidth - window.innerWidth");
      assert.ok(wide <= 0, `${name} at ${width}: ${wide} pixels are cut off`);
      const { data } = await call("Page.captureScreenshot",
        { format: "png", captureBeyondViewport: true });
      writeFileSync(join(pictures, `${name}-${width}-${scheme}.png`), Buffer.from(data, "base64"));
    }
  }
  await call("Emulation.setDeviceMetricsOverride",
    { width: 1280, height: 900, deviceScaleFactor: 1, mobile: false });
}

async function walk() {
  const { targetId } = await call("Target.createTarget", { url: "about:blank" });
  sessionId = (await call("Target.attachToTarget", { targetId, flatten: true })).sessionId;
  for (const domain of ["Page", "Runtime", "Network", "Log"]) await call(`${domain}.enable`);
  await call("Page.navigate", { url: address });

  await until("the list of scenarios", "document.querySelectorAll('#scenario option').length >= 20");
  await isFinal();
  assert.match(await text("#question"), /drafted support reply/);
  const spend = () => text('[data-path="spend.per_month"] .value');
  const asWritten = await spend();
  assert.match(asWritten, /^\$[\d,.]+$/);
  assert.equal(await evaluate("document.querySelectorAll('#objectives li').length"), 3);
  console.log(`as written: ${await text("#sentence")}`);

  const took = [];
  for (let at = 0; at < 10; at += 1) {
    took.push(await move("traffic.tickets.scale", at < 5 ? 1 : -1));
    if (at === 4) assert.notEqual(await spend(), asWritten, "more traffic costs more");
  }
  took.sort((a, b) => a - b);
  console.log(`a move is answered in ${(took[5] / 1000).toFixed(2)} s (median of 10; longest ${(took[9] / 1000).toFixed(2)} s)`);
  await isFinal();
  assert.equal(await spend(), asWritten, "the same place, the same number");

  await click("pin");
  await isFinal();
  assert.match(await text("#pinned"), /as written/);
  await move("traffic.tickets.scale", 5);
  await isFinal();
  assert.match(await text('[data-path="spend.per_month"] .change'), /^\+\$/);
  assert.match(await text("#against"), /From the pinned scenario to this one/);
  assert.match(await text(".slider.moved .was"), /in the file: 1×/);

  await call("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: scratch });
  await click("share");
  await until("the command", "!document.getElementById('shared').hidden");
  const command = await evaluate("document.getElementById('command').value");
  assert.match(command, /^surgeline run support-reply --set traffic\.tickets\.scale=2$/);
  await click("download");
  let saved = [];
  for (let at = 0; at < 100 && saved.length === 0; at += 1) {
    await pause(50);
    saved = readdirSync(scratch).filter((name) => name === "support-reply.toml");
  }
  assert.deepEqual(saved, ["support-reply.toml"]);
  assert.match(readFileSync(join(scratch, saved[0]), "utf8"), /scale = 2/);
  execFileSync(program, ["validate", join(scratch, saved[0])]);
  await picture("compared");

  await evaluate(`{
    const policy = document.querySelector('[data-key="policy"]');
    policy.value = [...policy.options].find((one) => one.text === "support-reply.good").value;
    policy.dispatchEvent(new Event("input"));
  }`);
  await until("the rules of the other policy",
    "changes().includes('policy=support-reply.good') && changes().includes('traffic.tickets.scale=2')"
    + ` && ${state("asked")}`);
  await isFinal();
  assert.match(await text('[data-path="cost_per_successful_task"] .change'), /better/);
  await click("reset");
  await until("nothing moved", "changes().length === 0");

  await evaluate("document.getElementById('scenario').value = 'self-hosted';"
    + "document.getElementById('scenario').dispatchEvent(new Event('change'))");
  await until("another scenario", "document.querySelector('[data-key=\"pools.h100.replicas\"]') !== null");
  await isFinal();
  await move("pools.h100.replicas", 2);
  await isFinal();
  await picture("self-hosted");

  await click("own");
  const written = await evaluate("document.getElementById('text').value");
  await evaluate(`document.getElementById("text").value = ${JSON.stringify(written.replace("replicas = 1", "replcas = 1"))}`);
  await click("use");
  await until("the problem", "!document.getElementById('problem').hidden");
  assert.match(await text("#problems"), /Line \d+, column \d+: .*unknown key `replcas`/);
  await picture("problem");

  // Names take no markup, a question does.
  const hostile = written.replace(/^question = .*$/m,
    'question = "<img src=x onerror=alert(1)> <b>bold</b>"');
  await evaluate(`document.getElementById("text").value = ${JSON.stringify(hostile)}`);
  await click("use");
  await until("the hostile scenario", "document.getElementById('question').textContent.includes('onerror')");
  await isFinal();
  assert.equal(await evaluate("document.querySelectorAll('header img, header b').length"), 0);
  await click("share");
  await until("the command", "!document.getElementById('shared').hidden");
  assert.equal(await evaluate("document.getElementById('command').value"), "surgeline run scenario.toml");

  const requests = heard.filter((one) => one.method === "Network.requestWillBeSent");
  const urls = requests.map((one) => one.params.request.url);
  const outside = urls.filter((url) => !url.startsWith(`${address}/`) && !/^(data|blob|about):/.test(url));
  assert.deepEqual(outside, [], "nothing is loaded from elsewhere");
  const noise = heard
    .filter((one) => one.method === "Runtime.exceptionThrown"
      || (one.method === "Log.entryAdded" && one.params.entry.level === "error"))
    .map((one) => JSON.stringify(one.params))
    // A refused scenario is a refused request.
    .filter((text) => !text.includes("422"));
  assert.deepEqual(noise, [], "no errors in the console");
}

let failed = false;
try {
  await walk();
  console.log(`the whole path is fine; pictures are in ${folder ? pictures : "nowhere: name a folder"}`);
} catch (error) {
  failed = true;
  console.error(error);
} finally {
  server.kill("SIGINT");
  browser.kill();
  await Promise.all([server, browser].map((one) =>
    one.exitCode === null && one.signalCode === null && new Promise((done) => one.once("exit", done))));
  await pause(200);
  rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
}
process.exit(failed ? 1 : 0);
