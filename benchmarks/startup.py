"""Claim: `tltool --help` answers within 0.3 s and imports none of the heavy libraries."""

import statistics
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from benchmarks.common import interleave, options, print_claim, print_table, seconds_of, spread

LIMIT = 0.3
HEAVY = ("keras", "tensorflow", "albumentations", "matplotlib")
TLTOOL = [sys.executable, str(Path(sysconfig.get_path("scripts")) / "tltool"), "--help"]
COMMANDS = {
    "tltool --help": TLTOOL,
    "python -c pass": [sys.executable, "-c", "pass"],
    'python -c "import keras"': [sys.executable, "-c", "import keras"],
}


def _measure(name: str) -> Callable[[], dict[str, float]]:
    def run() -> None:
        subprocess.run(COMMANDS[name], check=True, capture_output=True)

    run()  # from here on all files are in the page cache
    return lambda: {name: seconds_of(run)}


def _imported() -> list[str]:
    command = [sys.executable, "-X", "importtime", *TLTOOL[1:]]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    names = {line.rpartition("|")[2].strip().partition(".")[0] for line in report.splitlines()}
    return [name for name in HEAVY if name in names]


def main() -> None:
    """Measure and print."""
    repeats = 3 if options(__doc__).quick else 10
    taken = interleave([_measure(name) for name in COMMANDS], repeats)
    ours = statistics.median(taken["tltool --help"])
    rows = [
        (name, f"{statistics.median(s):.3f}", spread(s), f"{statistics.median(s) / ours:.2f}")
        for name, s in taken.items()
    ]
    print_table(("command", f"median of {repeats}, s", "range, s", "ratio to tltool"), rows)
    heavy = _imported()
    print(f"of {', '.join(HEAVY)}, --help imports: {', '.join(heavy) or 'none'}")
    holds = ours < LIMIT and not heavy
    print_claim(f"below {LIMIT} s, none imported", f"{ours:.3f} s, {len(heavy)}", holds)


if __name__ == "__main__":
    main()
