"""Fits the coefficients of `sim::engine::StepTime` to tables of step times.

    python fit_tables.py FOLDER > ../data/fits.toml        (needs numpy and scipy)

FOLDER holds {prefill,decode,mixed}_step_ms.csv as exported from aiconfigurator-core. For each
(GPU, model, tensor parallel size, precision) of the vllm backend this solves a non-negative least
squares problem in relative error, re-weighted by Huber's rule so that a few odd cells do not bend
the fit:

    t = linear(T) + kv_read * S + attention * A / 1024 + ungraphed * [a prefill chunk is present]

with linear(T) a rising piecewise linear function (unknowns: its first value and the increments).
Rows used: contexts and prefixes up to 8192 tokens, decode batches up to 256, at most 16384 tokens
in a step. Prefill, decode and mixed rows weigh the same in total. Residuals printed are over the
same rows, before any host overhead is added.
"""

import csv
import math
import sys
from collections import defaultdict

import numpy as np
from scipy.optimize import nnls

KNOTS = [1, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096,
         6144, 8192, 12288, 16384]
PRECISION = {"bf16": ("bf16", "bf16"), "fp8": ("fp8", "bf16"), "fp8_kvfp8": ("fp8", "fp8")}


def rows(folder):
    """(key, family, T, S, A, milliseconds) of every row inside the fitted region."""
    for family in ("prefill", "decode", "mixed"):
        with open(f"{folder}/{family}_step_ms.csv", newline="") as file:
            for r in csv.DictReader(file):
                if r["backend"] != "vllm":
                    continue
                key = (r["system"].replace("_", "-"), r["model"], int(r["tp"]), r["quant"])
                ms = float(r["ms"])
                if family == "decode":
                    batch, context = int(r["batch"]), int(r["context_tokens"])
                    if batch <= 256 and context <= 8192:
                        yield key, family, batch, batch * context, 0.0, ms
                elif family == "prefill":
                    batch, n, s = (int(r[c]) for c in ("batch", "new_tokens_per_seq", "prefix_tokens"))
                    if batch * n <= 16384 and s <= 8192:
                        yield key, family, batch * n, 0, batch * (n * s + n * (n + 1) / 2), ms
                else:
                    n, d, isl, osl = (int(r[c]) for c in ("prefill_tokens", "decode_seqs", "isl", "osl"))
                    # The table averages the attention of a prompt over the chunks it is cut into,
                    # or runs several whole prompts, and decodes halfway through the output.
                    pairs = isl * (isl + 1) / 2 * (n / isl)
                    yield key, family, n + d, d * (isl + osl // 2), pairs, ms


def hats(tokens):
    """Coefficients of linear(T) in (first value, increments): 1, then the part of each interval."""
    part = [1.0]
    for a, b in zip(KNOTS, KNOTS[1:]):
        part.append(min(max((tokens - a) / (b - a), 0.0), 1.0))
    return part


def fit(data):
    weight = {f: 1 / math.sqrt(sum(1 for d in data if d[0] == f)) for f in ("prefill", "decode", "mixed")}
    a = np.array([hats(t) + [s * 1e-6, p / 1024 * 1e-3, float(f != "decode")] for f, t, s, p, _ in data])
    y = np.array([d[4] for d in data])
    w = np.array([weight[d[0]] for d in data])
    robust = np.ones(len(data))
    for _ in range(20):
        scale = w * np.sqrt(robust) / y
        x, _ = nnls(a * scale[:, None], y * scale, maxiter=10_000)
        residual = np.abs(a @ x / y - 1)
        robust = np.minimum(1.0, 0.10 / np.maximum(residual, 1e-9))
    return x, residual


def main(folder):
    data = defaultdict(list)
    for key, *row in rows(folder):
        data[key].append(tuple(row))
    print("# Written by scripts/fit_tables.py; picoseconds. Do not edit by hand.\n")
    print('source = "step times of aiconfigurator-core 0.12.0 (PyPI, Apache-2.0), backend vllm, performance database 0.24.0"')
    print('as_of = "2026-11-23"')
    print('note = "kernel-table fit; engine dispatch overhead prior added, not validated against serving"\n')
    for key in sorted(data):
        x, residual = fit(data[key])
        gpu, model, tp, quant = key
        weights, kv = PRECISION[quant]
        values = np.cumsum(x[: len(KNOTS)])
        knots = [[t, round(v * 1e9)] for t, v in zip(KNOTS, values)]
        print("[[fit]]")
        print(f'gpu = "{gpu}"\nmodel = "{model}-instruct"\ntensor_parallel = {tp}')
        print(f'weights = "{weights}"\nkv = "{kv}"')
        print(f"ungraphed = {round(x[-1] * 1e9)}\nkv_read = {round(x[-3] * 1e3)}\nattention = {round(x[-2] * 1e6)}")
        print(f"linear = {knots}")
        for family in ("prefill", "decode", "mixed"):
            r = residual[[d[0] == family for d in data[key]]]
            print(f"{family}_error = {{ median = {np.median(r):.4f}, p95 = {np.quantile(r, 0.95):.4f} }}")
        print()


if __name__ == "__main__":
    main(sys.argv[1])
