#!/usr/bin/env python3
"""The peer of `lyceum generate`: transformers' `generate` in f32 on two threads; prints new tokens a second, as JSON.

    python benches/peers/generate.py --model DIR --batch 16 --prompt 32 --tokens 96 --temperature 0.8 --top-k 50
"""
import argparse
import json
import time

import torch
from transformers import AutoModelForCausalLM

p = argparse.ArgumentParser()
p.add_argument("--model", required=True)
p.add_argument("--batch", type=int, default=1)
p.add_argument("--prompt", type=int, default=32)
p.add_argument("--tokens", type=int, default=96)
p.add_argument("--temperature", type=float, default=0.0)
p.add_argument("--top-k", type=int, default=0)
p.add_argument("--threads", type=int, default=2)
a = p.parse_args()

torch.set_num_threads(a.threads)
torch.manual_seed(0)
model = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32).eval()
ids = torch.arange(a.prompt)[None].repeat(a.batch, 1)
how = {"max_new_tokens": a.tokens, "min_new_tokens": a.tokens, "pad_token_id": 0, "do_sample": a.temperature > 0}
if a.temperature > 0:
    how |= {"temperature": a.temperature, "top_k": a.top_k, "top_p": 1.0}
with torch.inference_mode():
    model.generate(ids, attention_mask=torch.ones_like(ids), **(how | {"max_new_tokens": 4, "min_new_tokens": 4}))
    start = time.perf_counter()
    out = model.generate(ids, attention_mask=torch.ones_like(ids), **how)
    seconds = time.perf_counter() - start
print(json.dumps({"tokens_per_second": (out.numel() - ids.numel()) / seconds}))
