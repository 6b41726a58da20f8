#!/usr/bin/env python3
"""Each source has a unit test program of its own name (tests/unit/<folder>/test_<file>.c, or one whose name starts so), or stands
in the table of tests/unit/README.md, which says what tests it. untested.py ROOT [-v]"""
import fnmatch
import os
import re
import sys

import common

TABLE = "tests/unit/README.md"


def rows(root):
    """(sources, tests) of each row; both lists of names in backquotes."""
    if not os.path.exists(os.path.join(root, TABLE)):
        return
    for line in common.read(root, TABLE).split("\n"):
        cells = line.split("|")
        if len(cells) == 4 and re.search(r"`[\w/*]+\.c`", cells[1]):
            yield re.findall(r"`([^`]+)`", cells[1]), re.findall(r"`([^`]+)`", cells[2])


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    have = {os.path.basename(p)[5:-2] for p in common.files(os.path.join(root, "tests"), ".c")
            if os.path.basename(p).startswith("test_")}
    missing = [p for p in common.files(root, ".c") if not p.startswith(("tests/", "tools/"))
               and not any(os.path.basename(p)[:-2] == h or h.startswith(os.path.basename(p)[:-2] + "_") for h in have)]
    if "-v" in sys.argv:
        print("\n".join(missing))
    problems, told = [], set()
    for sources, tests in rows(root):
        for pattern in sources:
            fits = fnmatch.filter(missing, pattern)
            told.update(fits)
            if not fits:
                problems.append(f"{TABLE}: {pattern} fits no source without a test of its own name")
        for test in tests:
            if not os.path.exists(os.path.join(root, test)):
                problems.append(f"{TABLE}: {test} is not there")
    problems += [f"{p}: no test of its own name, and no row in {TABLE}" for p in missing if p not in told]
    common.finish("untested", problems)


main()
