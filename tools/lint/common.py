"""What the lint scripts share: the files of a tree, C text without comments and strings, and reporting."""
import os
import re
import sys

TOOLS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SKIP = {"build", ".git", "corpus", "node_modules", "samples"}


def files(root, *suffixes):
    """Paths below root that end in one of the suffixes, relative, sorted."""
    out = []
    for folder, dirs, names in os.walk(root):
        dirs[:] = sorted(d for d in dirs if d not in SKIP)
        for name in names:
            if name.endswith(suffixes):
                out.append(os.path.relpath(os.path.join(folder, name), root))
    return sorted(out)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace", newline="") as f:
        return f.read()


def code_only(text):
    """C text with comments, strings and character constants blanked; line numbers stay."""
    def blank(m):
        return re.sub(r"[^\n]", " ", m[0])
    return re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'", blank, text, flags=re.S)


def finish(rule, problems):
    for p in problems:
        print(p)
    print(f"lint {rule}: {len(problems)} problems")
    sys.exit(1 if problems else 0)
