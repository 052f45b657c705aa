"""All benchmarks, one after another: `python -m benchmarks`. About 20 minutes."""

import runpy

for name in ("overhead", "store", "choose", "replicas", "truth"):
    print(f"\n== benchmarks/{name}.py", flush=True)
    runpy.run_module(f"benchmarks.{name}", run_name="__main__")
