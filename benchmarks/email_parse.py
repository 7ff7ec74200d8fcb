"""Time the parsing of every mail in a folder: `python benchmarks/email_parse.py FOLDER`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from channels.email.parse import read


def main(folder: str) -> None:
    """Print mean, median, p95 and worst milliseconds of CPU for each message, and the slowest by name."""
    files = sorted(Path(folder).rglob("*.eml"))
    if not files:
        sys.exit(f"no .eml files in {folder}")
    read(files[0].read_bytes())
    took: list[tuple[float, Path]] = []
    for file in files:
        raw = file.read_bytes()
        start = time.process_time()
        read(raw)
        took.append(((time.process_time() - start) * 1000, file))
    took.sort()
    times = [ms for ms, _ in took]
    n = len(times)
    print(
        f"{n} messages: mean {sum(times) / n:.2f} ms, median {times[n // 2]:.2f}, "
        f"p95 {times[min(n - 1, int(n * 0.95))]:.2f}, worst {times[-1]:.2f} ({took[-1][1].name})"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/email_parse.py FOLDER")
    main(sys.argv[1])
