// Walks the page of `surgeline serve` in a headless Chromium: pick, move, see, pin, compare, share, report,
// err. Nothing is loaded from elsewhere, nothing is said on the console, nothing is wider than the screen,
// and axe-core finds nothing serious.
//
//   node tests/browser/serve.mjs target/release/surgeline [FOLDER]
//
// Screenshots at 1280 and 390 pixels, light and dark, go to FOLDER. Without a Chromium (or $CHROMIUM) it
// says so and passes. It asserts no duration; what a move takes is printed.

import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { barriers, fetchAxe } from "./axe.mjs";
import { browser } from "./chromium.mjs";

const [program = "target/debug/surgeline", folder] = process.argv.slice(2);
const chromium = await browser();
if (!chromium) {
  console.log("skipped: there is no chromium; install one, or name it in CHROMIUM");
  process.exit(0);
}
const axe = fetchAxe();
const scratch = mkdtempSync(join(tmpdir(), "surgeline-serve-"));
const pictures = resolve(folder ?? join(scratch, "pictures"));
mkdirSync(pictures, { recursive: true });

const server = spawn(program, ["serve", "--port", "0"], { stdio: ["ignore", "pipe", "inherit"] });
const address = await new Promise((done, failed) => {
  server.stdout.once("data", (data) => done(String(data).trim()));
  server.once("exit", (code) => failed(new Error(`the server ended with ${code}`)));
});
const page = await chromium.open(1280, 900, false);
const { evaluate } = page;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function until(what, isSo, most = 60_000) {
  const end = Date.now() + most;
  while (Date.now() < end) {
    if (await isSo()) return;
    await pause(20);
  }
  throw new Error(`never: ${what}`);
}

const shows = (what, expression) => until(what, () => evaluate(expression));
const text = (selector) => evaluate(`document.querySelector(${JSON.stringify(selector)}).textContent`);
const click = (id) => evaluate(`document.getElementById(${JSON.stringify(id)}).click()`);
const state = (name) => `document.getElementById("answer").dataset.state === "${name}"`;
const isFinal = () => shows("a final answer", state("final"));

// Moves a slider as a hand on the keyboard does, and waits for the first answer to it.
async function move(label, steps) {
  await evaluate(`document.querySelector('[data-key="${label}"]').focus()`);
  const before = Number(await evaluate("asked"));
  const began = performance.now();
  for (let at = 0; at < Math.abs(steps); at += 1) {
    if (steps > 0) await page.press("ArrowRight", 39);
    else await page.press("ArrowLeft", 37);
  }
  await shows("an answer to a move",
    `document.getElementById("answer").dataset.asked > ${before} && !document.getElementById("answer").classList.contains("stale")`);
  return performance.now() - began;
}

// Ten places of a slider where it has not been before, and back; each waited for to its end.
async function moves(label, what) {
  const first = [], whole = [];
  for (const steps of [1, 1, 1, 1, 1, -6, -1, -1, -1, -1]) {
    const began = performance.now();
    first.push(await move(label, steps));
    await isFinal();
    whole.push(performance.now() - began);
  }
  const seconds = (all) => {
    all.sort((a, b) => a - b);
    return `${(all[5] / 1000).toFixed(2)} s (longest ${(all[9] / 1000).toFixed(2)} s)`;
  };
  console.log(`${what}, a move is answered in ${seconds(first)}, to its end in ${seconds(whole)}; medians of 10`);
  await move(label, 5);
  await isFinal();
}

async function picture(name) {
  for (const [width, height] of [[1280, 900], [390, 844]]) {
    for (const dark of [false, true]) {
      await page.look(width, height, dark);
      await pause(250);
      const where = `${name} at ${width} pixels, ${dark ? "dark" : "light"}`;
      const wide = await evaluate("document.documentElement.scrollWidth - window.innerWidth");
      assert.ok(wide <= 0, `${where}: ${wide} pixels are cut off`);
      assert.deepEqual(await barriers(page, axe), [], where);
      writeFileSync(join(pictures, `${name}-${width}-${dark ? "dark" : "light"}.png`), await page.picture());
    }
  }
  await page.look(1280, 900, false);
}

// A file that the page gives, once it is there.
async function saved(name) {
  const file = join(scratch, name);
  await until(`the file ${name}`, async () => existsSync(file));
  return file;
}

async function report(name) {
  await click("report");
  await shows("the report", "document.getElementById('report-status').textContent.includes('among your downloads')");
  assert.equal(await text("#report-status"), `The report is in ${name}, among your downloads.`);
  return saved(name);
}

async function walk() {
  await page.go(address);
  await page.call("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: scratch });
  await shows("the list of scenarios", "document.querySelectorAll('#scenario option').length >= 20");
  await isFinal();
  assert.match(await text("#question"), /drafted support reply/);
  const spend = () => text('[data-path="spend.per_month"] .value');
  const asWritten = await spend();
  assert.match(asWritten, /^\$[\d,.]+$/);
  assert.equal(await evaluate("document.querySelectorAll('#objectives li').length"), 3);
  console.log(`as written: ${await text("#sentence")}`);

  await moves("traffic.tickets.scale", "alone");
  assert.equal(await spend(), asWritten, "the same place, the same number");
  await move("traffic.tickets.scale", 5);
  assert.notEqual(await spend(), asWritten, "more traffic costs more");

  // The report of an answer that is not complete yet comes when it is, as the command line writes it.
  await move("traffic.tickets.scale", 1);
  await click("share");
  await shows("the command", "!document.getElementById('shared').hidden");
  const command = await evaluate("document.getElementById('command').value");
  const written = readFileSync(await report("support-reply.html"), "utf8");
  const words = command.split(" ").slice(1);
  spawnSync(program, [...words, "--quiet", "--html", join(scratch, "expected.html")], { stdio: "ignore" });
  assert.ok(written === readFileSync(join(scratch, "expected.html"), "utf8"), `the page of ${command}`);
  await move("traffic.tickets.scale", -6);
  assert.equal(await text("#report-status"), "", "another question is on the page");
  await isFinal();

  await click("pin");
  await isFinal();
  assert.match(await text("#pinned"), /as written/);
  await moves("traffic.tickets.arrivals.cv", "beside a pinned one");
  await move("traffic.tickets.scale", 5);
  await isFinal();
  assert.match(await text('[data-path="spend.per_month"] .change'), /^\+\$/);
  assert.match(await text("#against"), /From the pinned scenario to this one/);
  assert.match(await text(".slider.moved .was"), /in the file: 1×/);

  await click("share");
  await shows("the command", "!document.getElementById('shared').hidden");
  assert.match(await evaluate("document.getElementById('command').value"),
    /^surgeline run support-reply --set traffic\.tickets\.scale=2$/);
  await click("download");
  const scenario = await saved("support-reply.toml");
  assert.match(readFileSync(scenario, "utf8"), /scale = 2/);
  execFileSync(program, ["validate", scenario]);
  const compared = await report("support-reply-compared.html");
  await picture("compared");
  const shown = await chromium.open(1280, 900, false);
  await shown.go(pathToFileURL(compared).href);
  assert.match(await shown.evaluate("document.body.textContent"), /traffic\.tickets\.scale=2/);
  assert.deepEqual(shown.errors, []);
  await shown.close();

  await evaluate(`{
    const policy = document.querySelector('[data-key="policy"]');
    policy.value = [...policy.options].find((one) => one.text === "support-reply.good").value;
    policy.dispatchEvent(new Event("input"));
  }`);
  await shows("the rules of the other policy",
    "changes().includes('policy=support-reply.good') && changes().includes('traffic.tickets.scale=2')"
    + ` && ${state("asked")}`);
  await isFinal();
  assert.match(await text('[data-path="cost_per_successful_task"] .change'), /better/);
  await click("reset");
  await shows("nothing moved", "changes().length === 0");

  await evaluate("document.getElementById('scenario').value = 'self-hosted';"
    + "document.getElementById('scenario').dispatchEvent(new Event('change'))");
  await shows("another scenario", "document.querySelector('[data-key=\"pools.h100.replicas\"]') !== null");
  await isFinal();
  await move("pools.h100.replicas", 2);
  await isFinal();
  await evaluate("document.getElementById('more').open = true");
  await picture("self-hosted");

  await click("own");
  const own = await evaluate("document.getElementById('text').value");
  await evaluate(`document.getElementById("text").value = ${JSON.stringify(own.replace("replicas = 1", "replcas = 1"))}`);
  await click("use");
  await shows("the problem", "!document.getElementById('problem').hidden");
  assert.match(await text("#problems"), /Line \d+, column \d+: .*unknown key `replcas`/);
  await picture("problem");

  // Names take no markup, a question does.
  const hostile = own.replace(/^question = .*$/m,
    'question = "<img src=x onerror=alert(1)> <b>bold</b>"');
  await evaluate(`document.getElementById("text").value = ${JSON.stringify(hostile)}`);
  await click("use");
  await shows("the hostile scenario", "document.getElementById('question').textContent.includes('onerror')");
  await isFinal();
  assert.equal(await evaluate("document.querySelectorAll('header img, header b').length"), 0);
  await click("share");
  await shows("the command", "!document.getElementById('shared').hidden");
  assert.equal(await evaluate("document.getElementById('command').value"), "surgeline run scenario.toml");

  const outside = page.requests.filter((url) => !url.startsWith(`${address}/`) && !/^(data|blob|about):/.test(url));
  assert.deepEqual(outside, [], "nothing is loaded from elsewhere");
  // A refused scenario is a refused request.
  assert.deepEqual(page.errors.filter((said) => !said.includes("422")), [], "nothing is said on the console");
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
  await chromium.close();
  await new Promise((done) => (server.exitCode === null && server.signalCode === null ? server.once("exit", done) : done()));
  rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
}
process.exit(failed ? 1 : 0);
