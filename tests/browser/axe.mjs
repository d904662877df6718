// axe-core, which looks for what keeps people out of a page. It is fetched from npm; without a network
// that part is left out, and said so.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const VERSION = "4.14.1";

// Its source, or null where it cannot be had.
export const fetchAxe = () => {
  const folder = mkdtempSync(join(tmpdir(), "surgeline-axe-"));
  const inside = (program, ...args) => execFileSync(program, args, { cwd: folder, stdio: "ignore", timeout: 120_000 });
  try {
    inside("npm", "pack", "--silent", `axe-core@${VERSION}`);
    inside("tar", "xzf", `axe-core-${VERSION}.tgz`);
    return readFileSync(join(folder, "package", "axe.min.js"), "utf8");
  } catch {
    console.log("axe-core could not be fetched; its part is left out");
    return null;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

// What is serious or critical about a page as it stands, each in words.
export const barriers = async (page, axe) => {
  if (!axe) return [];
  if (!(await page.evaluate("'axe' in window"))) await page.evaluate(axe);
  const found = await page.evaluate(`axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) => violations.map(({ id, impact, nodes }) => ({ id, impact, at: nodes.slice(0, 3).map((node) => node.target.join(" ") + " " + (node.any[0]?.message ?? "")) })))`);
  return found
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, impact, at }) => `${impact}: ${id} at ${at.join("; ")}`);
};
