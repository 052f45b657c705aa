"""All benchmarks, one after another: `python -m benchmarks`. About half an hour."""

import runpy

for name in (
    "overhead",
    "store",
    "sampling",
    "boundary",
    "replicas",
    "scalar",
    "step",
    "known_results",
    "replay",
    "watch",
    "advise",
):
    print(f"\n== benchmarks/{name}.py", flush=True)
    runpy.run_module(f"benchmarks.{name}", run_name="__main__")
