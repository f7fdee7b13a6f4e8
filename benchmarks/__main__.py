"""Run every benchmark in turn, each in a process of its own."""

import subprocess
import sys

from benchmarks.common import describe_machine, options

SCRIPTS = (
    "startup",
    "augment",
    "training",
    "reading",
    "map_speed",
    "map_wall",
    "map_memory",
    "map_writing",
    "counting",
    "count_time",
    "engines",
    "fidelity",
    "conversion",
    "evaluating",
    "dense",
    "explaining",
)


def main() -> int:
    """Run them all; 1 where one of them broke."""
    options(__doc__)
    print(describe_machine(), flush=True)
    broken = []
    for script in SCRIPTS:
        print(f"\n== {script} ==", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{script}", *sys.argv[1:]]
        if subprocess.run(command, check=False).returncode:
            broken.append(script)
    if broken:
        print(f"\nbroken: {', '.join(broken)}", file=sys.stderr)
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
