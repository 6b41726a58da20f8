#!/usr/bin/env python3
"""Includes against tools/layers.txt; no ../ in an include; a .c file starts with its own header (or a
private one of its folder that holds more). layers.py ROOT"""
import os
import re
import sys

import common


def load(path):
    edges, libs = {}, {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            words = line.split("#")[0].split()
            if words and words[0] == "edge":
                edges.setdefault(words[1], []).append(words[2])
            elif words and words[0] == "lib":
                libs.setdefault(words[1], []).extend(words[2:])
    return edges, libs


def owner(path, owners):
    """The longest FROM that holds this file."""
    fits = [o for o in owners if path == o or path.startswith(o + "/")]
    return max(fits, key=len) if fits else None


def check(root, path, edges, libs):
    text = common.read(root, path)
    who = owner(path, set(edges) | set(libs))
    known = {h for hs in libs.values() for h in hs}
    first = None
    for number, line in enumerate(text.split("\n"), 1):
        m = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
        if not m:
            continue
        local, header = m[1] == '"', m[2]
        first = first or header
        if ".." in header.split("/"):
            yield f"{path}:{number}: include paths start at the repository root: {header}"
        elif local and not any(header == e or (e.endswith("/") and header.startswith(e)) for e in edges.get(who, [])):
            yield f"{path}:{number}: {who or 'this folder'} may not include {header} (tools/layers.txt)"
        elif not local:
            lib = next((k for k in known if header == k or header.startswith(k + "/")), None)
            if lib and lib not in libs.get(who, []):
                yield f"{path}:{number}: {who or 'this folder'} may not include <{header}> (tools/layers.txt)"
    own = path[:-2] + ".h"
    if path.endswith(".c") and os.path.exists(os.path.join(root, own)) and \
            os.path.dirname(first or "") != os.path.dirname(path):
        yield f"{path}:1: includes its own header first: {own}"


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    edges, libs = load(os.path.join(common.TOOLS, "layers.txt"))
    problems = []
    for path in common.files(root, ".c", ".h"):
        problems.extend(check(root, path, edges, libs))
    common.finish("layers", problems)


main()
