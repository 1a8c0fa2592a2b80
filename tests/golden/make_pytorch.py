#!/usr/bin/env python3
"""Golden fixtures of the decoder, the optimizer, gradient accumulation and the learning-rate schedules.

The reference is PyTorch and transformers in float64; the schedules are computed here in exact fractions where they are
straight lines. Deterministic: everything drawn comes from one seeded generator and is stored next to the results.
Run:  python make_pytorch.py [output_dir]      (needs torch and transformers)
"""
import copy
import json
import math
import os
import sys
from fractions import Fraction

import torch
import transformers

OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


def write(name, fixture):
    path = os.path.join(OUT, name)
    with open(path, "w") as f:
        json.dump(fixture, f, separators=(",", ":"), allow_nan=False)
        f.write("\n")
    print(f"wrote {name}: {os.path.getsize(path)} bytes")


def made_with():
    return f"torch {torch.__version__}, transformers {transformers.__version__}, float64"


def generator(seed):
    return torch.Generator().manual_seed(seed)


def config_of(tied, groups):
    """In the words of config.json; the JSON of the fixture holds the same."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 19,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": groups,
        "intermediate_size": 24,
        "max_position_embeddings": 32,
        "rope_theta": 10000.0,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": tied,
        "initializer_range": 0.3,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": None,
        "eos_token_id": 0,
        "torch_dtype": "float32",
    }


def decoder(config, seed):
    """A model with drawn weights, rounded to 1/64: exact in every precision, and short in the file."""
    known = transformers.LlamaConfig(**{k: v for k, v in config.items() if k not in ("architectures", "torch_dtype")})
    # Its eager attention takes the softmax in float32, whatever the model's dtype; PyTorch's own does not.
    known._attn_implementation = "sdpa"
    model = transformers.LlamaForCausalLM(known).to(torch.float64)
    drawn = generator(seed)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=drawn)
            value = 1.0 + 0.1 * noise if parameter.dim() == 1 else 0.3 * noise
            parameter.copy_((64 * value).round() / 64)
    plain = model.eval()
    model = copy.deepcopy(plain)
    # transformers also takes norms and rotary frequencies in float32; the reference is float64 throughout.
    width = config["hidden_size"] // config["num_attention_heads"]
    model.model.rotary_emb = Rotary(config["rope_theta"] ** (-torch.arange(0, width, 2) / width))
    norms = [name for name, module in model.named_modules() if type(module).__name__ == "LlamaRMSNorm"]
    assert len(norms) == 2 * config["num_hidden_layers"] + 1
    for name in norms:
        norm = torch.nn.RMSNorm(config["hidden_size"], eps=config["rms_norm_eps"])
        norm.weight = model.get_submodule(name).weight
        model.set_submodule(name, norm)
    # The model as transformers has it agrees, to its float32 parts.
    ids = torch.arange(8)[None] % config["vocab_size"]
    difference = (plain(input_ids=ids).logits - model(input_ids=ids).logits).abs().max().item()
    assert 0.0 < difference < 1e-5, difference
    return model


class Rotary(torch.nn.Module):
    """Cosine and sine of position times frequency, in float64, in the shape transformers' attention expects."""

    def __init__(self, frequencies):
        super().__init__()
        self.frequencies = frequencies

    def forward(self, x, position_ids):
        angles = position_ids[:, :, None] * self.frequencies
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


def nll_of(model, ids):
    """Logits [b, t, v], next-token labels [b, t] and their negative log-likelihoods, of ids [b, t + 1]."""
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    labels = ids[:, 1:]
    nll = torch.logsumexp(logits, -1) - logits.gather(-1, labels[..., None])[..., 0]
    return logits, labels, nll


def gradients_of(model, loss):
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {name: parameter.grad.tolist() for name, parameter in model.named_parameters()}


def weights_of(model):
    return {name: parameter.tolist() for name, parameter in model.named_parameters()}


def decoder_case(name, tied, groups, seed):
    config = config_of(tied, groups)
    model = decoder(config, seed)
    ids = torch.randint(0, config["vocab_size"], (2, 8), generator=generator(seed + 1))
    logits, labels, nll = nll_of(model, ids)
    mask = torch.ones(2, 7)
    mask[1, 5:] = 0.0
    row_weights = torch.tensor([1.5, 0.25])
    weights = mask * row_weights[:, None]
    loss = (weights * nll).sum() / weights.sum()
    # Where all count alike, the loss is transformers' own, which it takes in float32.
    own = model(input_ids=ids, labels=ids, use_cache=False).loss.to(torch.float64)
    assert torch.allclose(own, nll.mean(), rtol=1e-6, atol=0.0)
    gradients = gradients_of(model, loss)
    assert ("lm_head.weight" in gradients) != tied
    return {
        "name": name,
        "config": config,
        "weights": weights_of(model),
        "inputs": ids[:, :-1].tolist(),
        "labels": labels.tolist(),
        "mask": mask.tolist(),
        "row_weights": row_weights.tolist(),
        "logits": logits.tolist(),
        "nll": nll.tolist(),
        "loss": loss.item(),
        "gradients": gradients,
    }


def make_decoder():
    return {
        "made_with": made_with(),
        "cases": [
            decoder_case("tied, every head its own keys", True, 4, 11),
            decoder_case("untied, two heads share keys", False, 2, 12),
        ],
    }


def make_accumulation():
    """The token mean over two micro-batches of different lengths, which the mean of their means is not."""
    model = decoder(config_of(True, 4), 11)
    drawn = generator(21)
    micro, total, count, means = [], 0.0, 0, []
    for masked in ([0, 3], [5, 6]):
        ids = torch.randint(0, 19, (2, 8), generator=drawn)
        _, labels, nll = nll_of(model, ids)
        mask = torch.ones(2, 7)
        for row, tail in enumerate(masked):
            mask[row, 7 - tail:] = 0.0
        total = total + (mask * nll).sum()
        count += int(mask.sum().item())
        means.append(((mask * nll).sum() / mask.sum()).item())
        micro.append({"inputs": ids[:, :-1].tolist(), "labels": labels.tolist(), "mask": mask.tolist()})
    loss = total / count
    assert abs(loss.item() - sum(means) / 2) > 1e-3, "the fixture must tell the two means apart"
    return {
        "made_with": made_with(),
        "weights_are_those_of": "tied, every head its own keys",
        "micro_batches": micro,
        "tokens": count,
        "loss": loss.item(),
        "mean_of_means": sum(means) / 2,
        "gradients": gradients_of(model, loss),
    }


def make_adamw():
    drawn = generator(31)
    shapes = {"first": (3, 4), "scale": (4,), "second": (2, 2)}
    parameters = {name: torch.nn.Parameter(torch.randn(shape, generator=drawn)) for name, shape in shapes.items()}
    settings = {"beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1, "clip_norm": 1.0}
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters.values() if p.dim() >= 2], "weight_decay": settings["weight_decay"]},
            {"params": [p for p in parameters.values() if p.dim() < 2], "weight_decay": 0.0},
        ],
        betas=(settings["beta1"], settings["beta2"]),
        eps=settings["eps"],
        foreach=False,
    )
    start = {name: p.tolist() for name, p in parameters.items()}
    steps, clipped = [], []
    for lr, size in zip([1e-3, 2e-2, 5e-2, 1e-2, 3e-4], [0.05, 2.0, 0.7, 1e-6, 0.1], strict=True):
        gradients = {name: size * torch.randn(shape, generator=drawn) for name, shape in shapes.items()}
        for name, p in parameters.items():
            p.grad = gradients[name].clone()
        for group in optimizer.param_groups:
            group["lr"] = lr
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), settings["clip_norm"]).item()
        clipped.append(norm > settings["clip_norm"])
        optimizer.step()
        steps.append({
            "lr": lr,
            "gradients": {name: gradient.tolist() for name, gradient in gradients.items()},
            "norm": norm,
            "parameters": {name: p.tolist() for name, p in parameters.items()},
        })
    assert any(clipped) and not all(clipped)
    return {"made_with": made_with(), "settings": settings, "parameters": start, "steps": steps}


def rate(kind, peak, least, warmup, total, decay, step):
    """The rate of one step, the straight parts in exact fractions of the given decimals."""
    peak, least, decay = (Fraction(str(value)) for value in (peak, least, decay))
    if step < warmup:
        return float(peak * step / warmup)
    if kind == "constant":
        return float(peak)
    if kind == "cosine":
        done = min(Fraction(step - warmup, total - warmup), Fraction(1))
        # cos² of the half angle: another road to the same number than (1 + cos) / 2.
        return float(least) + float(peak - least) * math.cos(math.pi / 2 * float(done)) ** 2
    # Both straight lines: from `begin` at the peak to `total` at the least.
    begin = Fraction(warmup) if kind == "linear" else max(Fraction(warmup), total - decay * total)
    if step <= begin:
        return float(peak)
    if step >= total:
        return float(least)
    return float((peak * (total - step) + least * (step - begin)) / (total - begin))


def make_schedules():
    cases = []
    for kind in ("cosine", "linear", "constant", "wsd"):
        for peak, least, warmup, total, decay in ((6e-4, 6e-5, 20, 1000, 0.2), (1.0, 0.0, 0, 37, 0.1), (3e-3, 1e-3, 5, 12, 0.9)):
            steps = sorted({s for s in (0, 1, 3, warmup - 1, warmup, warmup + 1, total // 2, math.ceil(total * (1 - decay)),
                                        math.ceil(total * (1 - decay)) + 1, total - 2, total - 1, total, total + 3) if s >= 0})
            cases.append({
                "kind": kind, "peak": peak, "least": least, "warmup": warmup, "total": total, "decay": decay,
                "rates": [[step, rate(kind, peak, least, warmup, total, decay, step)] for step in steps],
            })
    return {"made_with": "Python's fractions and math", "cases": cases}


if __name__ == "__main__":
    write("pytorch_decoder.json", make_decoder())
    write("pytorch_accumulation.json", make_accumulation())
    write("pytorch_adamw.json", make_adamw())
    write("pytorch_schedules.json", make_schedules())
