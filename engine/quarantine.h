/* quarantine/: where damaged or unknown files of the store are moved, never removed, until jsadmin
 * says so (STORAGE.md 12.2, 12.6). Also the one place that joins paths of the store. */
#ifndef ENGINE_QUARANTINE_H
#define ENGINE_QUARANTINE_H

#include <stdint.h>

#include "engine/base/env.h"

#define STORE_PATH_MAX 4096u

/* Writes root/name into `out`; ST_TOOBIG when it does not fit. */
MUST_USE enum st store_path(char out[STORE_PATH_MAX], const char *root, const char *name,
                            struct err *err);

/* Moves root/name (a plain name) to root/quarantine/<name>.<time and random>, durably. A missing
 * file is ST_OK. moved_out (may be NULL, else STORE_PATH_MAX bytes) gets the new path below root,
 * "" when there was nothing. Any engine task; blocking. */
MUST_USE enum st quarantine_move(struct env *env, const char *root, const char *name,
                                 char *moved_out, struct err *err);

#endif
