#!/usr/bin/env python3
"""File and function sizes. A C file of more than 1,200 lines is a problem unless tools/lint/sizes.txt names it; so is a
function of more than 70 lines that is not in tools/lint/sizes.txt with at least that many (a ratchet: old ones may
shrink, new ones may not appear). sizes.py ROOT [--write]"""
import os
import re
import sys

import common

FILE_MAX, FUNCTION_MAX = 1200, 70


def functions(text):
    """(name, lines) of each function of a file in the house's layout: '{' and '}' of a function stand in column 1."""
    lines = common.code_only(text).split("\n")
    start = None
    for i, line in enumerate(lines):
        if line.startswith("{") and start is None:
            start = i
        elif line.startswith("}") and start is not None:
            head = " ".join(lines[max(0, start - 6):start])
            names = re.findall(r"(\w+)\s*\([^;{}]*$", re.split(r"[;}]", head)[-1])
            yield (names[0] if names else "?", i - start + 1)
            start = None


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    listed = {}
    path = os.path.join(common.TOOLS, "lint/sizes.txt")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            for line in f:
                words = line.split("#")[0].split()
                if len(words) >= 2:
                    listed[words[0]] = int(words[1])
    problems, long = [], []
    for path in common.files(root, ".c", ".h"):
        text = common.read(root, path)
        lines = text.count("\n")
        if lines > FILE_MAX and lines > listed.get(path, 0):
            problems.append(f"{path}:1: {lines} lines; {FILE_MAX} is the limit")
        for name, size in functions(text):
            key = f"{path}:{name}"
            if size > FUNCTION_MAX:
                long.append((key, size))
                if size > listed.get(key, 0):
                    problems.append(f"{key}: {size} lines; {FUNCTION_MAX} is the limit for a new or changed function")
    if "--write" in sys.argv:
        for key, size in long:
            print(key, size)
        return
    common.finish("sizes", problems)


main()
