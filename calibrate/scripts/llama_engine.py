"""A small serving engine over a transformers Llama with random weights; see serve_llama.py.

Requests wait first come, first served for a slot; an iteration gives each running request its next
tokens, in order of admission, then admits waiting ones while tokens last, so that long prompts are
computed in chunks. An iteration of decodes only is one CUDA graph, padded to the next captured size.
One with chunks is a single eager forward over the tokens of decodes and chunks.

Keys and values lie in slots of a fixed length, and attention is flash attention over variable lengths
(PyTorch's own kernel): it reads the contexts that there are, so time depends on their sum. "dense" is
the same without that kernel, on any device; its decodes read the longest context, rounded up to 512,
for each sequence.

Each iteration ends when its tokens are on the host, and the host's work on the next begins only then.
Deliberately absent: prefix caching, paging and preemption (a slot holds the longest sequence),
sampling (the next token is the most likely one), several GPUs.
"""

import collections
import dataclasses
import time
import traceback

ORIGIN, ORIGIN_UNIX = time.perf_counter(), time.time()  # before imports that take seconds

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AttentionInterface, LlamaConfig, LlamaForCausalLM


def rope(factor):
    return {"rope_type": "llama3", "rope_theta": 500000.0, "factor": factor, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


# Llama 3.1 8B and Llama 3.2 1B by their published configurations. The weights of `tiny` are as wide
# as lets the next token depend on the whole context, which the selftest needs, and no wider, or
# rounding would change tokens.
SHAPES = {
    "tiny": dict(hidden_size=256, num_hidden_layers=3, num_attention_heads=8, num_key_value_heads=2,
                 head_dim=128, intermediate_size=512, vocab_size=1024, initializer_range=0.05,
                 max_position_embeddings=131072, rope_parameters=rope(8.0)),
    "1b": dict(hidden_size=2048, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8,
               head_dim=64, intermediate_size=8192, vocab_size=128256, eos_token_id=128001,
               tie_word_embeddings=True, max_position_embeddings=131072, rope_parameters=rope(32.0)),
    "8b": dict(hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8,
               head_dim=128, intermediate_size=14336, vocab_size=128256, eos_token_id=128001,
               max_position_embeddings=131072, rope_parameters=rope(8.0)),
}
GRAPHS = [1, 2, 4, 8, 16, 32, 64, 128]
VARIANTS = [("flash", True), ("flash", False), ("dense", False)]
BUCKET = 512


def now():
    return time.perf_counter() - ORIGIN


def say(text):
    print(f"[{now():6.1f} s] {text}", flush=True)


def build(shape, device, dtype=None, seed=1):
    """A Llama with random weights, made on the device: bf16 on a GPU, float32 on the CPU."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype or (torch.bfloat16 if device == "cuda" else torch.float32))
    torch.manual_seed(seed)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(LlamaConfig(attn_implementation="slots", **SHAPES[shape]))
    finally:
        torch.set_default_dtype(before)
    return model.eval()


@dataclasses.dataclass
class Span:
    """Neighbouring rows of a forward, as sequences: where their queries and their keys lie."""

    starts_q: torch.Tensor  # int32, one more than sequences
    starts_k: torch.Tensor  # int32, likewise; the last is not read
    used: torch.Tensor  # int32, keys of each sequence
    longest: int  # queries
    causal: bool
    host: list  # (slot, queries, keys) of each sequence; only what "dense" needs


class Slots:
    """Keys and values of `slots` sequences of at most `max_len` tokens, and one slot for padding."""

    def __init__(self, config, slots, max_len, device, dtype, kernel):
        shape = (slots + 1, max_len, config.num_key_value_heads, config.head_dim)
        self.layers = [tuple(torch.zeros(shape, device=device, dtype=dtype) for _ in "kv")
                       for _ in range(config.num_hidden_layers)]
        self.max_len, self.kernel = max_len, kernel

    def attend(self, layer, query, key, value, scaling, write, spans):
        """Writes the rows' keys and values, and attends: all tensors are (tokens, heads, size)."""
        keys, values = self.layers[layer]
        keys.flatten(0, 1).index_copy_(0, write, key)
        values.flatten(0, 1).index_copy_(0, write, value)
        kernel = self.flash if self.kernel == "flash" else self.dense
        parts, at = [], 0
        for span, rows in spans:
            parts.append(kernel(query[at:at + rows], keys, values, scaling, span))
            at += rows
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def flash(self, query, keys, values, scaling, span):
        # With lengths given, the starts of the keys need not follow each other: each is its slot's.
        # One query a sequence and no mask makes the kernel split long contexts among processors.
        return torch.ops.aten._flash_attention_forward(
            query.contiguous(), keys.flatten(0, 1), values.flatten(0, 1), span.starts_q,
            span.starts_k, span.longest, self.max_len, 0.0, span.causal, False, scale=scaling,
            seqused_k=span.used)[0]

    def dense(self, query, keys, values, scaling, span):
        if span.longest == 1:
            longest = max(used for _, _, used in span.host)
            width = min(-(-longest // BUCKET) * BUCKET, self.max_len)
            slots = torch.tensor([slot for slot, _, _ in span.host], device=query.device)
            mask = torch.arange(width, device=query.device) < span.used[:, None]
            k, v = (x[slots, :width].transpose(1, 2) for x in (keys, values))
            out = F.scaled_dot_product_attention(query[:, :, None], k, v, mask[:, None, None],
                                                 scale=scaling, enable_gqa=True)
            return out[:, :, 0]
        parts, at = [], 0
        for slot, n, used in span.host:
            q, k, v = (x.transpose(0, 1)[None] for x in
                       (query[at:at + n], keys[slot, :used], values[slot, :used]))
            mask = torch.ones(n, used, dtype=torch.bool, device=query.device).tril(used - n)
            out = F.scaled_dot_product_attention(q, k, v, mask, scale=scaling, enable_gqa=True)
            parts.append(out[0].transpose(0, 1))
            at += n
        return torch.cat(parts)


def attend_slots(module, query, key, value, attention_mask, scaling, slots, **rows):
    """The attention function that the model's layers call; `slots` comes through the forward."""
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    out = slots.attend(module.layer_idx, q, k, v, scaling, rows["write"], rows["spans"])
    return out[None], None


AttentionInterface.register("slots", attend_slots)


@dataclasses.dataclass(eq=False)
class Request:
    prompt: np.ndarray
    max_tokens: int
    load: str = ""
    arrival: float = 0.0
    counted: bool = True
    eos: int | None = None  # the token that ends it early
    sink: object = None  # for whoever waits for its tokens
    output: list = dataclasses.field(default_factory=list)
    computed: int = 0
    slot: int = -1
    first: float = 0.0
    end: float = 0.0
    aborted: bool = False

    def known(self):
        return len(self.prompt) + len(self.output)


class Engine:
    """Iterations over requests. `rows` holds what iterations.csv does; see serve_llama.py."""

    @torch.inference_mode()
    def __init__(self, model, slots, max_len, batched_tokens, kernel="dense", graphs=False):
        self.model, self.config, self.device = model, model.config, model.device
        self.max_len, self.batched_tokens, self.pad = max_len, batched_tokens, slots
        self.slots = Slots(self.config, slots, max_len, self.device, model.dtype, kernel)
        self.free, self.waiting, self.running = list(range(slots))[::-1], collections.deque(), []
        self.ended = None  # when the iteration before ended, unless the engine has idled since
        self.rows, self.graphs, self.failure = [], {}, None
        if graphs:
            try:
                self.capture([size for size in GRAPHS if size <= slots])
            except Exception as error:  # eager decodes measure too, only slower ones
                self.graphs, self.failure = {}, f"{type(error).__name__}: {error}"[:500]

    def starts(self, slots):
        return F.pad(slots * self.max_len, (0, 1)).int()

    def forward(self, packed, decodes, spans=(), last=None, host=()):
        """The next tokens of `decodes` rows and of the rows `last`; `packed`: ids, positions, slots."""
        ids, positions, slots = packed
        if decodes:
            every = torch.arange(decodes + 1, device=self.device, dtype=torch.int32)
            span = Span(every, self.starts(slots[:decodes]), (positions[:decodes] + 1).int(), 1,
                        False, host)
            spans = [(span, decodes), *spans]
        out = self.model(input_ids=ids[None], position_ids=positions[None], use_cache=False,
                         logits_to_keep=0 if last is None else last, slots=self.slots,
                         write=slots * self.max_len + positions, spans=spans)
        return out.logits[0].argmax(-1)

    def capture(self, sizes):
        pool = None
        for size in reversed(sizes):
            packed = torch.zeros(3, size, dtype=torch.long, device=self.device)
            packed[2] = self.pad
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(2):
                    self.forward(packed, size)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool):
                out = self.forward(packed, size)
            pool = graph.pool()
            self.graphs[size] = (graph, packed, out)

    def add(self, request):
        self.waiting.append(request)

    def busy(self):
        return bool(self.waiting or self.running)

    def schedule(self):
        """[(request, tokens)] of the next iteration: running ones first, then waiting ones."""
        for request in [r for r in self.running if r.aborted]:
            self.release(request)
        work, budget = [], self.batched_tokens
        for request in self.running:
            n = min(request.known() - request.computed, budget)
            if n:
                work.append((request, n))
                budget -= n
        while self.waiting and self.free and budget:
            request = self.waiting.popleft()
            if request.aborted:
                continue
            request.slot = self.free.pop()
            self.running.append(request)
            n = min(request.known(), budget)
            work.append((request, n))
            budget -= n
        return work

    def release(self, request):
        self.running.remove(request)
        self.free.append(request.slot)

    @torch.inference_mode()
    def step(self, record=True):
        """One iteration. The requests that got a token in it; those that ended have `end` set."""
        began = self.ended or now()
        work = self.schedule()
        decodes = [r for r, _ in work if r.computed >= len(r.prompt)]
        chunks = [(r, n) for r, n in work if r.computed < len(r.prompt)]
        if not work:
            self.ended = None
            return []
        packed = [np.array([(r.output[-1], r.computed, r.slot) for r in decodes],
                           dtype=np.int64).reshape(-1, 3).T]
        for r, n in chunks:
            at = np.arange(r.computed, r.computed + n)
            packed.append(np.stack([r.prompt[at], at, np.full(n, r.slot)]))
        packed = np.concatenate(packed, axis=1)
        padded = min((s for s in self.graphs if s >= len(decodes)), default=0) if not chunks else 0
        if padded:
            tokens = self.replay(padded, packed)
        else:
            tokens = self.eager(packed, decodes, chunks)
        ended = now()
        if record:
            contexts = [r.computed + 1 for r in decodes]
            self.rows.append((
                work[0][0].load, began, ended - began, len(decodes), sum(contexts),
                max(contexts, default=0), sum(n for _, n in chunks),
                sum(n * r.computed + n * (n + 1) // 2 for r, n in chunks), len(self.waiting), padded))
        got = self.advance(decodes, chunks, tokens, ended)
        self.ended = ended if self.busy() else None
        return got

    def replay(self, padded, packed):
        graph, static, out = self.graphs[padded]
        full = np.zeros((3, padded), dtype=np.int64)
        full[2] = self.pad
        full[:, :packed.shape[1]] = packed
        static.copy_(torch.from_numpy(full))
        graph.replay()
        return out.cpu().tolist()

    def eager(self, packed, decodes, chunks):
        spans, last = [], None
        if chunks:
            sizes = [(r.slot, n, r.computed + n) for r, n in chunks]
            ends = np.cumsum([n for _, n, _ in sizes])
            table = np.zeros((3, len(sizes) + 1), dtype=np.int32)
            table[0, 1:] = ends
            table[1, :-1] = [slot * self.max_len for slot, _, _ in sizes]
            table[2, :-1] = [used for _, _, used in sizes]
            table = torch.from_numpy(table).to(self.device)
            spans = [(Span(table[0], table[1], table[2, :-1], max(n for _, n, _ in sizes), True,
                           sizes), int(ends[-1]))]
            last = np.concatenate([np.arange(len(decodes)), len(decodes) + ends - 1])
            last = torch.from_numpy(last).to(self.device)
        host = [(r.slot, 1, r.computed + 1) for r in decodes]
        packed = torch.from_numpy(np.ascontiguousarray(packed)).to(self.device)
        return self.forward(packed, len(decodes), spans, last, host).cpu().tolist()

    def advance(self, decodes, chunks, tokens, ended):
        got = []
        for (r, n), token in zip([(r, 1) for r in decodes] + chunks, tokens):
            r.computed += n
            if r.computed < r.known():
                continue  # a chunk before the last gives no token
            r.first = r.first or ended
            r.output.append(token)
            got.append(r)
            if len(r.output) == r.max_tokens or token == r.eos:
                r.end = ended
                self.release(r)
        return got


@torch.inference_mode()
def selftest(device, kernel, graphs, dtype=None):
    """Whether a tiny engine's tokens are those of the plain model; a report, or AssertionError.

    Nine requests share four slots, arrive in turns and are computed in chunks of 96 tokens. Each
    token must be, in a plain float32 forward over the whole sequence, the most likely one: on the
    CPU exactly, on a GPU (in float16, which rounds less than bf16) to within a tenth of the logits'
    standard deviation. As a control, the same tokens must not pass for a prompt that begins
    otherwise, or the comparison would not see the cache. The recorded work must add up, too.
    """
    dtype = dtype or (torch.float16 if device == "cuda" else torch.float32)
    model = build("tiny", "cpu", dtype).to(device)  # the same weights on every device
    rng = np.random.default_rng(3)
    lengths = [(1, 9), (300, 12), (95, 3), (96, 7), (97, 1), (600, 20), (33, 30), (2, 2), (700, 5)]
    requests = [Request(rng.integers(1024, size=i), o) for i, o in lengths]
    engine = Engine(model, 4, 768, 96, kernel, graphs)
    assert engine.failure is None, engine.failure
    left = list(requests)
    while left or engine.busy():
        for request in left[:1 if len(engine.rows) % 3 else 2]:
            engine.add(left.pop(0))
        engine.step()
    plain = LlamaForCausalLM(LlamaConfig(attn_implementation="sdpa", **SHAPES["tiny"]))
    plain.load_state_dict(model.state_dict())
    plain = plain.float().to(device).eval()

    def shortfall(request, prompt):
        ids = torch.tensor([*prompt, *request.output[:-1]], device=device)
        logits = plain(ids[None], use_cache=False).logits[0, len(prompt) - 1:].float()
        chosen = logits.gather(1, torch.tensor(request.output, device=device)[:, None])[:, 0]
        return ((logits.max(-1).values - chosen) / logits.std(-1)).tolist()

    found = [x for r in requests for x in shortfall(r, r.prompt)]
    worst, limit = max(found), 0.0 if dtype == torch.float32 else 0.1
    assert worst <= limit, f"a token is {worst:.3f} deviations below the most likely one"
    for r in requests:
        other = r.prompt.copy()
        other[:len(other) // 2 + 1] = (other[:len(other) // 2 + 1] + 1) % 1024
        assert max(shortfall(r, other)) > 0.1, "the control passes: the context does not matter"
    columns = [sum(column) for column in zip(*(row[3:8] for row in engine.rows))]
    assert columns[3] == sum(i for i, _ in lengths)
    assert columns[4] == sum(i * (i + 1) // 2 for i, _ in lengths)
    assert columns[1] == sum(i + k for i, o in lengths for k in range(1, o))
    return {"kernel": kernel, "graphs": sorted(engine.graphs), "tokens": len(found),
            "most_likely": sum(x == 0 for x in found), "worst_deviations": round(worst, 4),
            "padded": sum(row[9] > 0 for row in engine.rows)}


def choose(device, meta):
    """The first way of running that passes the selftest: (kernel, graphs)."""
    failures = meta.setdefault("fell_back", [])
    for kernel, graphs in VARIANTS if device == "cuda" else VARIANTS[-1:]:
        try:
            meta["selftest"] = selftest(device, kernel, graphs)
            say(f"selftest: {meta['selftest']}")
            return kernel, graphs
        except Exception as error:
            say(f"selftest of {kernel}, graphs {graphs}: {error}")
            failures.append(f"{kernel}, graphs {graphs}: {traceback.format_exc()[-600:]}")
    raise SystemExit("no way of running passes the selftest")
