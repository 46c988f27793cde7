"""A short run of the fuzzer; ``python -m benchmarks.fuzz_npy`` makes long ones."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="needs POSIX")
from benchmarks.fuzz_npy import expected, mutants


@pytest.mark.skipif(sys.platform != "linux", reason="needs limits of memory")
def test_mutated_files_are_read_right_or_refused():
    # In a process of its own, whose memory is limited.
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fuzz_npy", "--files", "300", "--seed", "1"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failures" in done.stdout


def test_its_files_are_of_all_kinds(tmp_path):
    files = list(mutants(1, 600, str(tmp_path / "marker")))
    assert len({kind for kind, _ in files}) == 8
    readable = [expected(content) is not None for kind, content in files if kind == "good"]
    assert len(readable) > 30
    assert all(readable)
    assert not any(expected(content) is not None for kind, content in files if kind in ("pickle", "cut", "longer"))


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{"])
def test_what_is_no_array_is_expected_to_be_refused(content):
    assert expected(content) is None
