"""Write the sample sweeps of this folder with the trackers themselves: needs mlflow-skinny and wandb.

python make.py FOLDER
"""

import math
import os
import sys
from pathlib import Path

os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
SETTINGS = [{"lr": 0.1, "seed": 3}, {"lr": 0.2, "seed": 4}]
LOSSES = [[2.0, 1.0, 0.5], [2.5, 5.0, math.nan]]


def main(folder: Path) -> None:
    import mlflow
    import wandb

    for uri in (f"file:{folder}/mlruns", f"sqlite:///{folder}/mlflow.db"):
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment("sweep")
        for settings, losses in zip(SETTINGS, LOSSES, strict=True):
            with mlflow.start_run():
                mlflow.log_params({**settings, "betas": "(0.9, 0.95)", "optimizer": "adam"})
                for step, loss in enumerate(losses):
                    mlflow.log_metric("train/loss", loss, step=step)
                    mlflow.log_metric("accuracy", 0.5, step=step)
    for settings, losses in zip(SETTINGS, LOSSES, strict=True):
        config = {**settings, "optim": {"betas": [0.9, 0.95]}}
        run = wandb.init(
            project="sweep",
            config=config,
            dir=str(folder),
            settings=wandb.Settings(
                disable_git=True, x_disable_stats=True, x_disable_meta=True, console="off"
            ),
        )
        for loss in losses:
            run.log({"train/loss": loss, "accuracy": 0.5})
        run.finish()


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
