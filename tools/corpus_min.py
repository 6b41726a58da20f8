#!/usr/bin/env python3
"""Picks few inputs that together reach every edge a fuzz target's corpora reach: corpus_min.py <program> <kept> <found>...
Replaces <kept>. Works on libFuzzer's merge control file; greedy, smaller inputs first among equals."""
import os
import shutil
import subprocess
import sys
import tempfile


def measure(program, folders):
    """[(size, path, edges)] of all inputs."""
    with tempfile.TemporaryDirectory() as tmp:
        control = os.path.join(tmp, "control")
        empty = os.path.join(tmp, "empty")
        os.mkdir(empty)
        subprocess.run([program, "-merge=1", "-merge_control_file=" + control, empty, *folders], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(control, encoding="utf-8") as f:
            lines = f.read().split("\n")
    count = int(lines[0])
    paths = lines[2:2 + count]
    inputs = {}
    for line in lines[2 + count:]:
        words = line.split()
        if words and words[0] == "COV":
            inputs[int(words[1])] = set(words[2:])
    return [(os.path.getsize(paths[i]), paths[i], edges) for i, edges in inputs.items()]


def main():
    program, kept, found = sys.argv[1], sys.argv[2], sys.argv[3:]
    # A control file lists for each input only the edges that are new to the merge so far, smallest input first: an input
    # with none adds nothing.
    chosen = sorted(x for x in measure(program, [kept, *found]) if x[2])
    data = {}
    for _, path, _ in chosen:
        with open(path, "rb") as f:
            data[os.path.basename(path)] = f.read()
    shutil.rmtree(kept)
    os.makedirs(kept)
    for name, content in data.items():
        with open(os.path.join(kept, name), "wb") as f:
            f.write(content)
    print(f"{os.path.basename(kept)}: {len(data)} inputs kept")


main()
