#!/usr/bin/env python3
"""The peer of MiniLLM's loop in plain PyTorch: sets of rollouts drawn from a mixture of teacher and student with a cache of
keys and values, then inner epochs of the clipped policy gradient with the exact single step. Random weights and prompts, no
response ends early; prints rollouts a second of the whole loop, and the seconds of its two halves, as JSON.

    python benches/peers/minillm.py --rollouts 64 --batch 16 --prompt 64 --response 64 --inner 4

`--teacher once` (the default) asks the teacher for its distributions once a set and keeps them; `again` at every pass.
"""
import argparse
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
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.gate_up, self.down = nn.Linear(width, 2 * inner, bias=False), nn.Linear(inner, width, bias=False)

    def forward(self, x, cos, sin, cache, past):
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm_in(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            cache[0][:, :, past : past + t] = k
            cache[1][:, :, past : past + t] = v
            k, v = cache[0][:, :, : past + t], cache[1][:, :, : past + t]
        a = F.scaled_dot_product_attention(q, k, v, is_causal=t > 1)
        x = x + self.out(a.transpose(1, 2).reshape(b, t, d))
        gate, up = self.gate_up(self.norm_out(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Decoder(nn.Module):
    def __init__(self, width, layers, heads, vocab, context):
        super().__init__()
        inner = -(-width * 8 // 3 // 64) * 64
        self.embed = nn.Embedding(vocab, width)
        nn.init.normal_(self.embed.weight, std=0.05)
        self.layers = nn.ModuleList(Layer(width, heads, inner) for _ in range(layers))
        self.norm = Norm(width)
        half = width // heads // 2
        angle = torch.outer(torch.arange(context).float(), 10000.0 ** (-torch.arange(half) / half))
        angle = torch.cat((angle, angle), dim=-1)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def cache(self, rows, length):
        heads = self.layers[0].heads
        size = (rows, heads, length, self.embed.embedding_dim // heads)
        return [(torch.empty(size), torch.empty(size)) for _ in self.layers]

    def hidden(self, ids, cache=None, past=0):
        x, places = self.embed(ids), slice(past, past + ids.shape[1])
        for i, layer in enumerate(self.layers):
            x = layer(x, self.cos[places], self.sin[places], cache and cache[i], past)
        return self.norm(x)

    def logits(self, hidden):
        return F.linear(hidden, self.embed.weight)


def pick(log_probs, ids):
    return log_probs.gather(-1, ids.unsqueeze(-1)).squeeze(-1)


@torch.inference_mode()
def draw(student, teacher, prompts, a):
    """Responses from the mixture, with what both said of every token."""
    models = (student, teacher)
    caches = [model.cache(len(prompts), a.prompt + a.response) for model in models]
    ids, read, past = prompts, prompts, 0
    log_q, log_p = [], []
    for _ in range(a.response):
        last = [m.logits(m.hidden(read, c, past)[:, -1]) for m, c in zip(models, caches)]
        past += read.shape[1]
        q, p = (torch.log_softmax(logits, -1) for logits in last)
        read = torch.multinomial(a.mix * p.exp() + (1 - a.mix) * q.exp(), 1)
        log_q.append(q.gather(-1, read))
        log_p.append(p.gather(-1, read))
        ids = torch.cat((ids, read), dim=1)
    return ids, torch.cat(log_q, 1), torch.cat(log_p, 1)


def advantages(log_q, log_p, a):
    """Scaled rewards, discounted, by the number of tokens left, whitened."""
    rewards = ((log_p - log_q) / 0.5).clamp(-100, 100)
    total, returns = torch.zeros(len(rewards)), []
    for t in reversed(range(a.response)):
        total = rewards[:, t] + 0.95 * total
        returns.append(total / (a.response - t))
    raw = torch.stack(returns[::-1], 1)
    return (raw - raw.mean()) * torch.rsqrt(raw.var(unbiased=False) + 1e-8)


def distributions(model, ids, a):
    """Log-probabilities at the places that predict a response."""
    hidden = model.hidden(ids[:, :-1])[:, a.prompt - 1 :]
    return torch.log_softmax(model.logits(hidden), -1)


def update(student, teacher, optim, rollout, a):
    ids, old, log_p, kept = rollout
    tokens = ids[:, a.prompt :]
    w = torch.exp(old - torch.log((1 - a.mix) * old.exp() + a.mix * log_p.exp()))
    advantage = advantages(old, log_p, a)
    if kept is None:
        with torch.no_grad():
            kept = distributions(teacher, ids, a)
    log_q = distributions(student, ids, a)
    ratio = torch.exp(pick(log_q, tokens) - old) * w
    policy = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(0.8, 1.2)).mean()
    single = (log_q.exp() * (log_q - kept)).sum(-1).mean()
    optim.zero_grad(set_to_none=True)
    (policy + single).backward()
    nn.utils.clip_grad_norm_(student.parameters(), 1.0)
    optim.step()


def main():
    p = argparse.ArgumentParser()
    for name, value in dict(hidden=256, layers=6, heads=4, vocab=8192, prompt=64, response=64, rollouts=64, batch=16, inner=4,
                            sets=3, threads=2).items():
        p.add_argument(f"--{name}", type=int, default=value)
    for name in ["hidden", "layers", "heads"]:
        p.add_argument(f"--teacher-{name}", type=int, default=0, help="the student's where left out")
    p.add_argument("--mix", type=float, default=0.2)
    p.add_argument("--teacher", choices=["once", "again"], default="once")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    context = a.prompt + a.response
    student = Decoder(a.hidden, a.layers, a.heads, a.vocab, context)
    of_teacher = (a.teacher_hidden or a.hidden, a.teacher_layers or a.layers, a.teacher_heads or a.heads)
    teacher = Decoder(*of_teacher, a.vocab, context).requires_grad_(False)
    optim = torch.optim.AdamW(student.parameters(), lr=5e-6, betas=(0.9, 0.95), weight_decay=1e-6, fused=True)
    times = []
    for _ in range(a.sets + 1):
        start = time.perf_counter()
        prompts = torch.randint(a.vocab, (a.rollouts, a.prompt)).split(a.batch)
        rollouts = [draw(student, teacher, part, a) for part in prompts]
        # Left as plain tensors, which the graph takes.
        rollouts = [tuple(tensor.clone() for tensor in rollout) for rollout in rollouts]
        drawn = time.perf_counter()
        with torch.no_grad():
            once = a.teacher == "once"
            rollouts = [(*r, distributions(teacher, r[0], a) if once else None) for r in rollouts]
        for _ in range(a.inner):
            for i in torch.randperm(len(rollouts)):
                update(student, teacher, optim, rollouts[i], a)
        end = time.perf_counter()
        times.append((end - start, drawn - start, end - drawn))
    whole, drawing, updating = (statistics.median(part) for part in zip(*times[1:]))
    print(json.dumps({
        "rollouts_per_second": a.rollouts / whole,
        "seconds_drawing": drawing,
        "seconds_updating": updating,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }))


if __name__ == "__main__":
    main()
