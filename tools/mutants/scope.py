"""What is mutated, and the tests that may notice."""

from __future__ import annotations

from tools.mutants.executions import ROOT

# files that decide something, by package
DECIDES = {
    "maps": "verdicts sampling/* assemble predicted_map tune tune_walk plan grid validation"
    " store/run_record store/run_table store/store store/run_claims store/digest store/salvage",
    "advice": "[!_]*",
    "monitor": "diagnosis detectors/*",
    "checkpoints": "findings new_betas health",
    "optim": "state/* storage_formats",
}
DECIDE_NOTHING = ("__init__.py", "advice/render.py")  # render.py formats text
# their tests, by folder; those that start other processes or compilers execute no mutant
NOTICE = {
    "maps": "map_arguments ask_tell damaged_store grid predicted_map store gaussian_process* tune"
    " verdicts",
    "advice": "*",
    "monitor": "detector* formulas counterfactual reading_buffer",
    "checkpoints": "health_numbers checkpoint_kinds layer_names planned_betas sick_checkpoints"
    " step_counts",
    "optim": "storage_* loading match_names* group_keys state_dicts",
}


def sources(only: str = "") -> list[str]:
    """Files that are mutated, relative to the root."""
    found = []
    for package, patterns in DECIDES.items():
        folder = ROOT / "src" / "betaplane" / package
        found += [path for pattern in patterns.split() for path in folder.glob(f"{pattern}.py")]
    names = sorted({str(path.relative_to(ROOT)) for path in found})
    return [name for name in names if not name.endswith(DECIDE_NOTHING) and only in name]


def noticing(only: str = "") -> list[str]:
    """Test files, and sources with doctests, of the packages that `sources(only)` names, relative
    to the root.
    """
    files = sources(only)
    found = [file for file in files if ">>>" in (ROOT / file).read_text()]
    for package in sorted({file.split("/")[2] for file in files}):
        folder = ROOT / "tests" / package
        tests = set()
        for pattern in NOTICE[package].split():
            matches = list(folder.glob(f"test_{pattern}.py"))
            if not matches:  # a renamed test would otherwise be lost in silence
                raise FileNotFoundError(f"no test in {folder} is named test_{pattern}.py")
            tests |= {str(path.relative_to(ROOT)) for path in matches}
        found += sorted(tests)
    return found
