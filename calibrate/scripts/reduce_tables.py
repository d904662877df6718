"""Reduces tables of step times to the knots that `calibrate` ships, and the rest to a test.

    python reduce_tables.py FOLDER        (in this folder; needs nothing but Python)

FOLDER holds {prefill,decode,mixed}_step_ms.csv as exported from aiconfigurator-core. For each (GPU,
model, tensor parallel size, precision) of the vllm backend, the rows at the knots below go to
../data/profiles.toml and all others to ../tests/data/held_out.toml. Times in nanoseconds, which is
all the digits the tables have. Nothing is fitted here: src/profile/surfaces.rs draws the surfaces.

Knots are every other context and prefix, powers of two of tokens, and what lies where kernels
change: between 128 and 512 tokens and just above 128 and 256 sequences the matrix products of fp8
take another tile. Mixed rows are kept for 8 and 256 decodes beside chunks of prompts of 1024 tokens:
they are the only rows at other numbers of tokens than powers of two.
"""

import csv
import sys
from collections import defaultdict

BATCHES = [1, 4, 8, 16, 24, 32, 64, 128, 160, 192, 256, 320, 512]
CONTEXTS = [128, 512, 2048, 8192, 32768]
PROMPTS = [1, 16, 32, 64, 128, 192, 256, 384, 512, 1024, 2048, 4096, 8192, 16384, 32768]
PREFIXED = [256, 1024, 4096, 8192]
PREFIXES = [4096, 16384, 32768]
SEVERAL = [(4, 128), (4, 512), (4, 1024), (4, 2048), (16, 128), (16, 512), (16, 1024), (16, 2048)]
CHUNKS = [512, 1024, 2048, 4096, 8192]
MIXED_DECODES = [8, 256]
MIXED_PROMPT, MIXED_CONTEXT = 1024, 1024 + 256 // 2

PRECISION = {"bf16": ("bf16", "bf16"), "fp8": ("fp8", "bf16"), "fp8_kvfp8": ("fp8", "fp8")}
SOURCE = ("step times of aiconfigurator-core 0.12.0 (PyPI, Apache-2.0), backend vllm, "
          "performance database 0.24.0")
AS_OF = "2026-11-23"


def ns(milliseconds):
    return round(float(milliseconds) * 1e6)


def read(folder, name, axes):
    """{combination: {values of the axes: row}} of one table."""
    found = defaultdict(dict)
    with open(f"{folder}/{name}_step_ms.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row["backend"] == "vllm":
                key = (row["system"].replace("_", "-"), row["model"], int(row["tp"]), row["quant"])
                found[key][tuple(int(row[axis]) for axis in axes)] = row
    return found


def head(out, what):
    print(f"# {what} Written by scripts/reduce_tables.py; nanoseconds. Do not edit by hand.\n", file=out)
    print(f'source = "{SOURCE}"\nas_of = "{AS_OF}"', file=out)


def name(out, table, key):
    gpu, model, tp, quant = key
    weights, kv = PRECISION[quant]
    print(f'\n[[{table}]]\ngpu = "{gpu}"\nmodel = "{model}-instruct"\ntensor_parallel = {tp}', file=out)
    print(f'weights = "{weights}"\nkv = "{kv}"', file=out)


def profile(out, key, decode, prefill, mixed):
    name(out, "profile", key)
    at = lambda *where: ns(prefill[where]["ms"])
    print("decode =", [[ns(decode[b, c]["ms"]) for c in CONTEXTS] for b in BATCHES], file=out)
    print("prompts =", [at(1, n, 0) for n in PROMPTS], file=out)
    print("prefixed =", [[at(1, n, s) for s in PREFIXES] for n in PREFIXED], file=out)
    print("several =", [at(b, n, 0) for b, n in SEVERAL], file=out)
    rows = [[mixed[n, d, MIXED_PROMPT, 256] for d in MIXED_DECODES] for n in CHUNKS]
    rest = [[ns(r["ms"]) - ns(r["decode_attention_ms"]) for r in row] for row in rows]
    print("mixed =", rest, file=out)
    print("decode_attention =", [ns(row["decode_attention_ms"]) for row in rows[0]], file=out)


def held_out(out, key, decode, prefill, mixed):
    name(out, "table", key)
    kept = {(1, n, 0) for n in PROMPTS} | {(1, n, s) for n in PREFIXED for s in PREFIXES}
    kept |= {(b, n, 0) for b, n in SEVERAL}
    rows = [[b, c, ns(r["ms"])] for (b, c), r in decode.items() if b not in BATCHES or c not in CONTEXTS]
    print("decode =", rows, file=out)
    print("prefill =", [[*at, ns(r["ms"])] for at, r in prefill.items() if at not in kept], file=out)
    # A mixed row is the sum of three parts, and each depends on some of its axes only.
    parts = {"shared_non_attention": (0, 1), "context_attention": (0, 2), "decode_attention": (1, 2, 3)}
    for part, axes in parts.items():
        values = {tuple(at[i] for i in axes): ns(r[f"{part}_ms"]) for at, r in mixed.items()}
        print(f"{part} =", [[*at, value] for at, value in values.items()], file=out)


def main(folder):
    decode = read(folder, "decode", ["batch", "context_tokens"])
    prefill = read(folder, "prefill", ["batch", "new_tokens_per_seq", "prefix_tokens"])
    mixed = read(folder, "mixed", ["prefill_tokens", "decode_seqs", "isl", "osl"])
    with open("../data/profiles.toml", "w") as out:
        head(out, "Knots of step times.")
        print(f'[grid]\nbatches = {BATCHES}\ncontexts = {CONTEXTS}', file=out)
        print(f"prompts = {PROMPTS}\nprefixed = {PREFIXED}\nprefixes = {PREFIXES}", file=out)
        print(f"several = {[list(at) for at in SEVERAL]}\nchunks = {CHUNKS}", file=out)
        print(f"mixed_decodes = {MIXED_DECODES}\nmixed_prompt = {MIXED_PROMPT}", file=out)
        print(f"mixed_context = {MIXED_CONTEXT}", file=out)
        for key in sorted(decode):
            profile(out, key, decode[key], prefill[key], mixed[key])
    with open("../tests/data/held_out.toml", "w") as out:
        head(out, "Step times that the profiles do not hold.")
        for key in sorted(decode):
            held_out(out, key, decode[key], prefill[key], mixed[key])


if __name__ == "__main__":
    main(sys.argv[1])
