#!/usr/bin/env python3
"""A full disk, on a file system of 64 MiB: publishes get an error (they are not left waiting), what was acknowledged is
there, acks and deletes go on, the server starts on the full disk, again and again with not a byte free, and a purge brings it
back."""
import base64
import hashlib
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402


def fill(c):
    """Publishes until ten refusals in a row; returns (sequence, hash) of what was acknowledged."""
    acked, refused, end = [], 0, time.monotonic() + 40
    while refused < 10:
        assert time.monotonic() < end, "the disk does not get full"
        data = os.urandom(50000)
        a = c.request("s.a", data, timeout=10).json()
        if "error" in a:
            assert a["error"]["err_code"] == 10023, a
            refused += 1
        else:
            acked.append((a["seq"], hashlib.sha256(data).digest()))
            refused = 0
    return acked


def verify(c, acked):
    for seq, digest in acked:
        m = c.api("STREAM.MSG.GET.S", {"seq": seq})
        assert "error" not in m, (seq, m)
        assert hashlib.sha256(base64.b64decode(m["message"]["data"])).digest() == digest, seq


def leave_nothing(path):
    """Takes what is free, to the last byte."""
    size = 1 << 20
    with open(path, "ab", buffering=0) as f:
        while size:
            try:
                f.write(b"f" * size)
            except OSError:
                size //= 2


def starts(srv, acked, filler):
    """Each start wants a journal file of its own, though nobody has made room since the last one."""
    for i in range(8):
        leave_nothing(filler)
        srv.restart(kill=i % 3 != 2)
        with natsraw.Conn(port=srv.port, timeout=20) as c:
            verify(c, acked[-20:])
            assert c.request("s.a", b"x").json()["error"]["err_code"] == 10023
            if i == 6:  # what frees space is taken
                assert c.api("STREAM.MSG.DELETE.S", {"seq": acked.pop(0)[0]})["success"]
    os.remove(filler)


def room_later(folder):
    """What the default limit is reckoned from is free space; a start without any does not refuse for ever."""
    filler = os.path.join(folder, "filler")
    with server.Server(store=folder) as srv:
        with natsraw.Conn(port=srv.port, timeout=20) as c:
            assert "error" not in c.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"]})
            leave_nothing(filler)
        srv.restart(kill=True)
        with natsraw.Conn(port=srv.port, timeout=20) as c:
            os.remove(filler)
            inbox, sid = c.new_inbox()
            for _ in range(200):  # what waits for the journal's next file is answered when it is there, unasked
                c.pub("s.a", b"x" * 100, inbox)
                c.none(sid, 0.005)
            for _ in range(200):
                c.next(sid)
            end = time.monotonic() + 20
            while "error" in c.request("s.a", b"x").json():
                assert time.monotonic() < end, "no room after somebody made some"
                c.none(c.new_inbox()[1], 0.1)
            acked = []
            for _ in range(100):
                data = os.urandom(50000)
                acked.append((c.request("s.a", data).json()["seq"], hashlib.sha256(data).digest()))
            verify(c, acked)
            a = c.api("STREAM.CREATE.R", {"name": "R", "subjects": ["r"], "max_bytes": 1 << 20})
            assert "error" not in a, a
    shutil.rmtree(os.path.join(folder, "millrace"))


def run(folder):
    with server.Server(store=folder) as srv:
        c = natsraw.Conn(port=srv.port, timeout=20)
        assert "error" not in c.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"]})
        c.api("CONSUMER.CREATE.S.d", {"stream_name": "S", "config": {"durable_name": "d", "ack_policy": "explicit"}})
        acked = fill(c)
        assert len(acked) > 600, "half of the disk stays unused: %d" % len(acked)
        m = c.request("$JS.API.CONSUMER.MSG.NEXT.S.d", b"1")
        assert c.request(m.reply, b"+ACK").data == b""
        assert c.api("STREAM.MSG.DELETE.S", {"seq": acked.pop(1)[0]})["success"]
        verify(c, acked)
        srv.restart(kill=True)
        c = natsraw.Conn(port=srv.port, timeout=20)
        verify(c, acked)
        starts(srv, acked, os.path.join(folder, "filler"))
        c = natsraw.Conn(port=srv.port, timeout=20)
        verify(c, acked)
        assert c.api("STREAM.PURGE.S", {"keep": 10})["success"]
        end = time.monotonic() + 20
        while "error" in c.request("s.a", b"x").json():
            assert time.monotonic() < end, "no room after the purge"
            c.none(c.new_inbox()[1], 0.1)
        verify(c, acked[-9:])


def main():
    folder = os.path.join(server.scratch(), "s")  # the server's log lies beside it, on another disk
    os.mkdir(folder)
    if subprocess.call(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], stderr=subprocess.DEVNULL) != 0:
        print("a small file system can only be mounted by root")
        return 77
    try:
        room_later(folder)
        run(folder)
        print("ok")
    finally:
        subprocess.call(["umount", folder])
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
