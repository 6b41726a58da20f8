"""The nats command-line client, unmodified, against one server: $NATS_CLI, what tools/peer.sh has built, or the one on the
PATH; else tools/peer.sh builds it where Go is (minutes, once). It sees no contexts and no home of the user."""
import os
import shutil
import subprocess

import server

BUILD_SECONDS_MAX = 280


def find():
    """Path of the client, or None and why not."""
    built = os.path.join(server.ROOT, "build", "peer", "nats")
    for path in (os.environ.get("NATS_CLI"), built, shutil.which("nats")):
        if path and os.access(path, os.X_OK):
            return os.path.abspath(path), None
    if not shutil.which("go"):
        return None, "neither a nats command-line client nor Go on this machine"
    try:
        subprocess.run(["sh", os.path.join(server.ROOT, "tools", "peer.sh")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=BUILD_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        pass
    return (built, None) if os.access(built, os.X_OK) else (None, "tools/peer.sh could not build the nats command-line client")


class Cli:
    def __init__(self, path, url, home):
        self.path = path
        os.makedirs(os.path.join(home, "bin"), exist_ok=True)
        link = os.path.join(home, "bin", "nats")
        if not os.path.lexists(link):
            os.symlink(path, link)
        self.env = {"PATH": os.path.join(home, "bin") + ":" + os.environ.get("PATH", "/usr/bin:/bin"), "HOME": home,
                    "XDG_CONFIG_HOME": os.path.join(home, "config"), "NATS_URL": url, "NO_COLOR": "1", "LANG": "C.UTF-8"}

    def sh(self, line, stdin=None, code=0, timeout=30):
        """Runs a line of shell as a reader of the documentation would; its output, stdout and stderr together."""
        p = subprocess.run(["sh", "-c", line], env=self.env, input=stdin if stdin is not None else b"", stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=timeout)
        out = p.stdout.decode("utf-8", "replace")
        assert p.returncode == code, "%s: exit %d:\n%s" % (line, p.returncode, out)
        return out
