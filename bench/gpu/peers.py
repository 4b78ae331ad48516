#!/usr/bin/env python3
"""Races the GPU kernels of sparsegen against torch and cuSPARSELt.

Drives the program beside it (`./gpu serve`), which holds our kernels, over its
standard input and output, one JSON object a line, and runs the peers in this
process. Contenders of a case take turns in random order, round after round;
a ratio is taken within a round. Nothing else may use the GPU meanwhile.

    peers.py [--gpu ./gpu] [--groups prefill,decode,gemv] [--json out.json] [--rounds 5]

Needs torch with CUDA. Prints one table a group and, with --json, writes all
numbers with the names of the GPU, driver and libraries.
"""
import argparse
import datetime
import json
import random
import re
import statistics
import subprocess
import sys
import time
import warnings

import torch

warnings.filterwarnings("ignore")

DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "e4m3": torch.float8_e4m3fn, "s8": torch.int8}


class Ours:
    """Our side: a process that prepares cases and times them when asked."""

    def __init__(self, program):
        self.process = subprocess.Popen([program, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, op, **args):
        self.process.stdin.write(json.dumps({"op": op, **args}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("our program ended")
        reply = json.loads(line)
        if reply.get("error"):
            raise RuntimeError(reply["error"])
        return reply

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class OurCase:
    def __init__(self, ours, name, **case):
        self.ours, self.name = ours, name
        self.info = ours.ask("prepare", **case)
        self.id = self.info["id"]

    def time(self, warm, replays):
        return self.ours.ask("time", id=self.id, warm=warm, replays=replays)["us"]

    def soak(self, seconds):
        self.ours.ask("soak", id=self.id, seconds=seconds)

    def error(self):
        return self.ours.ask("check", id=self.id)["error_norm"]

    def free(self):
        self.ours.ask("free", id=self.id)


class Peer:
    """Calls of a library, captured into one graph."""

    def __init__(self, name, calls, launches):
        self.name, self.launches, self.deviation = name, launches, None
        for call in calls:
            call()
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            for i in range(launches):
                calls[i % len(calls)]()

    def time(self, warm, replays):
        for _ in range(warm):
            self.graph.replay()
        times = []
        for _ in range(replays):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            self.graph.replay()
            end.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(end) * 1e3 / self.launches)
        return statistics.median(times)

    def soak(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.graph.replay()
            torch.cuda.synchronize()

    def free(self):
        del self.graph


def race(contenders, rounds, pause=0.0, soak=0.0, warm=1, replays=2):
    """Times of every contender, one a round."""
    times = {c.name: [] for c in contenders}
    for _ in range(rounds):
        for c in random.sample(contenders, len(contenders)):
            torch.cuda.synchronize()
            if soak:
                c.soak(soak)
            time.sleep(pause)
            times[c.name].append(c.time(warm, replays))
    return times


def ratios(times, ours, peer):
    return sorted(p / o for o, p in zip(times[ours], times[peer]))


def random_weights(out, k, dtype):
    w = torch.randn(out, k, device="cuda")
    if dtype == "s8":
        return (w * 20).round().clamp(-127, 127).to(torch.int8)
    return w.to(DTYPES[dtype])


def prune24(w):
    groups = w.float().view(w.shape[0], -1, 4)
    keep = groups.abs().topk(2, dim=2).indices
    mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(2, keep, True)
    return (groups * mask).view_as(w).to(w.dtype)


def dense_call(x, w, dtype):
    if dtype in ("bf16", "f16"):
        return lambda: torch.nn.functional.linear(x, w)
    if dtype == "e4m3":
        one = torch.ones(1, device="cuda")
        return lambda: torch._scaled_mm(x, w.t(), one, one, out_dtype=torch.bfloat16, use_fast_accum=True)
    return lambda: torch._int_mm(x, w.t())


def sparselt_calls(x, weights, dtype):
    """The searched algorithm of each output order: {name: calls}."""
    kw = {} if dtype in ("bf16", "f16") else {"out_dtype": torch.bfloat16}
    packed = [torch._cslt_compress(prune24(w)) for w in weights]
    tokens = x.shape[0]
    if tokens % 16:
        x = torch.cat([x, torch.zeros(16 - tokens % 16, x.shape[1], device="cuda", dtype=x.dtype)])
    calls = {}
    for transposed in (False, True):
        try:
            found = torch._C._cusparselt.mm_search(packed[0], x.t(), None, None, kw.get("out_dtype"), transposed)
            how = dict(alg_id=found[0], split_k=found[1], split_k_mode=found[2]) if isinstance(found, (tuple, list)) else dict(alg_id=int(found))
        except Exception:
            how = dict(alg_id=int(torch._cslt_sparse_mm_search(packed[0], x.t(), transpose_result=transposed, **kw)))
        name = "cuSPARSELt" + (" transposed" if transposed else "")
        calls[name] = [
            lambda p=p, how=how, transposed=transposed: torch._cslt_sparse_mm(p, x.t(), transpose_result=transposed, **kw, **how) for p in packed
        ]
    return calls


def peers_of(dtype, out, k, tokens, copies, launches, forms):
    weights = [random_weights(out, k, dtype) for _ in range(copies)]
    x = random_weights(tokens, k, dtype)
    found = []
    if "torch" in forms:
        # The 8-bit calls of torch want at least 17 rows.
        if dtype in ("bf16", "f16") or tokens > 16:
            calls = [dense_call(x, w, dtype) for w in weights]
            found.append(Peer("torch", calls, launches))
            found[-1].deviation = deviation(calls[0](), x, weights[0])
    if "cuSPARSELt" in forms:
        for name, calls in sparselt_calls(x, weights, dtype).items():
            try:
                found.append(Peer(name, calls, launches))
            except Exception as e:  # an order that the library does not offer for the shape
                print(f"  {name}: {str(e)[:100]}", file=sys.stderr)
    return found


def deviation(y, x, w):
    """Of the first tokens from float64, as a share of the norm."""
    want = x[:64].double() @ w.double().t()
    return ((y[:64].double() - want).norm() / want.norm()).item()


def merge_sparselt(times):
    """The better of the two output orders, by its median, as "cuSPARSELt"."""
    names = [n for n in times if n.startswith("cuSPARSELt")]
    if names:
        best = min(names, key=lambda n: statistics.median(times[n]))
        times["cuSPARSELt"] = times[best]


MEGABYTE = 1 << 20
WIDTH = {"bf16": 2, "f16": 2, "e4m3": 1, "s8": 1}


def linear_case(ours, o, dtype, out, k, tokens, forms, rotate, launches, configs=(None,)):
    bytes_dense = out * k * WIDTH[dtype]
    copies = max(1, -(-rotate // bytes_dense))
    launches = max(launches, copies)
    launches -= launches % copies
    contenders = []
    for form in forms["ours"]:
        for pdl in forms.get("pdl", (False,)):
            name = "ours " + form + (" PDL" if pdl else "")
            contenders.append(OurCase(ours, name, family="linear", dtype=dtype, form=form, out=out, k=k,
                                      tokens=tokens, copies=copies, launches=launches, pdl=pdl))
    errors = {c.name: c.error() for c in contenders}
    contenders += peers_of(dtype, out, k, tokens, copies, launches, forms["peers"])
    errors |= {c.name: c.deviation for c in contenders if isinstance(c, Peer) and c.deviation is not None}
    result = {"dtype": dtype, "out": out, "k": k, "tokens": tokens, "copies": copies, "errors": errors,
              "kernels": {c.name: c.info["kernel"] for c in contenders if isinstance(c, OurCase)}, "runs": {}}
    for mode in forms["modes"]:
        kw = {"burst": dict(pause=0.3), "sustained": dict(soak=0.45), "plain": dict(warm=2, replays=5)}[mode]
        times = race(contenders, o.rounds, **kw)
        merge_sparselt(times)
        result["runs"][mode] = times
    for c in contenders:
        c.free()
    torch.cuda.empty_cache()
    return result


def show(result):
    for mode, times in result["runs"].items():
        ours = [n for n in times if n.startswith("ours")]
        line = [f"{n} {statistics.median(t):.2f} us" for n, t in times.items()]
        print(f"    {mode}: " + ", ".join(line))
        for o in ours:
            for p in ("torch", "cuSPARSELt"):
                if p in times:
                    r = ratios(times, o, p)
                    print(f"    {o} vs {p}: {statistics.median(r):.3f}x  [{r[0]:.3f}..{r[-1]:.3f}]")
    for n, e in result["errors"].items():
        print(f"    {n}: error {e:.2e}  ({result['kernels'].get(n, '')})")
    sys.stdout.flush()


LARGE = [(8192, 8192, 8192), (14336, 4096, 4096), (4096, 14336, 8192)]
FFN = [(4096, 4096), (14336, 4096), (4096, 14336)]


def label(dtype, out, k, tokens):
    return f"{dtype} {out}x{k} tokens {tokens}"


def prefill(ours, o):
    forms = {"modes": ("burst", "sustained"), "peers": ("torch", "cuSPARSELt")}
    for dtype in ("bf16", "e4m3", "s8"):
        for out, k, tokens in LARGE:
            mine = ["nm24"]
            if (out, k, tokens) == LARGE[0]:
                mine.append("dense")
            yield label(dtype, out, k, tokens), lambda: linear_case(ours, o, dtype, out, k, tokens, {**forms, "ours": mine}, 0, 6)


def decode(ours, o):
    forms = {"modes": ("plain",), "peers": ("torch", "cuSPARSELt")}
    rotate = 450 * MEGABYTE
    for tokens in (1, 8, 16, 32, 64, 128, 256):
        for out, k in FFN:
            mine = {"ours": ["nm24", "dense"], "pdl": (False, True)}
            yield label("bf16", out, k, tokens), lambda: linear_case(ours, o, "bf16", out, k, tokens, {**forms, **mine}, rotate, 24)
    for dtype in ("e4m3", "s8"):
        for tokens in (8, 32):
            for out, k in FFN:
                mine = {"ours": ["nm24"], "pdl": (True,)}
                yield label(dtype, out, k, tokens), lambda: linear_case(ours, o, dtype, out, k, tokens, {**forms, **mine}, rotate, 24)


def gemv(ours, o):
    for out, k in [(14336, 4096), (4096, 14336)]:
        for inactive in (0, 50, 75, 90, 95):
            yield f"bf16 {out}x{k} inactive {inactive} %", lambda: gemv_case(ours, o, out, k, inactive)


def gemv_case(ours, o, out, k, inactive):
    dense = out * k * 2
    copies = max(2, -(-250 * MEGABYTE * 100 // (dense * (100 - inactive))))
    launches = copies * max(1, 24 // copies)
    mine = OurCase(ours, "ours", family="gemv", dtype="bf16", form="active", out=out, k=k, tokens=1,
                   copies=copies, launches=launches, pdl=True, inactive=inactive / 100)
    # Dense weights are used in turn as well, but fewer of them exceed the cache.
    weights = [random_weights(out, k, "bf16") for _ in range(min(copies, 4))]
    x = random_weights(1, k, "bf16")
    across = [w.t().contiguous() for w in weights]
    contenders = [mine,
                  Peer("torch rows", [lambda w=w: torch.nn.functional.linear(x, w) for w in weights], 24),
                  Peer("torch columns", [lambda w=w: x @ w for w in across], 24)]
    error = mine.error()
    times = race(contenders, o.rounds, warm=2, replays=5)
    best = min(("torch rows", "torch columns"), key=lambda n: statistics.median(times[n]))
    times["torch"] = times[best]
    for c in contenders:
        c.free()
    del weights, across
    torch.cuda.empty_cache()
    return {"dtype": "bf16", "out": out, "k": k, "tokens": 1, "inactive": inactive, "copies": copies,
            "errors": {"ours": error}, "kernels": {"ours": mine.info["kernel"]}, "runs": {"plain": times}}


GROUPS = {"prefill": prefill, "decode": decode, "gemv": gemv}


class Floor:
    """What the project asks of a ratio over some cases: at least, and beyond."""

    def __init__(self, what, ours, peer, least, beyond, **where):
        self.what, self.ours, self.peer, self.least, self.beyond, self.where = what, ours, peer, least, beyond, where

    def holds_for(self, result):
        return all(result.get(k) in v if isinstance(v, tuple) else result.get(k) == v for k, v in self.where.items())

    def ratios(self, results):
        """Median ratios by mode."""
        found = {}
        for r in filter(self.holds_for, results):
            for mode, times in r["runs"].items():
                if self.ours in times and self.peer in times:
                    found.setdefault(mode, []).append(statistics.median(ratios(times, self.ours, self.peer)))
        return found


FLOORS = [
    Floor("dense bf16, 8192^3", "ours dense", "torch", 0.98, 1.03, group="prefill", dtype="bf16"),
    Floor("dense e4m3, 8192^3", "ours dense", "torch", 1.00, 1.05, group="prefill", dtype="e4m3"),
    Floor("2:4 bf16, many tokens", "ours nm24", "torch", 1.50, 1.60, group="prefill", dtype="bf16"),
    Floor("2:4 bf16, many tokens", "ours nm24", "cuSPARSELt", 1.02, 1.06, group="prefill", dtype="bf16"),
    Floor("2:4 e4m3, many tokens", "ours nm24", "torch", 1.50, 1.60, group="prefill", dtype="e4m3"),
    Floor("2:4 e4m3, many tokens", "ours nm24", "cuSPARSELt", 1.02, None, group="prefill", dtype="e4m3"),
    Floor("2:4 s8, many tokens", "ours nm24", "torch", 2.40, None, group="prefill", dtype="s8"),
    Floor("2:4 s8, many tokens", "ours nm24", "cuSPARSELt", 1.02, 1.06, group="prefill", dtype="s8"),
    Floor("2:4 bf16, 1 to 32 tokens", "ours nm24 PDL", "torch", 1.75, 1.95, group="decode", dtype="bf16", tokens=(1, 8, 16, 32)),
    Floor("2:4 bf16, 1 to 32 tokens", "ours nm24 PDL", "cuSPARSELt", 2.70, 3.00, group="decode", dtype="bf16", tokens=(1, 8, 16, 32)),
    Floor("2:4 bf16, 1 to 32 tokens", "ours nm24", "torch", 1.45, None, group="decode", dtype="bf16", tokens=(1, 8, 16, 32)),
    Floor("2:4 bf16, 1 to 32 tokens", "ours nm24 PDL", "ours dense PDL", None, None, group="decode", dtype="bf16", tokens=(1, 8, 16, 32)),
    Floor("2:4 bf16, 64 and 128 tokens", "ours nm24 PDL", "torch", 1.45, None, group="decode", dtype="bf16", tokens=(64, 128)),
    Floor("2:4 bf16, 256 tokens", "ours nm24 PDL", "torch", 1.00, None, group="decode", dtype="bf16", tokens=256),
    Floor("2:4 e4m3, 8 and 32 tokens", "ours nm24 PDL", "cuSPARSELt", 1.35, 1.75, group="decode", dtype="e4m3"),
    Floor("2:4 s8, 8 and 32 tokens", "ours nm24 PDL", "cuSPARSELt", 1.35, 1.75, group="decode", dtype="s8"),
] + [
    Floor(f"active inputs, {inactive} % inactive", "ours", "torch", least, beyond, group="gemv", inactive=inactive)
    for inactive, least, beyond in ((0, 0.97, None), (50, 1.65, 1.85), (75, 2.7, 3.0), (90, 4.5, 6.0), (95, 7.0, 9.0))
]


def summary(results):
    """One table: the floors, and what was reached."""
    rows = [("floor", "against", "", "least", "beyond", "geometric mean", "lowest", "cases")]
    for f in FLOORS:
        for mode, found in f.ratios(results).items():
            mean = statistics.geometric_mean(found)
            reached = sum(r >= f.least for r in found) if f.least else len(found)
            number = lambda v: f"{v:.2f}x" if v else "-"
            rows.append((f"{f.what} ({f.ours})", f.peer, mode, number(f.least), number(f.beyond), f"{mean:.3f}x", f"{min(found):.3f}x", f"{reached} of {len(found)}"))
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    for r in rows:
        print("  ".join(c.ljust(w) for c, w in zip(r, widths)).rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpu", default="./gpu", help="our program")
    parser.add_argument("--groups", default=",".join(GROUPS))
    parser.add_argument("--only", default="", help="regular expression on `dtype OUTxK tokens T`")
    parser.add_argument("--json", help="file for all numbers")
    parser.add_argument("--rounds", type=int, default=5)
    o = parser.parse_args()
    torch.manual_seed(random.randrange(1 << 30))
    torch.zeros(1, device="cuda")
    ours = Ours(o.gpu)
    machine = {
        "date": datetime.date.today().isoformat(),
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "ours": ours.ask("machine"),
    }
    print(json.dumps(machine))
    results, failed = [], 0
    for group in o.groups.split(","):
        print(f"== {group}")
        for name, case in GROUPS[group](ours, o):
            if not re.search(o.only, name):
                continue
            print(name, flush=True)
            try:
                result = case()
            except (RuntimeError, torch.cuda.OutOfMemoryError) as e:
                failed += 1
                print(f"    FAILED: {str(e)[:300]}", flush=True)
                continue
            result["group"] = group
            results.append(result)
            show(result)
            if o.json:
                with open(o.json, "w") as f:
                    json.dump({"machine": machine, "results": results}, f)
    ours.close()
    summary(results)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
