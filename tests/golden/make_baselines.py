#!/usr/bin/env python3
"""Golden fixture for scores by n-grams: words, hashes, importance weights (DSIR), and a logistic regression.

Written from the definitions alone, in float64; the regression is solved by Newton's method on the dense problem, which shares
nothing with a limited-memory search on sparse rows. Needs numpy. Run:  python make_baselines.py [output_dir]
"""
import json
import math
import os
import re
import sys

import numpy as np

OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
MASK = (1 << 64) - 1


def mix(x):
    """The output of SplitMix64 after its state x was advanced."""
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def fnv1a(word):
    h = 0xCBF29CE484222325
    for byte in word.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    return h


def words(text):
    return re.findall(r"\w+|[^\w\s]+", text.lower())


def ngrams(units, longest, buckets):
    """Buckets of the n-grams that begin at each place, shortest first."""
    out = []
    for i in range(len(units)):
        h = 0
        for unit in units[i:i + longest]:
            h = mix(h ^ unit)
            out.append(h * buckets >> 64)
    return out


def counts(bags, buckets):
    c = np.zeros(buckets)
    for bag in bags:
        for b in bag:
            c[b] += 1
    return c


def dsir(items, target, raw, buckets, smoothing):
    a, b = counts(target, buckets) + smoothing, counts(raw, buckets) + smoothing
    ratio = np.log(a / a.sum()) - np.log(b / b.sum())
    sums = [math.fsum(ratio[i] for i in bag) for bag in items]
    return sums, [s / len(bag) for s, bag in zip(sums, items)]


def features(bag, buckets):
    x = counts([bag], buckets)
    return x / np.sqrt((x ** 2).sum())


def logistic(target, raw, buckets, l2):
    """min ½ mean_target ln(1+e^-z) + ½ mean_raw ln(1+e^z) + l2/2 |w|², z = w·x + b; the bias is free."""
    x = np.array([np.append(features(bag, buckets), 1.0) for bag in target + raw])
    y = np.array([1.0] * len(target) + [0.0] * len(raw))
    weight = np.where(y == 1.0, 0.5 / len(target), 0.5 / len(raw))
    penalty = np.append(np.full(buckets, l2), 0.0)
    w = np.zeros(buckets + 1)
    for _ in range(100):
        p = 1 / (1 + np.exp(-x @ w))
        g = x.T @ (weight * (p - y)) + penalty * w
        h = (x * (weight * p * (1 - p))[:, None]).T @ x + np.diag(penalty)
        step = np.linalg.solve(h, g)
        w = w - step
        if np.abs(step).max() < 1e-14:
            break
    assert np.abs(g).max() < 1e-13, np.abs(g).max()
    return w


VERBS = "sees takes finds holds leaves counts paints carries".split()
NAMES = "Ann Björn the-king my_friend she he Zoë nobody".split()
THINGS = "a boat, two rivers; 3.5 pears! the old map? «nothing» rain".split(" ")


def main():
    rng = np.random.Generator(np.random.PCG64(3))
    pick = lambda xs, p=None: xs[int(rng.choice(len(xs), p=p))]

    def sentence(kind):
        skew = np.arange(len(VERBS)) + 1.0 if kind == "target" else np.ones(len(VERBS))
        n = int(rng.integers(1, 5))
        one = lambda: f"{pick(NAMES)} {pick(VERBS, skew / skew.sum())} {pick(THINGS)}"
        return "  ".join(one() for _ in range(n))

    target = [sentence("target") for _ in range(12)]
    raw = [sentence("raw") for _ in range(30)] + [sentence("target") for _ in range(6)]
    longest, buckets, smoothing, l2 = 2, 50, 0.5, 0.02
    hashed = lambda texts: [ngrams([fnv1a(w) for w in words(t)], longest, buckets) for t in texts]
    t, r = hashed(target), hashed(raw)
    sums, means = dsir(r, t, r, buckets, smoothing)
    w = logistic(t, r, buckets, l2)
    odds = [float(np.append(features(bag, buckets), 1.0) @ w) for bag in r]

    ids = [int(i) for i in rng.integers(0, 70000, size=9)]
    fixture = {
        "about": "scores by hashed n-grams in float64; see make_baselines.py",
        "longest": longest, "buckets": buckets, "smoothing": smoothing, "l2": l2,
        "target": target, "raw": raw,
        "words": [len(words(text)) for text in raw],
        "raw_buckets": r,
        "ids": [{"ids": ids, "longest": n, "buckets": b, "expected": ngrams(ids, n, b)}
                for n, b in ((1, 10_000), (2, 10_000), (3, 2), (3, 1 << 24))],
        "log_weight_sum": sums, "log_weight_mean": means,
        "log_odds": odds, "weights": w[:-1].tolist(), "bias": float(w[-1]),
    }
    with open(os.path.join(OUT, "ngram_scores.json"), "w") as f:
        json.dump(fixture, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main()
