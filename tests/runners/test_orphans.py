"""Zombies that nobody waits for are reaped; those of others are left to them."""

from __future__ import annotations

import subprocess
import sys

# In a process of its own: pytest has children too.
SCRIPT = """
import ctypes, os, subprocess, sys, time
import psutil
from cco_sidecar.runners.orphans import Orphans

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
started = subprocess.Popen(["true"])
parent = subprocess.Popen(["sh", "-c", "true & true & true & exec sleep 0"])
parent.wait()

def zombies():
    return [each for each in psutil.Process().children() if each.status() == psutil.STATUS_ZOMBIE]

while len(zombies()) < 4:
    time.sleep(0.01)
orphans = Orphans()
print(orphans.reap())
# Its owner comes before the second look.
print(started.wait())
print(orphans.reap(), len(zombies()), orphans.reap())
"""


def test_only_what_was_a_zombie_at_the_last_look_is_reaped() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["0", "0", "3 0 0"], done.stderr
