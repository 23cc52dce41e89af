"""`make bench`: ratios of one run on one machine, against plain Backtrader and against the stated targets.

Belongs here: measuring. Does not belong here: asserting; a shared machine is noisy, so nothing here can fail a build.
Every comparison is interleaved (A B A B ...) and quoted as the median of the ratios of neighbouring pairs.
"""

import statistics
import sys

import bookkeeping
import engine
import minute_bars
import sample_run


def main() -> None:
    """Run every part and print one table a part."""
    sys.stdout.write("barloom bench: smaller is better; a ratio below 1.0 meets its target\n\n")
    for part in (engine, sample_run, bookkeeping, minute_bars):
        for name, measured, target in part.measure():
            value = statistics.median(measured)
            sys.stdout.write(
                f"{name:<72} {value:10.3f}  target {target:8.3f}  ratio {value / target:6.2f}  "
                f"(min {min(measured):.3f}, max {max(measured):.3f}, n={len(measured)})\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
