/* A server's JetStream as a store (engine/store.h), over Debian's libnats: so that kv/ and
 * objstore/ do online what they do on a directory, by the same code.
 *
 * It serves what those two call: streams (find, next, create, update, delete, state,
 * subjects), append, get,
 * purge, consumers without acks (create, peek, take, delete). Other members of store_ops are NULL.
 * stream_find, stream_next and stream_subjects wait for the server; everything else is submitted
 * and completed as store.h says, from poll and timers. Owner thread only; libnats's threads hand
 * over through one queue. */
#ifndef TOOLS_REMOTE_H
#define TOOLS_REMOTE_H

#include "engine/base/env.h"
#include "engine/store.h"

struct remote_opts {
    const char *url;                             /* nats://[user:password@]host[:port], tls://... */
    const char *user, *password, *token, *creds; /* or NULL */
    const char *tls_ca, *tls_cert, *tls_key;     /* files, or NULL */
    const char *name;                            /* as the server sees us */
};

/* Connects. ST_INVALID (options), ST_DENIED, ST_IO. */
MUST_USE enum st remote_open(struct env *env, const struct remote_opts *opts,
                             struct store **store_out, struct err *err);
void remote_close(struct store *store); /* NULL is a no-op */
/* For struct store_drive; arg is the store. */
bool remote_wait(void *arg, int64_t deadline_boot_ns);

#endif
