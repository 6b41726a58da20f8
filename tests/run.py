#!/usr/bin/env python3
"""Runs test programs one after the other, each its own process with a time limit, and counts.

A program passes when it exits with 0, is skipped when it exits with 77 (it says why on its last line). Its output is
shown only when it fails. cmocka programs and scripts whose output ends in "N passed, N failed" count as that many
tests, others as one. The last line is "N passed, N failed"; the exit code is 1 when something failed.

    run.py [-k part of a name] [--timeout seconds] [--list] program...
"""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time


def count(output, code):
    """(passed, failed) of one program."""
    text = output.decode("utf-8", "replace")
    passed = re.findall(r"\[  PASSED  \] (\d+) test", text)
    failed = re.findall(r"^ *(\d+) FAILED TEST", text, re.M)
    if passed:
        done, bad = sum(map(int, passed)), sum(map(int, failed))
    else:
        lines = text.strip().splitlines()
        own = re.fullmatch(r"(?:.*: )?(\d+) passed, (\d+) failed", lines[-1]) if lines else None
        done, bad = (int(own[1]), int(own[2])) if own else (0, 0)
        if not own:
            return (1, 0) if code == 0 else (0, 1)
    return (done, bad) if code == 0 or bad else (done, 1)


def command(path):
    if path.endswith(".py"):
        return [sys.executable, path]
    if path.endswith(".sh"):
        return ["sh", path]
    return [os.path.abspath(path)]


def run(path, timeout):
    """(exit code, output, seconds); every process the program leaves behind in its session is killed."""
    folder = tempfile.mkdtemp(prefix="millrace-test-")
    env = dict(os.environ, TMPDIR=folder, TEST_DIR=folder)
    for name in ("MILLRACE", "JSADMIN"):
        if name in env:
            env[name] = os.path.abspath(env[name])
    start = time.monotonic()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(command(path), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                 env=env, start_new_session=True)
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired:
            code = -signal.SIGALRM
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()
        out.seek(0)
        output = out.read()
    shutil.rmtree(folder, ignore_errors=True)
    if code == -signal.SIGALRM:
        output += b"\ntimed out after %d s\n" % timeout
    return code, output, time.monotonic() - start


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("-k", default="", help="only programs whose path holds this")
    args.add_argument("--timeout", type=float, default=float(os.environ.get("TEST_TIMEOUT", "300")))
    args.add_argument("--list", action="store_true")
    args.add_argument("programs", nargs="*")
    args = args.parse_args()
    programs = [p for p in args.programs if args.k in p]
    if args.list:
        print("\n".join(programs))
        return 0
    passed = failed = 0
    for path in programs:
        code, output, seconds = run(path, args.timeout)
        if code == 77:
            reason = output.decode("utf-8", "replace").strip().splitlines() or [""]
            print(f"skip {path}: {reason[-1]}", flush=True)
            continue
        good, bad = count(output, code)
        passed += good
        failed += bad
        if bad or code:
            print(f"FAIL {path} (exit {code}, {seconds:.1f} s)", flush=True)
            sys.stdout.write(output[-12000:].decode("utf-8", "replace"))
        else:
            print(f"ok   {path} ({good} in {seconds:.1f} s)", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
