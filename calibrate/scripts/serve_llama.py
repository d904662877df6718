"""Serves a Llama of a known shape with random weights, and records every iteration and request.

    python serve_llama.py --mode selftest                     (proves the cache handling, seconds)
    python serve_llama.py --mode drive --shape 8b --out DIR   (the measurement, about 150 s)
    python serve_llama.py --mode serve --shape 8b --out DIR   (/v1/completions on a local port)
    python serve_llama.py --mode burn --shape 8b --out DIR    (loads to sample power under)

A real GPU, a transformers model and vLLM's rules of batching, small enough to read: what it measures
is what surgeline has to predict. Needs torch, transformers and numpy, for `serve` aiohttp too; no
weights, no tokenizer, no network. Without a GPU it runs in float32 on the CPU, to be tried. The
engine is llama_engine.py, the server llama_server.py.

The engine's settings are vLLM's: `--slots` is max_num_seqs, `--batched-tokens` is
max_num_batched_tokens, `--max-len` is max_model_len. Iterations without chunks of prompts are CUDA
graphs of padded batches, those with chunks are not. KV capacity is slots times the longest length.

The files in DIR; times are seconds from `origin_unix` of meta.json, lengths tokens:
  iterations.csv  load, start (the end of the one before, if nothing idled between), seconds (until
                  its tokens are on the host), decodes, kv_tokens (sum of the contexts that decodes
                  read, the token being written included), kv_longest, prefill_tokens, prefill_pairs
                  (sum of n s + n (n + 1) / 2 over chunks of n tokens after s computed ones), waiting
                  (requests left waiting), padded (sequences of the graph, 0 if eager)
  requests.csv    load, arrival, first_token, end, input, output, counted (0 in the warm-up); in the
                  order in which the loads issued them
  phases.csv      of `burn`: phase, start and end as Unix time, work done and its unit
  meta.json       GPU, versions, options, the loads with their means, what fell back and why

The loads of `drive` are of two sets that share no lengths: one to calibrate with, one to predict.
Closed loops start their lanes together and draw both lengths evenly from [0.8 L, L]; the first two
requests a lane are not counted, of the following ten as many as time allows, three at least. Poisson
arrivals have lognormal lengths and start from an empty engine. Loads of the two sets take turns, so
that a card that warms up favours neither. Every load runs until its last request has ended.

What it deliberately does not do: prefix caching, paging and preemption, sampling, several GPUs,
overlap of the host with the GPU. Nor is it as fast as a serving engine: between matrix products,
transformers runs many small kernels. Its times say how well times of iterations can be predicted,
not what an H100 can do.

If flash attention or the graphs do not pass the selftest, the next simpler way that does is used, and
meta.json says so: eager decodes, then "dense" attention, whose decodes read kv_longest, rounded up to
512, for each sequence instead of kv_tokens in all.
"""

import argparse
import csv
import gc
import json
import os
import signal
import sys
import time
import traceback
import zlib

from llama_engine import ORIGIN_UNIX, SHAPES, Engine, Request, build, choose, now, say

import numpy as np
import torch
import transformers

# Set, then lengths in and out with the lanes of a closed loop, or the mean lengths and the rate per
# second of Poisson arrivals.
LOADS = [
    ("calibrate", "closed", 128, 128, 1),
    ("test", "closed", 256, 200, 8),
    ("calibrate", "closed", 128, 128, 16),
    ("test", "closed", 1500, 150, 12),
    ("calibrate", "closed", 1024, 128, 4),
    ("test", "poisson", 400, 150, 2.0),
    ("calibrate", "closed", 2048, 128, 16),
    ("test", "closed", 700, 300, 32),
    ("calibrate", "closed", 512, 256, 48),
    ("test", "poisson", 400, 150, 5.0),
    ("test", "poisson", 400, 150, 10.0),
]


class Load:
    """Requests of one load, as they fall due. Lengths and arrivals depend on the seed alone."""

    def __init__(self, where, kind, isl, osl, amount, vocab, max_len, seconds):
        self.set, self.kind, self.isl, self.osl, self.amount = where, kind, isl, osl, amount
        self.name = f"{kind}-{isl}-{osl}-{amount:g}"
        self.rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        self.vocab, self.max_len, self.seconds = vocab, max_len, seconds
        self.issued, self.free, self.started = [], amount if kind == "closed" else 0, now()
        self.latest = self.started + seconds  # when not even three requests a lane are waited for
        self.next = self.started + (self.rng.exponential(1 / amount) if kind == "poisson" else 0)

    def request(self, arrival, counted):
        if self.kind == "closed":
            lengths = [self.rng.integers(-(-4 * x // 5), x + 1) for x in (self.isl, self.osl)]
        else:  # a deviation of 0.6 in the logarithm, the mean as named
            lengths = [self.rng.lognormal(np.log(x) - 0.18, 0.6) for x in (self.isl, self.osl)]
        output = int(np.clip(lengths[1], 2, self.max_len // 4))
        prompt = self.rng.integers(self.vocab, size=int(np.clip(lengths[0], 1, self.max_len // 2)))
        self.issued.append(Request(prompt, output, self.name, arrival, counted))
        return self.issued[-1]

    def more(self):
        """Whether the load issues further requests, as far as can be said now."""
        if self.kind == "poisson":
            return self.next < self.started + self.seconds
        done, elapsed = len(self.issued), now() - self.started
        if done >= self.amount and (done >= 12 * self.amount or now() >= self.latest):
            return False
        return done < 5 * self.amount or elapsed < self.seconds

    def due(self):
        if self.kind == "poisson":
            while self.more() and self.next <= now():
                yield self.request(self.next, True)
                self.next += self.rng.exponential(1 / self.amount)
            return
        while self.free and self.more():
            self.free -= 1
            yield self.request(now(), len(self.issued) >= 2 * self.amount)

    def summary(self):
        ended = [r for r in self.issued if r.counted and r.end]
        steps = [(r.end - r.first) / (len(r.output) - 1) for r in ended if len(r.output) > 1]
        mean = lambda values: round(1000 * float(np.mean(values)), 3) if len(values) else None
        out = sum(len(r.output) for r in ended)
        return {"load": self.name, "set": self.set, "kind": self.kind, "input": self.isl,
                "output": self.osl, "lanes" if self.kind == "closed" else "rate": self.amount,
                "issued": len(self.issued), "counted": len(ended), "start": round(self.started, 4),
                "end": round(now(), 4), "mean_ttft_ms": mean([r.first - r.arrival for r in ended]),
                "mean_tpot_ms": mean(steps), "output_tokens": out}


def run(engine, load, record=True):
    while True:
        for request in load.due():
            engine.add(request)
        if engine.busy():
            load.free += sum(r.end > 0 for r in engine.step(record))
        elif load.more():
            time.sleep(max(load.next - now(), 0))
        else:
            return load


class Files:
    """The CSVs and meta.json, written after every load so that a run cut short keeps what it has."""

    def __init__(self, folder, meta):
        os.makedirs(folder, exist_ok=True)
        self.folder, self.meta = folder, meta
        self.start("iterations", "load start seconds decodes kv_tokens kv_longest prefill_tokens "
                                 "prefill_pairs waiting padded")
        self.start("requests", "load arrival first_token end input output counted")

    def start(self, name, columns):
        with open(f"{self.folder}/{name}.csv", "w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(columns.split())

    def append(self, name, rows):
        with open(f"{self.folder}/{name}.csv", "a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    def keep(self, engine, requests):
        self.append("iterations", ((row[0], f"{row[1]:.6f}", f"{row[2]:.6f}", *row[3:])
                                   for row in engine.rows))
        engine.rows.clear()
        self.append("requests", ((r.load, f"{r.arrival:.6f}", f"{r.first:.6f}", f"{r.end:.6f}",
                                  len(r.prompt), len(r.output), int(r.counted))
                                 for r in requests if r.end))
        self.write_meta()

    def write_meta(self):
        with open(f"{self.folder}/meta.json", "w") as file:
            json.dump(self.meta, file, indent=1)
            file.write("\n")


def ready(options, meta):
    """The engine of the chosen shape, warmed up."""
    device = options.device
    kernel, graphs = choose(device, meta)
    model = build(options.shape, device)
    say(f"built {options.shape}: {sum(p.numel() for p in model.parameters()) / 1e9:.2f} G parameters")
    engine = Engine(model, options.slots, options.max_len, options.batched_tokens, kernel, graphs)
    if engine.failure:
        meta["fell_back"].append(f"graphs of {options.shape}: {engine.failure}")
    meta.update(kernel=kernel, graphs=sorted(engine.graphs))
    say(f"attention {kernel}, graphs {sorted(engine.graphs)}, {engine.failure or 'no failure'}")
    longest = min(2 * options.batched_tokens, options.max_len // 2)
    for isl, lanes in ((longest, 4), (longest // 8, 32)):
        load = Load("warm", "closed", isl, 24, lanes, model.config.vocab_size, options.max_len, 0)
        load.latest = load.started + 5
        run(engine, load, record=False)
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection in the middle of an iteration would be measured
    say("warm")
    return engine


def drive(engine, options, meta, files):
    meta["loads"] = []
    end = options.budget_seconds
    print(f"{'load':26}{'counted':>8}{'iterations':>11}{'TTFT ms':>9}{'TPOT ms':>9}{'seconds':>8}")
    for at, what in enumerate(LOADS):
        share = (end - now()) / (len(LOADS) - at)
        load = Load(*what, engine.config.vocab_size, engine.max_len,
                    min(options.seconds, 0.75 * max(share, 0)))
        load.latest = load.started + 2 * share
        if share < 0.5:
            meta["fell_back"].append(f"no time left for {load.name}")
            continue
        try:
            run(engine, load)
        finally:
            found, iterations = load.summary(), len(engine.rows)
            meta["loads"].append(found)
            files.keep(engine, load.issued)
        print(f"{load.name:26}{found['counted']:8}{iterations:11}{found['mean_ttft_ms'] or 0:9.2f}"
              f"{found['mean_tpot_ms'] or 0:9.3f}{found['end'] - found['start']:8.2f}", flush=True)


def burn(engine, options, meta, files):
    """Idles, multiplies matrices, idles and decodes, each for a quarter of `--seconds`."""
    size, rng = 8192 if options.device == "cuda" else 512, np.random.default_rng(1)
    left, right = (torch.randn(size, size, device=options.device, dtype=engine.model.dtype)
                   for _ in "lr")
    files.start("phases", "phase start_unix end_unix work unit")

    def multiply():
        for _ in range(10):
            torch.mm(left, right)
        if options.device == "cuda":
            torch.cuda.synchronize()
        return 10 * 2 * size**3 / 1e12

    def decode():
        while len(engine.running) + len(engine.waiting) < engine.pad:
            prompt = rng.integers(engine.config.vocab_size, size=64)
            engine.add(Request(prompt, engine.max_len - 64, "burn"))
        return len(engine.step())

    def idle():
        time.sleep(0.05)
        return 0

    for name, act, unit in (("idle", idle, ""), ("matmul", multiply, "TFLOP"), ("idle", idle, ""),
                            ("decode", decode, "tokens")):
        began, work = time.time(), 0
        while time.time() < began + options.seconds / 4:
            work += act()
        ended = time.time()
        files.append("phases", [(name, f"{began:.3f}", f"{ended:.3f}", round(work, 1), unit)])
        say(f"{name}: {began:.3f} to {ended:.3f}, {work / (ended - began):.1f} {unit} per second")
    files.keep(engine, [])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=["selftest", "drive", "serve", "burn"], required=True)
    parser.add_argument("--shape", choices=SHAPES, default="8b")
    parser.add_argument("--out", default="serve-llama", help="folder for the files")
    parser.add_argument("--slots", type=int, default=64, help="max_num_seqs")
    parser.add_argument("--max-len", type=int, default=4096, help="tokens of a slot")
    parser.add_argument("--batched-tokens", type=int, default=2048, help="max_num_batched_tokens")
    parser.add_argument("--seconds", type=float, help="of each load (8), or of all of burn (20)")
    parser.add_argument("--budget-seconds", type=float, default=150, help="of drive, imports included")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--device", choices=["cuda", "cpu"])
    options = parser.parse_args()
    options.device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    options.seconds = options.seconds or (20 if options.mode == "burn" else 8)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    gpu = torch.cuda.get_device_properties(0) if options.device == "cuda" else None
    meta = {"origin_unix": ORIGIN_UNIX, "gpu": gpu and gpu.name, "gpu_bytes": gpu and gpu.total_memory,
            "torch": torch.__version__, "transformers": transformers.__version__,
            "python": sys.version.split()[0], "model": SHAPES[options.shape], "options": vars(options)}
    say(f"{gpu.name if gpu else 'CPU'}, torch {torch.__version__}, transformers "
        f"{transformers.__version__}")
    if options.mode == "selftest":
        choose(options.device, meta)
        return
    files = Files(options.out, meta)
    try:
        engine = ready(options, meta)
        if options.mode == "serve":
            from llama_server import serve  # needs aiohttp, which the others do not
            serve(engine, options, meta, files)
        else:
            {"drive": drive, "burn": burn}[options.mode](engine, options, meta, files)
    except BaseException:
        meta["error"] = traceback.format_exc()[-2000:]
        raise
    finally:
        files.write_meta()
        say(f"wrote {options.out}")


if __name__ == "__main__":
    main()
