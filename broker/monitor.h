/* The monitoring port: /varz /healthz /connz /jsz over HTTP, with nats-server's field names and
 * order.
 *
 * A request is a job. Jobs run one after the other in slices of the loop's turns (broker/loop.h),
 * so that a page over thousands of streams never holds up deliveries; what a page shows of a stream
 * waits until it is durable. Bounds, all in monitor_int.h: connections, bytes of a page, times for
 * a request, an answer and an idle connection.
 *
 * Life: create (listens, before JetStream is there), show (what JetStream there is), stop (closes
 * every connection; no page is made any more), destroy (after the store is closed: it may still
 * call back until then). Loop thread only. Nothing here is durable. */
#ifndef BROKER_MONITOR_H
#define BROKER_MONITOR_H

#include "broker/js.h"
#include "broker/server.h"

struct monitor;

/* What the engine tells beside engine/store.h; boot.c copies it, since only main and boot know the
 * engine. */
struct mon_facts {
    bool fresh; /* the store was made by this start */
    bool clean; /* the last stop was */
    bool low_space, clock_alarm;
    uint64_t replayed_records, torn_bytes;
    int64_t recovery_ns;
    uint64_t segments, journal_window_used, journal_window_bytes;
    uint64_t groups, syncs, journal_bytes_written, sync_ns_total, sync_ns_max;
    uint64_t checkpoints, segment_bytes_written, generation;
    uint64_t incidents, damaged_streams;
};
/* account and stream are NULL where they are not known. */
typedef void (*mon_incident_fn)(void *arg, const char *account, const char *stream,
                                const char *text);
/* Sequences lo..hi are lost. */
typedef void (*mon_damage_fn)(void *arg, uint64_t lo, uint64_t hi, const char *text);

struct mon_store {
    struct js *js;         /* borrowed until mon_stop */
    struct store *store;   /* borrowed until mon_stop */
    const char *store_dir; /* borrowed until mon_stop; the folder that is used */
    int64_t max_file_bytes, max_memory_bytes;
    void (*facts)(struct store *store, struct mon_facts *out);
    void (*incidents)(struct store *store, mon_incident_fn fn, void *arg);
    void (*damage)(struct store_stream *s, mon_damage_fn fn, void *arg);
    void (*space)(struct store_stream *s, uint64_t *segments_out, uint64_t *segment_bytes_out,
                  uint64_t *tail_msgs_out);
};

/* Listens on the options' http host and port, and says so in the log. */
MUST_USE enum st mon_create(struct brk_server *server, struct monitor **monitor_out,
                            struct err *err);
/* The port it is bound to. */
uint16_t mon_port(const struct monitor *m);
/* JetStream is there; copied. */
void mon_show(struct monitor *m, const struct mon_store *store);
/* Closes the listener and every connection; runs turns of the loop until they are gone. NULL is a
 * no-op. */
void mon_stop(struct monitor *m);
/* Frees; after the store was closed. NULL is a no-op. */
void mon_destroy(struct monitor *m);

#endif
