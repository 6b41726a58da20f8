#!/usr/bin/env python3
"""Each folder is explained: a top-level folder and a direct subfolder of tests/ by a README.md of its own, a deeper one (and a
hidden one) by a README.md of its own or by name, as `folder/`, in the nearest README.md above it. readmes.py ROOT"""
import os
import sys

import common


def check(root, folder, has_readme):
    parts = folder.split("/")
    own = os.path.join(folder, "README.md")
    if own in has_readme:
        return None
    if not parts[0].startswith(".") and (len(parts) == 1 or parts[0] == "tests" and len(parts) == 2):
        return f"{own}: not there: what the folder is for, what it may include, the commonest change, invariants"
    above = os.path.dirname(folder)
    while above and os.path.join(above, "README.md") not in has_readme:
        above = os.path.dirname(above)
    readme = os.path.join(above, "README.md")
    name = os.path.relpath(folder, above or ".").split("/")[0]
    if readme in has_readme and f"`{name}/" in common.read(root, readme):
        return None
    return f"{folder}: no README.md, and {readme} does not say what `{name}/` is"


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    files = common.files(root, "")
    has_readme = {p for p in files if os.path.basename(p) == "README.md"}
    folders = set()
    for path in files:
        folder = os.path.dirname(path)
        while folder:
            folders.add(folder)
            folder = os.path.dirname(folder)
    problems = [p for p in (check(root, f, has_readme) for f in sorted(folders)) if p]
    common.finish("readmes", problems)


main()
