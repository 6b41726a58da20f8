package main

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"strings"
)

// gen makes a script: a random walk that mostly does what is sensible for what it has made so far, and now and then what is not.
type gen struct {
	r         *rand.Rand
	steps     []step
	streams   map[string]obj // config last sent, by name
	consumers map[string]obj // by "stream consumer"
	delivered int
	naked     bool // a message waits for its redelivery
	msgIDs    int
	subs      int
	batches   int
	theme     *theme // nil: none
}

type obj = map[string]any

func generate(r *rand.Rand, steps int) []step {
	g := &gen{r: r, streams: map[string]obj{}, consumers: map[string]obj{}}
	g.setTheme()
	for len(g.steps) < steps {
		g.next()
	}
	g.add(step{op: "collect"})
	for _, s := range []string{"S0", "S1", "S2"} {
		if g.streams[s] != nil {
			g.api("STREAM.INFO."+s, `{"subjects_filter":">","deleted_details":true}`)
			g.api("CONSUMER.LIST."+s, "")
		}
	}
	return g.steps
}

func (g *gen) add(s step) {
	// a copy has time to come before it is looked at
	if g.theme != nil && len(g.theme.streams) > 1 && strings.Contains(s.subject, "S1") && (len(g.steps) == 0 || g.steps[len(g.steps)-1].op != "sleep") {
		g.steps = append(g.steps, step{op: "sleep", n: 200})
	}
	g.steps = append(g.steps, s)
}

func (g *gen) api(what, body string)   { g.add(step{op: "api", subject: api + what, body: body}) }
func (g *gen) chance(percent int) bool { return g.r.IntN(100) < percent }

func pick[T any](g *gen, from ...T) T { return from[g.r.IntN(len(from))] }

func js(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (g *gen) next() {
	type way struct {
		weight int
		do     func()
	}
	ways := []way{
		{4, g.streamCreate}, {5, g.streamUpdate}, {6, g.streamInfo}, {2, g.streamLists}, {1, g.streamDelete}, {3, g.purge},
		{3, g.msgDelete}, {6, g.msgGet}, {8, g.directGet}, {25, g.publish}, {6, g.burst}, {8, g.consumerCreate},
		{3, g.consumerUpdate}, {5, g.consumerInfo}, {2, g.consumerLists}, {1, g.consumerDelete}, {16, g.pull}, {3, g.openPull},
		{16, g.ack}, {3, g.push}, {2, func() { g.add(step{op: "collect"}) }}, {1, g.account}, {2, g.odd}, {2, g.rare},
		{g.themeWeight(), g.themed},
	}
	if g.theme != nil && g.steps != nil && (g.theme.name == "mirror" || g.theme.name == "source") { // what is done to the origin later is its own
		ways = ways[2:]
	}
	total := 0
	for _, w := range ways {
		total += w.weight
	}
	n := g.r.IntN(total)
	for _, w := range ways {
		if n -= w.weight; n < 0 {
			w.do()
			return
		}
	}
}

func (g *gen) themeWeight() int {
	if g.theme == nil {
		return 0
	}
	return 60
}

// stream names one that is there, mostly.
func (g *gen) stream() string {
	names := []string{}
	for _, s := range []string{"S0", "S1", "S2"} {
		if g.streams[s] != nil {
			names = append(names, s)
		}
	}
	if g.chance(96) && len(names) > 0 {
		return pick(g, names...)
	}
	return pick(g, "S0", "S1", "S2", "NONE")
}

func (g *gen) consumer(stream string) string {
	var names []string
	for _, c := range []string{"C0", "C1", "C2"} {
		if g.consumers[stream+" "+c] != nil {
			names = append(names, c)
		}
	}
	if g.chance(4) || len(names) == 0 {
		return pick(g, "C0", "C1", "C2", "NONE")
	}
	if g.chance(5) {
		return "{E1}"
	}
	return pick(g, names...)
}

func base(stream string) string { return strings.ToLower(stream) }

func (g *gen) subject(stream string) string {
	return base(stream) + "." + pick(g, "a", "b", "c", "d", "a.b", "a.c")
}

// body makes JSON of a request, and now and then breaks it.
func (g *gen) body(o obj) string {
	s := js(o)
	switch g.r.IntN(150) {
	case 0:
		return s[:g.r.IntN(len(s))]
	case 1:
		return s + pick(g, "x", " ", "{}", "\x00", "\n")
	case 2: // a value of another type
		keys := sortedKeys(o)
		if len(keys) > 0 {
			c := obj{}
			for k, v := range o {
				c[k] = v
			}
			c[pick(g, keys...)] = pick[any](g, "text", 1, -1, 1.5, true, nil, []any{}, []any{1}, obj{}, obj{"a": 1}, "")
			return js(c)
		}
	case 3:
		return strings.Replace(s, "{", `{"no_such_field":1,`, 1)
	case 4:
		return pick(g, "", "null", "[]", "5", `"x"`, "true", "{}", "{", " ")
	case 5:
		return strings.Replace(s, `:`, ` : `, -1)
	case 6: // another case of letters
		keys := sortedKeys(o)
		if len(keys) > 0 {
			k := pick(g, keys...)
			return strings.Replace(s, `"`+k+`"`, `"`+strings.ToUpper(k)+`"`, 1)
		}
	}
	return s
}

// --- streams ----------------------------------------------------------------------------------------------------------

const second = 1000000000

// streamValues are values to try for each field of a stream's config, the usual ones more often.
func (g *gen) streamField(name string, cfg obj) {
	switch g.r.IntN(34) {
	case 0, 1:
		cfg["retention"] = pick(g, "limits", "interest", "workqueue", "interest", "workqueue", "none")
	case 2, 3:
		cfg["max_msgs"] = pick(g, 5, 10, 3, 1, 0, -1, -2, 1000)
	case 4:
		cfg["max_bytes"] = pick(g, 500, 1000, 100, 0, -1, -5, 1<<20)
	case 5:
		cfg["max_msgs_per_subject"] = pick(g, 1, 2, 3, 0, -1, -3)
	case 6:
		cfg["max_age"] = pick(g, 3600*second, 600*second, 0, -1, 5, 150*second)
	case 7:
		cfg["max_msg_size"] = pick(g, 100, 20, 1, 0, -1, -7)
	case 8, 9:
		cfg["storage"] = pick(g, "memory", "memory", "file", "none")
	case 10, 11:
		cfg["discard"] = pick(g, "new", "new", "old", "x")
	case 12:
		cfg["discard_new_per_subject"] = pick(g, true, true, false)
	case 13:
		cfg["no_ack"] = pick(g, true, false, false)
	case 14:
		cfg["duplicate_window"] = pick(g, 60*second, 120*second, 0, -1, 5, 100000000, 3600*second)
	case 15:
		cfg["max_consumers"] = pick(g, 1, 2, 0, -1, 5)
	case 16:
		cfg["num_replicas"] = pick(g, 1, 1, 0, 3, -1, 6)
	case 17:
		cfg["description"] = pick(g, "a stream", "", "<&>é\u2028", strings.Repeat("x", 4096), strings.Repeat("y", 4097))
	case 18:
		cfg["deny_delete"] = g.chance(70)
	case 19:
		cfg["deny_purge"] = g.chance(70)
	case 20:
		cfg["allow_rollup_hdrs"] = g.chance(80)
	case 21, 22:
		cfg["allow_direct"] = g.chance(80)
	case 23:
		cfg["mirror_direct"] = g.chance(60)
	case 24:
		cfg["compression"] = pick(g, "s2", "none", "zip")
	case 25:
		cfg["first_seq"] = pick(g, 1, 10, 1000, 0)
	case 26:
		cfg["metadata"] = pick[any](g, obj{"a": "1"}, obj{"b": "2", "a": "<&>"}, obj{}, nil, obj{"_nats.x": "1"}, obj{"big": strings.Repeat("m", 129*1024)})
	case 27:
		cfg["consumer_limits"] = pick[any](g, obj{"max_ack_pending": 10}, obj{"inactive_threshold": 60 * second}, obj{},
			obj{"max_ack_pending": 5, "inactive_threshold": 10 * second}, obj{"max_ack_pending": -1}, nil)
	case 28:
		cfg["allow_msg_ttl"] = g.chance(80)
	case 29:
		cfg["sealed"] = g.chance(50)
	case 30:
		cfg["persist_mode"] = pick(g, "async", "default", "x")
	case 31:
		cfg["subjects"] = pick[any](g, []string{base(name) + ".*"}, []string{base(name) + ".a", base(name) + ".b"}, []string{base(name) + ".>", "x.>"},
			[]string{"s0.>"}, []string{">"}, []string{"*"}, []string{base(name) + ".>", base(name) + ".a"}, []string{}, nil, []string{"a..b"},
			[]string{"$JS.x"}, []string{"$SYS.x"}, []string{"has space"}, []string{base(name) + ".>", base(name) + ".>"}, []string{""}, []string{"a.*.b", "a.b.*"})
	case 32, 33:
		g.streamFieldRare(name, cfg)
	}
}

func (g *gen) streamFieldRare(name string, cfg obj) {
	b := base(name)
	switch g.r.IntN(12) {
	case 0:
		// of streams that are not there: when a copy comes is nobody's to say, so scripts that copy have a theme of their own
		cfg["mirror"] = pick[any](g, obj{"name": "NONE"}, obj{"name": name}, obj{"name": "NONE", "filter_subject": "s1.a"}, obj{}, nil,
			obj{"name": "NONE", "opt_start_seq": 5}, obj{"name": "NONE", "opt_start_time": "2020-01-01T00:00:00Z"}, obj{"name": "a b"})
		if g.chance(80) {
			delete(cfg, "subjects")
		}
	case 1:
		cfg["sources"] = pick[any](g, []obj{{"name": "NONE"}}, []obj{{"name": "NONE", "filter_subject": "s1.a"}}, []obj{{"name": "NONE", "opt_start_seq": 3}},
			[]obj{{"name": "NONE"}, {"name": "NONE"}}, []obj{{"name": name}}, []obj{}, []obj{{"name": "a.b"}}, nil)
	case 2:
		cfg["republish"] = pick[any](g, obj{"src": b + ".>", "dest": "rep.>"}, obj{"src": b + ".a", "dest": "rep.a", "headers_only": true},
			obj{"dest": "rep.>"}, obj{"src": ">", "dest": b + ".>"}, obj{"src": b + ".*", "dest": "rep.>"})
	case 3:
		cfg["subject_transform"] = pick[any](g, obj{"src": b + ".*", "dest": b + ".x.{{wildcard(1)}}"}, obj{"src": ">", "dest": "tr.>"},
			obj{"src": b + ".>", "dest": "bad.{{nope(1)}}"}, obj{"src": "", "dest": ""}, obj{"src": "a..b", "dest": "c"})
	case 4:
		cfg["placement"] = pick[any](g, obj{"cluster": "c"}, obj{"tags": []string{"t"}}, obj{})
	case 5:
		cfg["subject_delete_marker_ttl"] = pick(g, 10*second, 0, 5, -1, 60*second)
	case 6:
		cfg["allow_msg_counter"] = g.chance(80)
	case 7:
		cfg["allow_atomic"] = g.chance(80)
	case 8:
		cfg["allow_msg_schedules"] = g.chance(80)
	case 9:
		cfg["allow_batched"] = g.chance(80)
	case 10:
		cfg["template_owner"] = "x"
	case 11:
		cfg["name"] = pick(g, "S1", "a.b", "", "a b", "x/y", strings.Repeat("n", 256), "é", "a>", "a*")
	}
}

func (g *gen) streamCreate() {
	name := pick(g, "S0", "S0", "S1", "S2")
	if g.streams[name] != nil && g.chance(70) {
		name = pick(g, "S1", "S2")
	}
	cfg := obj{"name": name, "subjects": []string{base(name) + ".>"}}
	if g.chance(40) {
		cfg["storage"] = "memory"
	}
	if g.chance(50) {
		cfg["allow_direct"] = true
	}
	if g.chance(15) {
		cfg["retention"] = pick(g, "interest", "workqueue")
	}
	for range g.r.IntN(5) {
		g.streamField(name, cfg)
	}
	if g.chance(4) {
		cfg["pedantic"] = true
	}
	if cfg["storage"] == "memory" { // what a message of a memory stream counts is known to differ
		delete(cfg, "max_bytes")
	}
	if g.streams[name] != nil && g.chance(50) {
		cfg = g.streams[name] // the same again
	}
	subject := name
	if g.chance(2) {
		subject = pick(g, "S1", "x>y", strings.Repeat("n", 256), "a/b", "*", "S1.S2")
	}
	if g.streams[name] == nil {
		g.streams[name] = cfg
	}
	g.api("STREAM.CREATE."+subject, g.body(cfg))
}

func (g *gen) streamUpdate() {
	name := g.stream()
	cfg := obj{}
	for k, v := range g.streams[name] {
		cfg[k] = v
	}
	if len(cfg) == 0 {
		cfg["name"] = name
	}
	for range 1 + g.r.IntN(2) {
		g.streamField(name, cfg)
	}
	if g.chance(20) && len(cfg) > 2 {
		delete(cfg, pick(g, sortedKeys(cfg)...))
	}
	if g.chance(5) {
		cfg["pedantic"] = true
	}
	if cfg["storage"] == "memory" {
		delete(cfg, "max_bytes")
	}
	g.api("STREAM.UPDATE."+name, g.body(cfg))
	if g.chance(50) && g.streams[name] != nil {
		g.streams[name] = cfg
	}
}

func (g *gen) streamInfo() {
	body := ""
	if g.chance(60) {
		o := obj{}
		if g.chance(60) {
			o["subjects_filter"] = pick(g, ">", "*.a", "s0.*", "s0.a", "x", "", "a..b")
		}
		if g.chance(50) {
			o["deleted_details"] = true
		}
		if g.chance(15) {
			o["offset"] = pick(g, 0, 1, 2, 100, -1)
		}
		body = g.body(o)
	}
	g.api("STREAM.INFO."+g.stream(), body)
}

func (g *gen) streamLists() {
	o := obj{}
	if g.chance(40) {
		o["offset"] = pick(g, 0, 1, 2, 100, -1)
	}
	if g.chance(50) {
		o["subject"] = pick(g, "s0.a", "s0.>", "s1.*", "x", ">", "", "a..b")
	}
	g.api(pick(g, "STREAM.NAMES", "STREAM.LIST"), pick(g, g.body(o), g.body(o), ""))
}

func (g *gen) streamDelete() {
	s := g.stream()
	delete(g.streams, s)
	for _, c := range []string{"C0", "C1", "C2"} {
		delete(g.consumers, s+" "+c)
	}
	g.api("STREAM.DELETE."+s, pick(g, "", "", "", "{}", "x"))
}

func (g *gen) purge() {
	s := g.stream()
	o := obj{}
	if g.chance(70) { // after a NAK theirs forgets what waits for redelivery, until ack_wait is over
		o["filter"] = pick(g, g.subject(s), base(s)+".*", base(s)+".>", ">", "", "x.y", "*")
	}
	if g.naked {
		g.api("STREAM.PURGE."+s, "")
		return
	}
	if g.chance(40) {
		o["keep"] = pick(g, 0, 1, 2, 5)
	} else if g.chance(40) {
		o["seq"] = pick(g, 0, 1, 1+g.msgIDs/4, 1+g.msgIDs/4, 50)
	}
	if g.chance(5) {
		o["seq"], o["keep"] = 1, 1
	}
	g.api("STREAM.PURGE."+s, pick(g, g.body(o), g.body(o), g.body(o), ""))
}

func (g *gen) seq() int { return pick(g, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 0, 100) }

func (g *gen) msgDelete() {
	o := obj{"seq": g.seq()}
	if g.chance(40) {
		o["no_erase"] = g.chance(70)
	}
	g.api("STREAM.MSG.DELETE."+g.stream(), g.body(o))
}

func (g *gen) getBody(s string) obj {
	o := obj{}
	switch g.r.IntN(6) {
	case 0, 1:
		o["seq"] = g.seq()
	case 2:
		o["last_by_subj"] = pick(g, g.subject(s), base(s)+".*", base(s)+".>", "x.y", "")
	case 3, 4:
		o["next_by_subj"] = pick(g, g.subject(s), base(s)+".*", ">", "x.y", "")
		o["seq"] = g.seq()
	case 5:
		o["seq"], o["last_by_subj"] = g.seq(), g.subject(s)
	}
	if g.chance(8) {
		o["no_hdr"] = true
	}
	return o
}

func (g *gen) msgGet() {
	s := g.stream()
	o := g.getBody(s)
	if g.chance(3) {
		o[pick(g, "batch", "max_bytes", "up_to_seq")] = 2
	}
	g.api("STREAM.MSG.GET."+s, g.body(o))
}

func (g *gen) directGet() {
	s := g.stream()
	switch g.r.IntN(8) {
	case 0, 1:
		g.api("DIRECT.GET."+s+"."+pick(g, g.subject(s), base(s)+".*", "x.y", base(s)+".>"), pick(g, "", "", "{}"))
	case 2, 3: // batch: ends with 204, so it is a pull
		o := g.getBody(s)
		if g.chance(40) {
			o = obj{"multi_last": pick(g, []string{base(s) + ".>"}, []string{base(s) + ".a", base(s) + ".b"}, []string{"x"}, []string{})}
		}
		if g.chance(70) {
			o["batch"] = pick(g, 1, 2, 5, 100)
		}
		if g.chance(20) {
			o["max_bytes"] = pick(g, 1, 50, 200, 10000)
		}
		if g.chance(20) {
			o["up_to_seq"] = g.seq()
		}
		g.add(step{op: "pull", subject: api + "DIRECT.GET." + s, body: g.body(o), n: 1000})
	default:
		g.api("DIRECT.GET."+s, g.body(g.getBody(s)))
	}
}

// --- publish -----------------------------------------------------------------------------------------------------------

func header(kv ...string) string {
	var b strings.Builder
	b.WriteString("NATS/1.0\r\n")
	for i := 0; i < len(kv); i += 2 {
		b.WriteString(kv[i] + ": " + kv[i+1] + "\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}

func (g *gen) publish() {
	s := g.stream()
	st := step{op: "pub", subject: g.subject(s), body: g.payload()}
	if g.chance(40) {
		var kv []string
		for range 1 + g.r.IntN(2) {
			k, v := g.pubHeader(s)
			kv = append(kv, k, v)
			if g.chance(3) { // the first counts
				kv = append(kv, k, pick(g, "", "1", "other"))
			}
		}
		st.hdr = header(kv...)
	}
	if g.chance(2) {
		st.subject = pick(g, "nobody.x", "x.y", "s0")
	}
	g.add(st)
}

func (g *gen) payload() string {
	g.msgIDs++
	return pick(g, "", "m", strings.Repeat("z", 30), strings.Repeat("y", 150), "", "hello") + strconv.Itoa(g.msgIDs)
}

func (g *gen) pubHeader(s string) (string, string) {
	n := strconv.Itoa(g.seq())
	switch g.r.IntN(26) {
	case 0, 1, 2:
		return "Nats-Msg-Id", pick(g, "i1", "i2", "i3", "i4", "", " ", strings.Repeat("i", 300))
	case 3, 4:
		return "Nats-Expected-Last-Sequence", pick(g, n, n, n, "0", "x", "-1", "")
	case 5, 6:
		return "Nats-Expected-Last-Subject-Sequence", pick(g, n, n, "0", "0", "x", "")
	case 7:
		return "Nats-Expected-Last-Msg-Id", pick(g, "i1", "i2", "nope", "")
	case 8:
		return "Nats-Expected-Stream", pick(g, s, s, "OTHER", "")
	case 9:
		return "Nats-Expected-Last-Subject-Sequence-Subject", pick(g, g.subject(s), base(s)+".>", "x", "")
	case 10, 11:
		return "Nats-Rollup", pick(g, "sub", "all", "SUB", "x", "")
	case 12:
		return "Nats-TTL", pick(g, "5", "1h", "never", "0", "x", "500ms", "-1", "100000")
	case 13:
		return "Nats-Incr", pick(g, "1", "+5", "-3", "x", "0", "99999999999999999999")
	case 14:
		return "Nats-Batch-Id", pick(g, "b1", "b2", strings.Repeat("b", 65))
	case 15:
		return "Nats-Batch-Sequence", pick(g, "1", "2", "x")
	case 16:
		return "Nats-Batch-Commit", pick(g, "1", "0", "eob")
	case 17:
		return "Nats-Schedule", pick(g, "@at 2040-01-01T00:00:00Z", "@every 1h", "x", "@at x", "0 0 0 1 1 *")
	case 18:
		return "Nats-Schedule-Target", pick(g, g.subject(s), "x", ">")
	case 19:
		return "Nats-Required-Api-Level", pick(g, "0", "1", "2", "3", "4", "9", "x")
	case 20:
		return "Nats-Scheduler", "x"
	case 21:
		return "Nats-Schedule-Next", pick(g, "purge", "x")
	}
	return pick(g, "X-A", "x-b", "Nats-Unknown", "KV-Operation"), pick(g, "v", "", "two words", "é")
}

// burst is a run of plain publishes.
func (g *gen) burst() {
	s := g.stream()
	for range 2 + g.r.IntN(5) {
		g.add(step{op: "pub", subject: g.subject(s), body: g.payload()})
	}
}

// --- consumers ---------------------------------------------------------------------------------------------------------

func (g *gen) consumerField(s string, cfg obj) {
	b := base(s)
	switch g.r.IntN(32) {
	case 0, 1:
		cfg["ack_policy"] = pick(g, "none", "all", "explicit", "explicit", "x", "flow_control")
	case 2, 3, 4:
		cfg["deliver_policy"] = pick(g, "all", "last", "new", "by_start_sequence", "by_start_time", "last_per_subject", "x")
		switch cfg["deliver_policy"] {
		case "by_start_sequence":
			cfg["opt_start_seq"] = pick(g, 0, 1, 1, 1+g.msgIDs/8, 1000) // none that messages reach later
		case "by_start_time":
			cfg["opt_start_time"] = pick(g, "2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z", "x", "2020-01-01T00:00:00.123456789+02:00")
		}
	case 5, 6, 7:
		cfg["filter_subject"] = pick(g, g.subject(s), b+".*", b+".>", "x.y", ">", "", "a..b", g.subject(s))
	case 8, 9:
		cfg["filter_subjects"] = pick[any](g, []string{b + ".a", b + ".b"}, []string{b + ".a"}, []string{b + ".>", b + ".a"}, []string{""},
			[]string{b + ".a", b + ".a"}, []string{}, []string{"x", b + ".a"}, []string{b + ".*", b + ".a.*"})
	case 10:
		cfg["ack_wait"] = pick(g, 30*second, 60*second, 0, -1)
	case 11:
		cfg["max_deliver"] = pick(g, 1, 2, 5, 0, -1, -2)
	case 12:
		cfg["max_ack_pending"] = pick(g, 1, 2, 3, 10, 0, -1, 2000)
	case 13:
		cfg["max_waiting"] = pick(g, 1, 2, 10, 0, -1)
	case 14:
		cfg["max_batch"] = pick(g, 1, 2, 10, 0, -1)
	case 15:
		cfg["max_expires"] = pick(g, 60*second, 10000000, 1, 0, -1)
	case 16:
		cfg["max_bytes"] = pick(g, 100, 50, 1000, 0, -1)
	case 17:
		cfg["inactive_threshold"] = pick(g, 60*second, 3600*second, 0, -1)
	case 18:
		cfg["backoff"] = pick[any](g, []int{60 * second}, []int{30 * second, 60 * second}, []int{}, []int{-1}, nil)
		if g.chance(60) {
			cfg["max_deliver"] = 5
		}
	case 19:
		cfg["headers_only"] = g.chance(80)
	case 20:
		cfg["num_replicas"] = pick(g, 0, 1, 3, -1)
	case 21:
		cfg["mem_storage"] = g.chance(80)
	case 22:
		cfg["metadata"] = pick[any](g, obj{"a": "1"}, obj{"z": "1", "b": "2"}, obj{}, nil)
	case 23:
		cfg["description"] = pick(g, "a consumer", "<&>é", strings.Repeat("y", 4097))
	case 24:
		cfg["replay_policy"] = pick(g, "instant", "instant", "original", "x")
	case 25, 26:
		cfg["deliver_subject"] = pick(g, "dlv.1", "dlv.2", "dlv.1", b+".x", "dlv.*", "a..b", "")
		if g.chance(30) {
			cfg["deliver_group"] = pick(g, "q", "a b", "")
		}
		if g.chance(30) {
			cfg["idle_heartbeat"] = pick(g, 10*second, 5, 100000000, -1)
		}
		if g.chance(20) {
			cfg["flow_control"] = true
		}
	case 27:
		cfg["idle_heartbeat"] = pick(g, second, 5)
	case 28:
		cfg["flow_control"] = true
	case 29:
		cfg["rate_limit_bps"] = pick(g, 1000000, 0)
	case 30:
		cfg["sample_freq"] = pick(g, "100", "50%", "x", "", "0", "-1", "101")
	case 31:
		switch g.r.IntN(5) {
		case 0:
			cfg["pause_until"] = pick(g, "2040-01-01T00:00:00Z", "2020-01-01T00:00:00Z", "x")
		case 1:
			cfg["priority_policy"] = pick(g, "overflow", "pinned_client", "prioritized", "none", "x")
			cfg["priority_groups"] = pick(g, []string{"g"}, []string{"g"}, []string{}, []string{""}, []string{"bad group name!!"}, []string{"g", "h"})
			if g.chance(30) {
				cfg["priority_timeout"] = pick(g, 60*second, -1)
			}
		case 2:
			cfg["direct"] = true
		case 3:
			cfg["sourcing"] = true
		case 4:
			cfg["priority_groups"] = []string{"g"}
		}
	}
}

func (g *gen) consumerCreate() {
	s := g.stream()
	name := pick(g, "C0", "C1", "C2")
	if g.consumers[s+" "+name] != nil {
		name = pick(g, "C1", "C2")
	}
	cfg := obj{"ack_policy": "explicit"}
	if g.chance(10) {
		delete(cfg, "ack_policy")
	}
	for range g.r.IntN(4) {
		g.consumerField(s, cfg)
	}
	subject := "CONSUMER.CREATE." + s + "." + name
	switch g.r.IntN(12) {
	case 0: // made-up name
		subject, name = "CONSUMER.CREATE."+s, ""
	case 1, 2:
		subject = "CONSUMER.DURABLE.CREATE." + s + "." + name
		cfg["durable_name"] = name
	case 3:
		cfg["name"] = name
		if f, ok := cfg["filter_subject"].(string); ok && f != "" {
			subject += "." + f
		}
	case 4, 5:
		cfg["name"] = name
	default:
		cfg["name"], cfg["durable_name"] = name, name
	}
	if g.chance(2) {
		cfg["name"] = pick(g, "C9", "a.b", "a/b", strings.Repeat("c", 256), "a b", "*")
	}
	if g.chance(2) {
		cfg["durable_name"] = pick(g, "C9", "a.b", "a/b", "a>")
	}
	if g.consumers[s+" "+name] != nil {
		if g.consumers[s+" "+name]["sourcing"] != nil { // see DIFFERENCES.md
			return
		}
		g.keepFilters(s, name, cfg)
	}
	o := obj{"stream_name": s, "config": cfg}
	if g.chance(25) {
		o["action"] = pick(g, "create", "update", "", "create", "x")
	}
	if g.chance(5) {
		o["pedantic"] = true
	}
	if g.chance(2) {
		o["stream_name"] = pick(g, "OTHER", "")
	}
	if name != "" && g.consumers[s+" "+name] == nil && g.streams[s] != nil {
		g.consumers[s+" "+name] = cfg
	}
	g.api(subject, g.body(o))
}

// keepFilters keeps a consumer's filter from going in an update: see DIFFERENCES.md. Half of the time it leaves it as it is.
func (g *gen) keepFilters(s, name string, cfg obj) {
	if (cfg["filter_subject"] != nil || cfg["filter_subjects"] != nil) && g.chance(50) {
		return
	}
	for _, f := range []string{"filter_subject", "filter_subjects"} {
		delete(cfg, f)
		if v, ok := g.consumers[s+" "+name][f]; ok {
			cfg[f] = v
		}
	}
}

func (g *gen) consumerUpdate() {
	s := g.stream()
	name := g.consumer(s)
	if g.consumers[s+" "+name]["sourcing"] != nil {
		return
	}
	cfg := obj{}
	for k, v := range g.consumers[s+" "+name] {
		cfg[k] = v
	}
	for range 1 + g.r.IntN(2) {
		g.consumerField(s, cfg)
	}
	g.keepFilters(s, name, cfg)
	for _, f := range []string{"filter_subject", "filter_subjects"} { // what it has now must not go later either
		if v, ok := cfg[f]; ok && g.consumers[s+" "+name] != nil {
			g.consumers[s+" "+name][f] = v
		}
	}
	if _, ok := cfg["durable_name"]; !ok {
		cfg["name"] = name
	}
	o := obj{"stream_name": s, "config": cfg, "action": pick(g, "update", "update", "", "create")}
	g.api("CONSUMER.CREATE."+s+"."+name, g.body(o))
}

func (g *gen) consumerInfo() {
	s := g.stream()
	g.api("CONSUMER.INFO."+s+"."+g.consumer(s), pick(g, "", "", "", "", "{}", "x"))
}

func (g *gen) consumerLists() {
	o := obj{}
	if g.chance(40) {
		o["offset"] = pick(g, 0, 100, -1) // made-up names, copiers' too, stand in any order: no page in between
	}
	g.api(pick(g, "CONSUMER.NAMES.", "CONSUMER.LIST.")+g.stream(), pick(g, g.body(o), ""))
}

func (g *gen) consumerDelete() {
	s := g.stream()
	c := g.consumer(s)
	delete(g.consumers, s+" "+c)
	g.api("CONSUMER.DELETE."+s+"."+c, "")
}

// --- deliveries --------------------------------------------------------------------------------------------------------

func (g *gen) pull() {
	s := g.stream()
	n := pick(g, 1, 1, 2, 3, 5, 10)
	o := obj{"batch": n}
	if g.chance(85) {
		o["no_wait"] = true
	} else {
		o["expires"] = pick(g, 20000000, 50000000, 100000000)
	}
	if g.chance(8) {
		o["no_wait"], o["expires"] = true, 30000000
	}
	if g.chance(10) {
		o["max_bytes"] = pick(g, 1, 60, 100, 300, 100000)
	}
	if g.chance(4) {
		o[pick(g, "group", "id", "min_pending", "min_ack_pending", "priority", "idle_heartbeat", "batch", "expires")] =
			pick[any](g, "g", 0, -1, 15, 20000000)
		if o["expires"] == 15 { // theirs may find it over before it looks for a message
			delete(o, "expires")
		}
	}
	st := step{op: "pull", subject: api + "CONSUMER.MSG.NEXT." + s + "." + g.consumer(s), body: g.body(o), n: n}
	if g.chance(4) {
		st.body = pick(g, "x", "{", "0", "-1")
	}
	g.add(st)
	g.delivered += n
}

// openPull waits for what comes later.
func (g *gen) openPull() {
	s := g.stream()
	o := obj{"batch": pick(g, 1, 2, 5), "expires": 30 * second}
	g.add(step{op: "open", subject: api + "CONSUMER.MSG.NEXT." + s + "." + g.consumer(s), body: js(o)})
	for range 1 + g.r.IntN(3) {
		g.publish()
	}
	g.add(step{op: "collect"})
}

func (g *gen) ack() {
	body := pick(g, "", "", "", "+ACK", "+ACK", "-NAK", "+TERM", "+WPI", "+OK", "+TERM because", `-NAK {"delay": 60000000000}`, "+NXT", "+nonsense",
		`+NXT {"batch":1,"no_wait":true}`, "-NAK x")
	st := step{op: "ack", n: g.r.IntN(max(g.delivered, 1)), body: body}
	g.naked = g.naked || strings.HasPrefix(body, "-NAK")
	if strings.HasPrefix(body, "+NXT") { // answered by deliveries
		st.later = true
	}
	g.add(st)
}

func (g *gen) push() {
	if g.chance(60) {
		queue := pick(g, "", "", "q")
		g.add(step{op: "sub", subject: pick(g, "dlv.1", "dlv.2"), body: queue, n: 1 + g.subs%3})
		g.subs++
	} else {
		g.add(step{op: "unsub", n: 1 + g.r.IntN(3)})
	}
	g.add(step{op: "collect"})
}

// --- the rest ----------------------------------------------------------------------------------------------------------

func (g *gen) account() { g.api("INFO", pick(g, "", "{}", "x")) }

func (g *gen) odd() {
	s := g.stream()
	what := pick(g, "NO.SUCH.REQUEST", "STREAM.INFO", "STREAM.INFO."+s+".x", "CONSUMER.INFO."+s, "STREAM", "STREAM.TEMPLATE.NAMES",
		"CONSUMER.CREATE", "CONSUMER.DURABLE.CREATE."+s, "STREAM.MSG.GET", "DIRECT.GET", "STREAM.NAMES.x", "stream.info."+s)
	st := step{op: "api", subject: api + what, body: pick(g, "", "{}")}
	if g.chance(40) {
		st.subject = api + pick(g, "INFO", "STREAM.NAMES", "STREAM.INFO."+s, "DIRECT.GET."+s)
		st.hdr = header("Nats-Required-Api-Level", pick(g, "0", "1", "2", "3", "4", "99", "x", "-1", ""))
	}
	g.add(st)
}

// resetFar is a reset past the end, but of an interest stream: see DIFFERENCES.md.
func (g *gen) resetFar(s string) string {
	if r := g.streams[s]["retention"]; r == nil || r == "limits" || r == "workqueue" {
		return `{"seq":30}`
	}
	return `{"seq":1}`
}

// rare are requests of features: pause, unpin, reset, snapshots, leaders, peers.
func (g *gen) rare() {
	s := g.stream()
	c := g.consumer(s)
	switch g.r.IntN(12) {
	case 0, 1:
		g.api("CONSUMER.PAUSE."+s+"."+c, pick(g, `{"pause_until":"2040-01-01T00:00:00Z"}`, "", "{}", `{"pause_until":"2020-01-01T00:00:00Z"}`, "x"))
	case 2:
		g.api("CONSUMER.UNPIN."+s+"."+c, pick(g, `{"group":"g"}`, "", "{}"))
	case 3, 4:
		g.api("CONSUMER.RESET."+s+"."+c, pick(g, `{"seq":1}`, g.resetFar(s), "", "{}", "x"))
	case 5:
		g.api("STREAM.LEADER.STEPDOWN."+s, "")
	case 6:
		g.api("CONSUMER.LEADER.STEPDOWN."+s+"."+c, "")
	case 7:
		g.api("STREAM.PEER.REMOVE."+s, pick(g, `{"peer":"x"}`, ""))
	case 8:
		g.api("META.LEADER.STEPDOWN", "")
	case 9:
		g.api("SERVER.REMOVE", `{"peer":"x"}`)
	case 10:
		g.api(pick(g, "ACCOUNT.PURGE.x", "ACCOUNT.STREAM.MOVE.x."+s, "ACCOUNT.STREAM.CANCEL_MOVE.x."+s), "")
	case 11:
		g.api("STREAM.SNAPSHOT."+s, pick(g, "", "{}", `{"deliver_subject":"a b"}`))
	}
}
