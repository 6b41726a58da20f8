/* What load generators share: connections to a NATS server in one epoll set of one thread, raw
 * protocol, and the JSON line of a run. Not for tests that look at single bytes: tcp_client.h.
 *
 * A failure of any kind (a refused connection, -ERR, 30 s of silence, a buffer that is too small)
 * ends the program with exit code 1 and a line on stderr: a figure of a failed run is none. */
#ifndef TESTS_LIB_LOAD_CLIENT_H
#define TESTS_LIB_LOAD_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lc_conn {
    int fd;
    unsigned no;          /* of `conns` */
    bool ready, want_out; /* ready: the first PONG is here */
    bool more;            /* its owner has more to write as soon as there is room */
    char *in, *out;       /* owned; in_bytes, out_bytes */
    size_t in_len, out_off, out_len;
    uint64_t todo, sent, answered; /* messages of this connection; for its owner */
    double asked;                  /* when the open request was sent; for its owner */
    bool done, closing;            /* for its owner */
};

/* line: "[H]MSG subject sid [reply] [header bytes] bytes", without line end, not terminated; body:
 * hdr bytes of header (0: none), then payload, size bytes in all. */
struct lc_msg {
    const char *line, *body;
    size_t line_len, hdr, size;
};

struct lc {
    const char *name; /* of the program, for its errors */
    uint16_t port;
    unsigned nconns;
    size_t in_bytes, out_bytes;                             /* of each connection */
    void (*msg)(struct lc_conn *c, const struct lc_msg *m); /* called for each */
    void (*pong)(struct lc_conn *c);                        /* for each PONG after the first */
    void (*turn)(struct lc_conn *c); /* after the input of a connection, or NULL */
    struct lc_conn *conns;           /* owned */
    unsigned open_conns;             /* lc_run ends at 0: the owner counts it down */
    int ep;
    float *lat_us; /* owned; latencies, at most nlat_max */
    size_t nlat, nlat_max;
};

double lc_now_s(void);
double lc_cpu_s(void);                                     /* of this process */
_Noreturn void lc_die(const char *what, const char *more); /* more: NULL, or behind a colon */

/* Room for latencies and the connections themselves; nothing is connected yet. */
void lc_init(struct lc *l, size_t latencies);
/* Connects number `no`, sends CONNECT (with `login`, JSON members that begin with a comma, or ""),
 * then `text`, and waits for PONG. */
void lc_open(struct lc *l, unsigned no, const char *login, const char *text);
void lc_put(struct lc *l, struct lc_conn *c, const char *p, size_t n);
void lc_flush(struct lc *l, struct lc_conn *c);
void lc_latency(struct lc *l, double since);
/* Blocks until a connection has input: the clock of a listener starts there. */
void lc_wait_input(struct lc *l);
void lc_run(struct lc *l);
/* {"msgs":n,<extra>"seconds":…,"msgs_per_s":…,"load_cpu_s":…,"load_core":…[,"p50_us":…]} */
void lc_report(struct lc *l, uint64_t msgs, const char *extra, double began, double cpu_began);

#endif
