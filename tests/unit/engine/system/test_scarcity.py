"""Which errors mean that files, processes or memory are short at present."""

import errno
import os
import resource
import subprocess
import sys

import pytest

from batchscope.engine.system.scarcity import is_scarce, tells_of_scarcity


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM])
def test_what_the_system_refuses_for_now(number: int) -> None:
    assert is_scarce(OSError(number, os.strerror(number)))


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOSPC, errno.EACCES, errno.EIO])
def test_other_errors_are_not(number: int) -> None:
    assert not is_scarce(OSError(number, os.strerror(number)))
    assert not is_scarce(RuntimeError(os.strerror(number)))
    assert not is_scarce(ValueError("can't start new thread"))
    assert not is_scarce(None)


def test_the_error_behind_an_error_counts() -> None:
    def read() -> None:
        try:
            raise OSError(errno.EMFILE, "Too many open files")
        except OSError:
            raise ValueError("the data cannot be read") from None

    with pytest.raises(ValueError, match="cannot be read") as problem:
        read()
    assert is_scarce(problem.value)


def test_the_end_of_a_log_tells_of_files_and_processes() -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); open('/dev/null')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert tells_of_scarcity(done.stderr)
    assert tells_of_scarcity("RuntimeError: can't start new thread")
    assert not tells_of_scarcity("MemoryError")
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 3
