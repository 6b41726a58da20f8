/* SQLite's view of the disk: a VFS over env, so that the catalogue's file I/O is injected like all
 * other, and the checksum of every page of meta.db.
 *
 * Each 4 KiB page ends with 64 reserved bytes:
 *   off 4032  crc u32: CRC-32C over the page number (u32), bytes 0..4031 and bytes 4040..4095
 *   off 4036  0 u32 · 4040 nonce 24 · 4064 tag 16 · 4080 0 (16): all zero until encryption comes
 * They are stamped when SQLite writes a page to meta.db and verified when it reads one. The WAL
 * holds pages as SQLite made them, under SQLite's own sums; those are verified by its recovery, and
 * from then on by a checksum per frame that is kept in memory, so that rot in the WAL cannot get a
 * good stamp on its way into meta.db.
 *
 * SQLite is told of a bad page as SQLITE_IOERR_DATA; meta_vfs_fault_take says which page. Locks are
 * no-ops and there is no shared memory: the one connection uses locking_mode=EXCLUSIVE. Rollback
 * journals and temporary files do not exist.
 *
 * Invariants: one meta_vfs, and one main database open in it, per process (asserted). In a
 * read-only or dead VFS no call changes the disk. Runs on whichever single thread uses the
 * connection. */
#ifndef ENGINE_META_VFS_H
#define ENGINE_META_VFS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/env.h"

#define META_PAGE 4096u
#define META_PAGE_RESERVED 64u
#define META_VFS_NAME "millrace"

struct meta_vfs;

enum meta_vfs_mode {
    META_VFS_NORMAL,
    META_VFS_READONLY, /* writes are refused; a missing WAL reads as empty */
    META_VFS_BUILD,    /* xSync does nothing: who builds a file syncs it whole */
    META_VFS_DEAD,     /* as if the process had ended */
};

/* What went wrong below SQLite, which only passes a number on. */
struct meta_fault {
    enum st st; /* ST_OK: nothing */
    struct err err;
};

/* Registers the VFS as SQLite's default and reseeds SQLite's random numbers from env. */
struct meta_vfs *meta_vfs_create(struct env *env);
/* The connection must be closed. NULL is a no-op. */
void meta_vfs_destroy(struct meta_vfs *v);
void meta_vfs_set_mode(struct meta_vfs *v, enum meta_vfs_mode mode);
/* The first fault since the last take. */
void meta_vfs_fault_take(struct meta_vfs *v, struct meta_fault *fault_out);
/* Size of the WAL as written so far, bytes. */
uint64_t meta_vfs_wal_bytes(const struct meta_vfs *v);

void meta_page_stamp(uint8_t page[META_PAGE], uint32_t pgno);
bool meta_page_verify(const uint8_t page[META_PAGE], uint32_t pgno);

/* Verifies every page of the database file at `path`. `bad` (may be NULL) is called for each page
 * that does not verify; a length that is no multiple of the page counts as a bad last page. ST_OK
 * when the file could be read. */
typedef void (*meta_bad_fn)(void *arg, uint32_t pgno);
MUST_USE enum st meta_pages_scan(struct env *env, const char *path, meta_bad_fn bad, void *arg,
                                 uint64_t *pages_out, struct err *err);

/* Reads a WAL as SQLite's recovery does. Calls `frame` (may be NULL) for each frame up to the last
 * commit. *frames_out is their number; *junk_out whether bytes follow them. */
typedef void (*meta_frame_fn)(void *arg, uint32_t pgno);
MUST_USE enum st meta_wal_scan(struct env *env, const char *path, meta_frame_fn frame, void *arg,
                               uint64_t *frames_out, bool *junk_out, struct err *err);

#endif
