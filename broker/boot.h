/* Opens the store below a server and starts JetStream on it; takes both down again (main.c). Main
 * thread, which is the loop thread and the store's owner. */
#ifndef BROKER_BOOT_H
#define BROKER_BOOT_H

#include "broker/js.h"
#include "broker/monitor.h"
#include "broker/server.h"

struct boot {
    struct store *store;       /* owned; NULL without JetStream */
    struct js *js;             /* owned; NULL without JetStream */
    struct brk_server *server; /* borrowed; set with js */
    char *store_dir;           /* owned; the directory that is used */
    char *shown_dir;           /* owned; the folder below it that is ours, as people see it */
    int64_t max_file_bytes, max_memory_bytes;
};

/* Opens and recovers the store, logs JetStream's start lines, enables the accounts. A no-op when
 * JetStream is off. The error says what to do about it; the store is closed again then. */
MUST_USE enum st boot_jetstream(struct boot *b, struct brk_server *server, struct err *err);
/* Enables JetStream in accounts that a reload made or changed. */
void boot_accounts(struct boot *b);
/* Lets the monitoring port see JetStream. */
void boot_show(const struct boot *b, struct monitor *m);
/* Stops JetStream and closes the store: everything is checkpointed. A zeroed struct is a no-op. */
void boot_stop(struct boot *b);

#endif
