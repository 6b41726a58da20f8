package main

import "fmt"

// A theme bends a script towards one feature: how its first streams are set up, and steps that only make sense there.
type theme struct {
	name    string
	streams []obj
	step    func(*gen)
}

var themes = []theme{
	{"batch", []obj{{"name": "S0", "subjects": []string{"s0.>"}, "allow_atomic": true}}, (*gen).batchPublish},
	{"counter", []obj{{"name": "S0", "subjects": []string{"s0.>"}, "allow_msg_counter": true, "allow_direct": true}}, (*gen).countUp},
	{"ttl", []obj{{"name": "S0", "subjects": []string{"s0.>"}, "allow_msg_ttl": true, "allow_rollup_hdrs": true,
		"subject_delete_marker_ttl": 10 * second}}, (*gen).shortLived},
	{"mirror", []obj{{"name": "S0", "subjects": []string{"s0.>"}}, {"name": "S1", "mirror": obj{"name": "S0"}}}, (*gen).follow},
	{"source", []obj{{"name": "S0", "subjects": []string{"s0.>"}},
		{"name": "S1", "subjects": []string{"s1.>"}, "sources": []obj{{"name": "S0", "filter_subject": "s0.a"}}}}, (*gen).follow},
	{"transform", []obj{{"name": "S0", "subjects": []string{"s0.>"}, "subject_transform": obj{"src": "s0.*", "dest": "s0.t.{{wildcard(1)}}"},
		"republish": obj{"src": ">", "dest": "rep.>"}, "allow_direct": true}}, (*gen).listen},
	{"schedule", []obj{{"name": "S0", "subjects": []string{"s0.>"}, "allow_msg_schedules": true, "allow_msg_ttl": true, "allow_rollup_hdrs": true}},
		(*gen).schedule},
	{"priority", []obj{{"name": "S0", "subjects": []string{"s0.>"}}}, (*gen).grouped},
	{"pause", []obj{{"name": "S0", "subjects": []string{"s0.>"}, "retention": "interest"}}, (*gen).pauseReset},
}

// setTheme makes the theme's streams; two scripts in three have none.
func (g *gen) setTheme() {
	if !g.chance(33) {
		g.streamCreate()
		return
	}
	all := append(append([]theme(nil), themes...), clientThemes...)
	g.theme = &all[g.r.IntN(len(all))]
	for _, cfg := range g.theme.streams {
		name := cfg["name"].(string)
		c := obj{}
		for k, v := range cfg {
			c[k] = v
		}
		if g.chance(40) {
			c["storage"] = "memory"
		}
		g.streams[name] = c
		g.api("STREAM.CREATE."+name, js(c))
	}
}

func (g *gen) batchPublish() {
	g.batches++
	id := fmt.Sprint("batch", g.batches)
	n := 1 + g.r.IntN(5)
	for i := 1; i <= n; i++ {
		kv := []string{"Nats-Batch-Id", id, "Nats-Batch-Sequence", fmt.Sprint(i)}
		if g.chance(4) {
			kv[3] = pick(g, fmt.Sprint(i+1), "0", "x")
		}
		if i == n && g.chance(85) {
			kv = append(kv, "Nats-Batch-Commit", pick(g, "1", "1", "1", "eob", "0", "x"))
		}
		if g.chance(15) {
			k, v := g.pubHeader("S0")
			kv = append(kv, k, v)
		}
		g.add(step{op: "pub", subject: g.subject("S0"), hdr: header(kv...), body: g.payload()})
	}
}

func (g *gen) countUp() {
	value := pick(g, "1", "+5", "-3", "0", "99999999999999999999", "x", "", "1.5")
	g.add(step{op: "pub", subject: g.subject("S0"), hdr: header("Nats-Incr", value), body: pick(g, "", "", "", "", "body")})
	if g.chance(20) {
		g.api("STREAM.MSG.GET.S0", js(obj{"last_by_subj": g.subject("S0")}))
	}
}

func (g *gen) shortLived() {
	kv := []string{"Nats-TTL", pick(g, "1", "1s", "1h", "never", "0", "x", "999ms", "-1", "1m30s", "100000h")}
	if g.chance(20) {
		kv = append(kv, "Nats-Rollup", "sub")
	}
	g.add(step{op: "pub", subject: g.subject("S0"), hdr: header(kv...), body: g.payload()})
	if g.chance(5) {
		g.add(step{op: "sleep", n: 2600})
		g.api("STREAM.INFO.S0", `{"subjects_filter":">","deleted_details":true}`)
	}
}

// follow publishes to the origin and looks at the copy when it has had time to come.
func (g *gen) follow() {
	for range 1 + g.r.IntN(3) {
		g.add(step{op: "pub", subject: g.subject("S0"), body: g.payload()})
	}
	g.add(step{op: "sleep", n: 250})
	switch g.r.IntN(5) {
	case 0:
		g.api("STREAM.INFO.S1", `{"subjects_filter":">"}`)
	case 1:
		g.api("STREAM.MSG.GET.S1", js(obj{"seq": 1 + g.r.IntN(5)}))
	case 2:
		g.api("STREAM.MSG.GET.S1", js(obj{"last_by_subj": g.subject("S0")}))
	case 3:
		g.add(step{op: "pub", subject: g.subject("S1"), body: g.payload()})
	case 4:
		g.api("STREAM.INFO.S0", "")
	}
}

func (g *gen) listen() {
	if g.chance(30) {
		g.add(step{op: "sub", subject: "rep.>", n: 7})
	}
	g.add(step{op: "pub", subject: g.subject("S0"), body: g.payload()})
	g.add(step{op: "collect"})
	if g.chance(20) {
		b := "s0"
		g.api("STREAM.UPDATE.S0", g.body(obj{"name": "S0", "subjects": []string{"s0.>"}, "allow_direct": true, "subject_transform": pick[any](g,
			obj{"src": b + ".*.*", "dest": b + ".{{wildcard(2)}}.$1"}, obj{"src": b + ".>", "dest": "q.>"}, obj{"src": b + ".*", "dest": b + ".{{partition(3,1)}}"},
			obj{"src": b + ".*", "dest": b + ".{{split(1,-)}}"}, obj{"src": b + ".*", "dest": b + ".{{left(1,1)}}"}, obj{"src": b + ".*", "dest": b + ".{{slicefromleft(1,2)}}"}, nil)}))
	}
}

func (g *gen) schedule() {
	kv := []string{"Nats-Schedule", pick(g, "@at 2040-01-01T00:00:00Z", "@every 1h", "@hourly", "0 0 0 1 1 *", "x", "@every 1ms", "@at x", "@daily", "* * *", "@at 2041-01-01T00:00:00Z")} // a past time fires at a moment of its own
	if g.chance(90) {
		kv = append(kv, "Nats-Schedule-Target", pick(g, "s0.target", "s0.target", "x.y", "s0.*", ""))
	}
	if g.chance(25) {
		kv = append(kv, pick(g, "Nats-Schedule-TTL", "Nats-Schedule-Source", "Nats-Schedule-Rollup", "Nats-Schedule-Time-Zone", "Nats-Schedule-Next"),
			pick(g, "5m", "never", "x", "s0.a", "sub", "all", "Europe/Berlin", "purge"))
	}
	g.add(step{op: "pub", subject: "s0." + pick(g, "sched1", "sched2"), hdr: header(kv...), body: g.payload()})
	if g.chance(20) {
		g.add(step{op: "sleep", n: 300})
		g.api("STREAM.INFO.S0", `{"subjects_filter":">"}`)
	}
}

func (g *gen) grouped() {
	if g.consumers["S0 C0"] == nil || g.chance(5) {
		cfg := obj{"name": "C0", "durable_name": "C0", "ack_policy": "explicit", "priority_groups": []string{"g"},
			"priority_policy": pick(g, "overflow", "prioritized", "overflow")}
		if g.consumers["S0 C0"] == nil {
			g.consumers["S0 C0"] = cfg
		}
		g.api("CONSUMER.CREATE.S0.C0", js(obj{"stream_name": "S0", "config": cfg}))
		return
	}
	n := 1 + g.r.IntN(3)
	o := obj{"batch": n, "no_wait": true, "group": pick(g, "g", "g", "g", "g", "h", "")}
	switch g.r.IntN(4) {
	case 0:
		o["min_pending"] = pick(g, 1, 3, 10, 100)
	case 1:
		o["min_ack_pending"] = pick(g, 1, 2, 5)
	case 2:
		o["priority"] = pick(g, 0, 5, 9, 10)
	}
	if g.chance(20) {
		delete(o, "no_wait")
		o["expires"] = 50000000
	}
	g.add(step{op: "pull", subject: api + "CONSUMER.MSG.NEXT.S0.C0", body: js(o), n: n})
	g.delivered += n
}

func (g *gen) pauseReset() {
	if g.consumers["S0 C0"] == nil {
		cfg := obj{"name": "C0", "durable_name": "C0", "ack_policy": "explicit"}
		g.consumers["S0 C0"] = cfg
		g.api("CONSUMER.CREATE.S0.C0", js(obj{"stream_name": "S0", "config": cfg}))
		return
	}
	switch g.r.IntN(4) {
	case 0:
		g.api("CONSUMER.PAUSE.S0.C0", `{"pause_until":"2040-01-01T00:00:00Z"}`)
		g.pull()
		g.api("CONSUMER.PAUSE.S0.C0", pick(g, "", "{}", `{"pause_until":"2020-01-01T00:00:00Z"}`))
	case 1:
		g.api("CONSUMER.RESET.S0.C0", pick(g, "", "{}", `{"seq":1}`))
	case 2:
		g.burst()
	case 3:
		g.add(step{op: "pull", subject: api + "CONSUMER.MSG.NEXT.S0.C0", body: `{"batch":2,"no_wait":true}`, n: 2})
		g.delivered += 2
		g.api("CONSUMER.INFO.S0.C0", "")
	}
}

func (g *gen) themed() {
	if g.theme != nil {
		g.theme.step(g)
		return
	}
	g.publish()
}
