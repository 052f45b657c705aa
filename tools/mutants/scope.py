"""What is mutated, and the tests that may notice."""

from __future__ import annotations

from pathlib import Path

from tools.mutants.executions import ROOT

# files that decide something, by package
DECIDES = {
    "maps": "verdicts recommend decision lr_search sampling/* assemble score_scale predicted_map tune tuned"
    " tune_search tune_model plan plan_checks grid validation store/run_record store/run_table store/store"
    " store/run_claims store/digest store/salvage",
    "advice": "[!_]*",
    "monitor": "diagnosis detectors/*",
    "checkpoints": "findings new_betas health",
    "optim": "state/* storage_formats",
}
DECIDE_NOTHING = ("__init__.py", "advice/render.py")  # render.py formats text
# quick tests that reach them in this process: of the package's own folder, or of the one named;
# those that start other processes or compilers execute no mutant
NOTICE = {
    "maps": "map_arguments ask_tell assemble damaged_store decision* engine grid plan* predicted_map problem_axes"
    " recommend* sampling_numbers score_scale store store_rows gaussian_process* tune* verdicts judge_and_score"
    " cli/tune_command replicas/held_out",
    "advice": "* cli/advise_command",
    "monitor": "batched counterfactual detect* formulas odd_runs reading_buffer sharpness watch"
    " watcher",
    "checkpoints": "health_numbers checkpoint_kinds layer_names planned_betas sick_checkpoints"
    " step_counts finding_limits cli/inspect_command",
    "optim": "storage_* labels loading reencode match_names* group_keys state_dicts argument_types complex drop_in"
    " dtypes empty_parameters peak_lr preconditions probes torch_classes validate",
}


def sources(only: str = "") -> list[str]:
    """Files that are mutated, relative to the root."""
    found = []
    for package, patterns in DECIDES.items():
        folder = ROOT / "src" / "betaplane" / package
        found += [path for pattern in patterns.split() for path in _matching(folder, pattern)]
    names = sorted({str(path.relative_to(ROOT)) for path in found})
    return [name for name in names if not name.endswith(DECIDE_NOTHING) and only in name]


def noticing(only: str = "") -> list[str]:
    """Test files, and sources with doctests, of the packages that `sources(only)` names, relative
    to the root.
    """
    files = sources(only)
    found = [file for file in files if ">>>" in (ROOT / file).read_text()]
    for package in sorted({file.split("/")[2] for file in files}):
        found += sorted(
            {test for pattern in NOTICE[package].split() for test in _tests(package, pattern)}
        )
    return found


def _matching(folder: Path, pattern: str) -> list[Path]:
    matches = [*folder.glob(f"{pattern}.py")]
    if not matches:  # a renamed file would otherwise be lost in silence
        raise FileNotFoundError(f"no file matches {folder / pattern}.py")
    return matches


def _tests(package: str, pattern: str) -> list[str]:
    """The test files of "grid" (in the package's own folder) or "cli/tune_command"."""
    folder, _, name = pattern.rpartition("/")
    path = f"tests/{folder or package}/test_{name}.py"
    return [str(match.relative_to(ROOT)) for match in _matching(ROOT, path.removesuffix(".py"))]
