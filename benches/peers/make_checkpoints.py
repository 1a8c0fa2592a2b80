#!/usr/bin/env python3
"""Makes checkpoints of random weights to time generation with: `llama-7m` (width 256, 6 layers, 4 heads, vocabulary 8192)
and `gpt2-124m` (the shape of GPT-2 small), each with a tokenizer of made-up words and without an end of text.

    python benches/peers/make_checkpoints.py FOLDER
"""
import os
import sys

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

folder = sys.argv[1]
torch.manual_seed(0)
none = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
shapes = {
    "llama-7m": LlamaForCausalLM(LlamaConfig(
        vocab_size=8192, hidden_size=256, intermediate_size=688, num_hidden_layers=6, num_attention_heads=4,
        max_position_embeddings=1024, tie_word_embeddings=True, **none)),
    "gpt2-124m": GPT2LMHeadModel(GPT2Config(**none)),
}
for name, model in shapes.items():
    path = os.path.join(folder, name)
    model.save_pretrained(path)
    words = {f"w{i}": i for i in range(model.config.vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(os.path.join(path, "tokenizer.json"))
    print(f"{path}: {model.num_parameters() / 1e6:.1f} M parameters")
