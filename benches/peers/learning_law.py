#!/usr/bin/env python3
"""The peer of the learning law's solver: policy epochs of the perceptron in numpy, f64, by the script that the golden fixtures
were made with; prints policy epochs a second and the mean target loss before the last of them.

    OMP_NUM_THREADS=1 python benches/peers/learning_law.py --epochs 2
"""
import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "golden"))
import make_learning_law as law  # noqa: E402


def main():
    p = argparse.ArgumentParser()
    for name, value in dict(epochs=2, steps=2000, train=4096, target=512, width=128).items():
        p.add_argument(f"--{name}", type=int, default=value)
    a = p.parse_args()
    problem, start, _ = law.make_perceptron(7, a.width, a.train, a.target, math.sqrt(3.0), 0.5, 1.0)
    eta, lr = 0.1, 5e-6
    gamma = np.full((a.steps, a.train), 1.0 / a.train)
    begun = time.perf_counter()
    for _ in range(a.epochs):
        theta = problem.forward(start, gamma, eta)
        area = problem.losses(problem.Xd, problem.yd, theta)[1:].mean()
        gradient, _ = problem.adjoint(theta, gamma, eta)
        for first in range(0, a.steps, 250):
            rows = slice(first, first + 250)
            gamma[rows] = law.project_simplex(gamma[rows] - lr * gradient[rows])
    print(a.epochs / (time.perf_counter() - begun), repr(float(area)))


main()
