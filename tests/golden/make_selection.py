#!/usr/bin/env python3
"""Golden fixtures of choosing with noise, of scaling laws and of acceleration.

Independent float64 numpy oracle. Deterministic: every random number comes from numpy's PCG64 with a fixed seed, and all
inputs are stored next to the outputs. The laws of miniplm_misc.json are made by make_miniplm.py.
Run:  python make_selection.py [output_dir]
"""
import json
import math
import os
import sys

import numpy as np

OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))


def write(name, obj):
    path = os.path.join(OUT, name)
    with open(path, "w") as f:
        json.dump(obj, f, separators=(",", ":"), allow_nan=False)
        f.write("\n")
    print(f"wrote {name}: {os.path.getsize(path)} bytes")


def make_gumbel():
    rng = np.random.Generator(np.random.PCG64(163840))
    rng.standard_t(2.5, size=64)  # scores of another fixture, drawn first
    pred = rng.normal(size=60) * 0.3
    u = rng.uniform(size=60)
    noise = -np.log(-np.log(u))
    runs = []
    for tau in (0.05, 0.1, 1.0):
        keys = pred / tau + noise
        for ratio in (0.1, 0.4, 0.5):
            k = int(ratio * len(pred))
            order = sorted(range(len(pred)), key=lambda i: (-keys[i], i))[:k]
            quiet = np.argsort(-pred, kind="stable")[:k].tolist()
            runs.append({"tau": tau, "ratio": ratio, "k": k, "kept_ascending": sorted(order),
                         "overlap_with_topk_no_noise": len(set(order) & set(quiet))})
    # Plackett and Luce: P(first pick = i) = softmax(score/tau)
    s = np.array([0.3, 0.1, -0.2, 0.0, 0.25])
    p = np.exp(s / 0.1 - (s / 0.1).max())
    p /= p.sum()
    pair = np.zeros((5, 5))
    for i in range(5):
        for j in range(5):
            if i != j:
                pair[i, j] = p[i] * p[j] / (1 - p[i])
    incl2 = [float(pair[i].sum() + pair[:, i].sum()) for i in range(5)]
    write("pds_gumbel.json", {
        "gumbel": {"pred": pred.tolist(), "uniforms": u.tolist(), "noise": noise.tolist(), "runs": runs},
        "gumbel_distribution": {"scores": s.tolist(), "tau": 0.1, "p_first": p.tolist(), "p_in_top2": incl2}})


def make_law():
    E, A, al, B, be = 2.1, 210.0, 0.31, 560.0, 0.30
    loss = lambda n, d: E + A / n ** al + B / d ** be
    sizes = [("160M", 162e6), ("470M", 468e6), ("1B", 1004e6), ("1.7B", 1742e6)]
    grid = [{"size": s, "N": n, "D": d, "L": loss(n, d)} for s, n in sizes for d in
            (10.5e9, 21e9, 31.5e9, 42e9, 52.4e9)]
    write("pds_scaling.json", {
        "E": E, "A": A, "alpha": al, "B": B, "beta": be, "grid": grid,
        "predict": [{"name": nm, "N": n, "D": d, "L": loss(n, d)} for nm, n, d in
                    (("175B/300B", 175e9, 300e9), ("6.7B/1.0T", 6.7e9, 1e12),
                     ("70B/2.0T", 70e9, 2e12), ("405B/15T", 405e9, 15e12))]})


def fit(curve, t0, L0):
    """ln(L - L0) = -beta ln t + beta ln B over t > t0; returns B, beta, r^2."""
    t = np.arange(len(curve))
    ok = (t > t0) & (curve > L0)
    x, v = np.log(t[ok]), np.log(curve[ok] - L0)
    xm, vm = x.mean(), v.mean()
    b = ((x - xm) * (v - vm)).sum() / ((x - xm) ** 2).sum()
    a = vm - b * xm
    r2 = ((x - xm) * (v - vm)).sum() ** 2 / (((x - xm) ** 2).sum() * ((v - vm) ** 2).sum())
    return math.exp(a / -b), -b, r2


def make_steps():
    cases = []
    for B, beta, L0, T, t0 in ((3.16e8, 0.12, 0.051, 4000, 400), (1.99e7, 0.14, 0.051, 4000, 400),
                               (50.0, 0.5, 0.3, 1000, 100)):
        curve = L0 + (B / np.maximum(np.arange(T + 1), 1)) ** beta
        b, be, r2 = fit(curve, t0, L0)
        cases.append({"B": B, "beta": beta, "L0": L0, "T": T, "t0": t0, "fit_B": b, "fit_beta": be, "fit_r2": r2,
                      "curve_at": {str(t): curve[t] for t in (t0 + 1, T // 2, T)}})
    B1, b1, B2, b2 = 3.16e8, 0.12, 1.99e7, 0.14
    write("learning_law_scaling.json", {
        "about": "noise-free scaling fits and closed-form acceleration", "fits": cases,
        "acceleration": [{"T": T, "B1": B1, "beta1": b1, "B2": B2, "beta2": b2,
                          "acceleration": B1 ** (b1 / b2) / B2 * T ** (1 - b1 / b2)} for T in (1e3, 4e3, 1e5, 1e7)]})


if __name__ == "__main__":
    make_gumbel()
    make_law()
    make_steps()
