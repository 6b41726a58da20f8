// The main job with an unmodified nats.go client: receive, process and complete orders on the stream ORDERS while somebody
// kills the server. Twin of ../js/orders.mjs. Told by environment: PORT, RECORDS (file, one order a record, separated by
// NUL); by lines on stdin: how many orders may be submitted by now. Speaks JSON lines on stdout: {"progress":...} fifty times
// a second, {"summary":...} at the end.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	lanes  = 64 // orders that are published at a time
	answer = 2 * time.Second
	again  = 20 * time.Millisecond
)

var (
	received, processed, completed, monitored atomic.Int64
	redelivered, afterConfirm, unconfirmed    atomic.Int64
	retries, reconnects                       atomic.Int64
	out                                       sync.Mutex
)

func say(key string, value any) {
	out.Lock()
	defer out.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{key: value})
}

func stats() map[string]int64 {
	return map[string]int64{"received": received.Load(), "processed": processed.Load(), "completed": completed.Load(),
		"monitored": monitored.Load(), "redelivered": redelivered.Load(), "afterConfirm": afterConfirm.Load(),
		"unconfirmed": unconfirmed.Load(), "retries": retries.Load(), "reconnects": reconnects.Load()}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func client(name string) (*nats.Conn, jetstream.JetStream) {
	nc, err := nats.Connect("nats://127.0.0.1:"+os.Getenv("PORT"), nats.Name(name), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(20*time.Millisecond, 20*time.Millisecond),
		nats.PingInterval(5*time.Second), nats.ReconnectHandler(func(*nats.Conn) { reconnects.Add(1) }))
	must(err)
	js, err := jetstream.New(nc)
	must(err)
	return nc, js
}

// publish repeats until it is acknowledged. The message id makes the repeats harmless.
func publish(js jetstream.JetStream, subject string, data []byte, id string) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), answer)
		_, err := js.Publish(ctx, subject, data, jetstream.WithMsgID(id), jetstream.WithRetryAttempts(0))
		cancel()
		if err == nil {
			return
		}
		retries.Add(1)
		time.Sleep(again)
	}
}

func setUp(js jetstream.JetStream) {
	ctx := context.Background()
	s, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"ORDERS.*"}, Duplicates: 10 * time.Minute})
	must(err)
	for name, stage := range map[string]string{"NEW": "received", "DISPATCH": "processed"} {
		_, err = s.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: name, FilterSubject: "ORDERS." + stage,
			AckPolicy: jetstream.AckExplicitPolicy, AckWait: 5 * time.Second, MaxAckPending: 2000})
		must(err)
	}
	_, err = js.CreatePushConsumer(ctx, "ORDERS", jetstream.ConsumerConfig{Durable: "MONITOR", DeliverSubject: "monitor.orders",
		AckPolicy: jetstream.AckNonePolicy})
	must(err)
}

func submit(orders [][]byte) {
	_, js := client("submit")
	ids := make(chan int)
	go func() {
		defer close(ids)
		next := 0
		for in := bufio.NewScanner(os.Stdin); next < len(orders) && in.Scan(); {
			allowed, err := strconv.Atoi(in.Text())
			must(err)
			for ; next < min(allowed, len(orders)); next++ {
				ids <- next
			}
		}
	}()
	var all sync.WaitGroup
	for range lanes {
		all.Add(1)
		go func() {
			defer all.Done()
			for id := range ids {
				publish(js, "ORDERS.received", fmt.Appendf(nil, "%d\n%s", id, orders[id]), fmt.Sprintf("%d:received", id))
				received.Add(1)
			}
		}()
	}
	all.Wait()
}

// stage takes the orders of one consumer, publishes them as the next stage, and confirms: an order whose ack was confirmed
// must never come again.
type stage struct {
	js                 jetstream.JetStream
	consumer, next     string
	count              *atomic.Int64
	total              int
	mu                 sync.Mutex
	confirmed, handled map[string]bool
	done               chan bool
}

// arrive looks at a message in the order in which the connection gave it: a copy that was on its way before the ack was
// confirmed is a redelivery like others.
func (s *stage) arrive(m jetstream.Msg) {
	id := string(m.Data()[:bytes.IndexByte(m.Data(), '\n')])
	s.mu.Lock()
	if s.confirmed[id] {
		afterConfirm.Add(1)
		say("violation", fmt.Sprintf("order %s came again on %s after its ack was confirmed", id, s.consumer))
	}
	s.mu.Unlock()
	go s.handle(m, id)
}

func (s *stage) handle(m jetstream.Msg, id string) {
	if meta, err := m.Metadata(); err == nil && meta.NumDelivered > 1 {
		redelivered.Add(1)
	}
	publish(s.js, "ORDERS."+s.next, m.Data(), id+":"+s.next)
	s.mu.Lock()
	if !s.handled[id] {
		s.handled[id] = true
		s.count.Add(1)
	}
	s.mu.Unlock()
	// Without a confirmation (the server died in between) the ack may hold or not: then the order may come again.
	ctx, cancel := context.WithTimeout(context.Background(), answer)
	err := m.DoubleAck(ctx)
	cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.confirmed[id] = true
	} else {
		unconfirmed.Add(1)
	}
	if len(s.handled) == s.total {
		select {
		case s.done <- true:
		default:
		}
	}
}

func work(consumer, next string, count *atomic.Int64, total int) {
	_, js := client(consumer)
	s := &stage{js: js, consumer: consumer, next: next, count: count, total: total, confirmed: map[string]bool{},
		handled: map[string]bool{}, done: make(chan bool, 1)}
	ctx := context.Background()
	for {
		c, err := js.Consumer(ctx, "ORDERS", consumer)
		if err != nil {
			time.Sleep(again)
			continue
		}
		cc, err := c.Consume(s.arrive, jetstream.PullMaxMessages(500), jetstream.PullExpiry(5*time.Second), jetstream.PullHeartbeat(time.Second))
		if err != nil {
			time.Sleep(again)
			continue
		}
		select {
		case <-s.done:
			cc.Stop()
			return
		case <-cc.Closed(): // given up by the library: taken up again
		}
	}
}

func main() {
	text, err := os.ReadFile(os.Getenv("RECORDS"))
	must(err)
	var orders [][]byte
	for _, r := range bytes.Split(text, []byte{0}) {
		if len(r) > 0 {
			orders = append(orders, r)
		}
	}
	nc, js := client("setup")
	setUp(js)
	_, err = nc.Subscribe("monitor.orders", func(*nats.Msg) { monitored.Add(1) })
	must(err)
	say("ready", len(orders))
	go func() {
		for range time.Tick(20 * time.Millisecond) {
			say("progress", stats())
		}
	}()
	var all sync.WaitGroup
	for _, run := range []func(){
		func() { submit(orders) },
		func() { work("NEW", "processed", &processed, len(orders)) },
		func() { work("DISPATCH", "completed", &completed, len(orders)) },
	} {
		all.Add(1)
		go func() {
			defer all.Done()
			run()
		}()
	}
	all.Wait()
	say("summary", stats())
}
