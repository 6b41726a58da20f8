#!/usr/bin/env python3
"""Runs fuzz targets for so much CPU time each, in one go: fuzz_proof.py <user CPU seconds> [part of a target's name].

Wall time says little on a machine that others use; user CPU time is what counts. One line per target: CPU and wall seconds,
inputs executed, new inputs, and whether something was found. New inputs go to build/fuzz/corpus/<name> (`sh tools/fuzz.sh keep
<name>` merges them). Last line: N passed, N failed. The programs must be built: make MODE=fuzz fuzz."""
import glob
import os
import re
import resource
import signal
import subprocess
import sys
import time


def user_seconds(pid):
    with open("/proc/%d/stat" % pid, encoding="ascii") as f:
        return int(f.read().rsplit(")", 1)[1].split()[11]) / os.sysconf("SC_CLK_TCK")


def prove(name, seconds):
    found = "build/fuzz/corpus/" + name
    os.makedirs(found, exist_ok=True)
    words = "tests/fuzz/%s.dict" % name
    # A stopped process is no slow input: the time limit of one input is wide.
    cmd = ["build/fuzz/tests/fuzz/fuzz_" + name, "-timeout=1500", "-rss_limit_mb=2048", "-print_final_stats=1",
           "-artifact_prefix=build/fuzz/%s-" % name] + (["-dict=" + words] if os.path.exists(words) else [])
    log = "build/fuzz/%s.log" % name
    start = time.monotonic()
    with open(log, "w", encoding="utf-8") as out:
        p = subprocess.Popen(cmd + [found, "tests/fuzz/corpus/" + name], stdout=out, stderr=out)
        enough = False
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        while p.poll() is None and not enough:
            time.sleep(1)
            enough = p.poll() is None and user_seconds(p.pid) >= seconds
        if enough:
            p.send_signal(signal.SIGINT)
        p.wait()
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    with open(log, encoding="utf-8", errors="replace") as f:
        text = f.read()

    def stat(key):
        m = re.search("stat::%s: *([0-9]+)" % key, text)
        return int(m[1]) if m else 0
    ok = enough and "ERROR" not in text
    print("%s fuzz %s: %.0f s user CPU (%.0f s wall), %d inputs, %d new%s" %
          ("ok  " if ok else "FAIL", name, cpu, time.monotonic() - start, stat("number_of_executed_units"),
           stat("new_units_added"), "" if ok else "; see " + log), flush=True)
    return ok


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    seconds, only = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    names = [os.path.basename(p)[5:-2] for p in sorted(glob.glob("tests/fuzz/fuzz_*.c"))]
    results = [prove(n, seconds) for n in names if only in n]
    print("%d passed, %d failed" % (results.count(True), results.count(False)))
    return 0 if results and all(results) else 1


sys.exit(main())
