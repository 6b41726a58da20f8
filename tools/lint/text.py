#!/usr/bin/env python3
"""Text of all files: trailing blanks, tabs in C, carriage returns, a missing last new line, FIXME and its kin, machine
paths, links in .md files that lead nowhere, and documents that words name and nobody can read. text.py ROOT"""
import os
import re
import sys

import common

MARK = re.compile(r"\b(FIXME|XXX|TODO|HACK)\b")
MACHINE = re.compile(r"(?<![\w.])/(work|root|home)/\w")
DOCUMENT = re.compile(r"\b([A-Z][\w-]*\.md)\b")


def check(root, path, documents):
    text = common.read(root, path)
    if text and not text.endswith("\n"):
        yield f"{path}:{text.count(chr(10)) + 1}: no new line at the end"
    for number, line in enumerate(text.split("\n"), 1):
        # Recorded answers of a server are kept to the byte.
        if line != line.rstrip(" \t") and not path.startswith("tests/integration/js/"):
            yield f"{path}:{number}: trailing blank"
        if "\r" in line:
            yield f"{path}:{number}: carriage return"
        if "\t" in line and path.endswith((".c", ".h")):
            yield f"{path}:{number}: tab"
        if MARK.search(line) and not path.startswith("tools/lint/"):
            yield f"{path}:{number}: {MARK.search(line)[1]}: finish it, or say in words what is missing"
        if MACHINE.search(line) and not path.startswith("tools/lint/"):
            yield f"{path}:{number}: a path of one machine"
        for name in DOCUMENT.findall(line) if path.endswith((".c", ".h", ".md")) else ():
            if name not in documents:
                yield f"{path}:{number}: {name} is not there"
        if path.endswith(".md"):
            for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", line):
                if "://" not in link and not os.path.exists(os.path.join(root, os.path.dirname(path), link)):
                    yield f"{path}:{number}: link to {link}, which is not there"


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    problems, documents = [], {os.path.basename(p) for p in common.files(root, ".md")}
    for path in common.files(root, ".c", ".h", ".md", ".sh", ".py", ".sql", ".txt", ".mk", "Makefile"):
        if not (path.startswith("tests/") and path.endswith(".txt")):  # transcripts are data
            problems.extend(check(root, path, documents))
    common.finish("text", problems)


main()
