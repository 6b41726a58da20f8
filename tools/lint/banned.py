#!/usr/bin/env python3
"""Direct calls of functions named in tools/lint/banned.txt. banned.py ROOT"""
import os
import re
import sys

import common


def load(path):
    rules = []
    with open(path, encoding="utf-8") as f:
        for line in f:
            parts = [p.strip() for p in line.split("#")[0].split("|")]
            if len(parts) >= 3:
                rules.append((parts[0], parts[1].split(","), parts[2], parts[3].split() if len(parts) > 3 else []))
    return rules


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    problems = []
    rules = load(os.path.join(common.TOOLS, "lint/banned.txt"))
    for path in common.files(root, ".c", ".h"):
        code = common.code_only(common.read(root, path))
        for scope, names, instead, allowed in rules:
            if (scope == "code" and path.startswith("tests/")) or any(
                    path == a or path.startswith(a + "/") for a in allowed):
                continue
            # A call, not a member (x->free(), x.free()) and not a longer name.
            for m in re.finditer(r"(?<![\w.>])(" + "|".join(names) + r")\s*\(", code):
                before = code[:m.start()].rstrip()
                if re.search(r"(->|\.)$", before) or re.search(r"(^|\n)\s*#\s*define\s+\w*$", before):
                    continue
                number = code.count("\n", 0, m.start()) + 1
                problems.append(f"{path}:{number}: {m[1]}() is not called directly; use {instead}")
    common.finish("banned", problems)


main()
