"""A short run of the fuzzer; ``python -m benchmarks.fuzz_formats`` makes long ones."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="needs limits of memory")
def test_mutated_files_are_read_or_refused():
    # In a process of its own, whose memory is limited.
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fuzz_formats", "--files", "8", "--seed", "0"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n0 failures" in done.stdout
    assert done.stdout.count(" read") >= 8  # some mutations leave a file whole
