#!/usr/bin/env python3
"""Lists sources without a unit test program of their own name (tests/unit/<folder>/test_<file>.c, or one whose name starts
so). Tells, does not fail: a file may be covered by its neighbour's test. untested.py ROOT [-v]"""
import os
import sys

import common


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    have = {os.path.basename(p)[5:-2] for p in common.files(os.path.join(root, "tests"), ".c")
            if os.path.basename(p).startswith("test_")}
    missing = [p for p in common.files(root, ".c") if not p.startswith(("tests/", "tools/"))
               and not any(os.path.basename(p)[:-2] == h or h.startswith(os.path.basename(p)[:-2] + "_") for h in have)]
    if "-v" in sys.argv:
        print("\n".join(missing))
    print(f"lint untested: {len(missing)} sources without a test of their own name (tools/lint/untested.py . -v)")


main()
