#!/usr/bin/env python3
"""The peer of `train.lm`: the same llama-style decoder trained by PyTorch, eager, on random tokens; prints tokens/s.

    python benches/peers/train_lm.py --hidden 192 --layers 4 --heads 4 --context 128 --batch 16 --vocab 2048

Give it the allocator settings that Lyceum has (it links mimalloc):
    MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=268435456
"""
import argparse
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
        self.embed = nn.Embedding(a.vocab, a.hidden)
        self.layers = nn.ModuleList(Layer(a.hidden, a.heads, a.inner) for _ in range(a.layers))
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
        return self.norm(x) @ self.embed.weight.T


def main():
    p = argparse.ArgumentParser()
    for name, value in dict(hidden=192, layers=4, heads=4, inner=512, context=128, batch=16, vocab=2048, steps=40,
                            threads=2).items():
        p.add_argument(f"--{name}", type=int, default=value)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    model = Decoder(a)
    optim = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    ids = torch.randint(a.vocab, (a.batch, a.context + 1))
    train, score = [], []
    for _ in range(a.steps):
        start = time.perf_counter()
        logits = model(ids[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optim.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optim.step()
        loss.item()
        train.append(time.perf_counter() - start)
    with torch.no_grad():
        for _ in range(a.steps):
            start = time.perf_counter()
            F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten(), reduction="none").sum().item()
            score.append(time.perf_counter() - start)
    tokens = a.batch * a.context
    print(f"parameters {sum(x.numel() for x in model.parameters())}")
    print(f"train {tokens / statistics.median(train):.0f} tokens/s")
    print(f"score {tokens / statistics.median(score):.0f} tokens/s")


if __name__ == "__main__":
    main()
