#!/usr/bin/env python3
"""Each lint rule says nothing about its good sample and exactly what `expected` holds about its bad one."""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SAMPLES = os.path.join(ROOT, "tests/lint/samples")


def run(rule, sample):
    p = subprocess.run([sys.executable, "-B", os.path.join(ROOT, "tools/lint", rule + ".py"), sample],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return p.returncode, p.stdout


def main():
    passed = failed = 0
    for rule in sorted(os.listdir(SAMPLES)):
        with open(os.path.join(SAMPLES, rule, "bad/expected"), encoding="utf-8") as f:
            expected = f.read()
        for sample, want in (("good", (0, f"lint {rule}: 0 problems\n")), ("bad", (1, expected))):
            got = run(rule, os.path.join(SAMPLES, rule, sample))
            if got == want:
                passed += 1
            else:
                failed += 1
                print(f"{rule}, {sample}: exit {got[0]}\n--- got\n{got[1]}--- wanted\n{want[1]}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
