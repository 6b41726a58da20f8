"""Starts the server under test on a free loopback port and takes it down again. Standard library only.

MILLRACE names the binary (default build/bin/millrace). Waiting is reading the log until a line stands in it."""
import atexit
import ctypes
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time

own = None
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def binary():
    return os.path.abspath(os.environ.get("MILLRACE", os.path.join(ROOT, "build/bin/millrace")))


def scratch(keep=False):
    """A folder: below the runner's TEST_DIR, or, for a script started by hand, one that goes when the script ends (and a Server's
    logs, which stand beside it). keep: the caller removes it."""
    global own
    parent = os.environ.get("TEST_DIR")
    if parent is None and not keep:
        if own is None:
            own = tempfile.mkdtemp(prefix="millrace-test-")
            atexit.register(shutil.rmtree, own, True)
        parent = own
    return tempfile.mkdtemp(prefix="store-", dir=parent)


class Growth:
    """Waits until a file grows, or the process that writes it ends: by inotify, not by asking again and again."""

    IN_MODIFY = 2

    def __init__(self, path, pid):
        libc = ctypes.CDLL(None, use_errno=True)
        self.file = libc.inotify_init1(os.O_CLOEXEC)
        if self.file < 0 or libc.inotify_add_watch(self.file, os.fsencode(path), self.IN_MODIFY) < 0:
            raise OSError(ctypes.get_errno(), "inotify", path)
        self.process = os.pidfd_open(pid)

    def wait(self, timeout):
        if self.file in select.select([self.file, self.process], [], [], max(0, timeout))[0]:
            os.read(self.file, 4096)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.file)
        os.close(self.process)


class Server:
    """One server process. port 0 picks one; start again with restart() on the same port and store."""

    def __init__(self, store=None, args=(), jetstream=True, prefix=(), port=0, config=None, exe=None):
        self.store = store or scratch()
        self.args, self.jetstream, self.prefix = list(args), jetstream, list(prefix)
        self.port, self.config, self.exe = port, config, exe or binary()
        self.starts = 0
        self.proc = None
        self.start()

    def start(self, wait=True):
        self.starts += 1
        self.log_path = os.path.join(self.store + ".log.%d" % self.starts)
        cmd = self.prefix + [self.exe, "-a", "127.0.0.1", "-p", str(self.port or -1)]
        if self.jetstream:
            cmd += ["-js", "-sd", self.store]
        if self.config:
            cmd += ["-c", self.config]
        with open(self.log_path, "wb") as log:
            self.proc = subprocess.Popen(cmd + self.args, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if wait:
            self.wait_log("Server is ready")
            self.port = int(re.search(r"Listening for client connections on [^ ]*:(\d+)", self.log()).group(1))

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def wait_log(self, text, timeout=20, since=0):
        """Waits until the text stands in the log, behind its first `since` characters."""
        if self.proc.returncode is None:
            with Growth(self.log_path, self.proc.pid) as growth:
                end = time.monotonic() + timeout
                while text not in self.log()[since:] and self.proc.poll() is None and time.monotonic() < end:
                    growth.wait(end - time.monotonic())
        if text not in self.log()[since:]:
            if self.proc.poll() is not None:
                raise RuntimeError("server exited with %s:\n%s" % (self.proc.returncode, self.log()))
            raise TimeoutError("no %r in the log:\n%s" % (text, self.log()))

    def server_pid(self):
        """The server's own pid, also below a tracer."""
        if not self.prefix:
            return self.proc.pid
        return int(re.search(r"^\[(\d+)\]", self.log(), re.M).group(1))

    def kill(self):
        os.kill(self.server_pid(), signal.SIGKILL)
        self.proc.wait(20)

    def stop(self):
        if self.proc.poll() is None:
            os.kill(self.server_pid(), signal.SIGTERM)
            self.proc.wait(20)
        return self.proc.returncode

    def restart(self, kill=True):
        if kill:
            self.kill()
        else:
            self.stop()
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.proc.poll() is None:
            self.kill()
