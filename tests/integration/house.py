#!/usr/bin/env python3
"""The house itself: the test runner (a program that always fails and one that always passes among others), the set-up
script in front of a pretended package system, install, and incremental builds."""
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DIR = os.environ.get("TEST_DIR") or tempfile.mkdtemp(prefix="millrace-test-")


def sh(*command, **kw):
    p = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       cwd=ROOT, timeout=120, **kw)
    return p.returncode, p.stdout


def write(name, text):
    path = os.path.join(DIR, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, 0o755)
    return path


def runner(*args):
    return sh(sys.executable, "tests/run.py", *args)


def runner_counts():
    good = write("r/good.sh", "echo fine\n")
    bad = write("r/bad.sh", "echo what went wrong\nexit 3\n")
    skip = write("r/skip.sh", "echo not here\nexit 77\n")
    many = write("r/many.sh", "echo 5 passed, 0 failed\n")
    some = write("r/some.sh", "echo 5 passed, 2 failed\nexit 1\n")
    liar = write("r/liar.sh", "echo 5 passed, 0 failed\nexit 1\n")
    unit = write("r/unit.sh", "echo '[  PASSED  ] 4 test(s).'\necho ' 1 FAILED TEST(S)'\nexit 1\n")
    code, out = runner(good)
    assert code == 0 and "fine" not in out and out.endswith("1 passed, 0 failed\n"), out
    code, out = runner(bad)
    assert code == 1 and "what went wrong" in out and out.endswith("0 passed, 1 failed\n"), out
    code, out = runner(skip, good)
    assert code == 0 and "skip" in out and "not here" in out and out.endswith("1 passed, 0 failed\n"), out
    assert runner(many)[1].endswith("5 passed, 0 failed\n")
    assert runner(some)[1].endswith("5 passed, 2 failed\n")
    assert runner(liar)[1].endswith("5 passed, 1 failed\n")
    assert runner(unit)[1].endswith("4 passed, 1 failed\n")
    assert runner("-k", "man", good, many)[1].endswith("5 passed, 0 failed\n")
    assert runner("--list", good, many)[1] == f"{good}\n{many}\n"


def runner_ends_what_hangs():
    hang = write("r/hang.sh", "exec tail -f /dev/null\n")
    code, out = runner("--timeout", "0.3", hang)
    assert code == 1 and "timed out" in out and out.endswith("0 passed, 1 failed\n"), out


def runner_gives_a_folder_of_its_own():
    probe = write("r/probe.sh", 'test -d "$TEST_DIR" && echo "$TEST_DIR" > "$PROBE"\n')
    code, _ = sh(sys.executable, "tests/run.py", probe, env=dict(os.environ, PROBE=os.path.join(DIR, "probe")))
    with open(os.path.join(DIR, "probe"), encoding="utf-8") as f:
        folder = f.read().strip()
    assert code == 0 and folder != DIR and not os.path.exists(folder), folder


def pretend(name, installed, root, sudo, apt="exit 0"):
    """A PATH in front of which a package system of our own stands."""
    folder = os.path.join(DIR, name)
    tools = ("tr", "sed", "sh", "cat")
    os.makedirs(folder, exist_ok=True)
    for t in tools:
        os.symlink(shutil.which(t), os.path.join(folder, t))
    write(name + "/dpkg-query", "#!/bin/sh\nfor p in %s; do echo \"installed $p\"; done\n" % (installed or "nothing"))
    write(name + "/id", "#!/bin/sh\necho %d\n" % (0 if root else 1000))
    write(name + "/apt-get", f'#!/bin/sh\necho "$@" >> "{folder}/log"\n{apt}\n')
    if sudo:
        write(name + "/sudo", '#!/bin/sh\n[ "$1" = -n ] && shift\necho sudo >> "%s/log"\nexec "$@"\n' % folder)
        write(name + "/true", "#!/bin/sh\nexit 0\n")
    code, out = sh(shutil.which("sh"), "tools/setup.sh", "build", env={"PATH": folder})
    try:
        with open(os.path.join(folder, "log"), encoding="utf-8") as f:
            return code, out, f.read()
    except FileNotFoundError:
        return code, out, ""


def everything_but(missing):
    with open(os.path.join(ROOT, "tools/setup.sh"), encoding="utf-8") as f:
        text = f.read()
    return " ".join(p for p in text.split('build="')[1].split('"')[0].split() if p != missing)


def setup_script():
    code, out, log = pretend("none", everything_but(""), root=True, sudo=False)
    assert (code, out, log) == (0, "", ""), (code, out, log)
    code, out, log = pretend("root", everything_but("libuv1-dev"), root=True, sudo=False)
    assert code == 0 and out == "Installing missing Debian packages: libuv1-dev\n", out
    assert "install" in log and "libuv1-dev" in log and "libzstd-dev" not in log, log
    code, out, log = pretend("sudo", everything_but("libuv1-dev"), root=False, sudo=True)
    assert code == 0 and "sudo" in log and "libuv1-dev" in log, (code, out, log)
    code, out, log = pretend("user", everything_but("libuv1-dev"), root=False, sudo=False)
    assert code == 2 and log == "", (code, out, log)
    assert "apt-get update && apt-get install -y --no-install-recommends libuv1-dev\n" in out, out
    code, out, log = pretend("fail", everything_but("libuv1-dev"), root=True, sudo=False, apt="exit 100")
    assert code == 2 and "update" in log and "apt-get install -y" in out, (code, out, log)


def install_script():
    program = write("i/millrace", "x")
    folder = os.path.join(DIR, "i/usr/bin")
    code, out = sh("sh", "tools/install.sh", folder, "", program)
    assert code == 0 and os.listdir(folder) == ["millrace"], out
    code, out = sh("sh", "tools/install.sh", folder, "1", program)
    assert code == 0 and os.readlink(os.path.join(folder, "nats-server")) == "millrace", out
    os.unlink(os.path.join(folder, "nats-server"))
    write("i/usr/bin/nats-server", "a real one")
    code, out = sh("sh", "tools/install.sh", folder, "1", program)
    assert code == 1 and "not replaced" in out, out


def main():
    passed = failed = 0
    for test in (runner_counts, runner_ends_what_hangs, runner_gives_a_folder_of_its_own, setup_script,
                 install_script):
        try:
            test()
            passed += 1
        except Exception:  # told with its place, and the next one runs
            failed += 1
            import traceback
            traceback.print_exc(file=sys.stdout)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
