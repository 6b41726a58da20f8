package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
)

// A byte script is what a client writes, in the pieces it is written in; what comes back is compared line by line.

func byteScript(r *rand.Rand) []string {
	g := &gen{r: r}
	out := []string{}
	if g.chance(95) {
		out = append(out, "CONNECT "+g.connectOptions()+"\r\n")
	}
	for range 3 + r.IntN(15) {
		out = append(out, g.operation())
	}
	return append(out, "PING\r\n")
}

func (g *gen) connectOptions() string {
	o := obj{"verbose": g.chance(10), "pedantic": g.chance(8), "headers": g.chance(85), "no_responders": g.chance(50)}
	if g.chance(40) {
		o["protocol"] = pick(g, 0, 1, 1, 2)
	}
	if g.chance(30) {
		o["echo"] = g.chance(40)
	}
	if g.chance(10) {
		o[pick(g, "user", "pass", "auth_token", "jwt", "nkey", "sig", "name", "lang", "version", "unknown")] = "x"
	}
	switch g.r.IntN(40) {
	case 0:
		return pick(g, "", "{", "x", "[]", "null", `{"verbose":"x"}`, `{"protocol":"1"}`, `{"headers":1}`)
	}
	return js(o)
}

func (g *gen) wireSubject() string {
	if g.chance(7) {
		return pick(g, "a..b", ".a", "a.", "a*b", "a.>.b", ">", "*", "a>", "é", "$SYS.x", "\x01", "a.*.c", strings.Repeat("x", 300), strings.Repeat("t.", 40)+"t")
	}
	return pick(g, "foo", "foo.bar", "foo.*", "foo.>", "bar", "foo.bar.baz", "*.bar", "re")
}

func (g *gen) operation() string {
	sid := g.r.IntN(g.subs+1) + 1
	eol := "\r\n"
	if g.chance(2) {
		eol = pick(g, "\n", "")
	}
	gap := " "
	if g.chance(4) {
		gap = pick(g, "  ", "\t", " \t ")
	}
	verb := func(s string) string {
		if g.chance(8) {
			return strings.ToLower(s)
		}
		return s
	}
	data := pick(g, "", "x", "hello", "two words", "line\r\nbreak", strings.Repeat("d", 200))
	size := len(data)
	switch g.r.IntN(30) {
	case 0, 1, 2, 3, 4, 5:
		queue := ""
		if g.chance(20) {
			queue = fmt.Sprint(gap, "q", g.subs+1) // alone in its group: which of several members gets a message is nobody's to say
		}
		g.subs++
		sid = g.subs
		if g.chance(5) {
			sid = 1
		}
		return verb("SUB") + gap + g.wireSubject() + queue + gap + fmt.Sprint(sid) + eol
	case 6, 7, 8:
		most := ""
		if g.chance(60) {
			most = gap + pick(g, "1", "2", "5", "0", "-1", "x", "1", "2")
		}
		return verb("UNSUB") + gap + fmt.Sprint(sid) + most + eol
	case 9, 10, 11, 12, 13, 14, 15, 16:
		reply := ""
		if g.chance(30) {
			reply = gap + pick(g, "re.ply", "re", "re", "*", "a..b")
		}
		if g.chance(2) {
			size = pick(g, size+1, max(size-1, 0), 0)
		}
		return verb("PUB") + gap + g.wireSubject() + reply + gap + fmt.Sprint(size) + eol + data + "\r\n"
	case 17, 18, 19, 20, 21:
		h := pick(g, "NATS/1.0\r\n\r\n", "NATS/1.0\r\nA: b\r\n\r\n", "NATS/1.0\r\nA: b\r\na: c\r\nA:d\r\n\r\n", "NATS/1.0 503\r\n\r\n", "NATS/1.0 404 Not Here\r\nX: y\r\n\r\n")
		if g.chance(8) {
			h = pick(g, "", "x", "NATS/2.0\r\n\r\n", "NATS/1.0\r\nA: b\r\n", "\r\n\r\n", "NATS/1.0\r\nbroken\r\n\r\n")
		}
		hl, tl := len(h), len(h)+size
		if g.chance(3) {
			hl, tl = pick(g, 0, tl+1, -1), pick(g, tl, 0)
		}
		return verb("HPUB") + gap + g.wireSubject() + gap + fmt.Sprint(hl) + gap + fmt.Sprint(tl) + eol + h + data + "\r\n"
	case 22, 23:
		return verb("PING") + eol
	case 24:
		return verb("PONG") + eol
	case 26:
		return pick(g, "INFO {}", "+OK", "-ERR 'x'", "MSG foo 1 0\r\n", "HMSG foo 1 0 0", "A+ a", "RS+ a", "LS+ a", "RMSG a") + eol
	case 27:
		return pick(g, "XYZ", "", " ", "SUBX foo 1", "PUBB foo 1", "P", "PU", "SU foo 1", "PINGS", "PONGX", "UNSU 1", "\x00", "SUB", "PUB", "UNSUB", "HPUB", "SUB foo",
			"PUB foo", "SUB foo q 1 2", "PUB foo a b 1", "PUB foo x", "PUB foo -1", "PUB foo 99999999999999999999", "PUB foo 2000000", "UNSUB a b c",
			"HPUB foo 1", "HPUB foo x 12", "HPUB foo 12 x", "SUB "+strings.Repeat("s", 5000)+" 1", "PUB foo 1 ", " PING", "PING ", "CONNECT") + eol
	}
	return verb("PING") + eol
}

// exchange writes the pieces and returns the lines that came, the last of them "closed" or "open".
func exchange(addr string, pieces []string, pongs int) ([]string, error) {
	nc, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	got := make(chan string, 1000)
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, err := nc.Read(buf)
			if n > 0 {
				got <- string(buf[:n])
			}
			if err != nil {
				if err != io.EOF && !strings.Contains(err.Error(), "reset") {
					got <- ""
				}
				close(got)
				return
			}
		}
	}()
	text := ""
	select {
	case text = <-got: // INFO
	case <-time.After(5 * time.Second):
		return nil, fmt.Errorf("no INFO")
	}
	for _, p := range pieces {
		_ = nc.SetWriteDeadline(time.Now().Add(2 * time.Second))
		if _, err := io.WriteString(nc, p); err != nil {
			break
		}
	}
	end := "closed"
	limit := time.After(400 * time.Millisecond)
	quiet := 400 * time.Millisecond
read:
	for {
		select {
		case t, ok := <-got:
			if !ok {
				break read
			}
			text += t
			// once the last PING is answered, only what was on its way can follow
			if strings.Count(text, "PONG\r\n") >= pongs && strings.HasSuffix(text, "PONG\r\n") {
				quiet = 15 * time.Millisecond
			}
			limit = time.After(quiet)
		case <-limit:
			end = "open"
			break read
		}
	}
	return append(protocolLines(infoLine.ReplaceAllString(text, "")), end), nil
}

// protocolLines divides what came into operations, a message with its payload. Where several subscriptions got a message their
// order is nobody's to say, so they are sorted.
func protocolLines(text string) (out []string) {
	type op struct{ text, same, sid string }
	var ops []op
	for text != "" {
		line, rest, _ := strings.Cut(text, "\r\n")
		text = rest
		f := strings.Fields(line)
		if len(f) < 4 || f[0] != "MSG" && f[0] != "HMSG" {
			ops = append(ops, op{text: line})
			continue
		}
		size, _ := strconv.Atoi(f[len(f)-1])
		payload := text[:min(size, len(text))]
		text = strings.TrimPrefix(text[len(payload):], "\r\n")
		sid := f[2]
		f[2] = ""
		if strings.HasPrefix(payload, "NATS/1.0 503") { // goes to one of those that would get it
			line = strings.Join(f, " ")
		}
		ops = append(ops, op{line + " " + payload, strings.Join(f, " ") + payload, sid})
	}
	for i := 0; i < len(ops); {
		k := i + 1
		for k < len(ops) && ops[i].same != "" && ops[k].same == ops[i].same {
			k++
		}
		sort.SliceStable(ops[i:k], func(a, b int) bool { return ops[i+a].sid < ops[i+b].sid })
		i = k
	}
	for _, o := range ops {
		out = append(out, o.text)
	}
	return out
}

// INFO lines carry what only one server knows; they are compared by infoDiffs.
var infoLine = regexp.MustCompile(`INFO \{[^\r\n]*\} ?\r\n`)

// cut divides what is written at places that do not depend on the server.
func cut(r *rand.Rand, ops []string) []string {
	switch r.IntN(3) {
	case 0:
		return []string{strings.Join(ops, "")}
	case 1:
		return ops
	}
	var out []string
	for _, o := range ops {
		at := r.IntN(len(o) + 1)
		out = append(out, o[:at], o[at:])
	}
	return out
}

// byteRun runs one byte script on both and compares.
func (w *world) byteRun(ops []string, seed uint64, i int) ([]diff, error) {
	pongs := strings.Count(strings.ToUpper(strings.Join(ops, "")), "PING\r\n")
	var lines [2][]string
	for n, s := range w.both() {
		l, err := exchange(s.srv.addr, cut(scriptRand(seed+1, i), ops), pongs)
		if err != nil {
			return nil, fmt.Errorf("%s: %w; its log:\n%s", s.srv.name, err, tail(s.srv.log()))
		}
		lines[n] = l
	}
	w.steps += len(ops)
	w.answers += len(lines[0])
	a, b := once(lines[0]), once(lines[1])
	where := "bytes"
	if strings.Contains(strings.ToUpper(strings.Join(ops, "")), "HMSG ") {
		where = "bytes with HMSG"
	}
	for n := range max(len(a), len(b)) {
		x, y := "nothing", "nothing"
		if n < len(a) {
			x = a[n]
		}
		if n < len(b) {
			y = b[n]
		}
		if x != y {
			return []diff{{where, "line", clip(x), clip(y)}}, nil
		}
	}
	return nil, nil
}

// once leaves out a second word about one invalid publish subject: theirs says it for each read that a publish comes in.
func once(lines []string) (out []string) {
	const told = "-ERR 'Invalid Publish Subject'"
	for i, l := range lines {
		if l != told || i == 0 || lines[i-1] != told {
			out = append(out, l)
		}
	}
	return out
}

// infoDiffs compares the members of the INFO lines, before CONNECT and after the first PONG.
func (w *world) infoDiffs() (out []diff, err error) {
	var info [2][]*node
	for i, s := range w.both() {
		nc, err := net.DialTimeout("tcp", s.srv.addr, 5*time.Second)
		if err != nil {
			return nil, err
		}
		defer nc.Close()
		_, _ = io.WriteString(nc, "CONNECT {\"protocol\":1,\"verbose\":false}\r\nPING\r\n")
		_ = nc.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		text, _ := io.ReadAll(nc)
		for _, line := range infoLine.FindAllString(string(text), -1) {
			n, err := parse(strings.TrimSpace(strings.TrimPrefix(line, "INFO ")))
			if err != nil {
				return nil, err
			}
			for _, k := range []string{"server_id", "server_name", "port", "client_id", "xkey"} {
				if n.vals[k] != nil {
					n.vals[k] = &node{kind: 's', text: "<any>"}
				}
			}
			info[i] = append(info[i], n)
		}
	}
	for n := range max(len(info[0]), len(info[1])) {
		where := []string{"INFO line", "INFO line after the first PONG"}[min(n, 1)]
		if n >= len(info[0]) || n >= len(info[1]) {
			return append(out, diff{where, "line", []string{"sent", "nothing"}[b2i(n >= len(info[0]))], []string{"sent", "nothing"}[b2i(n >= len(info[1]))]}), nil
		}
		compareNodes(where, "", "", info[0][n], info[1][n], &out)
	}
	return out, nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// bytes runs the byte scripts.
func (w *world) byteScripts(seed uint64, count int) error {
	ds, err := w.infoDiffs()
	if err != nil {
		return err
	}
	for _, d := range ds {
		if e := w.ledger.find(d); e != nil {
			e.seen++
			e.example = d
			continue
		}
		_ = w.judgeNew(d, "the INFO line", nil, func([]step) (bool, error) { return true, nil })
	}
	for i := range count {
		if *flagOnlyBytes >= 0 && i != *flagOnlyBytes {
			continue
		}
		ops := byteScript(scriptRand(seed, i+1000000))
		ds, err := w.byteRun(ops, seed, i)
		if err != nil {
			return err
		}
		for _, d := range ds {
			if e := w.ledger.find(d); e != nil {
				e.seen++
				e.example = d
				continue
			}
			if f := w.ledger.news[d.key()]; f != nil {
				f.count++
				continue
			}
			again := func(steps []step) (bool, error) {
				var ops []string
				for _, s := range steps {
					ops = append(ops, s.body)
				}
				ds, err := w.byteRun(ops, seed, i)
				return len(ds) > 0 && ds[0].key() == d.key(), err
			}
			var steps []step
			for _, o := range ops {
				steps = append(steps, step{op: "write", body: o})
			}
			if err := w.judgeNew(d, fmt.Sprintf("seed %d byte script %d", seed, i), steps, again); err != nil {
				return err
			}
		}
	}
	return nil
}
