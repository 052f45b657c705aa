from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

import betaplane

HERE = Path(__file__).resolve().parent
data = torch.load(HERE / "docs_chars.pt")
ids, V, T = data["ids"], data["vocab"], 24
seq = ids[: 800 * (T + 1)].view(-1, T + 1)
x, y = seq[:, :-1].contiguous(), seq[:, 1:].contiguous()


class GPT2(nn.Module):
    def __init__(self):
        super().__init__()
        config = GPT2Config(
            vocab_size=V,
            n_positions=T,
            n_embd=32,
            n_layer=2,
            n_head=2,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=0,
            eos_token_id=0,
            use_cache=False,
        )
        self.model = GPT2LMHeadModel(config)

    def forward(self, x):
        return self.model(input_ids=x).logits


def loss(logits, y):
    return F.cross_entropy(logits.flatten(0, 1), y.flatten())


problem = betaplane.Problem("gpt2_docs", GPT2, loss, x, y, batch_size=8, steps=160, lr=0.003)
