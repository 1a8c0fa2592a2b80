#!/usr/bin/env python3
"""What transformers makes of the checkpoints in a folder: `{name: logits}` as JSON, float32.

Run:  python transformers_logits.py FOLDER '[[1, 2, 3], [4, 5]]'
A checkpoint that lacks a tensor, or has one that transformers knows nothing of, is an error.
"""
import json
import os
import sys

import torch
import transformers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(1)

folder, rows = sys.argv[1], json.loads(sys.argv[2])
logits = {}
for name in sorted(os.listdir(folder)):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        os.path.join(folder, name), dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info.get(key), (name, key, info[key])
    with torch.no_grad():
        found = [model.eval()(input_ids=torch.tensor([row])).logits[0].flatten().tolist() for row in rows]
    logits[name] = [value for row in found for value in row]
json.dump(logits, sys.stdout)
