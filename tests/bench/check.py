#!/usr/bin/env python3
"""Counts what a message costs (check.c) and compares with tests/bench/check.tsv: instructions by callgrind, allocations and calls of
the environment by the program itself. Growth of more than 5 % fails; with another compiler or libc than the recorded ones it reports
and does not fail. --record writes today's numbers. Last line: N passed, N failed."""
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
FILE = os.path.join(HERE, "check.tsv")
PARTS = ["parser", "match", "publish", "pull", "ack"]
KEYS = ["instructions", "allocations", "env_calls"]


def toolchain():
    cc = subprocess.run(["gcc", "-dumpfullversion"], stdout=subprocess.PIPE, text=True).stdout.strip()
    with open("/proc/cpuinfo") as f:  # libraries choose their code by it; valgrind shows what it can emulate
        avx2 = " avx2 " in f.read()
    return "gcc %s, %s, %s%s" % (cc, " ".join(platform.libc_ver()), platform.machine(), ", avx2" if avx2 else "")


def count(program, part):
    with tempfile.TemporaryDirectory() as d:
        p = subprocess.run(["valgrind", "--tool=callgrind", "--toggle-collect=counted", "--callgrind-out-file=" + os.path.join(d, "out"),
                            program, part], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600)
    if p.returncode != 0:
        sys.exit("check %s: %s" % (part, p.stderr[-2000:]))
    got = json.loads(p.stdout)
    n = got["messages"]
    ir = int(re.search(r"Collected : (\d+)", p.stderr).group(1))
    if ir < 10 * n:
        sys.exit("check %s: callgrind collected %d instructions; is `counted` still a function?" % (part, ir))
    return {"instructions": ir / n, "allocations": got["allocations"] / n, "env_calls": got["env_calls"] / n}


def recorded():
    with open(FILE) as f:
        lines = [line.rstrip("\n") for line in f]
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return lines[0].lstrip("# "), {r[0]: dict(zip(KEYS, map(float, r[1:]))) for r in rows}


def main():
    if not shutil.which("valgrind"):
        sys.exit("bench-check needs valgrind; `make setup` installs it")
    program = sys.argv[1]
    today = {part: count(program, part) for part in PARTS}
    if "--record" in sys.argv:
        with open(FILE, "w") as f:
            f.write("# %s\n# per message: %s\n" % (toolchain(), ", ".join(KEYS)))
            for part in PARTS:
                f.write("\t".join([part] + ["%.3f" % today[part][k] for k in KEYS]) + "\n")
    chain, old = recorded()
    same = chain == toolchain()
    if not same:
        print("recorded with %s, this is %s: differences are shown and do not fail" % (chain, toolchain()))
    passed = failed = 0
    print("%-10s %14s %14s %14s" % ("per message", *KEYS))
    for part in PARTS:
        bad = [k for k in KEYS if today[part][k] > old[part][k] * 1.05 + 0.005]
        passed, failed = passed + (not bad or not same), failed + bool(bad and same)
        print("%-10s %s%s" % (part, " ".join("%14s" % ("%.2f" % today[part][k]) for k in KEYS),
                              "   was " + ", ".join("%s %.2f" % (k, old[part][k]) for k in bad) if bad else ""))
    print("%d passed, %d failed" % (passed, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
