#include "engine/meta_vfs.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/base.h"
#include "engine/quarantine.h"

#define CRC_OFF (META_PAGE - META_PAGE_RESERVED)
#define WAL_HDR 32u
#define FRAME_HDR 24u
#define FRAME (FRAME_HDR + META_PAGE)
#define LOCK_PAGE (0x40000000u / META_PAGE + 1) /* SQLite never writes this page */

enum file_kind { FILE_DB, FILE_WAL };

struct vfs_file {
    sqlite3_file base; /* first: SQLite's view */
    struct meta_vfs *v;
    struct env_file *f; /* owned; NULL: an empty file that is not there (read-only) */
    enum file_kind kind;
};

struct meta_vfs {
    struct env *env;
    sqlite3_vfs vfs;
    enum meta_vfs_mode mode;
    struct meta_fault fault;
    bool db_open;       /* the one connection's main file */
    uint64_t wal_bytes; /* end of the furthest write since the last truncation */
    uint64_t *frames;   /* owned; crc of a WAL frame's page | 1 << 32, by frame; 0: not known */
    size_t frames_cap;  /* frames allocated */
    uint8_t page[META_PAGE]; /* scratch */
};

static struct meta_vfs *the_vfs; /* invariant 1 */

/* --- page checksum ---------------------------------------------------------------------------- */
static uint32_t page_crc(const uint8_t *page, uint32_t pgno)
{
    uint8_t no[4];
    put_u32le(no, pgno);
    uint32_t crc = crc32c(0, no, sizeof(no));
    crc = crc32c(crc, page, CRC_OFF);
    return crc32c(crc, page + CRC_OFF + 8, META_PAGE_RESERVED - 8);
}

void meta_page_stamp(uint8_t page[META_PAGE], uint32_t pgno)
{
    memset(page + CRC_OFF, 0, META_PAGE_RESERVED);
    put_u32le(page + CRC_OFF, page_crc(page, pgno));
}

bool meta_page_verify(const uint8_t page[META_PAGE], uint32_t pgno)
{
    return get_u64le(page + CRC_OFF) == page_crc(page, pgno);
}

/* --- faults ----------------------------------------------------------------------------------- */
static int fault_set(struct meta_vfs *v, enum st st, const struct err *err, int sqlite_code)
{
    if (v->fault.st == ST_OK) {
        v->fault.st = st;
        v->fault.err = *err;
    }
    return st == ST_NOSPACE ? SQLITE_FULL : sqlite_code;
}

static int fault_page(struct meta_vfs *v, uint32_t pgno, const char *what)
{
    struct err err;
    (void)err_set(&err, ST_CORRUPT, 0, "meta.db page %u: %s", pgno, what);
    return fault_set(v, ST_CORRUPT, &err, SQLITE_IOERR_DATA);
}

/* True when the disk may not be touched that way; then *rc is the answer. */
static bool refused(struct meta_vfs *v, bool write, int *rc)
{
    if (v->mode == META_VFS_DEAD) {
        *rc = SQLITE_IOERR;
        return true;
    }
    if (write && v->mode == META_VFS_READONLY) {
        *rc = SQLITE_READONLY;
        return true;
    }
    return false;
}

void meta_vfs_fault_take(struct meta_vfs *v, struct meta_fault *fault_out)
{
    *fault_out = v->fault;
    memset(&v->fault, 0, sizeof(v->fault));
}

/* --- checksums of WAL frames, in memory ------------------------------------------------------- */
/* True when [off, off+len) is the page of one frame; *index_out is its number. */
static bool frame_at(uint64_t off, size_t len, size_t *index_out)
{
    if (len != META_PAGE || off < WAL_HDR + FRAME_HDR || (off - WAL_HDR - FRAME_HDR) % FRAME != 0) {
        return false;
    }
    *index_out = (size_t)((off - WAL_HDR) / FRAME);
    return true;
}

static void frame_remember(struct meta_vfs *v, size_t index, const void *page)
{
    if (index >= v->frames_cap) {
        size_t cap = index + index / 2 + 64;
        uint64_t *p = base_try_realloc(v->frames, cap * sizeof(*p));
        if (p == NULL) {
            return; /* the frame goes unchecked */
        }
        memset(p + v->frames_cap, 0, (cap - v->frames_cap) * sizeof(*p));
        v->frames = p;
        v->frames_cap = cap;
    }
    v->frames[index] = (uint64_t)crc32c(0, page, META_PAGE) | 1ull << 32;
}

static void frames_forget(struct meta_vfs *v, size_t from)
{
    for (size_t i = from; i < v->frames_cap; i++) {
        v->frames[i] = 0;
    }
}

static void wal_written(struct meta_vfs *v, const void *buf, size_t len, uint64_t off)
{
    size_t index;
    if (frame_at(off, len, &index)) {
        frame_remember(v, index, buf);
    } else if (len != FRAME_HDR && off >= WAL_HDR) {
        frames_forget(v, (size_t)((off - WAL_HDR) /
                                  FRAME)); /* a write of another shape: drop what it may touch */
    }
    v->wal_bytes = u64_max(v->wal_bytes, off + len);
}

static bool wal_read_ok(struct meta_vfs *v, const uint8_t *buf, size_t len, uint64_t off)
{
    size_t index;
    if (len == FRAME && off >= WAL_HDR && (off - WAL_HDR) % FRAME == 0) { /* SQLite's recovery */
        frame_remember(v, (size_t)((off - WAL_HDR) / FRAME), buf + FRAME_HDR);
        return true;
    }
    if (!frame_at(off, len, &index) || index >= v->frames_cap || v->frames[index] == 0) {
        return true;
    }
    return v->frames[index] == ((uint64_t)crc32c(0, buf, META_PAGE) | 1ull << 32);
}

/* --- file methods ----------------------------------------------------------------------------- */
static struct vfs_file *file_of(sqlite3_file *base)
{
    return (struct vfs_file *)(void *)base;
}

static int x_close(sqlite3_file *base)
{
    struct vfs_file *vf = file_of(base);
    env_close(vf->v->env, vf->f);
    vf->f = NULL;
    if (vf->kind == FILE_DB) {
        vf->v->db_open = false;
    }
    return SQLITE_OK;
}

/* Judges what was read of meta.db. SQLite reads whole pages, but for the header at the start, which
 * it reads before it knows the page size and then again as part of page 1. */
static int db_read_judge(struct meta_vfs *v, const uint8_t *buf, size_t len, uint64_t off)
{
    uint32_t pgno = (uint32_t)(off / META_PAGE + 1);
    if (off == 0 && len <= 100) {
        return SQLITE_OK;
    }
    if (len != META_PAGE || off % META_PAGE != 0) {
        return fault_page(v, pgno, "not a page of 4096 bytes");
    }
    return meta_page_verify(buf, pgno) ? SQLITE_OK : fault_page(v, pgno, "checksum does not match");
}

static int x_read(sqlite3_file *base, void *buf, int len, sqlite3_int64 off)
{
    struct vfs_file *vf = file_of(base);
    struct meta_vfs *v = vf->v;
    struct err err;
    size_t got = 0;
    int rc;

    if (refused(v, false, &rc)) {
        return rc;
    }
    if (vf->f != NULL) {
        enum st st = env_pread(v->env, vf->f, buf, (size_t)len, (uint64_t)off, &got, &err);
        if (st != ST_OK) {
            return fault_set(v, st, &err, SQLITE_IOERR_READ);
        }
    }
    if (got < (size_t)len) {
        memset((uint8_t *)buf + got, 0, (size_t)len - got);
        if (vf->kind == FILE_DB && got > 0 && off > 0) {
            return fault_page(v, (uint32_t)(off / META_PAGE + 1), "the file ends inside it");
        }
        return SQLITE_IOERR_SHORT_READ;
    }
    if (vf->kind == FILE_DB) {
        return db_read_judge(v, buf, (size_t)len, (uint64_t)off);
    }
    if (!wal_read_ok(v, buf, (size_t)len, (uint64_t)off)) {
        (void)err_set(&err, ST_CORRUPT, 0, "meta.db-wal at %lld: page changed since it was written",
                      (long long)off);
        return fault_set(v, ST_CORRUPT, &err, SQLITE_IOERR_DATA);
    }
    return SQLITE_OK;
}

static int x_write(sqlite3_file *base, const void *buf, int len, sqlite3_int64 off)
{
    struct vfs_file *vf = file_of(base);
    struct meta_vfs *v = vf->v;
    struct err err;
    int rc;

    if (refused(v, true, &rc)) {
        return rc;
    }
    if (vf->kind == FILE_DB) {
        if (len != (int)META_PAGE || off % META_PAGE != 0) {
            (void)err_set(&err, ST_INTERNAL, 0, "meta.db: write of %d bytes at %lld", len,
                          (long long)off);
            return fault_set(v, ST_INTERNAL, &err, SQLITE_IOERR_WRITE);
        }
        memcpy(v->page, buf, META_PAGE);
        meta_page_stamp(v->page, (uint32_t)(off / META_PAGE + 1));
        buf = v->page;
    } else {
        wal_written(v, buf, (size_t)len, (uint64_t)off);
    }
    enum st st = env_pwrite(v->env, vf->f, buf, (size_t)len, (uint64_t)off, &err);
    return st == ST_OK ? SQLITE_OK : fault_set(v, st, &err, SQLITE_IOERR_WRITE);
}

static int x_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    struct vfs_file *vf = file_of(base);
    struct meta_vfs *v = vf->v;
    struct err err;
    int rc;

    if (refused(v, true, &rc)) {
        return rc;
    }
    if (vf->kind == FILE_WAL) {
        frames_forget(
            v, size < (sqlite3_int64)WAL_HDR ? 0 : (size_t)((uint64_t)size - WAL_HDR) / FRAME);
        v->wal_bytes = (uint64_t)size;
    }
    enum st st = env_truncate(v->env, vf->f, (uint64_t)size, &err);
    return st == ST_OK ? SQLITE_OK : fault_set(v, st, &err, SQLITE_IOERR_TRUNCATE);
}

static int x_sync(sqlite3_file *base, int flags)
{
    struct vfs_file *vf = file_of(base);
    struct meta_vfs *v = vf->v;
    struct err err;
    int rc;

    (void)flags;
    if (refused(v, true, &rc)) {
        return rc;
    }
    if (v->mode == META_VFS_BUILD) {
        return SQLITE_OK;
    }
    enum st st = env_datasync(v->env, vf->f, &err);
    if (st == ST_NOSPACE) { /* unlike a write's: what was written may be there */
        st = ST_IO;
    }
    return st == ST_OK ? SQLITE_OK : fault_set(v, st, &err, SQLITE_IOERR_FSYNC);
}

static int x_file_size(sqlite3_file *base, sqlite3_int64 *size_out)
{
    struct vfs_file *vf = file_of(base);
    struct err err;
    uint64_t size = 0;
    int rc;

    if (refused(vf->v, false, &rc)) {
        return rc;
    }
    if (vf->f != NULL) {
        enum st st = env_size(vf->v->env, vf->f, &size, &err);
        if (st != ST_OK) {
            return fault_set(vf->v, st, &err, SQLITE_IOERR_FSTAT);
        }
    }
    *size_out = (sqlite3_int64)size;
    return SQLITE_OK;
}

static int x_lock(sqlite3_file *base, int level)
{
    (void)base;
    (void)level;
    return SQLITE_OK;
}

static int x_check_reserved_lock(sqlite3_file *base, int *out)
{
    (void)base;
    *out = 0;
    return SQLITE_OK;
}

static int x_file_control(sqlite3_file *base, int op, void *arg)
{
    (void)base;
    if (op == SQLITE_FCNTL_PERSIST_WAL || op == SQLITE_FCNTL_POWERSAFE_OVERWRITE) {
        *(int *)arg = 1;
        return SQLITE_OK;
    }
    return SQLITE_NOTFOUND;
}

static int x_sector_size(sqlite3_file *base)
{
    (void)base;
    return (int)META_PAGE;
}

/* Disks rewrite whole sectors from their own copy: bytes beside a torn write keep their value. */
static int x_device_characteristics(sqlite3_file *base)
{
    (void)base;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods io_methods = {
    .iVersion = 1, /* no shared memory, no mapping */
    .xClose = x_close,
    .xRead = x_read,
    .xWrite = x_write,
    .xTruncate = x_truncate,
    .xSync = x_sync,
    .xFileSize = x_file_size,
    .xLock = x_lock,
    .xUnlock = x_lock,
    .xCheckReservedLock = x_check_reserved_lock,
    .xFileControl = x_file_control,
    .xSectorSize = x_sector_size,
    .xDeviceCharacteristics = x_device_characteristics,
};

/* --- VFS methods ------------------------------------------------------------------------------ */
static int x_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *flags_out)
{
    struct meta_vfs *v = vfs->pAppData;
    struct vfs_file *vf = file_of(base);
    bool is_db = (flags & SQLITE_OPEN_MAIN_DB) != 0;
    struct err err;
    int rc;

    vf->base.pMethods = NULL;
    if (refused(v, false, &rc)) {
        return SQLITE_CANTOPEN;
    }
    if (name == NULL || (!is_db && (flags & SQLITE_OPEN_WAL) == 0)) {
        (void)err_set(&err, ST_INTERNAL, 0, "SQLite asked for a file that must not exist");
        return fault_set(v, ST_INTERNAL, &err, SQLITE_CANTOPEN);
    }
    ASSERT(!is_db || !v->db_open); /* exactly one connection */
    *vf = (struct vfs_file){.v = v, .kind = is_db ? FILE_DB : FILE_WAL};
    unsigned how = v->mode == META_VFS_READONLY ? ENV_RDONLY : ENV_RDWR;
    if (how == ENV_RDWR && (flags & SQLITE_OPEN_CREATE) != 0) {
        how |= ENV_CREATE;
    }
    enum st st = env_open(v->env, name, how, &vf->f, &err);
    if (st != ST_OK && !(st == ST_NOTFOUND && !is_db && v->mode == META_VFS_READONLY)) {
        return fault_set(v, st, &err, SQLITE_CANTOPEN);
    }
    if (is_db) {
        v->db_open = true;
    } else {
        frames_forget(v, 0);
        v->wal_bytes = 0;
        if (vf->f != NULL && env_size(v->env, vf->f, &v->wal_bytes, NULL) != ST_OK) {
            v->wal_bytes = 0;
        }
    }
    vf->base.pMethods = &io_methods;
    if (flags_out != NULL) {
        *flags_out = flags;
    }
    return SQLITE_OK;
}

static int x_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    struct meta_vfs *v = vfs->pAppData;
    struct err err;
    int rc;

    (void)sync_dir; /* only the WAL of a file under construction is ever deleted */
    if (refused(v, true, &rc)) {
        return rc;
    }
    enum st st = env_unlink(v->env, name, &err);
    if (st == ST_NOTFOUND) {
        return SQLITE_IOERR_DELETE_NOENT;
    }
    return st == ST_OK ? SQLITE_OK : fault_set(v, st, &err, SQLITE_IOERR_DELETE);
}

/* Rollback journals do not exist here, whatever lies in the directory: a stray one must never be
 * played back. */
static int x_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    struct meta_vfs *v = vfs->pAppData;
    struct env_file *f = NULL;
    size_t len = strlen(name);
    int rc;

    (void)flags;
    *out = 0;
    if (refused(v, false, &rc)) {
        return rc;
    }
    if (len >= 8 && strcmp(name + len - 8, "-journal") == 0) {
        return SQLITE_OK;
    }
    if (env_open(v->env, name, ENV_RDONLY, &f, NULL) == ST_OK) {
        *out = 1;
        env_close(v->env, f);
    }
    return SQLITE_OK;
}

static int x_full_pathname(sqlite3_vfs *vfs, const char *name, int cap, char *out)
{
    (void)vfs;
    int n = snprintf(out, (size_t)cap, "%s", name);
    return n < 0 || n >= cap ? SQLITE_CANTOPEN : SQLITE_OK;
}

static int x_randomness(sqlite3_vfs *vfs, int len, char *out)
{
    struct meta_vfs *v = vfs->pAppData;
    env_random(v->env, out, (size_t)len);
    return len;
}

static int x_sleep(sqlite3_vfs *vfs, int us)
{
    (void)vfs;
    return us;
}

static int x_current_time_int64(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
    struct meta_vfs *v = vfs->pAppData;
    *out = 210866760000000LL + env_real_ns(v->env) / NS_PER_MS; /* Julian day 2440587.5 in ms */
    return SQLITE_OK;
}

static int x_current_time(sqlite3_vfs *vfs, double *out)
{
    sqlite3_int64 ms = 0;
    int rc = x_current_time_int64(vfs, &ms);
    *out = (double)ms / 86400000.0;
    return rc;
}

static int x_get_last_error(sqlite3_vfs *vfs, int cap, char *out)
{
    (void)vfs;
    (void)cap;
    (void)out;
    return 0;
}

static void x_no_dl(void) {}
static void *x_dl_open(sqlite3_vfs *vfs, const char *name)
{
    (void)vfs;
    (void)name;
    return NULL;
}
static void x_dl_error(sqlite3_vfs *vfs, int cap, char *out)
{
    (void)vfs;
    (void)snprintf(out, (size_t)cap, "extensions are not loaded here");
}
static void (*x_dl_sym(sqlite3_vfs *vfs, void *handle, const char *name))(void)
{
    (void)vfs;
    (void)handle;
    (void)name;
    return x_no_dl;
}
static void x_dl_close(sqlite3_vfs *vfs, void *handle)
{
    (void)vfs;
    (void)handle;
}

struct meta_vfs *meta_vfs_create(struct env *env)
{
    static bool configured;
    ASSERT(the_vfs == NULL);
    if (!configured) {
        /* Fails harmlessly when some other code has initialised SQLite before. */
        (void)sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
        (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
        configured = true;
    }
    struct meta_vfs *v = base_calloc(1, sizeof(*v));
    v->env = env;
    v->vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = (int)sizeof(struct vfs_file),
        .mxPathname = (int)STORE_PATH_MAX,
        .zName = META_VFS_NAME,
        .pAppData = v,
        .xOpen = x_open,
        .xDelete = x_delete,
        .xAccess = x_access,
        .xFullPathname = x_full_pathname,
        .xDlOpen = x_dl_open,
        .xDlError = x_dl_error,
        .xDlSym = x_dl_sym,
        .xDlClose = x_dl_close,
        .xRandomness = x_randomness,
        .xSleep = x_sleep,
        .xCurrentTime = x_current_time,
        .xCurrentTimeInt64 = x_current_time_int64,
        .xGetLastError = x_get_last_error,
    };
    int rc = sqlite3_vfs_register(&v->vfs, 1);
    ASSERT(rc == SQLITE_OK);
    sqlite3_randomness(0, NULL); /* the next number is drawn from the default VFS, which is ours */
    the_vfs = v;
    return v;
}

void meta_vfs_destroy(struct meta_vfs *v)
{
    if (v == NULL) {
        return;
    }
    ASSERT(the_vfs == v);
    ASSERT(!v->db_open);
    (void)sqlite3_vfs_unregister(&v->vfs);
    the_vfs = NULL;
    base_free(v->frames);
    base_free(v);
}

void meta_vfs_set_mode(struct meta_vfs *v, enum meta_vfs_mode mode)
{
    v->mode = mode;
}

uint64_t meta_vfs_wal_bytes(const struct meta_vfs *v)
{
    return v->wal_bytes;
}

/* --- scans ------------------------------------------------------------------------------------ */
#define SCAN_PAGES 32u

enum st meta_pages_scan(struct env *env, const char *path, meta_bad_fn bad, void *arg,
                        uint64_t *pages_out, struct err *err)
{
    struct env_file *f = NULL;
    uint64_t off = 0;
    size_t got = 0;

    *pages_out = 0;
    enum st st = env_open(env, path, ENV_RDONLY, &f, err);
    if (st != ST_OK) {
        return st;
    }
    uint8_t *buf = base_malloc(SCAN_PAGES * META_PAGE);
    do {
        st = env_pread(env, f, buf, SCAN_PAGES * META_PAGE, off, &got, err);
        for (size_t at = 0; st == ST_OK && at < got; at += META_PAGE) {
            uint32_t pgno = (uint32_t)((off + at) / META_PAGE + 1);
            bool ok = got - at >= META_PAGE && meta_page_verify(buf + at, pgno);
            if (!ok && bad != NULL && pgno != LOCK_PAGE) {
                bad(arg, pgno);
            }
            *pages_out += 1;
        }
        off += got;
    } while (st == ST_OK && got == SCAN_PAGES * META_PAGE);
    base_free(buf);
    env_close(env, f);
    return st;
}

static uint32_t get_u32be(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* SQLite's WAL sum over pairs of 32-bit words, in the byte order that the header's magic names. */
static void wal_sum(bool big_endian, const uint8_t *p, size_t len, uint32_t sum[2])
{
    for (size_t i = 0; i + 8 <= len; i += 8) {
        sum[0] += (big_endian ? get_u32be(p + i) : get_u32le(p + i)) + sum[1];
        sum[1] += (big_endian ? get_u32be(p + i + 4) : get_u32le(p + i + 4)) + sum[0];
    }
}

static bool wal_header_ok(const uint8_t hdr[WAL_HDR], bool *big_endian_out, uint32_t sum[2])
{
    *big_endian_out = (get_u32be(hdr) & 1) != 0;
    sum[0] = sum[1] = 0;
    wal_sum(*big_endian_out, hdr, 24, sum);
    return (get_u32be(hdr) & ~1u) == 0x377f0682u && get_u32be(hdr + 8) == META_PAGE &&
           sum[0] == get_u32be(hdr + 24) && sum[1] == get_u32be(hdr + 28);
}

enum st meta_wal_scan(struct env *env, const char *path, meta_frame_fn frame, void *arg,
                      uint64_t *frames_out, bool *junk_out, struct err *err)
{
    struct env_file *f = NULL;
    uint8_t hdr[WAL_HDR];
    size_t got = 0;
    uint64_t size = 0, off = WAL_HDR, committed_end = 0, nframes = 0, pgnos_cap = 0;
    uint32_t sum[2];
    uint32_t *pgnos = NULL;
    bool big = false;

    *frames_out = 0;
    *junk_out = false;
    enum st st = env_open(env, path, ENV_RDONLY, &f, err);
    if (st == ST_NOTFOUND) {
        err_clear(err);
        return ST_OK;
    }
    if (st != ST_OK) {
        return st;
    }
    uint8_t *buf = base_malloc(FRAME);
    if ((st = env_size(env, f, &size, err)) != ST_OK ||
        (st = env_pread(env, f, hdr, WAL_HDR, 0, &got, err)) != ST_OK) {
        goto close_file;
    }
    if (got == WAL_HDR && wal_header_ok(hdr, &big, sum)) {
        for (;; off += FRAME) {
            st = env_pread(env, f, buf, FRAME, off, &got, err);
            if (st != ST_OK || got < FRAME || memcmp(buf + 8, hdr + 16, 8) != 0) {
                break;
            }
            wal_sum(big, buf, 8, sum);
            wal_sum(big, buf + FRAME_HDR, META_PAGE, sum);
            if (sum[0] != get_u32be(buf + 16) || sum[1] != get_u32be(buf + 20) ||
                get_u32be(buf) == 0) {
                break;
            }
            if (nframes == pgnos_cap) {
                pgnos_cap = pgnos_cap * 2 + 64;
                pgnos = base_realloc(pgnos, pgnos_cap * sizeof(*pgnos));
            }
            pgnos[nframes++] = get_u32be(buf);
            if (get_u32be(buf + 4) != 0) { /* a commit */
                *frames_out = nframes;
                committed_end = off + FRAME;
            }
        }
    }
    for (uint64_t i = 0; st == ST_OK && frame != NULL && i < *frames_out; i++) {
        frame(arg, pgnos[i]);
    }
    *junk_out = size > committed_end && size > 0 && !(committed_end == 0 && size == WAL_HDR);
close_file:
    base_free(pgnos);
    base_free(buf);
    env_close(env, f);
    return st;
}
