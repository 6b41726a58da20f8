package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// until tries again until fn says yes, within ten seconds.
func until(what string, fn func() bool) {
	for end := time.Now().Add(10 * time.Second); !fn(); {
		if time.Now().After(end) {
			panic(broken(what + ": not within 10 s"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func shown(u jetstream.KeyValueEntry) string {
	return fmt.Sprintf("%s:%s:%s@%d", u.Key(), strings.TrimSuffix(strings.TrimPrefix(u.Operation().String(), "KeyValue"), "Op"),
		u.Value(), u.Revision())
}

// initial reads what a watch begins with.
func initial(w jetstream.KeyWatcher, err error) string {
	must(err, "watch")
	var all []string
	for {
		u := await(w.Updates(), "watch")
		if u == nil {
			must(w.Stop(), "stop")
			return strings.Join(all, " ")
		}
		all = append(all, shown(u))
	}
}

func keyTTL(ctx context.Context, c *client) {
	kv, err := c.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "ttl", History: 5, LimitMarkerTTL: time.Second})
	must(err, "create")
	w, err := kv.WatchAll(ctx)
	must(err, "watch")
	same(await(w.Updates(), "watch") == nil, true, "nothing at first")
	_, err = kv.Create(ctx, "a", []byte("1"), jetstream.KeyTTL(time.Second))
	must(err, "create with a TTL")
	_, err = kv.PutString(ctx, "b", "2")
	must(err, "put")
	must(kv.Purge(ctx, "b", jetstream.PurgeTTL(time.Second)), "purge with a TTL")
	_, err = kv.PutString(ctx, "c", "3")
	must(err, "put")
	seen := ""
	until("the marker of the key", func() bool {
		seen += shown(await(w.Updates(), "update")) + " "
		return strings.Contains(seen, "a:Purge:@")
	})
	same(strings.HasPrefix(seen, "a:Put:1@1 b:Put:2@2 b:Purge:@3 c:Put:3@4 "), true, "watched "+seen)
	_, err = kv.Get(ctx, "a")
	same(errors.Is(err, jetstream.ErrKeyNotFound), true, "key whose time is over")
	_, err = kv.Create(ctx, "a", []byte("again"))
	must(err, "create over the marker")
	st, err := kv.Status(ctx)
	must(err, "status")
	same(st.LimitMarkerTTL(), time.Second, "limit marker TTL")
	until("the purge marker's end", func() bool {
		_, err := kv.History(ctx, "b")
		return errors.Is(err, jetstream.ErrKeyNotFound)
	})
	old, err := c.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "aged", TTL: time.Second})
	must(err, "create with a TTL")
	_, err = old.PutString(ctx, "x", "1")
	must(err, "put")
	until("the bucket's TTL", func() bool {
		_, err := old.Get(ctx, "x")
		return errors.Is(err, jetstream.ErrKeyNotFound)
	})
	must(c.js.DeleteKeyValue(ctx, "ttl"), "delete bucket")
	must(c.js.DeleteKeyValue(ctx, "aged"), "delete bucket")
}

func keyOptions(ctx context.Context, c *client) {
	sub, err := c.nc.SubscribeSync("copy.>")
	must(err, "subscribe")
	cfg := jetstream.KeyValueConfig{Bucket: "opt", Description: "d", History: 3, MaxValueSize: 100, MaxBytes: 1 << 20,
		Compression: true, Metadata: map[string]string{"who": "me"},
		RePublish: &jetstream.RePublish{Source: ">", Destination: "copy.>"}}
	kv, err := c.js.CreateKeyValue(ctx, cfg)
	must(err, "create")
	put := func(k, v string) { _, err := kv.PutString(ctx, k, v); must(err, "put") }
	put("x.1", "a")
	put("x.1", "b")
	put("x.2", "c")
	put("y", "d")
	must(kv.Delete(ctx, "x.2"), "delete")
	m, err := sub.NextMsg(5 * time.Second)
	must(err, "republished")
	same([]string{m.Subject, string(m.Data), m.Header.Get("Nats-Sequence")}, []string{"copy.$KV.opt.x.1", "a", "1"}, "republished")
	_, err = kv.Put(ctx, "big", make([]byte, 200))
	fails(err, "message size exceeds", "a value too large")
	_, err = kv.PutString(ctx, "bad key", "x")
	same(errors.Is(err, jetstream.ErrInvalidKey), true, "a bad key")
	fails(kv.Delete(ctx, "y", jetstream.LastRevision(1)), "wrong last sequence", "delete of an old revision")
	same(initial(kv.WatchAll(ctx)), "x.1:Put:b@2 y:Put:d@4 x.2:Delete:@5", "watch all")
	same(initial(kv.Watch(ctx, "x.*", jetstream.IncludeHistory())), "x.1:Put:a@1 x.1:Put:b@2 x.2:Put:c@3 x.2:Delete:@5", "history")
	same(initial(kv.WatchAll(ctx, jetstream.IgnoreDeletes())), "x.1:Put:b@2 y:Put:d@4", "without deletes")
	same(initial(kv.WatchAll(ctx, jetstream.MetaOnly())), "x.1:Put:@2 y:Put:@4 x.2:Delete:@5", "headers only")
	same(initial(kv.WatchAll(ctx, jetstream.ResumeFromRevision(3))), "x.2:Put:c@3 y:Put:d@4 x.2:Delete:@5", "from a revision")
	same(initial(kv.WatchFiltered(ctx, []string{"x.1", "y"})), "x.1:Put:b@2 y:Put:d@4", "two filters")
	w, err := kv.WatchAll(ctx, jetstream.UpdatesOnly())
	must(err, "watch updates")
	put("z", "e")
	same(shown(await(w.Updates(), "update")), "z:Put:e@6", "updates only")
	must(w.Stop(), "stop")
	l, err := kv.ListKeysFiltered(ctx, "x.>", "z")
	must(err, "keys")
	var keys []string
	for k := range l.Keys() {
		keys = append(keys, k)
	}
	same(strings.Join(keys, " "), "x.1 z", "keys by filter")
	mirrors(ctx, c, kv)
	cfg.History = 5
	kv, err = c.js.UpdateKeyValue(ctx, cfg)
	must(err, "update bucket")
	st, err := kv.Status(ctx)
	must(err, "status")
	same([]any{st.History(), st.IsCompressed(), st.Metadata()["who"], st.BackingStore()}, []any{int64(5), true, "me", "JetStream"}, "status")
	must(kv.PurgeDeletes(ctx), "purge deletes, young ones stay")
	same(initial(kv.Watch(ctx, "x.2")), "x.2:Delete:@5", "a young marker")
	must(c.js.DeleteKeyValue(ctx, "opt"), "delete bucket")
}

// mirrors: a bucket that mirrors kv, and one that takes from it.
func mirrors(ctx context.Context, c *client, kv jetstream.KeyValue) {
	mirror, err := c.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "mirror", Mirror: &jetstream.StreamSource{Name: "opt"}})
	must(err, "create mirror")
	taker, err := c.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "taker", Sources: []*jetstream.StreamSource{{Name: "opt"}}})
	must(err, "create from a source")
	_, err = mirror.PutString(ctx, "via", "m")
	must(err, "put through the mirror")
	e, err := kv.Get(ctx, "via")
	must(err, "get at the origin")
	same(string(e.Value()), "m", "value that came through the mirror")
	until("the copy in the taker", func() bool {
		e, err := taker.Get(ctx, "via")
		return err == nil && string(e.Value()) == "m"
	})
	// A mirror keeps the origin's subjects: it answers the origin's direct gets, not its own.
	s, err := c.js.Stream(ctx, "KV_mirror")
	must(err, "the mirror's stream")
	until("the copy in the mirror", func() bool {
		m, err := s.GetLastMsgForSubject(ctx, "$KV.opt.via")
		return err == nil && string(m.Data) == "m"
	})
	must(c.js.DeleteKeyValue(ctx, "mirror"), "delete bucket")
	must(c.js.DeleteKeyValue(ctx, "taker"), "delete bucket")
}

func objectOptions(ctx context.Context, c *client) {
	os, err := c.js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: "oo", Description: "d", TTL: time.Hour,
		MaxBytes: 1 << 20, Compression: true, Metadata: map[string]string{"who": "me"}})
	must(err, "create")
	other, err := c.js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: "other", Storage: jetstream.MemoryStorage})
	must(err, "create in memory")
	info, err := os.Put(ctx, jetstream.ObjectMeta{Name: "two", Description: "ten", Headers: nats.Header{"K": {"v"}},
		Metadata: map[string]string{"m": "n"}, Opts: &jetstream.ObjectMetaOptions{ChunkSize: 3}}, strings.NewReader("0123456789"))
	must(err, "put")
	same([]any{info.Size, info.Chunks, info.Headers.Get("K"), info.Metadata["m"]}, []any{uint64(10), uint32(4), "v", "n"}, "info")
	_, err = other.AddLink(ctx, "link", info)
	must(err, "link")
	text, err := other.GetString(ctx, "link")
	must(err, "get through a link")
	same(text, "0123456789", "linked object")
	_, err = other.AddBucketLink(ctx, "whole", os)
	must(err, "link to a bucket")
	_, err = other.GetString(ctx, "whole")
	same(errors.Is(err, jetstream.ErrCantGetBucket), true, "get of a bucket link")
	must(os.UpdateMeta(ctx, "two", jetstream.ObjectMeta{Name: "due", Description: "dieci"}), "rename")
	_, err = os.GetInfo(ctx, "two")
	same(errors.Is(err, jetstream.ErrObjectNotFound), true, "the old name")
	text, err = os.GetString(ctx, "due")
	must(err, "get by the new name")
	same(text, "0123456789", "renamed object")
	must(os.Delete(ctx, "due"), "delete")
	info, err = os.GetInfo(ctx, "due", jetstream.GetObjectInfoShowDeleted())
	must(err, "info of the deleted")
	same([]any{info.Deleted, info.Size}, []any{true, uint64(0)}, "deleted")
	_, err = os.PutString(ctx, "last", "x")
	must(err, "put")
	st, err := os.Status(ctx)
	must(err, "status")
	same([]any{st.Sealed(), st.IsCompressed(), st.Metadata()["who"], st.TTL()}, []any{false, true, "me", time.Hour}, "status")
	must(os.Seal(ctx), "seal")
	_, err = os.PutString(ctx, "more", "x")
	same(err != nil, true, "put into a sealed store")
	st, err = os.Status(ctx)
	must(err, "status")
	same([]any{st.Sealed(), st.TTL()}, []any{true, time.Duration(0)}, "status of a sealed store")
	must(c.js.DeleteObjectStore(ctx, "oo"), "delete store")
	must(c.js.DeleteObjectStore(ctx, "other"), "delete store")
}
