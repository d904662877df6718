// Takes the pictures of pages that documents show, from the sample pages.
//
//   node tests/browser/screen.mjs docs/samples/run.html docs/pictures/page-run.png 1000
import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { browser } from "./chromium.mjs";

const [from, to, height] = process.argv.slice(2);
const chromium = await browser();
try {
  const page = await chromium.open(1180, Number(height), false);
  await page.go(pathToFileURL(resolve(from)).href);
  writeFileSync(to, await page.picture(Number(height)));
} finally {
  await chromium.close();
}
