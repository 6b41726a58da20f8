package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// step is one thing a script does on both servers. Body, subject and header may hold {E1}, {E2}...: names the servers made up.
type step struct {
	op      string // api, pub, pull, open, ack, sub, unsub, collect, sleep, send
	subject string
	body    string
	hdr     string
	n       int  // pull: messages asked for; ack: which delivery; sleep: milliseconds
	later   bool // ack: what it brings is taken by the next collect
}

func (s step) String() string {
	t := s.op
	if s.subject != "" {
		t += " " + s.subject
	}
	if s.hdr != "" {
		t += fmt.Sprintf(" hdr=%q", s.hdr)
	}
	if s.op == "write" {
		return fmt.Sprintf("write %.400q", s.body)
	}
	if s.body != "" {
		b := s.body
		if len(b) > 600 {
			b = fmt.Sprintf("%s... (%d bytes)", b[:200], len(b))
		}
		t += " " + b
	}
	if s.n != 0 {
		t += fmt.Sprintf(" n=%d", s.n)
	}
	return t
}

// where is the kind of the step, as DIFFERENCES.md names it.
func (s step) where() string {
	switch s.op {
	case "api":
		f := strings.Split(strings.TrimPrefix(s.subject, api), ".")
		n := 1
		switch {
		case len(f) > 2 && (f[0] == "CONSUMER" || f[0] == "STREAM") && (f[1] == "MSG" || f[1] == "DURABLE" || f[1] == "LEADER" || f[1] == "PEER"):
			n = 3
		case len(f) > 1:
			n = 2
		}
		return strings.Join(f[:n], ".")
	case "pub", "fast":
		if strings.Contains(s.hdr, "\r\nNats-Batch-Id: ") {
			return "publish in a batch"
		}
		return "publish"
	case "pull":
		if strings.HasPrefix(s.subject, api+"DIRECT") {
			return "DIRECT.GET batch"
		}
	}
	return s.op
}

const api = "$JS.API."

// side is one of the two servers in a script.
type side struct {
	srv     *server
	c       *conn
	made    map[string]string // names this server made up -> E1, E2...
	replies []string          // subjects to acknowledge deliveries with, as they came
	inbox   int
	ids     []string // server id and name, blanked in texts
}

func (s *side) connect() error {
	c, err := dial(s.srv.addr)
	if err != nil {
		return err
	}
	s.c = c
	if n, err := parse(c.info); err == nil {
		s.ids = []string{n.get("server_id").str(), n.get("server_name").str()}
	}
	return nil
}

// own puts this server's made-up names where the script says {E1}; shared does the reverse.
func (s *side) own(text string) string {
	if !strings.Contains(text, "{E") {
		return text
	}
	for name, e := range s.made {
		text = strings.ReplaceAll(text, "{"+e+"}", name)
	}
	return text
}

func (s *side) shared(text string) string {
	for name, e := range s.made {
		text = strings.ReplaceAll(text, name, "{"+e+"}")
	}
	for _, id := range s.ids {
		if id != "" {
			text = strings.ReplaceAll(text, id, "<server>")
		}
	}
	return text
}

func (s *side) sharedMsgs(in []msg) (out []msg) {
	for _, m := range in {
		out = append(out, msg{s.shared(m.subject), s.shared(m.reply), s.shared(m.hdr), s.shared(m.data)})
	}
	return out
}

// learn notes a consumer name that the server made up.
func (s *side) learn(st step, ms []msg) {
	if st.op != "api" || !strings.HasPrefix(st.subject, api+"CONSUMER.") || len(ms) == 0 || !strings.Contains(st.subject, "CREATE") {
		return
	}
	n, err := parse(ms[0].data)
	if err != nil || n.get("error") != nil {
		return
	}
	name := n.get("name").str()
	if len(name) < 8 || strings.Contains(st.body, `"`+name+`"`) || strings.Contains(st.subject, name) || s.made[name] != "" {
		return
	}
	s.made[name] = fmt.Sprintf("E%d", len(s.made)+1)
}

// async is where the numbers of subscriptions begin whose messages come by themselves.
const async = 1000000

// begin does a step on one server; the answer comes for the subscription that is returned.
func (s *side) begin(st step) int {
	s.inbox++
	sid := s.inbox
	inbox := fmt.Sprintf("_INBOX.conf.%d", sid)
	listen := fmt.Sprintf("SUB %s %d\r\n", inbox, sid)
	subject, body, hdr := s.own(st.subject), s.own(st.body), st.hdr
	switch st.op {
	case "api", "pub", "pull":
		s.c.send(listen)
		s.c.pub(subject, inbox, hdr, body)
	case "open":
		s.c.send(fmt.Sprintf("SUB %s %d\r\n", inbox, async+100000+sid))
		s.c.pub(subject, inbox, hdr, body)
	case "ack":
		if len(s.replies) == 0 {
			return 0
		}
		if st.later {
			listen = fmt.Sprintf("SUB %s %d\r\n", inbox, async+100000+sid)
		}
		s.c.send(listen)
		s.c.pub(s.replies[st.n%len(s.replies)], inbox, "", body)
	case "fast": // a fast-ingest publish: what it means stands in the reply subject
		s.c.send(fmt.Sprintf("SUB %s.> %d\r\n", inbox, sid))
		s.c.pub(subject, inbox+"."+body+".$FI", hdr, "x")
	case "sub":
		s.c.send(fmt.Sprintf("SUB %s %s %d\r\n", st.subject, st.body, async+st.n))
	case "unsub":
		s.c.send(fmt.Sprintf("UNSUB %d\r\n", async+st.n))
	case "send":
		s.c.pub(subject, "", hdr, body)
	case "sendto": // the body is the reply subject
		s.c.pub(subject, body, hdr, "x")
	}
	return sid
}

var status = regexp.MustCompile(`^NATS/1\.0 (\d\d\d)`)

// done says whether all has come that a step waits for.
func (st step) done(ms []msg) bool {
	if st.op != "pull" {
		return len(ms) > 0
	}
	count := 0
	for _, m := range ms {
		f := status.FindStringSubmatch(m.hdr)
		if f != nil && f[1] != "100" {
			return true
		}
		if f == nil {
			count++
		}
	}
	return count >= st.n
}

const (
	silentAfter = 400 * time.Millisecond  // neither server has answered: there will be no answer
	lateAfter   = 1200 * time.Millisecond // one has answered, the other has not
)

// world is the two servers.
type world struct {
	theirs, ours *side
	v            *validator
	steps        int // steps done in all
	answers      int // messages compared
	codes        [2]map[string]string
	ledger       *ledger
	produced     [2]map[string]bool // codes that their script of errors.txt produced

	purged        bool // the script has purged by subject
	cut           bool // it has purged otherwise
	onward        bool // steps follow also where the servers have gone different ways
	followed      int  // unlisted differences after the first of a script
	unstable      int  // differences that did not come again
	unstableWhat  []string
	failedScripts map[string]bool
}

func (w *world) listed(ds []diff) bool {
	for _, d := range ds {
		if w.ledger.find(d) == nil {
			return false
		}
	}
	return true
}

func (w *world) both() [2]*side { return [2]*side{w.theirs, w.ours} }

// await waits until both servers have answered a step, or will not.
func (w *world) await(st step, a, b int) ([]msg, []msg) {
	begin := time.Now()
	for {
		x, y := w.theirs.c.box(a), w.ours.c.box(b)
		dx, dy := st.done(x), st.done(y)
		limit := silentAfter
		if dx || dy || len(x)+len(y) > 0 {
			limit = lateAfter
		}
		if dx && dy || time.Since(begin) > limit {
			w.theirs.c.drop(a)
			w.ours.c.drop(b)
			return x, y
		}
		if dx {
			w.ours.c.wait(5 * time.Millisecond)
		} else {
			w.theirs.c.wait(5 * time.Millisecond)
		}
	}
}

// once does a step on both and compares.
func (w *world) once(st step) (diffs []diff, diverged bool) {
	a, b := w.theirs.begin(st), w.ours.begin(st)
	switch st.op {
	case "sub", "unsub", "send", "sendto", "open":
		_, _ = w.theirs.c.ping(), w.ours.c.ping()
		return nil, false
	case "sleep":
		time.Sleep(time.Duration(st.n) * time.Millisecond)
		return nil, false
	case "collect":
		return w.collect()
	case "ack":
		if a == 0 || b == 0 {
			return nil, false
		}
		if st.later {
			_, _ = w.theirs.c.ping(), w.ours.c.ping()
			return nil, false
		}
	}
	x, y := w.await(st, a, b)
	return w.judge(st, x, y)
}

func (w *world) judge(st step, x, y []msg) (diffs []diff, diverged bool) {
	w.note(x, y)
	w.theirs.learn(st, x)
	w.ours.learn(st, y)
	for i, s := range w.both() {
		for _, m := range [2][]msg{x, y}[i] {
			if strings.HasPrefix(m.reply, "$JS.ACK.") {
				s.replies = append(s.replies, m.reply)
			}
		}
	}
	x, y = w.theirs.sharedMsgs(x), w.ours.sharedMsgs(y) // with names as both know them
	diffs, diverged = compareMsgs(st.where(), x, y)
	for i := range diffs {
		if strings.HasPrefix(diffs[i].where, "CONSUMER.") {
			diffs[i].where += w.afterPurge(diffs[i].path)
		}
	}
	w.answers += max(len(x), len(y))
	return append(diffs, w.schema(st, x, y)...), diverged
}

// afterPurge marks the positions of a consumer that a purge moves: DIFFERENCES.md knows them by that.
func (w *world) afterPurge(path string) string {
	switch {
	case w.purged && (strings.HasSuffix(path, "_seq") || strings.HasSuffix(path, "num_ack_pending")):
		return " after a purge by subject"
	case w.cut && strings.HasSuffix(path, "ack_floor.stream_seq"):
		return " after a purge"
	}
	return ""
}

// schema validates JSON answers by their type.
func (w *world) schema(st step, x, y []msg) (out []diff) {
	if st.op != "api" && st.op != "pub" && st.op != "collect" {
		return nil
	}
	for i := range min(len(x), len(y)) {
		n, err := parse(y[i].data)
		if err != nil || n.kind != 'o' {
			continue
		}
		kind := n.get("type").str()
		if kind == "" && n.get("stream") != nil && n.get("seq") != nil {
			kind = "io.nats.jetstream.api.v1.pub_ack_response"
		}
		if strings.HasPrefix(kind, "io.nats.") {
			out = append(out, w.v.compare(st.where(), kind, x[i].data, y[i].data)...)
		}
	}
	return out
}

// note remembers which error codes each server has given.
func (w *world) note(x, y []msg) {
	for i, ms := range [2][]msg{x, y} {
		for _, m := range ms {
			if !strings.Contains(m.data, `"err_code"`) {
				continue
			}
			if n, err := parse(m.data); err == nil {
				if c := n.get("error", "err_code").str(); c != "" && w.codes[i][c] == "" {
					w.codes[i][c] = n.get("error", "description").str()
				}
			}
		}
	}
}

// collect takes what has come by itself (push deliveries, open pulls) when it has been quiet, and compares it by subscription.
func (w *world) collect() (diffs []diff, diverged bool) {
	last, since, begin := -1, time.Now(), time.Now()
	for {
		n := w.theirs.c.count() + w.ours.c.count()
		if n != last {
			last, since = n, time.Now()
		}
		quiet := time.Since(since)
		if quiet > 60*time.Millisecond && w.theirs.c.count() == w.ours.c.count() || quiet > time.Second || time.Since(begin) > 5*time.Second {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	x, y := w.theirs.c.takeFrom(async), w.ours.c.takeFrom(async)
	for s := range y {
		if _, ok := x[s]; !ok {
			x[s] = nil
		}
	}
	for _, s := range slices.Sorted(maps.Keys(x)) {
		d, div := w.judge(step{op: "collect"}, content(x[s]), content(y[s]))
		diffs, diverged = append(diffs, d...), diverged || div
	}
	return diffs, diverged
}

// content leaves out what depends on the moment: heartbeats and flow control.
func content(in []msg) (out []msg) {
	for _, m := range in {
		if !strings.HasPrefix(m.hdr, "NATS/1.0 100") {
			out = append(out, m)
		}
	}
	return out
}

// settles are questions: their answers may need a moment to be true (num_waiting, state after removals in the background).
func (st step) settles() bool {
	if st.op != "api" {
		return false
	}
	for _, q := range []string{"INFO", "NAMES", "LIST", "MSG.GET", "DIRECT.GET"} {
		if strings.Contains(st.subject, q) {
			return true
		}
	}
	return false
}

func (w *world) do(st step) (diffs []diff, diverged bool) {
	w.steps++
	if strings.HasPrefix(st.subject, api+"STREAM.PURGE.") {
		w.cut = true
		w.purged = w.purged || strings.Contains(strings.ToLower(st.body), "filter")
	}
	if strings.Contains(st.hdr, "\r\nNats-Rollup: ") || strings.Contains(st.hdr, "\r\nNats-Schedule: ") { // purges its subject
		w.purged = true
	}
	diffs, diverged = w.once(st)
	for _, ms := range []int{20, 80, 300} {
		if len(diffs) == 0 || !st.settles() || w.listed(diffs) {
			break
		}
		time.Sleep(time.Duration(ms) * time.Millisecond)
		diffs, diverged = w.once(st)
	}
	return diffs, diverged
}

// reset brings both servers back to nothing, on fresh connections.
func (w *world) reset() error {
	w.purged, w.cut = false, false
	for _, s := range w.both() {
		if s.c != nil {
			_ = s.c.nc.Close()
		}
		if err := s.connect(); err != nil {
			return fmt.Errorf("%s: %w; its log:\n%s", s.srv.name, err, tail(s.srv.log()))
		}
		s.made, s.replies, s.inbox = map[string]string{}, nil, 0
		if err := s.wipe(); err != nil {
			return fmt.Errorf("%s: %w", s.srv.name, err)
		}
		s.inbox = 10000
	}
	return nil
}

func tail(s string) string {
	if len(s) > 3000 {
		s = s[len(s)-3000:]
	}
	return s
}

func (s *side) wipe() error {
	for {
		n, err := s.ask("STREAM.NAMES")
		if err != nil {
			return err
		}
		names := n.get("streams")
		if names == nil || len(names.arr) == 0 {
			return nil
		}
		for _, x := range names.arr {
			if n, err := s.ask("STREAM.DELETE." + x.text); err != nil || n.get("error") != nil && n.get("error", "err_code").str() != "10059" {
				return fmt.Errorf("stream %q cannot be deleted: %v %s", x.text, err, n.show(""))
			}
		}
	}
}

func (s *side) ask(what string) (*node, error) {
	text, err := s.askText(what)
	if err != nil {
		return nil, err
	}
	return parse(text)
}

func (s *side) askText(what string) (string, error) {
	inbox := s.begin(step{op: "api", subject: api + what})
	for end := time.Now().Add(240 * time.Second); time.Now().Before(end); s.c.wait(5 * time.Millisecond) {
		if b := s.c.box(inbox); len(b) > 0 {
			s.c.drop(inbox)
			return b[0].data, nil
		}
	}
	return "", fmt.Errorf("%s: no answer", what)
}
