// A browser without a window, spoken to over a pipe in the DevTools protocol. Nothing of it is installed
// from npm: what Node has is enough.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const NAMES = [process.env.CHROMIUM, "chromium", "chromium-browser", "google-chrome"].filter(Boolean);

// Starts a browser, or gives null where none is installed; `open(width, height, dark)` gives a page.
export const browser = async () => {
  const profile = mkdtempSync(join(tmpdir(), "surgeline-browser-"));
  const args = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--mute-audio", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--remote-debugging-pipe", `--user-data-dir=${profile}`, "about:blank",
  ];
  const child = await started(args);
  if (!child) {
    rmSync(profile, { recursive: true, force: true });
    return null;
  }
  const waiting = new Map(), listeners = [];
  let next = 0, rest = "";
  const send = (method, params = {}, sessionId = undefined) => new Promise((done, failed) => {
    next += 1;
    waiting.set(next, { done, failed, method });
    child.stdio[3].write(`${JSON.stringify({ id: next, method, params, sessionId })}\0`);
  });
  child.stdio[4].on("data", (bytes) => {
    const parts = (rest + bytes.toString("utf8")).split("\0");
    rest = parts.pop();
    for (const part of parts) {
      const message = JSON.parse(part), asked = waiting.get(message.id);
      if (asked) {
        waiting.delete(message.id);
        if (message.error) asked.failed(new Error(`${asked.method}: ${message.error.message}`));
        else asked.done(message.result);
      } else listeners.forEach((listener) => listener(message));
    }
  });
  const close = async () => {
    await send("Browser.close").catch(() => {});
    await new Promise((done) => (child.exitCode === null ? child.on("exit", done) : done()));
    rmSync(profile, { recursive: true, force: true });
  };
  return { open: (...how) => page(send, listeners, how), close };
};

const started = async (args) => {
  for (const name of NAMES) {
    const child = spawn(name, args, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    const found = await new Promise((done) => {
      child.once("spawn", () => done(true));
      child.once("error", () => done(false));
    });
    if (found) return child;
  }
  return null;
};

const page = async (send, listeners, [first, height, dark]) => {
  const { targetId } = await send("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
  const call = (method, params) => send(method, params, sessionId);
  // What was said on the console or thrown, and what was asked for.
  const errors = [], requests = [];
  const loaded = [];
  listeners.push((message) => {
    if (message.sessionId !== sessionId) return;
    const { method, params } = message;
    if (method === "Runtime.exceptionThrown") errors.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    if (method === "Runtime.consoleAPICalled" && ["error", "warning"].includes(params.type)) errors.push(params.args.map((one) => one.value ?? one.description).join(" "));
    if (method === "Log.entryAdded" && params.entry.level !== "verbose") errors.push(params.entry.text);
    if (method === "Network.requestWillBeSent") requests.push(params.request.url);
    if (method === "Page.loadEventFired") loaded.splice(0).forEach((done) => done());
  });
  await Promise.all(["Page", "Runtime", "Log", "Network"].map((domain) => call(`${domain}.enable`)));
  let width = first;
  // The size of the screen and its colours.
  const look = async (wide, high, inTheDark) => {
    width = wide;
    await call("Emulation.setDeviceMetricsOverride", { width, height: high, deviceScaleFactor: 1, mobile: width < 600 });
    await call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: inTheDark ? "dark" : "light" }] });
  };
  await look(first, height, dark);
  const evaluate = async (expression) => {
    const { result, exceptionDetails } = await call("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };
  return {
    errors, requests, evaluate, call, look,
    go: async (url) => {
      const done = new Promise((resolve) => loaded.push(resolve));
      await call("Page.navigate", { url });
      await done;
      await evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
    },
    // A key pressed and let go.
    press: async (name, code) => {
      const key = { key: name, code: name, windowsVirtualKeyCode: code, nativeVirtualKeyCode: code };
      await call("Input.dispatchKeyEvent", { type: "rawKeyDown", ...key });
      await call("Input.dispatchKeyEvent", { type: "keyUp", ...key });
    },
    // The page as PNG, as far down as it goes or is asked for.
    picture: async (most = 12000) => {
      const { cssContentSize } = await call("Page.getLayoutMetrics");
      const clip = { x: 0, y: 0, width, height: Math.min(Math.ceil(cssContentSize.height), most), scale: 1 };
      const { data } = await call("Page.captureScreenshot", { format: "png", clip, captureBeyondViewport: true });
      return Buffer.from(data, "base64");
    },
    close: () => send("Target.closeTarget", { targetId }),
  };
};
