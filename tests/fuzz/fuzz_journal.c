/* Fuzz target: recovery of the journal over hostile files. Seven bytes of options, then the bytes
 * of the groups.
 *
 * With FIX, frames and records found in the input get right lengths' bounds and right checksums, so
 * that what lies behind the checksums is reached: valid checksums over bad content. Flips at the
 * end then damage some of it again. Must hold: no crash, no wild read, recovery and check end,
 * records given lie in their chunk, and a second recovery says what the first said (I11). */
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/env_sim.h"
#include "engine/base/log.h"
#include "engine/journal.h"
#include "engine/journal_format.h"

#define DIR_PATH "/j"
#define CRC_SEED 5u
#define FILE_SIZE (64 * KIB)
#define ROOM (FILE_SIZE - JF_OVERHEAD)

enum opt {
    FIX = 1,
    SAME_BOOT = 2,
    SECOND_FILE = 4,
    SECOND_PREV_END = 8,
    HINT = 16,
    CHECKPOINT = 32,
    DAMAGE = 64
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    uint8_t opts, flips, hint, checkpoint, prev_end, split, bad;
    const uint8_t *p;
    size_t len;
};

struct tally {
    uint64_t records, claims, damage, sum;
};

/* --- the file --------------------------------------------------------------------------------- */

/* A message that is right in itself; or, where its flags begin so, one that is not. */
static void fix_msg(uint8_t *body, size_t len)
{
    if (body[27] == 0xee || body[27] == 0xef) {
        body[27] &= 1;
        return;
    }
    put_u32le(body, (uint32_t)len);
    uint32_t hdr = get_u32le(body + 28);
    uint16_t subj = get_u16le(body + 24);
    size_t rest = len - MSG_HEAD_SIZE;
    if (subj > rest) {
        subj = (uint16_t)(subj % (rest + 1));
        put_u16le(body + 24, subj);
    }
    if (hdr > rest - subj) {
        hdr = 0;
        put_u32le(body + 28, 0);
    }
    uint16_t flags = (uint16_t)(get_u16le(body + 26) & 0xfeu);
    put_u16le(body + 26, (uint16_t)(flags | (hdr != 0 ? 1u : 0u)));
    put_u32le(body + 4, crc32c(CRC_SEED, body + MSG_HEAD_SIZE, rest));
}

enum { GIDS = 5 };
static uint32_t next_oseq[GIDS]; /* so that records of a gid can follow each other */

/* Makes records of what lies in [at, end); returns how many. With `in_order` they are numbered as
 * an owner would. */
static uint32_t fix_records(uint8_t *p, size_t at, size_t end, bool twins, bool in_order)
{
    uint32_t n = 0;
    while (at + REC_HEAD_SIZE <= end) {
        uint8_t *r = p + at;
        uint32_t gid = get_u32le(r + 12) % GIDS;
        uint32_t oseq = in_order ? next_oseq[gid]++ : get_u32le(r + 20);
        size_t room = end - at;
        size_t len = REC_HEAD_SIZE + get_u32le(r + 4) % 400;
        len = len > room ? room : len;
        size_t ext = (size_t)(get_u16le(r + 10) % 8) * 8;
        enum rec_type type = r[8] == 0xee ? REC_RAFT_HARD : (enum rec_type)(r[8] % 9);
        if (type != REC_APPEND || len < REC_HEAD_SIZE + ext + MSG_HEAD_SIZE) {
            ext = 0;
        }
        size_t body = len - REC_HEAD_SIZE - ext;
        if (type == REC_APPEND && body < MSG_HEAD_SIZE) {
            type = REC_DELETE;
        }
        if (type == REC_APPEND) {
            fix_msg(r + REC_HEAD_SIZE + ext, body);
        }
        uint8_t flags = (uint8_t)((r[9] & 3u) | (twins ? 4u : 0u));
        if (ext >= 16 && r[11] % 2 == 0) { /* a proper ext */
            struct seq_runs runs = {0};
            seq_runs_add(&runs, r[REC_HEAD_SIZE]);
            append_ext_put(r + REC_HEAD_SIZE, ext, r[REC_HEAD_SIZE + 1], &runs);
            seq_runs_fini(&runs);
        }
        rec_seal(r, type, flags, gid, get_u32le(r + 16), oseq, ext, body, CRC_SEED);
        at += (size_t)align_up(len, REC_ALIGN);
        n++;
    }
    return n;
}

/* Index entries that fit the records: one for each stretch of records of a gid. Returns the bytes
 * used. */
static size_t true_index(const uint8_t *p, size_t at, size_t end, uint8_t *out, size_t cap,
                         const uint8_t *noise)
{
    size_t used = 0;
    struct ji_entry e = {0};
    while (at + REC_HEAD_SIZE <= end) {
        const uint8_t *r = p + at;
        if (e.nrec == 0 || get_u32le(r + 12) != e.gid) {
            if (e.nrec != 0) {
                used += JI_HEAD;
            }
            if (used + JI_HEAD > cap) {
                return used;
            }
            e = (struct ji_entry){.gid = get_u32le(r + 12),
                                  .first_oseq = get_u32le(r + 20),
                                  .last_seq = noise[0],
                                  .floor = noise[1]};
        }
        e.nrec++;
        e.flags = (r[9] & 1u) != 0 ? JI_OPEN | JI_BATCH : 0;
        ji_put(out + used, JI_HEAD, &e, NULL);
        at += (size_t)align_up(get_u32le(r + 4), REC_ALIGN);
    }
    return used + (e.nrec != 0 ? JI_HEAD : 0);
}

/* One group from what lies at p; returns its length. */
static size_t fix_group(uint8_t *p, size_t room, uint64_t lsn, uint64_t *seq, uint32_t *chain,
                        uint32_t seed)
{
    struct jg_header h = {.lsn = lsn};
    bool in_order = p[81] % 4 != 3;
    bool codec = p[60] == 0xee;
    uint8_t noise[2] = {p[83], p[84]};
    size_t total = (1 + (size_t)p[32] % 4) * JG_ALIGN;
    total = total > room ? room : total;
    size_t body = get_u16le(p + 36) % (total - 2 * JG_FRAME + 1);
    size_t index = (get_u16le(p + 80) % (u64_min(body, 600) + 1)) & ~(size_t)7;
    size_t twins = p[88] % 4 == 0 ? 512 : 0;
    if (twins != 0) {
        body = (body + JG_FRAME) / 512 * 512 - JG_FRAME + twins;
        if (body + 2 * JG_FRAME > total || body < index + twins) {
            body = index;
            twins = 0;
        }
    }
    *seq += 1u + (p[16] == 1 ? 1u : 0u);
    h.group_seq = *seq;
    h.durable_seq = *seq - 1 - u64_min(*seq - 1, p[24] % 4);
    h.total_len = (uint32_t)total;
    h.flags = p[56] % 16 < 8 ? (uint16_t)(p[56] % 8) : 0;
    h.twin_len = (uint32_t)twins;
    h.prev_hdr_crc = p[48] % 8 == 7 ? 0 : *chain;
    size_t rec_at = JG_FRAME + index;
    size_t rec_end = JG_FRAME + body - twins;
    h.nrec = fix_records(p, rec_at, rec_end, false, in_order);
    if (twins != 0 && rec_at + 512 <= rec_end) { /* twins of the first records, or of none */
        memcpy(p + rec_end, p + rec_at, p[89] % 2 == 0 ? 256 : 0);
        for (size_t at = rec_end; at + REC_HEAD_SIZE <= JG_FRAME + body;) {
            uint32_t len = get_u32le(p + at + 4);
            if (len < REC_HEAD_SIZE || len > JG_FRAME + body - at || p[at + 8] == REC_APPEND ||
                p[at + 8] > REC_CONS_DELTA) {
                break;
            }
            rec_seal(p + at, (enum rec_type)p[at + 8], REC_IS_TWIN, get_u32le(p + at + 12), 0,
                     get_u32le(p + at + 20), 0, len - REC_HEAD_SIZE, CRC_SEED);
            at += (size_t)align_up(len, REC_ALIGN);
        }
    } else if (twins != 0) {
        (void)fix_records(p, rec_end, JG_FRAME + body, true, false);
    }
    if (p[82] % 4 != 3) { /* an index that fits the records; padding goes to the last entry */
        uint8_t fits[640];
        size_t used = true_index(p, rec_at, rec_end, fits, index, noise);
        memcpy(p + JG_FRAME, fits, used);
        if (used >= JI_HEAD && used < index) {
            put_u32le(p + JG_FRAME + used - JI_HEAD + 4, (uint32_t)(index - used + JI_HEAD));
        }
    }
    h.index_len = (uint32_t)index;
    h.body_len = (uint32_t)body;
    h.index_crc = crc32c(seed, p + JG_FRAME, index);
    h.body_crc = crc32c(seed, p + JG_FRAME, body);
    jg_put(p, p + total - JG_FRAME, &h, seed);
    *chain = h.hdr_crc;
    if (codec) {
        p[60] = 1;
        put_u32le(p + 4, crc32c(seed, p + 8, 120));
    }
    return total;
}

static void build_file(struct env *env, const struct input *in, unsigned no, const uint8_t *bytes,
                       size_t len, uint64_t *seq)
{
    static uint8_t file[FILE_SIZE];
    memset(file, 0, sizeof(file));
    struct jf_header h = {.file_no = no + 1, .base_lsn = no * FILE_SIZE, .size = FILE_SIZE};
    memset(h.file_nonce, (int)no + 1, 16);
    if ((in->opts & SAME_BOOT) != 0) {
        env_boot_id(env, h.boot_id);
    }
    if (no == 1 && (in->opts & SECOND_PREV_END) != 0) {
        h.prev_end_lsn = (uint64_t)(in->prev_end % 17) * JG_ALIGN;
    }
    jf_header_put(file, &h);
    memcpy(file + FILE_SIZE - JF_PAGE, file, JF_PAGE);
    len = len > ROOM ? ROOM : len;
    if (len != 0) {
        memcpy(file + JF_PAGE, bytes, len);
    }
    if ((in->opts & FIX) != 0) {
        size_t end = (size_t)align_up(len, JG_ALIGN);
        uint32_t chain = 0;
        for (size_t at = 0; at < end;) {
            at += fix_group(file + JF_PAGE + at, end - at, h.base_lsn + JF_PAGE + at, seq, &chain,
                            jf_seed(h.file_nonce));
        }
    }
    for (unsigned i = 0; i < in->flips % 4u && len > 8; i++) {
        file[JF_PAGE + get_u16le(bytes + 2 * i) % len] ^= (uint8_t)(1u << bytes[i] % 8);
    }
    size_t size = sizeof(file);
    if ((in->opts & DAMAGE) != 0) {
        switch (in->bad % 8) {
        case 0:
            file[in->prev_end] ^= 1;
            break;
        case 1:
            file[FILE_SIZE - JF_PAGE + in->prev_end] ^= 1;
            break;
        case 2: /* both headers of the first or of the second file */
            if (in->prev_end % 2u == no) {
                file[0] ^= 1;
                file[FILE_SIZE - JF_PAGE] ^= 1;
            }
            break;
        case 3:
            size = (size_t)in->prev_end * 256;
            break;
        case 4: /* the first is missing */
        case 5: /* all are */
            if (no == 0 || in->bad % 8 == 5) {
                return;
            }
            break;
        default: /* a page is lost */
            memset(file + (size_t)in->prev_end % 15 * JF_PAGE + JF_PAGE, 0, JF_PAGE);
            break;
        }
    }
    char path[64];
    (void)snprintf(path, sizeof(path), DIR_PATH "/%016x.jnl", no + 1);
    struct env_file *f;
    if (env_open(env, path, ENV_RDWR | ENV_CREATE, &f, NULL) != ST_OK ||
        env_pwrite(env, f, file, size, 0, NULL) != ST_OK) {
        abort();
    }
    env_close(env, f);
}

/* --- what recovery says ----------------------------------------------------------------------- */

static enum st on_record(void *arg, uint64_t lsn, const struct rec *r, const uint8_t *bytes,
                         struct jr_chunk *chunk, uint64_t wall_ns, struct err *err)
{
    struct tally *t = arg;
    (void)wall_ns;
    (void)err;
    if (bytes < chunk->base || bytes + r->len > chunk->base + chunk->cap) {
        abort();
    }
    if (r->type == REC_APPEND) {
        struct seq_runs runs = {0};
        struct msg m;
        uint64_t floor;
        if (msg_get(r->body, r->body_len, &m) != ST_OK || !msg_check(&m, CRC_SEED)) {
            abort();
        }
        if (append_ext_get(r->ext, r->ext_len, &floor, &runs) == ST_OK) {
            t->sum += floor + runs.n;
        }
        seq_runs_fini(&runs);
    }
    t->records++;
    t->sum += lsn + crc32c(1, bytes, r->len);
    return ST_OK;
}

static void on_claim(void *arg, uint32_t gid, uint64_t last_seq, uint64_t floor,
                     const struct seq_runs *removed)
{
    struct tally *t = arg;
    t->claims++;
    t->sum += gid + last_seq + floor + removed->n;
}

static void on_damage(void *arg, enum jr_damage_cause cause, uint32_t gid, uint64_t lo, uint64_t hi,
                      bool lost, const char *text)
{
    struct tally *t = arg;
    t->damage++;
    t->sum += (uint64_t)cause + gid + lo + hi + (lost ? 1 : 0) + strlen(text);
}

static enum st recover(struct env *env, const struct input *in, struct tally *t)
{
    struct err err;
    struct jr *jr = NULL;
    struct jr_recovered rec;
    struct jr_visitor v = {.arg = t, .record = on_record, .claim = on_claim, .damage = on_damage};
    struct jr_opts o = {.dir = DIR_PATH,
                        .crc_seed = CRC_SEED,
                        .file_min_bytes = FILE_SIZE,
                        .file_max_bytes = FILE_SIZE,
                        .window_bytes = 1 * GIB};
    uint64_t hint = (in->opts & HINT) != 0 ? (uint64_t)in->hint % 34 * JG_ALIGN : 0;
    uint64_t checkpoint = (in->opts & CHECKPOINT) != 0 ? (uint64_t)in->checkpoint * 301 : 0;
    *t = (struct tally){0};
    enum st st = jr_open(env, &o, &jr, &err);
    if (st == ST_OK) {
        st = jr_recover(jr, checkpoint, hint, &v, &rec, &err);
        t->sum += st == ST_OK ? rec.end_lsn + rec.group_seq : 0;
    }
    jr_close(jr);
    struct jr_check_report rep;
    struct tally t2 = {0};
    v.arg = &t2;
    enum st st2 = jr_check(env, &o, checkpoint, hint, &v, &rep, &err);
    if (st2 != st || t2.records != t->records || t2.damage != t->damage) {
        abort();
    }
    return st;
}

static void quiet(void *arg, enum log_level level, const char *line, size_t len)
{
    (void)arg;
    (void)level;
    (void)line;
    (void)len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 8) {
        return 0;
    }
    log_set_sink(quiet, NULL);
    struct input in = {.opts = data[0],
                       .flips = data[1],
                       .hint = data[2],
                       .checkpoint = data[3],
                       .prev_end = data[4],
                       .split = data[5],
                       .bad = data[6],
                       .p = data + 7,
                       .len = size - 7};
    struct env_sim *sim = env_sim_create(1);
    struct env *env = env_sim_env(sim);
    if (env_mkdir(env, DIR_PATH, NULL) != ST_OK) {
        abort();
    }
    uint64_t seq = 0;
    memset(next_oseq, 0, sizeof(next_oseq));
    size_t first = (in.opts & SECOND_FILE) != 0 ? in.len * in.split / 255 : in.len;
    build_file(env, &in, 0, in.p, first, &seq);
    if ((in.opts & SECOND_FILE) != 0) {
        build_file(env, &in, 1, in.p + first, in.len - first, &seq);
    }
    struct tally a;
    struct tally b;
    enum st st = recover(env, &in, &a);
    if (recover(env, &in, &b) != st || memcmp(&a, &b, sizeof(a)) != 0) {
        abort();
    }
    env_sim_destroy(sim);
    return 0;
}
