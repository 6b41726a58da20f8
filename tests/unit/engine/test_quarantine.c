/* Files that no catalogue names: what a crash left of a segment let go is removed, damage is kept
 * in quarantine/; its bound, its list, emptying it. */
#include "tests/lib/eng_fixture.h"

#include "engine/quarantine.h"

#define ROOT "/data/millrace"
#define SEG_FILE ROOT "/s/00000001/1.0.seg"

static void put_file(struct ef *f, const char *path, const void *bytes, size_t len)
{
    struct env *env = env_sim_env(f->sim);
    struct env_file *file;
    struct err err = {0};
    TEST_OK(env_open(env, path, ENV_RDWR | ENV_CREATE, &file, &err), &err);
    TEST_OK(env_pwrite(env, file, bytes, len, 0, &err), &err);
    TEST_OK(env_datasync(env, file, &err), &err);
    env_close(env, file);
    TEST_OK(env_dirsync(env, ROOT "/quarantine", &err), &err);
}

static bool there(struct ef *f, const char *path)
{
    struct env *env = env_sim_env(f->sim);
    struct env_file *file = NULL;
    bool yes = env_open(env, path, ENV_RDONLY, &file, NULL) == ST_OK;
    env_close(env, file);
    return yes;
}

static struct quarantine_list listed(struct ef *f)
{
    struct quarantine_list l;
    struct err err = {0};
    TEST_OK(quarantine_list(env_sim_env(f->sim), ROOT, &l, &err), &err);
    return l;
}

/* Sixty messages in a segment; *bytes_out is what the file holds. */
static void fill(struct ef *f, uint8_t **bytes_out, size_t *len_out)
{
    char data[400];
    struct err err = {0};
    ef_init(f, 11, NULL);
    memset(data, 'x', sizeof data - 1);
    data[sizeof data - 1] = 0;
    for (int i = 0; i < 60; i++) {
        snprintf(data, sizeof data, "%07d", i);
        data[7] = 'y';
        assert_int_equal(ef_publish(f, "a", NULL, data, 0).verdict, APPEND_STORED);
    }
    ef_checkpoint(f);
    TEST_OK(env_read_file(env_sim_env(f->sim), SEG_FILE, MIB, bytes_out, len_out, &err), &err);
}

/* Everything goes, and the segment with it. */
static void purge(struct ef *f)
{
    struct ef_got g = {0};
    struct store_purge p = {0};
    f->store->ops->purge(f->s, &p, ef_on_done, &g);
    ef_spin(f);
    assert_int_equal(g.st, ST_OK);
    ef_checkpoint(f);
    ef_spin(f);
    assert_false(there(f, SEG_FILE));
}

/* The row went, then the machine, and the file was still there. */
static void let_go(void **state)
{
    (void)state;
    struct ef f;
    uint8_t *bytes;
    size_t len;
    fill(&f, &bytes, &len);
    purge(&f);
    put_file(&f, SEG_FILE, bytes, len);
    ef_restart(&f, EF_KILL);
    assert_false(there(&f, SEG_FILE));
    struct quarantine_list l = listed(&f);
    assert_int_equal(l.n, 0);
    quarantine_list_fini(&l);
    assert_int_equal(ef_state(&f).msgs, 0);
    base_free(bytes);
    ef_fini(&f);
}

/* A second file with messages that live in the first: they stand elsewhere. */
static void copy_of_the_living(void **state)
{
    (void)state;
    struct ef f;
    uint8_t *bytes;
    size_t len;
    fill(&f, &bytes, &len);
    /* its header says segment 1: under another name it is not what it says, and stays */
    put_file(&f, ROOT "/s/00000001/7.0.seg", bytes, len);
    ef_restart(&f, EF_KILL);
    struct quarantine_list l = listed(&f);
    assert_int_equal(l.n, 1);
    assert_non_null(strstr(l.v[0].name, "s-00000001-7.0.seg."));
    quarantine_list_fini(&l);
    assert_int_equal(ef_state(&f).msgs, 60);
    assert_string_equal(strncmp(ef_get(&f, 60), "0000059", 7) == 0 ? "same" : "other", "same");
    base_free(bytes);
    ef_fini(&f);
}

/* A flipped bit in a block of it: it might have been something else once. */
static void damaged(void **state)
{
    (void)state;
    struct ef f;
    uint8_t *bytes;
    size_t len;
    fill(&f, &bytes, &len);
    purge(&f);
    bytes[4096 + 200] ^= 4;
    put_file(&f, SEG_FILE, bytes, len);
    ef_restart(&f, EF_CLEAN);
    assert_false(there(&f, SEG_FILE));
    struct quarantine_list l = listed(&f);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.bytes, len);
    assert_true(l.v[0].since_ns > 1600000000 * NS_PER_S && l.v[0].since_ns != INT64_MAX);
    quarantine_list_fini(&l);
    struct err err = {0};
    TEST_OK(quarantine_empty(env_sim_env(f.sim), ROOT, &l, &err), &err);
    assert_int_equal(l.n, 1); /* what was there */
    quarantine_list_fini(&l);
    l = listed(&f);
    assert_int_equal(l.n, 0);
    quarantine_list_fini(&l);
    base_free(bytes);
    ef_fini(&f);
}

/* A power loss kept some sectors of a file that was never synced, and its header not whole. */
static void torn(void **state)
{
    (void)state;
    static const struct {
        size_t sector;
        size_t kept;
    } cases[] = {{0, 0}, {1, 0}, {3, 0}, {2, 1}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ef f;
        uint8_t *bytes;
        size_t len;
        fill(&f, &bytes, &len);
        if (cases[i].kept) {
            bytes[100] ^= 1; /* no sector is missing: damage */
        } else {
            memset(bytes + cases[i].sector * 512, 0, 512);
        }
        put_file(&f, ROOT "/s/00000001/2.0.seg", bytes, len);
        ef_restart(&f, EF_KILL);
        struct quarantine_list l = listed(&f);
        assert_int_equal(l.n, cases[i].kept);
        quarantine_list_fini(&l);
        assert_false(there(&f, ROOT "/s/00000001/2.0.seg"));
        assert_int_equal(ef_state(&f).msgs, 60);
        base_free(bytes);
        ef_fini(&f);
    }
}

/* Short, with zeros where a header would go on, and not ours: kept. */
static void something_else(void **state)
{
    (void)state;
    struct ef f;
    ef_init(&f, 14, NULL);
    assert_int_equal(ef_publish(&f, "a", NULL, "x", 0).verdict, APPEND_STORED);
    struct err err = {0};
    enum st st = env_mkdir(env_sim_env(f.sim), ROOT "/s/00000001", &err);
    assert_true(st == ST_OK || st == ST_EXISTS);
    put_file(&f, ROOT "/s/00000001/99.0.seg", "not a segment", 13);
    ef_restart(&f, EF_KILL);
    struct quarantine_list l = listed(&f);
    assert_int_equal(l.n, 1);
    quarantine_list_fini(&l);
    ef_fini(&f);
}

/* Messages of a stream that has lost some are evidence, whatever they are. */
static void damaged_stream(void **state)
{
    (void)state;
    struct ef f;
    uint8_t *bytes;
    size_t len;
    fill(&f, &bytes, &len);
    purge(&f);
    stream_note_damage(f.s, 3, 4, "a test says so");
    assert_int_equal(ef_publish(&f, "a", NULL, "more", 0).verdict, APPEND_STORED);
    ef_checkpoint(&f); /* the damage table has it */
    put_file(&f, SEG_FILE, bytes, len);
    ef_restart(&f, EF_KILL);
    struct quarantine_list l = listed(&f);
    assert_int_equal(l.n, 1);
    quarantine_list_fini(&l);
    base_free(bytes);
    ef_fini(&f);
}

/* The oldest go; the newest, and names that are not ours, stay. */
static void bound(void **state)
{
    (void)state;
    struct ef f;
    char path[256];
    ef_init(&f, 12, NULL);
    for (unsigned i = 0; i < QUARANTINE_FILES_MAX + 20; i++) {
        if (i % 2 == 0) {
            snprintf(path, sizeof path, ROOT "/quarantine/meta.db.%016x-000000ff", 1000 + i);
        } else {
            snprintf(path, sizeof path, ROOT "/quarantine/s-00000001-1.0.seg.%u", 1000 + i);
        }
        put_file(&f, path, "evidence", 8);
    }
    put_file(&f, ROOT "/quarantine/notes.txt", "mine", 4);
    struct env_sim_fault stays = {.kinds = ENV_SIM_BIT(ENV_SIM_UNLINK), .glob = "*/quarantine/*"};
    env_sim_fault(f.sim, &stays);
    ef_restart(&f, EF_CLEAN); /* it starts, too full as it is */
    assert_true(env_sim_fault_hits(f.sim) > 0);
    env_sim_faults_clear(f.sim);
    struct quarantine_list l = listed(&f);
    assert_int_equal(l.n, QUARANTINE_FILES_MAX + 21);
    quarantine_list_fini(&l);
    ef_restart(&f, EF_CLEAN);
    l = listed(&f);
    assert_int_equal(l.n, QUARANTINE_FILES_MAX);
    assert_int_equal(l.v[0].since_ns, 1021);
    assert_string_equal(l.v[l.n - 1].name, "notes.txt");
    quarantine_list_fini(&l);
    ef_restart(&f, EF_CLEAN); /* nothing more goes */
    l = listed(&f);
    assert_int_equal(l.n, QUARANTINE_FILES_MAX);
    quarantine_list_fini(&l);
    ef_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(let_go),         cmocka_unit_test(copy_of_the_living),
        cmocka_unit_test(damaged),        cmocka_unit_test(damaged_stream),
        cmocka_unit_test(bound),          cmocka_unit_test(torn),
        cmocka_unit_test(something_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
