#!/usr/bin/env python3
"""Acknowledged means on disk, shown: traces the server's system calls and checks that the bytes of every answer that
promises durability were handed to the socket only after an fdatasync returned that began after the record's pwrite
returned. PubAcks one at a time and pipelined, confirmed acks, deletes, purges, stream and consumer creation.

Needs strace; skipped (exit 77) where the kernel does not let us trace."""
import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402

CALLS = "openat,pwritev,pwrite64,fdatasync,fsync,read,recvfrom,write,writev,sendmsg,sendto"
DONE = re.compile(r"^(\d+) +(\d+\.\d+) (\w+)\((.*)\) += (-?\d+).*<(\d+\.\d+)>$", re.S)
START = re.compile(r"^(\d+) +(\d+\.\d+) (\w+)\((.*) <unfinished \.\.\.>$", re.S)
RESUME = re.compile(r"^(\d+) +(\d+\.\d+) <\.\.\. (\w+) resumed>(.*)\) += (-?\d+).*<(\d+\.\d+)>$", re.S)


class Call:
    def __init__(self, name, text, begin, end, result):
        self.name, self.text, self.begin, self.end, self.result = name, text, begin, end, result


def parse(path):
    """All calls with the times they began and returned."""
    calls, open_calls = [], {}
    with open(path, errors="replace") as f:
        for line in f:
            line = line.rstrip("\n")
            m = DONE.match(line)
            if m:
                t = float(m[2])
                calls.append(Call(m[3], m[4], t, t + float(m[6]), int(m[5])))
                continue
            m = START.match(line)
            if m:
                open_calls[m[1]] = (m[3], m[4], float(m[2]))
                continue
            m = RESUME.match(line)
            if m and m[1] in open_calls:
                name, text, begin = open_calls.pop(m[1])
                calls.append(Call(name, text + m[4], begin, begin + float(m[6]), int(m[5])))
    return calls


def fd_of(call):
    return call.text.split(",", 1)[0].split("<")[0].rstrip(")")


class Trace:
    def __init__(self, path):
        self.calls = parse(path)
        self.writes = [c for c in self.calls if c.name in ("pwritev", "pwrite64") and "/journal/" in c.text]
        self.syncs = [c for c in self.calls if c.name in ("fdatasync", "fsync") and c.result == 0]
        self.syncs += self.synchronous_writes()
        self.reads = [c for c in self.calls if c.name in ("read", "recvfrom") and c.result > 0]
        self.sends = [c for c in self.calls if c.name in ("write", "writev", "sendmsg", "sendto")]

    def synchronous_writes(self):
        """A write through a descriptor that was opened O_DSYNC is its own sync, at its return."""
        dsync, found = {}, []
        for c in sorted(self.calls, key=lambda c: c.end):
            if c.name == "openat" and c.result >= 0:
                dsync[str(c.result)] = "O_DSYNC" in c.text
            elif c in self.writes and dsync.get(fd_of(c)) and c.result > 0:
                found.append(Call(c.name, c.text, c.end, c.end, c.result))
        return found

    def check(self, record_mark, answer_mark, what):
        """The answer left after a sync that covers the record. Returns the time between, in us."""
        written = [c for c in self.writes if record_mark in c.text and c.result > 0]
        assert written, "%s: no journal write holds %r" % (what, record_mark)
        sent = [c for c in self.sends if answer_mark in c.text]
        assert sent, "%s: no answer holds %r" % (what, answer_mark)
        first = min(written, key=lambda c: c.end)
        leave = min(sent, key=lambda c: c.begin)
        cover = [s for s in self.syncs if fd_of(s) == fd_of(first) and s.begin >= first.end and s.end <= leave.begin]
        assert cover, ("%s: the answer left at %.6f, the record was written at %.6f, and no sync of that file lies between"
                       % (what, leave.begin, first.end))
        return (leave.begin - cover[0].end) * 1e6


    def check_binary(self, request_mark, answer_mark, what):
        """The same where record holds no text of ours: the server was idle, so the first journal write behind the request
        is the record's."""
        asked = [c for c in self.reads if request_mark in c.text]
        assert asked, "%s: no request holds %r" % (what, request_mark)
        begin = asked[-1].end
        leave = [c for c in self.sends if answer_mark in c.text and c.begin >= begin]
        assert leave, "%s: no answer holds %r" % (what, answer_mark)
        end = leave[0].begin
        for w in self.writes:
            if w.begin >= begin and any(fd_of(x) == fd_of(w) and x.begin >= w.end and x.end <= end for x in self.syncs):
                return
        raise AssertionError("%s: no journal write with a sync behind it between request and answer" % what)


def request(c, subject, body):
    reply = c.request(subject, body if isinstance(body, (bytes, str)) else json.dumps(body))
    answer = json.loads(reply.data) if reply.data else {}
    assert "error" not in answer, answer
    return answer


def drive(port):
    """Does one thing of each kind; returns what to look for: (record mark, answer mark, what), or where the record holds no
    text of ours (None, request mark, answer mark, what)."""
    marks = []
    with natsraw.Conn(port=port) as c:
        request(c, "$JS.API.STREAM.CREATE.STREAMMARK", {"name": "STREAMMARK", "subjects": ["m.>"]})
        marks.append(("STREAMMARK", "stream_create_response", "stream creation"))
        for i in range(20):
            request(c, "m.single", "SINGLE-%04d." % i)
            marks.append(("SINGLE-%04d." % i, '\\"seq\\":%d}' % (i + 1), "PubAck %d" % (i + 1)))
        inbox = "_INBOX.pipe"
        sid = c.sub(inbox + ".*")
        out = b"".join(b"PUB m.pipe %s.%d 10\r\nPIPE-%04d.\r\n" % (inbox.encode(), i, i) for i in range(500))
        c.send(out)
        for i in range(500):
            c.next(sid)
            marks.append(("PIPE-%04d." % i, inbox + ".%d " % i, "pipelined PubAck %d" % i))
        request(c, "$JS.API.CONSUMER.DURABLE.CREATE.STREAMMARK.CONSMARK",
                {"stream_name": "STREAMMARK", "config": {"durable_name": "CONSMARK", "ack_policy": "explicit"}})
        marks.append(("CONSMARK", "consumer_create_response", "consumer creation"))
        confirm_acks(c, marks)
        request(c, "$JS.API.STREAM.MSG.DELETE.STREAMMARK", {"seq": 3})
        marks.append((None, "MSG.DELETE.STREAMMARK", "stream_msg_delete_response", "delete"))
        request(c, "$JS.API.STREAM.PURGE.STREAMMARK", {"filter": "m.single"})
        marks.append((None, "STREAM.PURGE.STREAMMARK", "stream_purge_response", "purge by filter"))
        request(c, "$JS.API.STREAM.PURGE.STREAMMARK", b"")
        marks.append((None, "STREAM.PURGE.STREAMMARK", "stream_purge_response", "purge of all"))
        request(c, "$JS.API.CONSUMER.DELETE.STREAMMARK.CONSMARK", b"")
        marks.append((None, "CONSUMER.DELETE.STREAMMARK", "consumer_delete_response", "consumer deletion"))
        request(c, "$JS.API.STREAM.DELETE.STREAMMARK", b"")
        marks.append((None, "STREAM.DELETE.STREAMMARK", "stream_delete_response", "stream deletion"))
    return marks


def confirm_acks(c, marks):
    """Acks that ask for an answer: the empty answer rests on the durable delta."""
    for i in range(5):
        inbox = "_INBOX.pull%d" % i
        sid = c.sub(inbox)
        c.pub("$JS.API.CONSUMER.MSG.NEXT.STREAMMARK.CONSMARK", b'{"batch":1}', reply=inbox)
        msg = c.next(sid)
        answer = "_INBOX.ackd%d" % i
        asid = c.sub(answer)
        c.pub(msg.reply, b"+ACK", reply=answer)
        c.next(asid)
        marks.append((None, answer + " 4", "MSG " + answer, "confirmed ack %d" % i))


def main():
    if shutil.which("strace") is None:
        print("strace is not installed")
        return 77
    probe = subprocess.run(["strace", "-o", "/dev/null", "true"], stderr=subprocess.PIPE)
    if probe.returncode != 0:
        print("this machine does not allow tracing: %s" % probe.stderr.decode().strip())
        return 77
    trace_path = server.scratch() + ".strace"
    s = server.Server(prefix=["strace", "-f", "-y", "-ttt", "-T", "-s", "262144", "-e", "trace=" + CALLS, "-o", trace_path])
    with s:
        marks = drive(s.port)
        s.stop()
    trace = Trace(trace_path)
    failures = 0
    for mark in marks:
        try:
            if mark[0] is None:
                trace.check_binary(*mark[1:])
            else:
                trace.check(*mark)
        except AssertionError as e:
            failures += 1
            print("FAIL", e)
    print("%d journal writes, %d syncs, %d answers checked" % (len(trace.writes), len(trace.syncs), len(marks)))
    print("%d passed, %d failed" % (len(marks) - failures, failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
