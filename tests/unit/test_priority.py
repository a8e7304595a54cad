"""Threads that compute let others go first: each in a process of its own, as niceness can't be taken back."""

import subprocess
import sys

import pytest

SCRIPT = """
import os, threading
from tritone import priority

def niceness():
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

def compute():
    priority.{function}()
    started = threading.Thread(target=lambda: found.append(niceness()))
    started.start(); started.join()

found = []
thread = threading.Thread(target=compute)
thread.start(); thread.join()
print(niceness(), found[0])
"""


@pytest.mark.parametrize(("function", "expected"), [("step_back", "0 10"), ("process_steps_back", "10 10")])
def test_a_thread_steps_back_with_those_that_it_starts_or_with_all_others(function, expected):
    code = SCRIPT.format(function=function)
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == expected


def test_a_process_with_a_gpu_does_not():
    code = "import torch; torch.cuda.is_initialized = lambda: True\n" + SCRIPT.format(function="process_steps_back")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "0 0"
