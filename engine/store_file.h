/* STORE and STORE.2: the store's identity, one 4 KiB page kept in two files (FORMAT-catalogue.md).
 *
 *   off  0  magic "MLRSTORE"            off 40  lanes u16 (1)
 *   off  8  version u32, 12 flags u32   off 42  reserved u16, off 44 crc_seed u32
 *   off 16  store_uuid 16               off 48  node_id 16 (0 = single server)
 *   off 32  created_ns i64              off 4092 crc-32c of 0..4091, unseeded
 *
 * Bytes in between are zero. Written once; either file serves, and the other is repaired. A file
 * that is whole but foreign (no magic), newer, or of the wrong size while its twin does not serve
 * is refused by name and not touched. Starting thread only; blocking. A crash while creating leaves
 * no STORE, or one or both good ones. */
#ifndef ENGINE_STORE_FILE_H
#define ENGINE_STORE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/env.h"

#define STORE_FILE_VERSION 1u

struct store_ident {
    uint8_t store_uuid[16];
    int64_t created_ns;
    uint32_t crc_seed; /* never shown outside */
    uint16_t lanes;
    uint8_t node_id[16];
};

enum store_file_note {
    STORE_FILE_OK,
    STORE_FILE_CREATED,  /* neither file was there and create was set, or an earlier making had been
                            cut off behind them */
    STORE_FILE_REPAIRED, /* one was missing or damaged and was written again from the other */
};

/* Reads the identity from root/STORE or root/STORE.2, repairing the other, or creates both when
 * neither exists and create is set. note_out tells which. The root directory must exist and its
 * LOCK be held. ST_NOTFOUND (neither, create not set), ST_CORRUPT, ST_FOREIGN, ST_VERSION,
 * ST_MISMATCH (two whole files that differ), ST_IO, ST_NOSPACE, ST_DENIED. */
MUST_USE enum st store_file_open(struct env *env, const char *root, bool create,
                                 struct store_ident *ident_out, enum store_file_note *note_out,
                                 struct err *err);

/* Reads without altering anything. Calls fn (may be NULL) for each of the two files that is missing
 * or damaged. */
MUST_USE enum st store_file_check(struct env *env, const char *root, struct store_ident *ident_out,
                                  void (*fn)(void *arg, const char *file, const char *text),
                                  void *arg, struct err *err);

#endif
