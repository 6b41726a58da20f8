#include "engine/store_file.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/base.h"
#include "engine/base/log.h"
#include "engine/quarantine.h"

static const char magic[8] = {'M', 'L', 'R', 'S', 'T', 'O', 'R', 'E'};
static const char *const file_names[2] = {"STORE", "STORE.2"};

enum page_state { PAGE_MISSING, PAGE_GOOD, PAGE_DAMAGED, PAGE_FOREIGN, PAGE_NEWER, PAGE_SIZE };

struct page {
    enum page_state state;
    uint8_t bytes[BASE_PAGE];
    char text[160]; /* what is wrong with it */
    struct store_ident ident;
};

static void page_encode(uint8_t out[BASE_PAGE], const struct store_ident *id)
{
    memset(out, 0, BASE_PAGE);
    memcpy(out, magic, sizeof(magic));
    put_u32le(out + 8, STORE_FILE_VERSION);
    memcpy(out + 16, id->store_uuid, 16);
    put_u64le(out + 32, (uint64_t)id->created_ns);
    put_u16le(out + 40, id->lanes);
    put_u32le(out + 44, id->crc_seed);
    memcpy(out + 48, id->node_id, 16);
    put_u32le(out + 4092, crc32c(0, out, 4092));
}

static bool all_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (p[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Judges the bytes of one file. */
static enum page_state page_decode(struct page *pg)
{
    const uint8_t *b = pg->bytes;
    bool has_magic = memcmp(b, magic, sizeof(magic)) == 0;
    uint32_t version = get_u32le(b + 8);

    if (get_u32le(b + 4092) != crc32c(0, b, 4092)) {
        (void)snprintf(pg->text, sizeof(pg->text), "%s",
                       has_magic ? "checksum does not match" : "is not a STORE file of millrace");
        return has_magic ? PAGE_DAMAGED : PAGE_FOREIGN;
    }
    if (!has_magic) {
        (void)snprintf(pg->text, sizeof(pg->text), "is not a STORE file of millrace");
        return PAGE_FOREIGN;
    }
    if (version != STORE_FILE_VERSION || get_u32le(b + 12) != 0 || get_u16le(b + 40) != 1 ||
        get_u16le(b + 42) != 0 || !all_zero(b + 64, 4092 - 64)) {
        (void)snprintf(pg->text, sizeof(pg->text),
                       "version=%u flags=%u lanes=%u: this program knows version %u only", version,
                       get_u32le(b + 12), (unsigned)get_u16le(b + 40), STORE_FILE_VERSION);
        return PAGE_NEWER;
    }
    memcpy(pg->ident.store_uuid, b + 16, 16);
    pg->ident.created_ns = (int64_t)get_u64le(b + 32);
    pg->ident.lanes = get_u16le(b + 40);
    pg->ident.crc_seed = get_u32le(b + 44);
    memcpy(pg->ident.node_id, b + 48, 16);
    return PAGE_GOOD;
}

static enum st page_read(struct env *env, const char *root, const char *name, struct page *pg,
                         struct err *err)
{
    char path[STORE_PATH_MAX];
    struct env_file *f = NULL;
    uint64_t size = 0;
    size_t got = 0;

    memset(pg, 0, sizeof(*pg));
    enum st st = store_path(path, root, name, err);
    if (st != ST_OK) {
        return st;
    }
    st = env_open(env, path, ENV_RDONLY, &f, err);
    if (st == ST_NOTFOUND) {
        err_clear(err);
        pg->state = PAGE_MISSING;
        (void)snprintf(pg->text, sizeof(pg->text), "is missing");
        return ST_OK;
    }
    if (st == ST_OK) {
        st = env_size(env, f, &size, err);
    }
    if (st == ST_OK) {
        st = env_pread(env, f, pg->bytes, BASE_PAGE, 0, &got, err);
    }
    env_close(env, f);
    if (st != ST_OK) {
        err_prefix(err, "%s", name);
        return st;
    }
    if (size != BASE_PAGE || got != BASE_PAGE) {
        pg->state = PAGE_SIZE;
        (void)snprintf(pg->text, sizeof(pg->text), "has %llu bytes where %u are expected",
                       (unsigned long long)size, BASE_PAGE);
        /* A longer file was not made by a torn write of ours. */
        if (size < BASE_PAGE) {
            pg->state = PAGE_DAMAGED;
        }
        return ST_OK;
    }
    pg->state = page_decode(pg);
    return ST_OK;
}

/* Picks the file that serves, or says why none may. *good_out is its index, -1 when neither exists.
 */
static enum st pages_judge(struct page pages[2], int *good_out, struct err *err)
{
    *good_out = -1;
    for (int i = 0; i < 2; i++) {
        if (pages[i].state == PAGE_NEWER) {
            return err_set(err, ST_VERSION, 0, "%s %s", file_names[i], pages[i].text);
        }
        if (pages[i].state == PAGE_SIZE) {
            return err_set(err, ST_FOREIGN, 0, "%s %s", file_names[i], pages[i].text);
        }
        if (pages[i].state == PAGE_GOOD && *good_out < 0) {
            *good_out = i;
        }
    }
    if (*good_out >= 0) {
        if (pages[0].state == PAGE_GOOD && pages[1].state == PAGE_GOOD &&
            memcmp(pages[0].bytes, pages[1].bytes, BASE_PAGE) != 0) {
            return err_set(err, ST_MISMATCH, 0, "STORE and STORE.2 belong to different stores");
        }
        return ST_OK;
    }
    for (int i = 0; i < 2; i++) {
        if (pages[i].state != PAGE_MISSING) {
            return err_set(err, pages[i].state == PAGE_FOREIGN ? ST_FOREIGN : ST_CORRUPT, 0,
                           "%s %s, and %s %s", file_names[i], pages[i].text, file_names[1 - i],
                           pages[1 - i].text);
        }
    }
    return ST_OK;
}

/* Writes one of the files whole: temporary name, sync, rename. The caller syncs the directory. */
static enum st page_write(struct env *env, const char *root, int index,
                          const uint8_t bytes[BASE_PAGE], struct err *err)
{
    char tmp[STORE_PATH_MAX], path[STORE_PATH_MAX];
    struct env_file *f = NULL;
    enum st st;

    if ((st = store_path(tmp, root, index == 0 ? "STORE.new" : "STORE.2.new", err)) != ST_OK ||
        (st = store_path(path, root, file_names[index], err)) != ST_OK ||
        (st = env_open(env, tmp, ENV_RDWR | ENV_CREATE, &f, err)) != ST_OK) {
        return st;
    }
    st = env_truncate(env, f, 0, err);
    if (st == ST_OK) {
        st = env_pwrite(env, f, bytes, BASE_PAGE, 0, err);
    }
    if (st == ST_OK) {
        st = env_datasync(env, f, err);
    }
    env_close(env, f);
    if (st == ST_OK) {
        st = env_rename(env, tmp, path, err);
    }
    if (st != ST_OK) {
        err_prefix(err, "write %s", file_names[index]);
    }
    return st;
}

static enum st store_create(struct env *env, const char *root, struct store_ident *ident_out,
                            struct err *err)
{
    uint8_t page[BASE_PAGE];
    struct store_ident id = {.created_ns = env_real_ns(env), .lanes = 1};
    enum st st;

    env_random(env, id.store_uuid, sizeof(id.store_uuid));
    id.store_uuid[6] =
        (uint8_t)((id.store_uuid[6] & 0x0f) | 0x40); /* a random UUID, RFC 9562 version 4 */
    id.store_uuid[8] = (uint8_t)((id.store_uuid[8] & 0x3f) | 0x80);
    env_random(env, &id.crc_seed, sizeof(id.crc_seed));
    page_encode(page, &id);
    if ((st = page_write(env, root, 0, page, err)) != ST_OK ||
        (st = page_write(env, root, 1, page, err)) != ST_OK ||
        (st = env_dirsync(env, root, err)) != ST_OK) {
        return st;
    }
    *ident_out = id;
    return ST_OK;
}

/* Catalogue and journal come after both files are durable. */
static void any_content(void *arg, const char *name, bool is_dir)
{
    bool *begun = arg;
    (void)is_dir;
    *begun = *begun || strncmp(name, "meta.", 5) == 0 || strcmp(name, "journal") == 0 ||
             strcmp(name, "s") == 0;
}

enum st store_file_open(struct env *env, const char *root, bool create,
                        struct store_ident *ident_out, enum store_file_note *note_out,
                        struct err *err)
{
    struct page pages[2];
    int good = -1;
    enum st st;

    *note_out = STORE_FILE_OK;
    if ((st = page_read(env, root, file_names[0], &pages[0], err)) != ST_OK ||
        (st = page_read(env, root, file_names[1], &pages[1], err)) != ST_OK ||
        (st = pages_judge(pages, &good, err)) != ST_OK) {
        return st;
    }
    if (good < 0) {
        if (!create) {
            return err_set(err, ST_NOTFOUND, 0, "no STORE file in %s", root);
        }
        bool begun = false;
        if ((st = env_list(env, root, any_content, &begun, err)) != ST_OK) {
            return st;
        }
        if (begun) { /* a new identity would make strangers of the files that lie here */
            return err_set(err, ST_CORRUPT, 0,
                           "STORE and STORE.2 are missing, but there is data; nothing was changed");
        }
        *note_out = STORE_FILE_CREATED;
        return store_create(env, root, ident_out, err);
    }
    int other = 1 - good;
    bool begun = false;
    if ((st = env_list(env, root, any_content, &begun, err)) != ST_OK) {
        return st;
    }
    if (!begun && (pages[other].state == PAGE_GOOD || pages[other].state == PAGE_MISSING)) {
        /* Its making was cut off: nothing is damaged, but the names may not be durable yet. */
        if ((pages[other].state == PAGE_MISSING &&
             (st = page_write(env, root, other, pages[good].bytes, err)) != ST_OK) ||
            (st = env_dirsync(env, root, err)) != ST_OK) {
            return st;
        }
        *note_out = STORE_FILE_CREATED;
        *ident_out = pages[good].ident;
        return ST_OK;
    }
    if (pages[other].state != PAGE_GOOD) {
        log_wrn("%s %s, repaired from %s", file_names[other], pages[other].text, file_names[good]);
        if ((st = quarantine_move(env, root, file_names[other], NULL, err)) != ST_OK ||
            (st = page_write(env, root, other, pages[good].bytes, err)) != ST_OK ||
            (st = env_dirsync(env, root, err)) != ST_OK) {
            return st;
        }
        *note_out = STORE_FILE_REPAIRED;
    }
    *ident_out = pages[good].ident;
    return ST_OK;
}

enum st store_file_check(struct env *env, const char *root, struct store_ident *ident_out,
                         void (*fn)(void *arg, const char *file, const char *text), void *arg,
                         struct err *err)
{
    struct page pages[2];
    int good = -1;
    enum st st;

    if ((st = page_read(env, root, file_names[0], &pages[0], err)) != ST_OK ||
        (st = page_read(env, root, file_names[1], &pages[1], err)) != ST_OK) {
        return st;
    }
    for (int i = 0; i < 2; i++) {
        if (pages[i].state != PAGE_GOOD && fn != NULL) {
            fn(arg, file_names[i], pages[i].text);
        }
    }
    if ((st = pages_judge(pages, &good, err)) != ST_OK) {
        return st;
    }
    if (good < 0) {
        return err_set(err, ST_NOTFOUND, 0, "no STORE file in %s", root);
    }
    *ident_out = pages[good].ident;
    return ST_OK;
}
