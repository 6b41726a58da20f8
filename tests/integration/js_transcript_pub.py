"""Scenarios of js_transcript.py: what a publish can ask for (ADR-43, 49, 50, 51)."""
import base64


def cfg_line(r, answer, label):
    """An error, or the members that these features touch."""
    if "error" in answer:
        e = answer["error"]
        r.say(label, "-> %d %d %s" % (e["code"], e["err_code"], e["description"]))
        return
    keys = ("allow_rollup_hdrs", "deny_purge", "allow_msg_ttl", "subject_delete_marker_ttl", "allow_msg_counter",
            "allow_atomic", "allow_msg_schedules", "allow_batched")
    r.say(label, "-> ok", " ".join("%s=%s" % (k, answer["config"][k]) for k in keys if k in answer["config"]))


def config(r, op, name, **cfg):
    body = {"name": name, "subjects": [name.lower() + ".>"]}
    body.update(cfg)
    cfg_line(r, r.api("STREAM.%s.%s" % (op, name), body, quiet=True), "%s %s" % (op, cfg))


def stored(r, stream, seq):
    a = r.api("STREAM.MSG.GET." + stream, {"seq": seq}, quiet=True)
    if "error" in a:
        r.say("get", seq, "->", a["error"]["err_code"], a["error"]["description"])
        return
    m = a["message"]
    r.say("get", seq, "->", m["subject"], base64.b64decode(m.get("hdrs", "")), base64.b64decode(m.get("data", "")))


def ttl_config(r):
    s = 1000000000
    for cfg in ({"subject_delete_marker_ttl": s - 1}, {"subject_delete_marker_ttl": -5},
                {"subject_delete_marker_ttl": s, "pedantic": True},
                {"subject_delete_marker_ttl": s, "pedantic": True, "allow_msg_ttl": True},
                {"subject_delete_marker_ttl": s, "pedantic": True, "allow_msg_ttl": True, "allow_rollup_hdrs": True},
                {"subject_delete_marker_ttl": s, "allow_rollup_hdrs": True, "deny_purge": True},
                {"subject_delete_marker_ttl": s, "allow_rollup_hdrs": True, "deny_purge": True, "pedantic": True},
                {"subject_delete_marker_ttl": s, "deny_purge": True}, {"subject_delete_marker_ttl": s * 3 // 2}):
        config(r, "CREATE", "E", **cfg)
        r.api("STREAM.DELETE.E", quiet=True)
    config(r, "CREATE", "E")
    for cfg in ({"allow_msg_ttl": True}, {}, {"allow_msg_ttl": True, "subject_delete_marker_ttl": 2 * s},
                {"allow_msg_ttl": True, "allow_rollup_hdrs": True}, {"allow_msg_ttl": True, "deny_purge": True},
                {"allow_msg_ttl": True, "deny_purge": True, "subject_delete_marker_ttl": 2 * s}):
        config(r, "UPDATE", "E", **cfg)
    r.api("STREAM.DELETE.E", quiet=True)


def ttl(r):
    """Nats-TTL: which values are taken, what is stored, what goes when, and which markers are left."""
    ttl_config(r)
    r.stream("A")
    for v in ("0", "1", "999ms", "x", "never"):
        r.pub("a.x", hdr={"Nats-TTL": v})
    r.stream("B", allow_msg_ttl=True)
    for v in ("0", "1", "1s", "999ms", "1.5s", "never", "NEVER", "Never", "x", "-1", "-1s", "1h30m", "9223372036", "0s",
              "+5", "1d", "5 ", "+5s", ".5m", "1.s", "2000000us", "1e9", "2h45m30.5s", "1h 30m"):
        r.pub("b.x", hdr={"Nats-TTL": v})
    r.stream("C", allow_msg_ttl=True, subject_delete_marker_ttl=5500000000)
    for i, v in enumerate(("1", "7", "3s", "never", "6s")):
        r.pub("c.x", hdr={"Nats-TTL": v, "Foo": "bar"})
        stored(r, "C", i + 1)
    # one message of each subject: the last one of a subject leaves a marker, once
    r.stream("G", allow_msg_ttl=True, subject_delete_marker_ttl=1000000000, max_msgs_per_subject=1)
    r.consumer("G", "w", durable_name=None, ack_policy="none", deliver_subject="watch")
    r.stream("L", allow_msg_ttl=True, subject_delete_marker_ttl=1000000000)
    r.stream("K", allow_msg_ttl=True, max_age=1000000000)
    r.stream("I", allow_msg_ttl=True, retention="interest", subject_delete_marker_ttl=1000000000)
    sid = r.c.sub("watch")
    for i, h in enumerate(({}, {"KV-Operation": "PURGE"}, {"Nats-Marker-Reason": "Foo"})):
        r.c.request("g.%d" % i, "x", dict(h, **{"Nats-TTL": "1"}))
    for subject, v in (("l.old", None), ("l.old", "1"), ("l.new", "1"), ("l.new", None)):
        r.c.request(subject, "x", {"Nats-TTL": v} if v else None)
    for v in ("never", "10", None):
        r.c.request("k.a", "x", {"Nats-TTL": v} if v else None)
    r.c.request("i.a", "x", {"Nats-TTL": "1"})
    r.drain(sid, 2.4, 4)
    r.drain(sid, 0.4, 1)
    for seq in (1, 2, 3, 4):
        stored(r, "G", seq)
        stored(r, "L", seq)
        stored(r, "K", seq)
    # the marker itself goes and leaves none
    r.drain(sid, 1.3, 1)
    for seq in (4, 5):
        stored(r, "G", seq)
    for name in "ABCGLKI":
        r.api("STREAM.DELETE." + name, quiet=True)


ALL = [ttl]
