"""Watch a Hugging Face Trainer: a small GPT-2 on random sentences, with betas that are unsafe."""

import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from betaplane.monitor import HuggingFaceWatch

torch.manual_seed(0)
config = GPT2Config(vocab_size=20, n_positions=16, n_embd=16, n_layer=1, n_head=2)
model = GPT2LMHeadModel(config)
words = torch.randint(20, (64, 12))
sentences = [{"input_ids": sentence, "labels": sentence} for sentence in words]

with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder,
        max_steps=20,
        per_device_train_batch_size=4,
        adam_beta1=0.95,
        adam_beta2=0.85,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    watch = HuggingFaceWatch()
    trainer = Trainer(model, arguments, train_dataset=sentences, callbacks=[watch])
    trainer.train()

print(watch.watcher.report())
