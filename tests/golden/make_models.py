#!/usr/bin/env python3
"""Tiny random checkpoints of every family of decoders, as transformers saves them, with what transformers makes of them.

Each folder of `models/` is a checkpoint of `save_pretrained` (a few are brought into the shape of older files on the
hub) with `expected.json` (texts, token ids, greedy continuations) and `expected.safetensors` (float64: logits [n, v] of
all rows one after another, mean-pooled and last final hidden states [rows, d]).

The truth is float64 throughout: transformers takes norms, softmax and rotary angles in float32 whatever the model's
type, so `float64_throughout` makes float32 mean float64 while a model is built and run, and an observer of every
operation sees that no float32 number is left. Stored weights are multiples of 1/64, exact in every type on disk.
Deterministic: two runs write the same bytes.

Run:  python make_models.py [output_dir]
Made with torch 2.15.0, transformers 5.23.0, tokenizers 0.23.3, safetensors 0.8.0 on one CPU thread.
"""
import contextlib
import json
import os
import shutil
import sys

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import safetensors
import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.models.bloom import modeling_bloom

PINNED = {"torch": "2.15.0", "transformers": "5.23.0", "tokenizers": "0.23.3", "safetensors": "0.8.0"}
OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "models")
VOCAB = 300
NEW_TOKENS = 64
MARGIN = 1e-3
TEXTS = ["The cat sat on the mat.", "Rain in the north.", "Now: 7"]

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


# ---------------------------------------------------------------- tokenizer

CORPUS = [
    "The cat sat on the mat and the rat ran. There is rain in the north and the sun in the south.",
    "One and one are two; two and two are four. Now that the bread is done, there is tea at ten.",
]


def make_tokenizer():
    """A byte-level BPE of 300 entries, the last `<|endoftext|>`."""
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=VOCAB - 1,
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(CORPUS, trainer)
    bpe.add_special_tokens(["<|endoftext|>"])
    assert bpe.get_vocab_size() == VOCAB
    return transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>")


# ---------------------------------------------------------------- float64

class NoFloat32(TorchDispatchMode):
    """Refuses any operation that makes a float32 number."""

    def __init__(self, real_float32):
        super().__init__()
        self.real_float32 = real_float32

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            assert not (isinstance(tensor, torch.Tensor) and tensor.dtype == self.real_float32), func
        return out


def exact_tanh_gelu(x):
    """Bloom's own has √(2/π) to eight places; ours is the tanh form of every other family."""
    return torch.nn.functional.gelu(x, approximate="tanh")


@contextlib.contextmanager
def float64_throughout():
    """Within: what says float32 means float64."""
    float32, as_float, gelu = torch.float32, torch.Tensor.float, modeling_bloom.bloom_gelu_forward
    torch.set_default_dtype(torch.float64)
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    modeling_bloom.bloom_gelu_forward = exact_tanh_gelu
    try:
        with torch.no_grad(), NoFloat32(float32):
            yield
    finally:
        torch.float32 = torch.float = float32
        torch.Tensor.float = as_float
        modeling_bloom.bloom_gelu_forward = gelu
        torch.set_default_dtype(float32)


# ---------------------------------------------------------------- models

def draw(config, seed):
    """A float32 model with weights large enough that each of them counts."""
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    drawn = torch.Generator().manual_seed(seed)
    norms = {f"{name}.weight" for name, module in model.named_modules() if "Norm" in type(module).__name__}
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=drawn).clamp(-3.0, 3.0)
            value = 1.0 + 0.25 * noise if name in norms else (0.3 if parameter.dim() > 1 else 0.2) * noise
            parameter.copy_((64 * value).round() / 64)
    return model


def in_float64(model, config):
    """The same model, built and to be run in float64."""
    weights = {name: tensor.double() for name, tensor in model.state_dict().items()}
    with float64_throughout():
        wide = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float64)
        wide.load_state_dict(weights)
        return wide.eval()


def takes_positions(model):
    """Bloom's positions come from the mask alone."""
    return model.config.model_type != "bloom"


def run(model, ids, mask=None):
    """Logits [b, t, v] and final hidden states [b, t, d] of ids [b, t], positions counted from the first real token."""
    mask = torch.ones_like(ids) if mask is None else mask
    more = {"position_ids": (mask.cumsum(-1) - 1).clamp(min=0)} if takes_positions(model) else {}
    out = model(input_ids=ids, attention_mask=mask, use_cache=False, output_hidden_states=True, **more)
    return out.logits, out.hidden_states[-1]


def continued(model, ids):
    """The greedy continuation of one row, and the least distance between the best and the second-best logit."""
    row, least = list(ids), float("inf")
    for _ in range(NEW_TOKENS):
        best = run(model, torch.tensor([row]))[0][0, -1].topk(2)
        least = min(least, (best.values[0] - best.values[1]).item())
        row.append(best.indices[0].item())
    return row[len(ids):], least


def check_padding(model, rows, logits):
    """A padded batch is the rows one by one, padded on either side."""
    longest = max(map(len, rows))
    for left in (True, False):
        ids = torch.zeros((len(rows), longest), dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for b, row in enumerate(rows):
            place = slice(longest - len(row), longest) if left else slice(0, len(row))
            ids[b, place], mask[b, place] = torch.tensor(row), 1
        padded = run(model, ids, mask)[0][mask.bool()]
        assert (padded - logits).abs().max() < 1e-9, (left, (padded - logits).abs().max())


def expectation(model, config, rows):
    """What the float64 model makes of the rows, or None where a greedy choice is too close."""
    wide = in_float64(model, config)
    with float64_throughout():
        passes = [run(wide, torch.tensor([row])) for row in rows]
        greedy = [continued(wide, row) for row in rows]
        logits = torch.cat([logits[0] for logits, _ in passes])
        hidden = [hidden[0] for _, hidden in passes]
        tensors = {
            "logits": logits,
            "mean": torch.stack([states.mean(0) for states in hidden]),
            "last": torch.stack([states[-1] for states in hidden]),
        }
        check_padding(wide, rows, logits)
    assert all(tensor.dtype == torch.float64 for tensor in tensors.values())
    if min(least for _, least in greedy) <= MARGIN or min(len(set(ids)) for ids, _ in greedy) < 8:
        return None
    with torch.no_grad():
        plain = torch.cat([run(model, torch.tensor([row]))[0][0] for row in rows])
        # Our float64 is transformers' model but for rounding …
        difference = (plain.double() - logits).abs().max().item()
        assert 0.0 < difference < 1e-4, difference
        # … and our continuation is that of its `generate`, through its cache.
        for row, (ids, _) in zip(rows, greedy, strict=True):
            made = model.generate(
                torch.tensor([row]), do_sample=False, min_new_tokens=NEW_TOKENS, max_new_tokens=NEW_TOKENS,
                eos_token_id=None, pad_token_id=0,
            )
            assert made[0, len(row):].tolist() == ids
    return [ids for ids, _ in greedy], tensors


# ---------------------------------------------------------------- files

def read_json(folder, name):
    with open(os.path.join(folder, name)) as f:
        return json.load(f)


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w") as f:
        json.dump(value, f, indent=2)
        f.write("\n")


def edit_config(folder, change):
    config = read_json(folder, "config.json")
    change(config)
    write_json(folder, "config.json", config)


def rewrite_weights(folder, change):
    path = os.path.join(folder, "model.safetensors")
    weights = change(load_file(path))
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path, metadata={"format": "pt"})


def older_spelling(config):
    """`rope_theta` and `rope_scaling` at the top, `torch_dtype`: as transformers before version 5 wrote it."""
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    config["rope_scaling"] = {"type": kind, **rope} if kind != "default" else None
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.31.0"


def without_prefix(prefix):
    return lambda weights: {name.removeprefix(prefix): tensor for name, tensor in weights.items()}


def causal(positions):
    return torch.tril(torch.ones((positions, positions))).view(1, 1, positions, positions)


def hub_gpt2(folder):
    """As the files of 2019: no `transformer.` before the names, the causal mask among the weights, older keys."""
    def weights(held):
        held = without_prefix("transformer.")(held)
        return held | {f"h.{i}.attn.bias": causal(80) for i in range(2)}

    def config(values):
        for key in ("dtype", "tie_word_embeddings", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn",
                    "scale_attn_weights", "use_cache", "add_cross_attention", "n_inner", "transformers_version"):
            values.pop(key, None)
        values.update({"n_ctx": 80, "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}}})

    rewrite_weights(folder, weights)
    edit_config(folder, config)


def hub_llama(folder):
    """As Llama 2's: the older spelling, rotary frequencies among the weights."""
    rewrite_weights(folder, lambda held: held | {
        f"model.layers.{i}.self_attn.rotary_emb.inv_freq": 5000.0 ** -(torch.arange(0, 8, 2) / 8) for i in range(2)
    })
    edit_config(folder, older_spelling)


def hub_bloom(folder):
    """As bigscience's: no `transformer.` before the names, `n_embed`."""
    def config(values):
        values["n_embed"] = values.pop("hidden_size")
        values["torch_dtype"] = values.pop("dtype")
        values.pop("tie_word_embeddings")

    rewrite_weights(folder, without_prefix("transformer."))
    edit_config(folder, config)


def hub_neox(folder):
    """As Pythia's: `rotary_pct` and `rotary_emb_base`, masks and frequencies among the weights."""
    def weights(held):
        for i in range(2):
            at = f"gpt_neox.layers.{i}.attention."
            held[f"{at}bias"] = causal(16).bool()
            held[f"{at}masked_bias"] = torch.tensor(-1e9)
            held[f"{at}rotary_emb.inv_freq"] = 10000.0 ** -(torch.arange(0, 8, 2) / 8)
        return held

    def config(values):
        rope = values.pop("rope_parameters")
        values["rotary_emb_base"] = int(rope["rope_theta"])
        values["rotary_pct"] = rope["partial_rotary_factor"]
        values["torch_dtype"] = values.pop("dtype")
        for key in ("attention_bias", "is_decoder", "rope_theta"):
            values.pop(key, None)

    rewrite_weights(folder, weights)
    edit_config(folder, config)


# ---------------------------------------------------------------- cases

LLAMA = {"vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
         "num_attention_heads": 4, "max_position_embeddings": 128, "bos_token_id": None, "eos_token_id": 299}
GPT = {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 80, "bos_token_id": 299,
       "eos_token_id": 299}
NEOX = {"vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 96, "bos_token_id": 299, "eos_token_id": 299}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 48}


def rope(kind, theta, **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **more}}


# Name: what it shows, the class of the configuration, its values; then how it is saved and what is done to the files.
CASES = {
    "gpt2": ("tied, inputs-first weights, learned positions", transformers.GPT2Config, GPT, {}),
    "gpt2_hub": ("names without `transformer.`, masks among the weights, keys of 2019",
                 transformers.GPT2Config, GPT, {"after": hub_gpt2}),
    "opt": ("ReLU, positions two on", transformers.OPTConfig,
            {"vocab_size": VOCAB, "hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
             "max_position_embeddings": 80, "word_embed_proj_dim": 32, "pad_token_id": 1, "bos_token_id": 299,
             "eos_token_id": 299}, {}),
    "llama2": ("untied, every head its own keys", transformers.LlamaConfig,
               LLAMA | {"num_key_value_heads": 4} | rope("default", 10000.0), {}),
    "llama2_hub": ("older spelling, float16, frequencies among the weights, linear scaling", transformers.LlamaConfig,
                   LLAMA | {"num_key_value_heads": 4} | rope("linear", 5000.0, factor=2.0),
                   {"dtype": torch.float16, "after": hub_llama}),
    "llama3": ("llama3 scaling with frequencies in all three bands, four heads share keys, heads wider than the stream",
               transformers.LlamaConfig,
               LLAMA | {"num_key_value_heads": 1, "head_dim": 16, "tie_word_embeddings": True,
                        "rope_parameters": LLAMA3, "eos_token_id": [299, 298]}, {}),
    "llama_linear": ("linear scaling, biases on attention and feed-forward, tied", transformers.LlamaConfig,
                     LLAMA | {"num_key_value_heads": 2, "attention_bias": True, "mlp_bias": True,
                              "tie_word_embeddings": True} | rope("linear", 10000.0, factor=4.0), {}),
    "llama_yarn": ("yarn scaling, its own attention factor", transformers.LlamaConfig,
                   LLAMA | {"num_key_value_heads": 1, "head_dim": 16, "tie_word_embeddings": True}
                   | rope("yarn", 1000.0, factor=4.0, original_max_position_embeddings=32), {}),
    "mistral": ("a window of five, heads of 12 where the stream has 8 for each, four heads share keys",
                transformers.MistralConfig,
                LLAMA | {"num_key_value_heads": 1, "head_dim": 12, "sliding_window": 5} | rope("default", 10000.0), {}),
    "mistral_sharded": ("no window, several files", transformers.MistralConfig,
                        LLAMA | {"num_key_value_heads": 2, "sliding_window": None} | rope("default", 1e6),
                        {"max_shard_size": "60KB"}),
    "qwen2": ("biases on queries, keys and values; bfloat16; a vocabulary larger than the tokenizer's",
              transformers.Qwen2Config,
              LLAMA | {"vocab_size": 304, "num_key_value_heads": 2, "tie_word_embeddings": True,
                       "use_sliding_window": False, "sliding_window": 4, "max_window_layers": 1} | rope("default", 1e6),
              {"dtype": torch.bfloat16}),
    "qwen2_window": ("the second of two layers has a window, yarn with its betas given", transformers.Qwen2Config,
                     LLAMA | {"num_key_value_heads": 1, "use_sliding_window": True, "sliding_window": 6,
                              "max_window_layers": 1, "tie_word_embeddings": True}
                     | rope("yarn", 1000.0, factor=4.0, original_max_position_embeddings=32, beta_fast=16.0,
                            beta_slow=2.0, attention_factor=1.2), {}),
    "qwen3": ("normed queries and keys, head width given", transformers.Qwen3Config,
              LLAMA | {"num_key_value_heads": 1, "head_dim": 16, "tie_word_embeddings": True} | rope("default", 1e6), {}),
    "bloom": ("ALiBi of six heads", transformers.BloomConfig,
              {"vocab_size": VOCAB, "hidden_size": 24, "n_layer": 2, "n_head": 6, "bos_token_id": 299,
               "eos_token_id": 299}, {}),
    "bloom_hub": ("ALiBi of four heads, names without `transformer.`", transformers.BloomConfig,
                  {"vocab_size": VOCAB, "hidden_size": 24, "n_layer": 2, "n_head": 4, "bos_token_id": 299,
                   "eos_token_id": 299}, {"dtype": torch.float16, "after": hub_bloom}),
    "gptj": ("interleaved rotation of half a head, parallel residual behind one norm, a head with a bias",
             transformers.GPTJConfig, GPT | {"rotary_dim": 4}, {}),
    "gpt_neox": ("parallel residual, a quarter of a head rotated, untied", transformers.GPTNeoXConfig,
                 NEOX | rope("default", 10000.0, partial_rotary_factor=0.25), {}),
    "gpt_neox_hub": ("residual one after the other, half of a head rotated, Pythia's keys and masks",
                     transformers.GPTNeoXConfig,
                     NEOX | {"use_parallel_residual": False} | rope("default", 10000.0, partial_rotary_factor=0.5),
                     {"dtype": torch.float16, "after": hub_neox}),
}


def make(name, tokenizer):
    shows, kind, values, how = CASES[name]
    folder = os.path.join(OUT, name)
    shutil.rmtree(folder, ignore_errors=True)
    rows = [tokenizer(text)["input_ids"] for text in TEXTS]
    assert len(set(map(len, rows))) == len(rows)
    for seed in range(1, 200):
        model = draw(kind(**values), seed)
        expected = expectation(model, kind(**values), rows)
        if expected:
            break
    greedy, tensors = expected
    model.generation_config = transformers.GenerationConfig.from_model_config(model.config)
    model.to(how.get("dtype", torch.float32))
    # A shard is larger than this only where one tensor is.
    model.save_pretrained(folder, max_shard_size=how.get("max_shard_size", "5GB"))
    tokenizer.save_pretrained(folder)
    if "after" in how:
        how["after"](folder)
    check_files(folder, model, rows, tensors)
    save_file(tensors, os.path.join(folder, "expected.safetensors"))
    write_expected(folder, {
        "made_with": ", ".join(f"{package} {version}" for package, version in PINNED.items()),
        "shows": shows,
        "seed": seed,
        "texts": TEXTS,
        "ids": rows,
        "greedy": greedy,
    })
    size = sum(os.path.getsize(os.path.join(folder, file)) for file in os.listdir(folder))
    assert size <= 300_000, (name, size)
    print(f"{name}: seed {seed}, {size} bytes")
    return size


def check_files(folder, model, rows, tensors):
    """transformers reads the folder, as it now is, as the model that was drawn."""
    again = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model = model.to(torch.float32)
    assert again.state_dict().keys() == model.state_dict().keys()
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key]), key
    with torch.no_grad():
        logits = torch.cat([run(again, torch.tensor([row]))[0][0] for row in rows])
    difference = (logits.double() - tensors["logits"]).abs().max().item()
    assert difference < 1e-4, difference


def write_expected(folder, expected):
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in expected.items())
    with open(os.path.join(folder, "expected.json"), "w") as f:
        f.write(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    for package, version in PINNED.items():
        found = {"torch": torch, "transformers": transformers, "tokenizers": tokenizers, "safetensors": safetensors}
        found = found[package].__version__.split("+")[0]
        assert found == version, f"{package} {found}; these fixtures are made with {version}"
    shared = make_tokenizer()
    total = sum(make(name, shared) for name in CASES)
    print(f"{total} bytes in all")
    assert total <= 5_000_000
