package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// msg is one delivered message.
type msg struct {
	subject, reply string
	hdr, data      string
}

// conn is a client connection that sees the bytes: every message is kept under the subscription it came for until it is taken.
type conn struct {
	nc   net.Conn
	info string // the INFO line's JSON

	mu     sync.Mutex
	boxes  map[int][]msg // guarded by mu
	errors []string      // guarded by mu: -ERR lines
	closed bool          // guarded by mu
	pongs  int           // guarded by mu
	bump   chan struct{} // something has arrived
}

func dial(addr string) (*conn, error) {
	nc, err := net.DialTimeout("tcp", addr, 120*time.Second)
	if err != nil {
		return nil, err
	}
	c := &conn{nc: nc, boxes: map[int][]msg{}, bump: make(chan struct{}, 1)}
	r := bufio.NewReaderSize(nc, 1<<20)
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	c.info = strings.TrimSpace(strings.TrimPrefix(line, "INFO "))
	go c.read(r)
	c.send("CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1,\"lang\":\"conf\",\"version\":\"1\"}\r\n")
	return c, c.ping()
}

func (c *conn) send(s string) {
	_ = c.nc.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c.nc, s)
}

func (c *conn) pub(subject, reply, hdr, data string) {
	if reply != "" {
		reply += " "
	}
	if hdr != "" {
		c.send(fmt.Sprintf("HPUB %s %s%d %d\r\n%s%s\r\n", subject, reply, len(hdr), len(hdr)+len(data), hdr, data))
		return
	}
	c.send(fmt.Sprintf("PUB %s %s%d\r\n%s\r\n", subject, reply, len(data), data))
}

func (c *conn) ping() error {
	c.mu.Lock()
	want := c.pongs + 1
	c.mu.Unlock()
	c.send("PING\r\n")
	end := time.Now().Add(240 * time.Second)
	for {
		c.mu.Lock()
		got, closed, errs := c.pongs >= want, c.closed, c.errors
		c.mu.Unlock()
		if got {
			return nil
		}
		if closed || time.Now().After(end) {
			return fmt.Errorf("no PONG (closed: %v, errors: %v)", closed, errs)
		}
		c.wait(50 * time.Millisecond)
	}
}

// wait returns when something has arrived, or after d.
func (c *conn) wait(d time.Duration) {
	select {
	case <-c.bump:
	case <-time.After(d):
	}
}

// box returns what has come for a subscription so far.
func (c *conn) box(sid int) []msg {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]msg(nil), c.boxes[sid]...)
}

// drop ends a subscription and forgets what came for it.
func (c *conn) drop(sid int) {
	c.send(fmt.Sprintf("UNSUB %d\r\n", sid))
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.boxes, sid)
}

// takeFrom removes and returns what has come for subscriptions from a number on.
func (c *conn) takeFrom(sid int) map[int][]msg {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[int][]msg{}
	for s, b := range c.boxes {
		if s >= sid {
			out[s] = b
			delete(c.boxes, s)
		}
	}
	return out
}

func (c *conn) count() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.boxes {
		n += len(b)
	}
	return n
}

func (c *conn) read(r *bufio.Reader) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			break
		}
		line = strings.TrimRight(line, "\r\n")
		verb, rest, _ := strings.Cut(line, " ")
		f := strings.Fields(rest)
		switch strings.ToUpper(verb) {
		case "PING":
			c.send("PONG\r\n")
		case "PONG":
			c.mu.Lock()
			c.pongs++
			c.mu.Unlock()
		case "-ERR":
			c.mu.Lock()
			c.errors = append(c.errors, line)
			c.mu.Unlock()
		case "MSG", "HMSG":
			m, sid, ok := c.message(r, strings.ToUpper(verb) == "HMSG", f)
			if !ok {
				c.end()
				return
			}
			c.mu.Lock()
			c.boxes[sid] = append(c.boxes[sid], m)
			c.mu.Unlock()
		}
		select {
		case c.bump <- struct{}{}:
		default:
		}
	}
	c.end()
}

func (c *conn) end() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	select {
	case c.bump <- struct{}{}:
	default:
	}
}

func (c *conn) message(r *bufio.Reader, headers bool, f []string) (m msg, sid int, ok bool) {
	tail := 1
	if headers {
		tail = 2
	}
	if len(f) < 2+tail {
		return m, 0, false
	}
	total, err := strconv.Atoi(f[len(f)-1])
	if err != nil {
		return m, 0, false
	}
	hlen := 0
	if headers {
		if hlen, err = strconv.Atoi(f[len(f)-2]); err != nil {
			return m, 0, false
		}
	}
	m.subject = f[0]
	if sid, err = strconv.Atoi(f[1]); err != nil {
		return m, 0, false
	}
	if len(f) > 2+tail {
		m.reply = f[2]
	}
	body := make([]byte, total+2)
	if _, err := io.ReadFull(r, body); err != nil || hlen > total {
		return m, 0, false
	}
	m.hdr, m.data = string(body[:hlen]), string(body[hlen:total])
	return m, sid, true
}
