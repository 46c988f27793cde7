import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from heatpose.cli._ahead import begin

START = """
import os, sys, time
from heatpose.cli._ahead import begin
assert "numpy" not in sys.modules
"""


def run(script, *args):
    done = subprocess.run(
        [sys.executable, "-c", START + textwrap.dedent(script), *args], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="begins on Linux alone")
def test_it_is_done_elsewhere_meanwhile():
    assert (
        run("""
        result = begin(lambda number: (number + 1, os.getpid()), 4)
        import numpy
        number, where = result()
        print(number, where != os.getpid())
    """)
        == "5 True\n"
    )


def test_what_it_raises_is_raised_here(tmp_path):
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "1.npy").write_bytes(b"no heatmap")
    out = run(
        """
        def look(root):
            from heatpose.data.folder import HeatmapFolder
            return HeatmapFolder(root)

        result = begin(look, sys.argv[1])
        from heatpose.data.folder import BadFilesError
        try:
            result()
        except BadFilesError as error:
            print(len(error.bad_files), error)
        """,
        str(tmp_path),
    )
    assert out.startswith(f"1 1 bad file in {tmp_path}:\n  up/1.npy: expected ")


def test_it_is_done_here_if_the_other_process_dies():
    assert (
        run("""
        here = os.getpid()
        result = begin(lambda: "here" if os.getpid() == here else os._exit(1))
        print(result())
    """)
        == "here\n"
    )


def test_what_cannot_be_sent_is_done_here():
    assert (
        run("""
        result = begin(lambda: lambda: "here")
        print(result()())
    """)
        == "here\n"
    )


def test_nothing_is_left_running():
    """A command that ends early, such as one that was called wrongly, does not wait for it."""
    start = START + "print(os.getpid(), flush=True); begin(time.sleep, 50)"
    subprocess.run([sys.executable, "-c", start], check=True, timeout=30, stdout=subprocess.DEVNULL)


def test_where_numpy_is_there_it_is_called_when_it_is_waited_for():
    assert np.__name__ in sys.modules
    called = []
    result = begin(called.append, os.getpid())
    assert not called
    result()
    assert called == [os.getpid()]
