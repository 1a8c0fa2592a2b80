#!/usr/bin/env python3
"""Golden fixture for sampling: what transformers' own logits processors make of random logits.

Needs torch and transformers. Run:  python make_sampling.py [output_dir]
"""
import json
import os
import sys

import torch
from transformers.generation.logits_process import (
    LogitsProcessorList, MinNewTokensLengthLogitsProcessor, MinPLogitsWarper, NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper,
)

OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
V = 40
ENDS = [0, 7]


def processors(s, prompt):
    """In the order of GenerationMixin._get_logits_processor."""
    every = LogitsProcessorList()
    if "repetition_penalty" in s:
        every.append(RepetitionPenaltyLogitsProcessor(s["repetition_penalty"]))
    if "no_repeat_ngram" in s:
        every.append(NoRepeatNGramLogitsProcessor(s["no_repeat_ngram"]))
    if "min_tokens" in s:
        every.append(MinNewTokensLengthLogitsProcessor(prompt, s["min_tokens"], ENDS, device="cpu"))
    if s["temperature"] != 1.0:
        every.append(TemperatureLogitsWarper(s["temperature"]))
    if "top_k" in s:
        every.append(TopKLogitsWarper(s["top_k"]))
    if "top_p" in s:
        every.append(TopPLogitsWarper(s["top_p"]))
    if "min_p" in s:
        every.append(MinPLogitsWarper(s["min_p"]))
    return every


SETTINGS = [
    {}, {"temperature": 0.5}, {"temperature": 2.0}, {"top_k": 1}, {"top_k": 7}, {"top_k": 1000},
    {"top_p": 0.0}, {"top_p": 0.3}, {"top_p": 0.9}, {"top_p": 0.999}, {"min_p": 0.05}, {"min_p": 1.0},
    {"repetition_penalty": 1.3}, {"repetition_penalty": 0.7}, {"no_repeat_ngram": 1}, {"no_repeat_ngram": 2},
    {"no_repeat_ngram": 3}, {"min_tokens": 3}, {"min_tokens": 9},
    {"temperature": 0.8, "top_k": 20, "top_p": 0.9}, {"temperature": 1.4, "top_k": 12, "top_p": 0.7, "min_p": 0.1},
    {"repetition_penalty": 1.2, "no_repeat_ngram": 2, "min_tokens": 9, "temperature": 0.7, "top_k": 15, "top_p": 0.95,
     "min_p": 0.02},
    {"repetition_penalty": 1.5, "temperature": 1.5, "top_p": 0.8},
]


def main():
    torch.manual_seed(20)
    cases = []
    for number, setting in enumerate(SETTINGS):
        for equal in [False, True]:
            if equal and "top_p" in setting:
                continue  # Their sort leaves open which of several equal tokens is the last that is kept.
            sampling = {"temperature": 1.0, "max_tokens": 16} | setting
            # Few values make equal ones, whose treatment is part of the rules.
            logits = torch.randint(-4, 5, (V,)).float() if equal else (torch.randn(V) * 3).round(decimals=3)
            # Few different tokens, so that n-grams repeat.
            history = torch.randint(0, 6, (14,)) * 7 % V
            prompt = 8
            rules = processors(sampling, prompt)
            scores = rules(history[None], logits.clone()[None])[0]
            wide = rules(history[None], logits.double()[None])[0]
            assert torch.equal(scores > -torch.inf, wide > -torch.inf), f"case {number} stands on an edge"
            probs = torch.softmax(scores, -1)
            cases.append({
                "sampling": sampling, "history": history.tolist(), "drawn": len(history) - prompt,
                "logits": [round(x, 3) for x in logits.tolist()], "probabilities": [float(f"{p:.8g}") for p in probs.tolist()],
            })
    path = os.path.join(OUT, "sampling.json")
    with open(path, "w") as f:
        json.dump({"ends": ENDS, "cases": cases}, f, separators=(",", ":"))
        f.write("\n")
    print(f"wrote sampling.json: {os.path.getsize(path)} bytes")


main()
