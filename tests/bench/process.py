"""Runs one program to its end, and says what it printed if that was not a good one."""

import os
import subprocess
import time


class Failed(Exception):
    """A program that did not end with status 0."""


def run(*command, environment=None):
    """Runs it with no input; returns what it printed."""
    done = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
    )
    text = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        words = " ".join(str(word) for word in command)
        raise Failed(f"{words}: status {done.returncode}: {text.strip()}")
    return text


def seconds(work):
    """How long a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
