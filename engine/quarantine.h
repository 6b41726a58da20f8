/* quarantine/: where damaged or unknown files of the store are moved, kept until jsadmin says so
 * (RULES.md, "Order of directories"). It has a bound, so that a disk that goes bad piece by piece
 * does not fill up with evidence of it: at each start, while there are more than
 * QUARANTINE_FILES_MAX files or QUARANTINE_BYTES_MAX bytes, the oldest goes, said in the log; the
 * QUARANTINE_KEPT newest stay whatever their size, and so does what has a name that is not ours.
 * Also the one place that joins paths of the store. */
#ifndef ENGINE_QUARANTINE_H
#define ENGINE_QUARANTINE_H

#include <stdint.h>

#include "engine/base/base.h"
#include "engine/base/env.h"

#define STORE_PATH_MAX 4096u
#define QUARANTINE_FILES_MAX 1000u
#define QUARANTINE_BYTES_MAX GIB
#define QUARANTINE_KEPT 16u

/* Writes root/name into `out`; ST_TOOBIG when it does not fit. */
MUST_USE enum st store_path(char out[STORE_PATH_MAX], const char *root, const char *name,
                            struct err *err);

/* Moves root/name (a plain name) to root/quarantine/<name>.<time and random>, durably. A missing
 * file is ST_OK. moved_out (may be NULL, else STORE_PATH_MAX bytes) gets the new path below root,
 * "" when there was nothing. Any engine task; blocking. */
MUST_USE enum st quarantine_move(struct env *env, const char *root, const char *name,
                                 char *moved_out, struct err *err);

struct quarantined {
    char *name;       /* owned; below quarantine/ */
    uint64_t bytes;   /* 0 when it cannot be opened */
    int64_t since_ns; /* unix, from its name; INT64_MAX = the name is not ours */
};
struct quarantine_list {
    struct quarantined *v; /* owned; oldest first */
    size_t n;
    uint64_t bytes;
};
/* What lies there; no directory is an empty list. Blocking. */
MUST_USE enum st quarantine_list(struct env *env, const char *root, struct quarantine_list *out,
                                 struct err *err);
void quarantine_list_fini(struct quarantine_list *l); /* zeroed: a no-op */
/* Removes every file, durably. *l_out (may be NULL) gets what was there. Blocking. */
MUST_USE enum st quarantine_empty(struct env *env, const char *root, struct quarantine_list *l_out,
                                  struct err *err);
/* Brings it back below the bound. Blocking; start-up. */
MUST_USE enum st quarantine_trim(struct env *env, const char *root, struct err *err);

#endif
