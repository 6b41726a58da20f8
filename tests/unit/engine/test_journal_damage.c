/* Damage beyond a flipped bit, case by case: the table "Torn or rotten" of engine/RULES.md, missing
 * and cut files, lost pages, twins, batches with a rotten member, files of other kinds in the
 * directory. */
#include <stdio.h>

#include "engine/base/log.h"
#include "engine/journal_format.h"
#include "tests/lib/jr_fixture.h"
#include "tests/lib/testlib.h"

#define NTH_FILE(buf, n) (void)snprintf((buf), sizeof(buf), "/store/journal/0/%016x.jnl", (n))

static void quiet(void *arg, enum log_level level, const char *line, size_t len)
{
    (void)arg;
    (void)level;
    (void)line;
    (void)len;
}

static void rest(struct jfx *x)
{
    for (int i = 0; i < 3; i++) {
        (void)env_sim_run(x->sim, 100);
        (void)env_sim_advance_to_timer(x->sim);
    }
    (void)env_sim_run(x->sim, 100);
}

/* n groups of one append each, of the same gid, then the idle marker. */
static void groups(struct jfx *x, unsigned n, uint32_t len)
{
    struct err err;
    if (x->jr == NULL) {
        TEST_OK(jfx_open(x, &err), &err);
    }
    for (unsigned i = 0; i < n; i++) {
        assert_true(jfx_put(x, 0, REC_APPEND, len, 0, true));
        jfx_settle(x);
    }
    rest(x);
}

static void die(struct jfx *x, bool power)
{
    jfx_poll(x);
    if (power) {
        env_sim_power_loss(x->sim, 9);
    } else {
        env_sim_process_crash(x->sim);
    }
    jfx_crashed(x, power);
    jfx_drop(x);
}

static void recover_lenient(struct jfx *x)
{
    struct err err;
    x->lenient = true;
    TEST_OK(jfx_recover(x, &err), &err);
    jfx_check(x);
}

static void zero(struct jfx *x, unsigned file, uint64_t off, size_t len)
{
    char path[64];
    uint8_t *buf = base_calloc(1, len);
    NTH_FILE(path, file);
    assert_int_equal(env_sim_file_rot(x->sim, path, off, buf, len), ST_OK);
    base_free(buf);
}

/* A whole page, and so a whole small group with its frames, in the middle: the others stand. */
static void lost_page(void **state)
{
    (void)state;
    struct jfx x;
    jfx_init(&x, NULL, 1);
    groups(&x, 8, 100);
    die(&x, true);
    zero(&x, 1, 3 * 4096, 4096);
    recover_lenient(&x);
    assert_int_equal(x.given, 7);
    assert_int_equal(x.missing, 1);
    assert_true(x.damage.lost >= 1); /* the region, and the gap in the stream's ordinals */
    assert_int_equal(x.rec.torn_bytes, 0);
    jfx_fini(&x);
}

/* The same at the end, where nothing says that it was durable: torn, no report (the residual
 * of 12.1). */
static void lost_last_page_is_torn(void **state)
{
    (void)state;
    struct jfx x;
    jfx_init(&x, NULL, 2);
    groups(&x, 3, 100);
    assert_true(jfx_put(&x, 0, REC_APPEND, 9, 0, true));
    jfx_seal(&x);
    (void)env_sim_step_one(x.sim); /* written and synced, no IDLE behind it */
    die(&x, true);
    for (unsigned p = 4; p < 12; p++) {
        zero(&x, 1, p * 4096, 4096);
    }
    struct err err;
    x.lenient = true;
    TEST_OK(jfx_recover(&x, &err), &err);
    assert_int_equal(x.damage.reports, 0);
    jfx_fini(&x);
}

/* A clean stop's end_lsn makes the same loss damage. */
static void lost_end_after_a_clean_stop(void **state)
{
    (void)state;
    struct jfx x;
    jfx_init(&x, NULL, 3);
    groups(&x, 4, 100);
    assert_int_equal(jfx_stop(&x), ST_OK);
    for (unsigned p = 4; p < 8; p++) {
        zero(&x, 1, p * 4096, 4096);
    }
    recover_lenient(&x);
    assert_int_equal(x.given, 3);
    assert_int_equal(x.missing, 1);
    assert_true(x.damage.lost >= 1);
    assert_true(x.rec.end_lsn >= x.end_hint);
    jfx_fini(&x);
}

/* Killed, same boot: a group whose trailer stands was written whole, so bad bytes inside are rot
 * even without a later group; after a power loss the same picture is a torn tail. */
static void same_boot_is_evidence(void **state)
{
    (void)state;
    for (int power = 0; power < 2; power++) {
        struct jfx x;
        jfx_init(&x, NULL, 4);
        x.opts.sync_interval_ns = 100 * NS_PER_S;
        struct err err;
        TEST_OK(jfx_open(&x, &err), &err);
        for (int i = 0; i < 5; i++) {
            assert_true(jfx_put(&x, 0, REC_APPEND, 100, 0, false));
        }
        jfx_settle(&x);
        assert_false(x.gids[0].v[4].durable);
        if (power != 0) { /* make the bytes stay: as if the device had written them by chance */
            char path[64];
            struct env_file *f;
            NTH_FILE(path, 1);
            TEST_OK(env_open(x.env, path, ENV_RDWR, &f, &err), &err);
            TEST_OK(env_datasync(x.env, f, &err), &err);
            env_close(x.env, f);
        }
        die(&x, power != 0);
        assert_int_equal(
            env_sim_flip_bit(x.sim, "/store/journal/0/0000000000000001.jnl", 4096 + 700, 3), ST_OK);
        recover_lenient(&x);
        assert_int_equal(x.given, power != 0 ? 0 : 4);
        assert_int_equal(x.damage.lost, power != 0 ? 0 : 1);
        assert_true(power == 0 || x.rec.torn_bytes == 4096);
        jfx_fini(&x);
    }
}

static void missing_file(void **state)
{
    (void)state;
    struct jfx x;
    struct err err;
    jfx_init(&x, NULL, 5);
    x.opts.file_max_bytes = 64 * KIB;
    groups(&x, 40, 3000); /* four files */
    die(&x, true);
    TEST_OK(env_unlink(x.env, "/store/journal/0/0000000000000002.jnl", &err), &err);
    recover_lenient(&x);
    assert_int_equal(x.damage.files, 1);
    assert_in_range(x.missing, 8, 14);
    assert_int_equal(x.given + x.missing, 40);
    jfx_drop(&x);
    /* the last one, behind a ROTATE */
    TEST_OK(env_unlink(x.env, "/store/journal/0/0000000000000004.jnl", &err), &err);
    recover_lenient(&x);
    assert_int_equal(x.damage.files, 2);
    jfx_fini(&x);
}

static void both_headers(void **state)
{
    (void)state;
    struct jfx x;
    struct err err;
    jfx_init(&x, NULL, 6);
    x.opts.file_max_bytes = 64 * KIB;
    groups(&x, 40, 3000);
    die(&x, true);
    zero(&x, 2, 0, 4096);
    recover_lenient(&x);
    assert_int_equal(x.given, 40); /* the copy serves */
    assert_int_equal(x.damage.reports, 1);
    assert_int_equal(x.damage.lost, 0);
    jfx_drop(&x);
    zero(&x, 2, 64 * KIB - 4096, 4096);
    recover_lenient(&x);
    assert_int_equal(x.damage.files, 1);
    assert_in_range(x.missing, 8, 14);
    /* and life goes on behind it */
    jfx_drop(&x);
    TEST_OK(jfx_open(&x, &err), &err);
    groups(&x, 3, 100);
    die(&x, true);
    recover_lenient(&x);
    assert_int_equal(x.gids[0].n, 43);
    jfx_fini(&x);
}

static void cut_file(void **state)
{
    (void)state;
    struct jfx x;
    struct err err;
    struct env_file *f;
    jfx_init(&x, NULL, 7);
    x.opts.file_max_bytes = 64 * KIB;
    groups(&x, 30, 3000);
    die(&x, true);
    TEST_OK(env_open(x.env, "/store/journal/0/0000000000000001.jnl", ENV_RDWR, &f, &err), &err);
    TEST_OK(env_truncate(x.env, f, 5 * 4096 + 100, &err), &err);
    env_close(x.env, f);
    recover_lenient(&x);
    assert_true(x.missing >= 8);
    assert_int_equal(x.given + x.missing, 30);
    assert_true(x.damage.lost >= 1);
    jfx_fini(&x);
}

/* The primary of a CFG is gone: its twin takes its place, in order. */
static void twins(void **state)
{
    (void)state;
    struct jfx x;
    struct err err;
    jfx_init(&x, NULL, 8);
    TEST_OK(jfx_open(&x, &err), &err);
    for (int i = 0; i < 4; i++) {
        assert_true(jfx_put(&x, 0, REC_CFG, 100, REC_HAS_TWIN, true));
        assert_true(jfx_put(&x, 0, REC_APPEND, 10, 0, true));
    }
    jfx_settle(&x);
    rest(&x);
    die(&x, false);
    /* records start behind header and one index entry: hit the second CFG */
    zero(&x, 1, 4096 + 128 + 40 + 128 + 80 + 30, 8);
    recover_lenient(&x);
    assert_int_equal(x.given, 8);
    assert_int_equal(x.missing, 0);
    assert_int_equal(x.damage.reports, 1);
    assert_int_equal(x.damage.lost, 0);
    jfx_fini(&x);
}

/* Header, trailer or index gone as a whole: nothing is lost; index and a record: that record, and
 * it is told. */
static void frames_and_index(void **state)
{
    (void)state;
    static const struct {
        uint64_t off;
        size_t len;
        uint64_t off2;
        unsigned missing;
    } cases[] = {
        {0, 128, 0, 0},
        {8192 - 128, 128, 0, 0},
        {128, 40, 0, 0},
        {128, 8, 128 + 40 + 170 + 8, 1},
        {0, 128, 128 + 40 + 170 + 8, 1},
    };
    for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
        struct jfx x;
        struct err err;
        jfx_init(&x, NULL, 9);
        TEST_OK(jfx_open(&x, &err), &err);
        groups(&x, 1, 10);
        for (int i = 0; i < 30; i++) {
            assert_true(jfx_put(&x, 0, REC_APPEND, 100, 0, true));
        }
        jfx_settle(&x);
        groups(&x, 3, 10);
        die(&x, true);
        /* behind the first group and its IDLE */
        zero(&x, 1, 3 * 4096 + cases[c].off, cases[c].len);
        if (cases[c].off2 != 0) {
            zero(&x, 1, 3 * 4096 + cases[c].off2, 4);
        }
        recover_lenient(&x);
        assert_int_equal(x.given, 34 - cases[c].missing);
        assert_int_equal(x.damage.lost != 0, cases[c].missing != 0);
        assert_true(x.damage.reports >= 1);
        jfx_fini(&x);
    }
}

/* The first sector of a group shows an older life of the file: index gone, and a record there with
 * a good checksum. It is not of this group and must not come back. */
static void stale_sector(void **state)
{
    (void)state;
    struct jfx x;
    uint8_t old[4096];
    uint8_t now[4096];
    const char *path = "/store/journal/0/0000000000000001.jnl";
    jfx_init(&x, NULL, 15);
    groups(&x, 4, 100);
    die(&x, true);
    /* group 2 at 8192 gets the index and record of group 1; header and trailer stay */
    assert_int_equal(env_sim_file_read(x.sim, path, 4096, old, sizeof(old)), ST_OK);
    assert_int_equal(env_sim_file_read(x.sim, path, 8192, now, sizeof(now)), ST_OK);
    memcpy(now + 128, old + 128, 1024);
    memset(now + 128, 0, 8); /* and the index is not even a good one */
    assert_int_equal(env_sim_file_rot(x.sim, path, 8192, now, sizeof(now)), ST_OK);
    recover_lenient(&x);
    assert_int_equal(x.given, 3);
    assert_int_equal(x.missing, 1);
    assert_true(x.damage.lost >= 1);
    jfx_fini(&x);
}

/* A batch with a rotten member that was durable is applied without it; whichever member it is. */
static void rotten_batch_member(void **state)
{
    (void)state;
    for (unsigned hit = 0; hit < 5; hit++) {
        struct jfx x;
        struct err err;
        jfx_init(&x, NULL, 10);
        TEST_OK(jfx_open(&x, &err), &err);
        for (unsigned i = 0; i < 5; i++) {
            assert_true(jfx_put(&x, 0, REC_APPEND, 1, i < 4 ? REC_BATCH_MORE : 0, true));
        }
        jfx_settle(&x);
        rest(&x);
        die(&x, true);
        zero(&x, 1, 4096 + 128 + 40 + hit * 64 + 20, 8);
        recover_lenient(&x);
        assert_int_equal(x.given, 4);
        assert_int_equal(x.damage.lost, 1);
        assert_int_equal(x.damage.lo, hit + 1);
        assert_int_equal(x.damage.hi, hit + 1);
        assert_int_equal(x.gids[0].claimed_seq, 5);
        jfx_fini(&x);
    }
}

/* What an APPEND evicts holds although its content is damaged; the claim carries it. */
static struct seq_runs claimed;
static void claim_runs(void *arg, uint32_t gid, uint64_t last_seq, uint64_t floor,
                       const struct seq_runs *removed)
{
    (void)arg;
    assert_int_equal(gid, 1);
    assert_int_equal(last_seq, 77);
    assert_int_equal(floor, 5);
    for (size_t i = 0; i < removed->n; i++) {
        seq_runs_add_run(&claimed, removed->v[i].first, removed->v[i].count);
    }
}
static enum st only_first(void *arg, uint64_t lsn, const struct rec *r, const uint8_t *bytes,
                          struct jr_chunk *chunk, uint64_t wall_ns, struct err *err)
{
    (void)arg;
    (void)lsn;
    (void)bytes;
    (void)chunk;
    (void)wall_ns;
    (void)err;
    assert_int_equal(r->oseq, 0); /* not the damaged message */
    return ST_OK;
}

static void evictions_survive(void **state)
{
    (void)state;
    for (int index_too = 0; index_too < 2; index_too++) {
        struct jfx x;
        struct err err;
        struct seq_runs ev = {0};
        uint8_t *p;
        struct jr_chunk *chunk;
        uint32_t off;
        jfx_init(&x, NULL, 11);
        groups(&x, 1, 10); /* the index of this one says where the gid's ordinals go on */
        seq_runs_add(&ev, 60);
        seq_runs_add_run(&ev, 70, 3);
        struct msg m = {.seq = 77,
                        .subj = (const uint8_t *)"s",
                        .subj_len = 1,
                        .data = (const uint8_t *)"datadata",
                        .data_len = 8};
        size_t ext = append_ext_size(5, &ev);
        size_t len = REC_HEAD_SIZE + ext + MSG_HEAD_SIZE + 9;
        TEST_OK(jw_reserve(x.jw, len, false, &p, &chunk, &off), NULL);
        append_ext_put(p + REC_HEAD_SIZE, ext, 5, &ev);
        size_t body = msg_put(p + REC_HEAD_SIZE + ext, &m, JFX_SEED);
        rec_seal(p, REC_APPEND, 0, 1, 0, 1, ext, body, JFX_SEED);
        struct jw_rec r = {.gid = 1,
                           .oseq = 1,
                           .last_seq = 77,
                           .floor = 5,
                           .removed = &ev,
                           .type = REC_APPEND,
                           .sync = true};
        (void)jw_commit(x.jw, &r, len);
        jfx_settle(&x);
        rest(&x);
        jfx_drop(&x);
        env_sim_process_crash(x.sim);
        size_t index = ji_size(&ev);
        zero(&x, 1, 3 * 4096 + 128 + index + len - 4, 4);
        if (index_too != 0) {
            zero(&x, 1, 3 * 4096 + 128, 4);
        }
        struct jr_visitor v = {.record = only_first, .claim = claim_runs};
        struct jr_recovered rec;
        seq_runs_clear(&claimed);
        TEST_OK(jr_open(x.env, &x.opts, &x.jr, &err), &err);
        TEST_OK(jr_recover(x.jr, 0, 0, &v, &rec, &err), &err);
        assert_int_equal(seq_runs_count(&claimed), 4);
        assert_true(seq_runs_has(&claimed, 60));
        assert_true(seq_runs_has(&claimed, 72));
        seq_runs_fini(&ev);
        jfx_fini(&x);
    }
    seq_runs_fini(&claimed);
}

/* Relaxed groups lost in the middle, later ones there: discarded from the hole on, without a
 * report. */
static void unsynced_hole(void **state)
{
    (void)state;
    struct jfx x;
    struct err err;
    struct env_file *f;
    jfx_init(&x, NULL, 12);
    x.opts.sync_interval_ns = 100 * NS_PER_S;
    TEST_OK(jfx_open(&x, &err), &err);
    for (int i = 0; i < 6; i++) {
        assert_true(jfx_put(&x, 0, REC_APPEND, 100, 0, false));
        jfx_settle(&x);
    }
    TEST_OK(env_open(x.env, "/store/journal/0/0000000000000001.jnl", ENV_RDWR, &f, &err), &err);
    TEST_OK(env_datasync(x.env, f, &err), &err); /* all stay, but for the one taken away below */
    env_close(x.env, f);
    die(&x, true);
    zero(&x, 1, 3 * 4096, 4096);
    recover_lenient(&x);
    assert_int_equal(x.given, 2);
    assert_int_equal(x.damage.reports, 0);
    assert_int_equal(x.rec.torn_bytes, 3 * 4096);
    assert_int_equal(x.rec.end_lsn, 3 * 4096);
    /* what was dropped stays dropped */
    jfx_drop(&x);
    TEST_OK(jfx_open(&x, &err), &err);
    assert_int_equal(x.given, 2);
    assert_true(jfx_put(&x, 0, REC_APPEND, 100, 0, true));
    jfx_settle(&x);
    die(&x, true);
    recover_lenient(&x);
    assert_int_equal(x.given, 3);
    assert_int_equal(x.damage.reports, 0);
    jfx_fini(&x);
}

/* Things that do not belong there, and an I/O error on one page. */
static void odd_directory_and_io_error(void **state)
{
    (void)state;
    struct jfx x;
    struct err err;
    struct env_file *f;
    jfx_init(&x, NULL, 13);
    groups(&x, 5, 100);
    die(&x, true);
    static const char *const odd[] = {"README",  "1.jnl",    "000000000000000G.jnl",
                                      "spare-x", "spare-99", "0000000000000001.jnl.bak"};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        TEST_OK(
            env_open(x.env, test_path("/store/journal/0", odd[i]), ENV_RDWR | ENV_CREATE, &f, &err),
            &err);
        env_close(x.env, f);
    }
    /* the device refuses one large read: page by page it gives everything */
    struct env_sim_fault f1 = {
        .kinds = ENV_SIM_BIT(ENV_SIM_READ), .glob = "*.jnl", .skip = 5, .times = 1};
    env_sim_fault(x.sim, &f1);
    TEST_OK(jfx_open(&x, &err), &err);
    jfx_check(&x);
    assert_int_equal(x.given, 5);
    assert_int_equal(env_sim_fault_hits(x.sim), 1);
    env_sim_faults_clear(x.sim);
    jfx_fini(&x);
}

/* A reserved record type or field, with a right checksum, is refused by name. */
static void reserved_is_refused(void **state)
{
    (void)state;
    struct jfx x;
    struct err err;
    jfx_init(&x, NULL, 14);
    groups(&x, 1, 10);
    assert_int_equal(jfx_stop(&x), ST_OK);
    uint8_t page[4096];
    const char *path = "/store/journal/0/0000000000000001.jnl";
    struct jf_header fh;
    struct jg_header h;
    assert_int_equal(env_sim_file_read(x.sim, path, 0, page, sizeof(page)), ST_OK);
    TEST_ST(jf_header_get(page, &fh), ST_OK);
    uint8_t group[4096];
    uint32_t seed = jf_seed(fh.file_nonce);
    assert_int_equal(env_sim_file_read(x.sim, path, 4096, group, sizeof(group)), ST_OK);
    TEST_ST(jg_get(group, false, seed, &h), ST_OK);
    /* cipher set */
    uint8_t bad[4096];
    memcpy(bad, group, sizeof(bad));
    bad[61] = 1;
    put_u32le(bad + 4, crc32c(seed, bad + 8, 120));
    assert_int_equal(env_sim_file_rot(x.sim, path, 4096, bad, sizeof(bad)), ST_OK);
    TEST_ST(jfx_recover(&x, &err), ST_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "does not serve"));
    jfx_drop(&x);
    /* a raft record */
    memcpy(bad, group, sizeof(bad));
    uint8_t *r = bad + 128 + h.index_len;
    rec_seal(r, REC_RAFT_HARD, 0, 1, 0, 0, 0, get_u32le(r + 4) - REC_HEAD_SIZE, JFX_SEED);
    h.body_crc = crc32c(seed, bad + 128, h.body_len);
    jg_put(bad, bad + 4096 - 128, &h, seed);
    assert_int_equal(env_sim_file_rot(x.sim, path, 4096, bad, sizeof(bad)), ST_OK);
    TEST_ST(jfx_recover(&x, &err), ST_UNSUPPORTED);
    jfx_drop(&x);
    /* a newer file */
    put_u16le(page + 4, JF_VERSION + 1);
    put_u32le(page + 4092, crc32c(0, page, 4092));
    assert_int_equal(env_sim_file_rot(x.sim, path, 0, page, sizeof(page)), ST_OK);
    TEST_ST(jfx_recover(&x, &err), ST_VERSION);
    jfx_fini(&x);
}

static void count_kept(void *arg, const char *path, uint64_t size)
{
    unsigned *n = arg;
    n[strncmp(path, "/store/quarantine/0000000000000001.jnl.", 39) == 0] += size > 0;
}

/* What was damaged is evidence: it is not written over when the checkpoint has passed it. */
static void damaged_file_is_kept(void **state)
{
    (void)state;
    struct jfx x;
    struct err err;
    jfx_init(&x, NULL, 21);
    TEST_OK(env_mkdir(x.env, "/store/quarantine", &err), &err);
    x.opts.quarantine = "/store/quarantine";
    groups(&x, 8, 100);
    die(&x, true);
    zero(&x, 1, 3 * 4096, 4096);
    x.lenient = true;
    TEST_OK(jfx_open(&x, &err), &err);
    for (int i = 0; i < 2; i++) { /* and nothing else is */
        groups(&x, 4, 100);
        jfx_checkpoint(&x, true);
        rest(&x);
        assert_int_equal(jfx_stop(&x), ST_OK);
        TEST_OK(jfx_open(&x, &err), &err);
    }
    unsigned n[2] = {0};
    env_sim_each_file(x.sim, count_kept, n);
    assert_int_equal(n[1], 1);
    jfx_fini(&x);
}

int main(void)
{
    log_set_sink(quiet, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lost_page),
        cmocka_unit_test(lost_last_page_is_torn),
        cmocka_unit_test(lost_end_after_a_clean_stop),
        cmocka_unit_test(same_boot_is_evidence),
        cmocka_unit_test(missing_file),
        cmocka_unit_test(both_headers),
        cmocka_unit_test(cut_file),
        cmocka_unit_test(twins),
        cmocka_unit_test(frames_and_index),
        cmocka_unit_test(stale_sector),
        cmocka_unit_test(rotten_batch_member),
        cmocka_unit_test(evictions_survive),
        cmocka_unit_test(unsynced_hole),
        cmocka_unit_test(odd_directory_and_io_error),
        cmocka_unit_test(reserved_is_refused),
        cmocka_unit_test(damaged_file_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
