"""Watch a Lightning Trainer: a linear classifier whose betas are unsafe."""

import tempfile

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from betaplane.monitor import LightningWatch


class Classifier(pl.LightningModule):
    """A linear classifier trained by Adam."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 3)

    def training_step(self, batch: list[torch.Tensor], _index: int) -> torch.Tensor:
        """Return the loss of a batch."""
        inputs, targets = batch
        return torch.nn.functional.cross_entropy(self.layer(inputs), targets)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam with a second moment that forgets faster than the first."""
        return torch.optim.Adam(self.parameters(), lr=0.01, betas=(0.95, 0.85))


torch.manual_seed(0)
data = TensorDataset(torch.randn(128, 8), torch.randint(3, (128,)))
watch = LightningWatch()
with tempfile.TemporaryDirectory() as folder:
    trainer = pl.Trainer(
        default_root_dir=folder,
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[watch],
    )
    trainer.fit(Classifier(), DataLoader(data, batch_size=8))

print(watch.watcher.report())
