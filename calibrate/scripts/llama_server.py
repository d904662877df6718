"""OpenAI's /v1/completions over the engine, for probes of endpoints; see serve_llama.py.

A prompt is a list of token ids, or a string of which each word is a token. A chunk of a stream holds
one token. The engine runs in a thread of its own, so streams are written beside it, under the same
interpreter lock: iterations are somewhat longer than in `drive`.

Deliberately absent: chat, sampling, several choices, log probabilities, stop strings.
"""

import asyncio
import collections
import json
import os
import queue
import signal
import threading
import time
import traceback
import zlib

import numpy as np
from aiohttp import web

from llama_engine import Request, now, say


def serve(engine, options, meta, files):
    """Serves until it is interrupted or terminated, then writes what it measured."""
    inbox = queue.SimpleQueue()
    name, vocab, done = f"llama-{options.shape}-random", engine.config.vocab_size, []
    total = collections.Counter()

    def tell(got):
        for request, token, reason in got:
            request.sink.put_nowait((token, reason))

    def work(loop):
        while True:
            while not inbox.empty() or not engine.busy():
                request = inbox.get()
                if request is None:
                    return
                engine.add(request)
            got = [(r, r.output[-1], r.end and ("stop" if r.output[-1] == r.eos else "length") or None)
                   for r in engine.step()]
            for request, _, reason in got:
                total["generation"] += 1
                total["prompt"] += len(request.prompt) * (len(request.output) == 1)
                if reason:
                    total[reason] += 1
                    done.append(request)
            loop.call_soon_threadsafe(tell, got)

    def refuse(text):
        body = {"error": {"message": text, "type": "BadRequestError", "code": 400}}
        return web.json_response(body, status=400)

    async def completions(http):
        arrival = now()
        try:
            body = await http.json()
            prompt, limit = body["prompt"], int(body.get("max_tokens") or 16)
            if isinstance(prompt, str):  # a word is a token
                prompt = [zlib.crc32(word.encode()) for word in prompt.split()] or [0]
            ids = np.array(prompt, dtype=np.int64) % vocab
            if ids.ndim != 1 or not len(ids) or limit < 1:
                raise ValueError("prompt: one string or one list of token ids; max_tokens: 1 or more")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            return refuse(f"{type(error).__name__}: {error}")
        if len(ids) + limit > engine.max_len:
            return refuse(f"{len(ids)} and {limit} tokens are more than {engine.max_len}, the longest")
        eos = None if body.get("ignore_eos") else engine.config.eos_token_id
        request = Request(ids, limit, "serve", arrival, eos=eos, sink=asyncio.Queue())
        head = {"id": f"cmpl-{id(request):x}", "object": "text_completion",
                "created": int(time.time()), "model": name}

        def choice(text, reason):
            return [{"index": 0, "text": text, "logprobs": None, "finish_reason": reason}]

        def usage():
            return {"prompt_tokens": len(ids), "completion_tokens": len(request.output),
                    "total_tokens": len(ids) + len(request.output)}

        inbox.put(request)
        try:
            if not body.get("stream"):
                text, reason = "", None
                while reason is None:
                    token, reason = await request.sink.get()
                    text += f" {token}"
                return web.json_response({**head, "choices": choice(text, reason), "usage": usage()})
            out = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await out.prepare(http)
            reason = None
            while reason is None:
                token, reason = await request.sink.get()
                chunk = json.dumps({**head, "choices": choice(f" {token}", reason)})
                await out.write(f"data: {chunk}\n\n".encode())
            if (body.get("stream_options") or {}).get("include_usage"):
                chunk = json.dumps({**head, "choices": [], "usage": usage()})
                await out.write(f"data: {chunk}\n\n".encode())
            await out.write(b"data: [DONE]\n\n")
            return out
        except ConnectionResetError:  # the client has gone
            return out
        finally:
            request.aborted = not request.end

    async def models(_):
        entry = {"id": name, "object": "model", "owned_by": "surgeline", "max_model_len": engine.max_len}
        return web.json_response({"object": "list", "data": [entry]})

    async def health(_):
        return web.Response()

    async def metrics(_):
        used = sum(r.computed for r in list(engine.running)) / (engine.pad * engine.max_len)
        rows = [("num_requests_running", "gauge", "", len(engine.running)),
                ("num_requests_waiting", "gauge", "", len(engine.waiting) + inbox.qsize()),
                ("kv_cache_usage_perc", "gauge", "", used),
                ("num_preemptions_total", "counter", "", 0),
                ("prompt_tokens_total", "counter", "", total["prompt"]),
                ("generation_tokens_total", "counter", "", total["generation"]),
                ("request_success_total", "counter", ',finished_reason="length"', total["length"]),
                ("request_success_total", "counter", ',finished_reason="stop"', total["stop"])]
        lines = []
        for metric, kind, label, value in rows:
            if f"# TYPE vllm:{metric} {kind}" not in lines:
                lines.append(f"# TYPE vllm:{metric} {kind}")
            lines.append(f'vllm:{metric}{{engine="0",model_name="{name}"{label}}} {float(value)}')
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")

    def guarded(loop):
        try:
            work(loop)
        except Exception:
            meta["error"] = traceback.format_exc()[-2000:]
            say(meta["error"])
            os.kill(os.getpid(), signal.SIGTERM)

    thread = None

    async def begin(_):
        nonlocal thread
        thread = threading.Thread(target=guarded, args=[asyncio.get_running_loop()], daemon=True)
        thread.start()
        say(f"serving {name} on http://{options.host}:{options.port}")

    async def finish(_):
        inbox.put(None)
        await asyncio.to_thread(thread.join, 30)
        files.keep(engine, done)

    app = web.Application(client_max_size=64 << 20)
    app.add_routes([web.post("/v1/completions", completions), web.get("/v1/models", models),
                    web.get("/health", health), web.get("/metrics", metrics)])
    app.on_startup.append(begin)
    app.on_cleanup.append(finish)
    web.run_app(app, host=options.host, port=options.port, print=None, shutdown_timeout=2)
