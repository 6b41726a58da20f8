/* Backup of a stopped store into an archive, and back (engine/FORMAT-archive.md). For jsadmin.
 * Blocking, on the thread that opened the store. */
#ifndef ENGINE_BACKUP_H
#define ENGINE_BACKUP_H

#include "engine/engine.h"
#include "engine/store_drive.h"

struct eng_backup_opts {
    const char *path;             /* of the archive */
    const char *account, *stream; /* only these; NULL = all */
    bool replace;                 /* write over an archive that is there */
    void (*progress)(void *arg, uint64_t done, uint64_t total); /* messages; may be NULL */
    void *arg;
};
struct eng_backup_report {
    uint64_t streams, consumers, msgs;
    uint64_t bytes;      /* of messages, by nats' formula */
    uint64_t file_bytes; /* of the archive */
    uint8_t archive_uuid[16], store_uuid[16];
    int64_t created_ns;
};
/* Writes all streams of a store (opened with read_only_check) as they are, syncs, names the
 * archive. ST_EXISTS; ST_NOTFOUND: no such stream, or none of the account; ST_CORRUPT: a message is
 * damaged, named in err, and nothing is left behind; ST_NOSPACE, ST_IO. */
MUST_USE enum st eng_backup(struct store *store, const struct eng_backup_opts *o,
                            struct eng_backup_report *out, struct err *err);

/* What is in an archive; called per stream. */
typedef void (*eng_archive_stream_fn)(void *arg, const char *account, const char *name,
                                      uint64_t msgs, uint64_t bytes, uint64_t consumers);
/* Reads the whole archive and verifies everything. Nothing is altered. fn may be NULL. */
MUST_USE enum st eng_archive_verify(struct env *env, const char *path, eng_archive_stream_fn fn,
                                    void (*progress)(void *arg, uint64_t done, uint64_t total),
                                    void *arg, struct eng_backup_report *out, struct err *err);

struct eng_restore_opts {
    const char *path;
    const char *account, *stream;       /* only these; NULL = all */
    const char *to_account, *to_stream; /* new names; NULL = as they were */
    bool replace; /* streams of these names are replaced; else their presence refuses all */
    struct store_drive drive;
    void (*progress)(void *arg, uint64_t done, uint64_t total); /* bytes read; may be NULL */
    void *arg;
};
/* Puts streams of a verified archive (eng_archive_verify comes first) into a running store: all are
 * written under no name, then all get their names at once. Whatever fails before that changes
 * nothing that was there. ST_EXISTS, ST_NOTFOUND, ST_NOSPACE, ST_CORRUPT, ST_POISONED. */
MUST_USE enum st eng_restore(struct store *store, const struct eng_restore_opts *o,
                             struct eng_backup_report *out, struct err *err);

#endif
