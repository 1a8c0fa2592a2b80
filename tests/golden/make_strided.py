#!/usr/bin/env python3
"""What texts longer than the context cost two of the checkpoints in `models/`, by transformers' strided evaluation.

Windows of the model's context are begun every `stride` tokens; of each, only the tokens after the window before are
scored, with all of the window before them. The model's own loss gives the sum of each window (labels of -100 are left
out), its logits the log-probability of every token; the two agree. Float64 throughout, as in `make_models.py`.

Run:  python make_strided.py      (writes strided_losses.json next to this file)
Made with torch 2.15.0, transformers 5.23.0, tokenizers 0.23.3, safetensors 0.8.0 on one CPU thread.
"""
import json
import os

import torch
import transformers

from make_models import PINNED, float64_throughout, in_float64

HERE = os.path.dirname(os.path.abspath(__file__))
TEXTS = [
    "The rain went over the hills in the north, and then there was sun on the roofs of the town. One man sat at a table "
    "and wrote: the bread is done, the tea is hot, and nobody has come. At ten he went out. The cat ran after him as far "
    "as the gate, where it sat down and waited for the rest of the day. Two and two are four, said the man.",
    "Now the sun is in the south.",
]
# Folder of `models/`: how far apart its windows are begun.
CASES = {"gpt2": [40, 7, 79], "gpt_neox": [48, 11]}


def strided(model, ids, context, stride):
    """Log-probabilities of all ids but the first, and their summed loss by the model's own loss."""
    logprobs, loss, before = [], 0.0, 0
    for begin in range(0, len(ids), stride):
        end = min(begin + context, len(ids))
        row = torch.tensor([ids[begin:end]])
        labels = row.clone()
        labels[:, : -(end - before)] = -100
        out = model(input_ids=row, labels=labels, use_cache=False)
        # The first token of all has nothing before it: labels are shifted by one.
        scored = (labels[0, 1:] != -100).nonzero()[:, 0]
        loss += out.loss.item() * len(scored)
        found = out.logits[0].log_softmax(-1)
        logprobs += [found[at, row[0, at + 1]].item() for at in scored.tolist()]
        before = end
        if end == len(ids):
            break
    assert len(logprobs) == len(ids) - 1 and abs(loss + sum(logprobs)) < 1e-9, (loss, sum(logprobs))
    return logprobs, loss


def case(name, stride):
    folder = os.path.join(HERE, "models", name)
    config = transformers.AutoConfig.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model = in_float64(model, config)
    documents = []
    with float64_throughout():
        for text in TEXTS:
            ids = tokenizer(text)["input_ids"]
            logprobs, loss = strided(model, ids, config.max_position_embeddings, stride)
            documents.append({"ids": ids, "logprobs": logprobs, "loss": loss})
    lengths = [len(document["ids"]) for document in documents]
    assert lengths[0] > 2 * config.max_position_embeddings > 2 * lengths[1], lengths
    return {"model": name, "stride": stride, "documents": documents}


if __name__ == "__main__":
    made_with = ", ".join(f"{package} {version}" for package, version in PINNED.items())
    assert torch.__version__.split("+")[0] == PINNED["torch"] and transformers.__version__ == PINNED["transformers"]
    cases = [case(name, stride) for name, strides in CASES.items() for stride in strides]
    with open(os.path.join(HERE, "strided_losses.json"), "w") as f:
        json.dump({"made_with": made_with, "texts": TEXTS, "cases": cases}, f)
        f.write("\n")
    for one in cases:
        print(one["model"], one["stride"], [round(document["loss"], 6) for document in one["documents"]])
