"""What is mutated, and the tests that are asked."""

from __future__ import annotations

from tools.mutants.executions import ROOT

DECIDES = {  # files that decide something, and the test files that may notice
    "maps": ("judge choose* surface predict tune plan grid arguments record store claims digest salvage", "maps"),
    "advice": ("[!_]*", "advice"),
    "monitor": ("judge detectors/*", "monitor"),
    "checkpoints": ("suspicions planned health", "checkpoints"),
    "optim": ("state refit names formats", "optim"),
}
DECIDE_NOTHING = ("__init__.py", "advice/show.py")  # show.py sets columns
ELSEWHERE = {
    "advice": ["tests/cli/test_advise_command.py"],
    "checkpoints": ["tests/cli/test_inspect_command.py"],
}
APART = (  # other processes, compilers and browsers: they execute no mutant or take too long
    "test_clients", "test_eight_bit_clients", "test_sinks", "test_watch_ranks", "test_compiled", "test_native",
    "test_sharding", "test_probes", "test_audit", "test_zoo", "test_curvature", "test_curvature_seen", "test_schedule",
    "test_twins", "test_host", "test_sweep", "test_drop_in", "test_peak_lr", "test_observer", "test_attacks", "test_damaged_checkpoints",
    "test_damaged_store", "test_odd_runs", "test_watch",
)  # fmt: skip


def sources(only: str = "") -> list[str]:
    """Files that are mutated, relative to the root."""
    found = []
    for package, (patterns, _) in DECIDES.items():
        folder = ROOT / "src" / "betaplane" / package
        found += [path for pattern in patterns.split() for path in folder.glob(f"{pattern}.py")]
    names = sorted({str(path.relative_to(ROOT)) for path in found})
    return [name for name in names if not name.endswith(DECIDE_NOTHING) and only in name]


def noticing(only: str = "") -> list[str]:
    """Test files, and sources with doctests, relative to the root; those of packages that `sources(only)` names."""
    files = sources(only)
    packages = {file.split("/")[2] for file in files}
    found = [file for file in files if ">>>" in (ROOT / file).read_text()]
    for package, (_, folder) in DECIDES.items():
        if package in packages:
            tests = sorted((ROOT / "tests" / folder).glob("test_*.py"))
            found += [str(path.relative_to(ROOT)) for path in tests if path.stem not in APART]
            found += ELSEWHERE.get(package, [])
    return found
