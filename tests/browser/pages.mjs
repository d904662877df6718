// Opens every page of a folder and looks at it: each picture has marks, nothing is said on the console,
// nothing is asked for, nothing is wider than the screen or the paper, no number or verdict is out of sight,
// and axe-core finds nothing serious.
//
//   node pages.mjs PAGES PICTURES
import { readdirSync, writeFileSync, mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { barriers, fetchAxe } from "./axe.mjs";
import { browser } from "./chromium.mjs";

const [pages, pictures] = process.argv.slice(2);
mkdirSync(pictures, { recursive: true });
const axe = fetchAxe();
const faults = [];

// What each picture shows: of a canvas how many of its pixels have the colour of a line.
const drawn = `[...document.querySelectorAll("figure")].map((figure) => {
  const style = getComputedStyle(document.documentElement);
  const hex = (name) => [1, 3, 5].map((at) => parseInt(style.getPropertyValue(name).trim().slice(at, at + 2), 16));
  const colors = [0, 1, 2, 3, 4, 5, 6, 7].map((at) => hex("--c" + at));
  const canvas = figure.querySelector("canvas");
  const title = figure.querySelector("h3").textContent;
  if (!canvas) return { title, marks: 3 * figure.querySelectorAll(".piece, .reach, .heat td[class]").length };
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let marks = 0;
  for (let at = 0; at < data.length; at += 4) {
    if (data[at + 3] > 200 && colors.some((color) => color.every((part, of) => Math.abs(part - data[at + of]) < 12))) marks += 1;
  }
  return { title, marks, text: figure.querySelector("figcaption").textContent.length };
})`;

// Cells that are out of sight: on a phone verdicts, and numbers of anything but a grid, which says that it
// goes on; on a wide screen all.
const hidden = (width) => `[...document.querySelectorAll(${JSON.stringify(width < 600 ? ".rows td" : ".scroll td")})].filter((cell) => {
  if (!cell.checkVisibility() || !cell.textContent) return false;
  const box = cell.closest(".scroll").getBoundingClientRect(), { left, right } = cell.getBoundingClientRect();
  return right > Math.min(box.right, innerWidth) + 1 || left < box.left - 1;
}).map((cell) => cell.closest(".scroll").ariaLabel + ": " + cell.textContent)`;

// What hangs over the right edge of a sheet of paper, of which the page is told that it is printed on.
const PAPER = { A4: 688, Letter: 710 };
const overPaper = `[...document.querySelectorAll("figure, canvas, table, pre, .stack")].filter((one) => {
  const holder = one.closest("figure") ?? document.body;
  return one.getBoundingClientRect().right > holder.getBoundingClientRect().right + 1;
}).map((one) => one.tagName.toLowerCase() + " of " + (one.closest("section")?.textContent.trim().slice(0, 60) ?? ""))`;

const print = async (page, fault) => {
  await page.call("Emulation.setEmulatedMedia", { media: "print" });
  await page.evaluate("dispatchEvent(new Event('beforeprint'))");
  for (const [paper, width] of Object.entries(PAPER)) {
    await page.call("Emulation.setDeviceMetricsOverride", { width, height: 900, deviceScaleFactor: 1, mobile: false });
    (await page.evaluate(overPaper)).forEach((what) => fault(`printed on ${paper}, too wide: ${what}`));
  }
  // Where a browser prints without telling the page.
  await page.evaluate("dispatchEvent(new Event('afterprint'))");
  (await page.evaluate(overPaper)).forEach((what) => fault(`printed without notice, too wide: ${what}`));
};

// Pictures whose CSV does not have a header and a number below it.
const files = `(() => {
  const click = HTMLAnchorElement.prototype.click, bad = [];
  for (const figure of document.querySelectorAll("figure")) {
    let kept = "";
    HTMLAnchorElement.prototype.click = function () { kept = this.download.endsWith(".csv") ? decodeURIComponent(this.href) : ""; };
    const button = [...figure.querySelectorAll(".tools button")].find((one) => one.textContent === "CSV");
    if (button) button.click();
    const lines = kept.replace(/^[^,]*,/, "").trim().split("\\n");
    if (lines.length < 2 || !/\\d/.test(lines[1])) bad.push(figure.querySelector("h3").textContent);
  }
  HTMLAnchorElement.prototype.click = click;
  return bad;
})()`;

const look = async (chromium, name, width, dark) => {
  const page = await chromium.open(width, 900, dark);
  const url = pathToFileURL(resolve(pages, `${name}.html`)).href;
  await page.go(url);
  const where = `${name} at ${width} px, ${dark ? "dark" : "light"}`;
  const fault = (text) => faults.push(`${where}: ${text}`);
  for (const { title, marks } of await page.evaluate(drawn)) {
    if (marks < 3) fault(`"${title}" is empty`);
  }
  const over = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
  if (over > 0) fault(`the page is ${over} px wider than the screen`);
  await page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })");
  (await page.evaluate(hidden(width))).slice(0, 5).forEach((text) => fault(`out of sight: ${text}`));
  await page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = false; })");
  // A table and its file from each picture, as somebody would ask for them.
  const tables = await page.evaluate(`[...document.querySelectorAll(".plot ~ .tools button:first-child")].map((button) => { button.click(); const rows = button.closest("figure").querySelectorAll(".points tbody tr").length; button.click(); return rows; })`);
  if (tables.some((rows) => rows < 2)) fault(`a table of a picture is empty: ${tables}`);
  (await page.evaluate(files)).forEach((text) => fault(`no file of "${text}"`));
  (await barriers(page, axe)).forEach(fault);
  page.errors.forEach((text) => fault(`said: ${text}`));
  page.requests.filter((asked) => asked !== url && !asked.startsWith("data:")).forEach((asked) => fault(`asked for ${asked}`));
  writeFileSync(join(pictures, `${name}-${width}-${dark ? "dark" : "light"}.png`), await page.picture());
  if (width > 600 && !dark) await print(page, fault);
  await page.close();
};

const names = readdirSync(pages).filter((file) => file.endsWith(".html")).map((file) => file.slice(0, -5));
if (names.length === 0) throw new Error(`there is no page in ${pages}`);
const chromium = await browser();
if (!chromium) throw new Error("there is no Chromium; install one, or name it in CHROMIUM");
try {
  for (const name of names) {
    for (const width of [1280, 390]) for (const dark of [false, true]) await look(chromium, name, width, dark);
  }
} finally {
  await chromium.close();
}
faults.forEach((fault) => console.error(`pages: ${fault}`));
console.log(`${names.length} pages at 4 sizes and colours, ${faults.length} faults`);
process.exit(faults.length === 0 ? 0 : 1);
