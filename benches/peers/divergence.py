#!/usr/bin/env python3
"""The peer of a divergence through two output heads: plain PyTorch, logits of all rows at once; prints the median seconds of
a forward and backward pass, and the bytes that the work adds to the process's memory at its peak.

    python benches/peers/divergence.py --kind reverse_kl --rows 1024 --student 256 --teacher 768 --vocab 50257
"""
import argparse
import statistics
import time

import torch


def memory(line):
    with open("/proc/self/status") as status:
        for text in status:
            if text.startswith(line):
                return int(text.split()[1]) * 1024
    return 0


def divergence(kind, log_q, log_p):
    if kind == "forward_kl":
        return (log_p.exp() * (log_p - log_q)).sum(-1)
    if kind == "reverse_kl":
        return (log_q.exp() * (log_q - log_p)).sum(-1)
    log_m = torch.logaddexp(log_p, log_q) - torch.log(torch.tensor(2.0))
    return 0.5 * ((log_p.exp() * (log_p - log_m)) + (log_q.exp() * (log_q - log_m))).sum(-1)


def main():
    p = argparse.ArgumentParser()
    for name, value in dict(rows=1024, student=256, teacher=768, vocab=50257, steps=3, threads=2).items():
        p.add_argument(f"--{name}", type=int, default=value)
    p.add_argument("--kind", choices=["forward_kl", "reverse_kl", "jsd"], default="reverse_kl")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    hidden = torch.randn(a.rows, a.student, requires_grad=True)
    head = (torch.randn(a.vocab, a.student) / a.student**0.5).requires_grad_()
    teacher_hidden = torch.randn(a.rows, a.teacher)
    teacher_head = torch.randn(a.vocab, a.teacher) / a.teacher**0.5

    def step(rows):
        with torch.no_grad():
            log_p = torch.log_softmax(teacher_hidden[:rows] @ teacher_head.T, -1)
        log_q = torch.log_softmax(hidden[:rows] @ head.T, -1)
        divergence(a.kind, log_q, log_p).mean().backward()
        hidden.grad = head.grad = None

    step(2)  # loads what is loaded late
    before = memory("VmRSS:")
    step(a.rows)
    times = []
    for _ in range(a.steps):
        start = time.perf_counter()
        step(a.rows)
        times.append(time.perf_counter() - start)
    print(statistics.median(times), memory("VmHWM:") - before)


if __name__ == "__main__":
    main()
