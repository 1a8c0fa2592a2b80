#!/usr/bin/env python3
"""The peer of training and scoring: the same decoder (llama or GPT-2 style) in PyTorch with SDPA and fused AdamW, on random
tokens; prints tokens/s and the peak of memory as JSON.

    python benches/peers/train_lm.py --family gpt2 --work train --precision f32 --hidden 256 --layers 6 --heads 4

bf16 is autocast. `--device cuda` runs it on a GPU, and the peak is that of its memory. `--compile` compiles the model first. Give it an allocator that keeps its memory, as Lyceum has:
    MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=268435456
"""
import argparse
import contextlib
import json
import resource
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight, 1e-6)


def rotate(x, cos, sin):
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


class Layer(nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        self.heads = heads
        self.norm_in, self.norm_out = Norm(width), Norm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x, cos, sin):
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm_in(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        x = x + self.out(a.transpose(1, 2).reshape(b, t, d))
        gate, up = self.gate_up(self.norm_out(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Decoder(nn.Module):
    def __init__(self, a):
        super().__init__()
        inner = a.inner or -(-a.hidden * 8 // 3 // 64) * 64
        self.embed = nn.Embedding(a.vocab, a.hidden)
        self.layers = nn.ModuleList(Layer(a.hidden, a.heads, inner) for _ in range(a.layers))
        self.norm = Norm(a.hidden)
        half = a.hidden // a.heads // 2
        angle = torch.outer(torch.arange(a.context).float(), 10000.0 ** (-torch.arange(half) / half))
        angle = torch.cat((angle, angle), dim=-1)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, ids):
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        return F.linear(self.norm(x), self.embed.weight)


class PlainLayer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm_in, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm_in(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(a.transpose(1, 2).reshape(b, t, d))
        return x + self.down(F.gelu(self.up(self.norm_out(x)), approximate="tanh"))


class PlainDecoder(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.embed, self.places = nn.Embedding(a.vocab, a.hidden), nn.Embedding(a.context, a.hidden)
        self.layers = nn.ModuleList(PlainLayer(a.hidden, a.heads) for _ in range(a.layers))
        self.norm = nn.LayerNorm(a.hidden)

    def forward(self, ids):
        x = self.embed(ids) + self.places.weight[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return F.linear(self.norm(x), self.embed.weight)


def main():
    p = argparse.ArgumentParser()
    for name, value in dict(hidden=256, layers=6, heads=4, inner=0, context=256, batch=8, vocab=8192, steps=8,
                            threads=2).items():
        p.add_argument(f"--{name}", type=int, default=value)
    p.add_argument("--family", choices=["llama", "gpt2"], default="llama")
    p.add_argument("--work", choices=["train", "score"], default="train")
    p.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    p.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    p.add_argument("--compile", action="store_true")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    model = (Decoder(a) if a.family == "llama" else PlainDecoder(a)).to(a.device)
    forward = torch.compile(model) if a.compile else model
    optim = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    ids = torch.randint(a.vocab, (a.batch, a.context + 1)).to(a.device)
    cast = torch.autocast(a.device, torch.bfloat16) if a.precision == "bf16" else contextlib.nullcontext()

    def loss(reduction):
        with cast:
            logits = forward(ids[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction=reduction)

    def train():
        value = loss("mean")
        optim.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optim.step()
        return value.item()

    def score():
        with torch.inference_mode():
            return loss("none").sum().item()

    step = train if a.work == "train" else score
    times = []
    for i in range(a.steps + 2):
        start = time.perf_counter()
        step()
        if i >= 2:
            times.append(time.perf_counter() - start)
    if a.device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"tokens_per_second": a.batch * a.context / statistics.median(times), "peak_bytes": peak}))


if __name__ == "__main__":
    main()
