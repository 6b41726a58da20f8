/* Recovery, step 7 (RULES.md, "Start"): files of segments that the catalogue does not know are
 * judged once the journal has been replayed.
 *
 * Made for a generation above the catalogue's: an unfinished flush; replay has the messages, the
 * file goes. A lower gen of a known segment: replaced, it goes. A higher one: a compaction that was
 * not committed; it goes when the stream is whole without it. In a directory that a drop had
 * renamed: the drop is finished. Empty, or with a header of which whole sectors are missing: its
 * first write did not reach the disk as a whole, nothing ever referred to it.
 *
 * Written by the lane before the records that would refer to it (extent.h), and no record does:
 * they never came to be, or a checkpoint covers them. It goes when no record is missing.
 *
 * Any other is read: the row of a segment goes when nothing of it lives, its file a moment later,
 * and a crash may fall between; a flush may have failed and its file outlived the attempt to unlink
 * it. When the stream is whole, every block of the file is good, and each message in it was removed
 * by a record, stands elsewhere, or is newer than all the journal knows of (a flush ran ahead of a
 * sync that a power loss forestalled), the file has nothing to tell: it goes, said in the log.
 * Everything else is kept in quarantine/ and said: it may be evidence. */
#include "engine/eng.h"
#include "engine/extent.h"

#include "engine/base/log.h"
#include "engine/quarantine.h"

struct judge {
    struct eng *e;
    char **remove, **keep; /* owned paths */
    size_t nremove, nkeep;
    uint32_t *drop; /* owned */
    size_t ndrop;
    uint64_t generation;
    const struct store_stream *s; /* whose file is being read */
    uint64_t read, uncovered;     /* messages of it */
    uint64_t covered_files, covered_msgs;
};

static void add_path(char ***v, size_t *n, const char *path)
{
    *v = base_realloc(*v, (*n + 1) * sizeof **v);
    (*v)[(*n)++] = base_strdup(path);
}

/* The gen that the catalogue knows of this segment; -1 = none. */
static int64_t known_gen(const struct store_stream *s, uint64_t segno)
{
    for (size_t i = 0; s != NULL && s->segs != NULL && i < s->segs->n; i++) {
        if (s->segs->v[i]->row.segno == segno) {
            return s->segs->v[i]->row.gen;
        }
    }
    return -1;
}

/* What the disk shows of the first write to a file. A power loss keeps any of its sectors and the
 * others are zero; a header has something in its first, second and last (magic and identity, the
 * stream's name, the checksum), so one of them zero means that the file was never synced: no row
 * ever named it. A flipped bit does not look like that, nor a file of something else. */
enum first_write { WRITE_NONE, WRITE_TORN, WRITE_WHOLE };

static bool is_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != 0) {
            return false;
        }
    }
    return true;
}

static enum first_write first_write(struct eng *e, const char *path)
{
    enum { SECTOR = 512 };
    struct env_file *f = NULL;
    uint8_t page[BASE_PAGE] = {0};
    size_t got = 0;
    if (env_open(e->env, path, ENV_RDONLY, &f, NULL) != ST_OK) {
        return WRITE_WHOLE;
    }
    enum st st = env_pread(e->env, f, page, sizeof page, 0, &got, NULL);
    env_close(e->env, f);
    if (st != ST_OK) {
        return WRITE_WHOLE;
    }
    if (is_zero(page, sizeof page)) {
        return WRITE_NONE;
    }
    bool lost_first = is_zero(page, SECTOR), ours = memcmp(page, "MSEG", 4) == 0;
    bool torn = lost_first ||
                (ours && (is_zero(page + SECTOR, SECTOR) || is_zero(page + 3 * SECTOR, SECTOR)));
    return torn ? WRITE_TORN : WRITE_WHOLE;
}

/* Nothing is missing from the stream, as far as anybody knows; or it never was (its making went
 * with the same power loss). */
static bool is_whole(const struct judge *j, uint32_t gid, const struct store_stream *s)
{
    return j->e->nunowned == 0 && (s != NULL ? s->ndamage == 0 : gid >= j->e->next_gid);
}

/* A file whose header cannot be read: a checkpoint cut short before it synced anything? */
static bool never_synced(const struct judge *j, uint32_t gid, const struct store_stream *s,
                         const char *path)
{
    enum first_write w = first_write(j->e, path);
    return w == WRITE_NONE || (w == WRITE_TORN && is_whole(j, gid, s));
}

/* An extent that no record refers to, and no record is missing. Its stream may be unknown: made by
 * the group that was to refer to it. */
static bool never_referred(const struct judge *j, const struct store_stream *s, const char *path)
{
    return j->e->nunowned == 0 && (s == NULL || s->ndamage == 0) &&
           segs_is_extent(j->e->segs, path);
}

/* A message of a file nobody names: is it dead by a logged fact, or does the stream have it? */
static void on_msg(void *arg, const struct msg *m)
{
    struct judge *j = arg;
    const struct store_stream *s = j->s;
    j->read++;
    if (m->seq > s->last_seq || !liveset_is_live(s->live, m->seq)) {
        return; /* never acknowledged: of a whole stream the journal had all that was; or removed */
    }
    const uint8_t *own = tail_get(&s->tail, m->seq, NULL);
    struct msg t;
    if (own != NULL) {
        j->uncovered += msg_get(own, get_u32le(own), &t) != ST_OK ||
                        t.content_crc != m->content_crc || t.ts_ns != m->ts_ns;
        return;
    }
    size_t n = s->segs != NULL ? s->segs->n : 0;
    size_t i = n > 0 ? seg_views_find(s->segs->v, n, m->seq) : 0;
    j->uncovered += i >= n || s->segs->v[i]->row.first_seq > m->seq;
}

static bool covered(struct judge *j, const struct store_stream *s, uint64_t segno, uint32_t gen,
                    const char *path)
{
    if (s == NULL || s->memory || s->ndamage > 0 || j->e->nunowned > 0) {
        return false;
    }
    j->s = s;
    j->read = j->uncovered = 0;
    if (!segs_read_unknown(j->e->segs, path, s->gid, segno, gen, on_msg, j) || j->uncovered > 0) {
        return false;
    }
    j->covered_files++;
    j->covered_msgs += j->read;
    return true;
}

static void on_file(void *arg, uint32_t gid, uint64_t segno, uint32_t gen, bool dropped,
                    uint64_t created_generation, const char *path)
{
    struct judge *j = arg;
    const struct store_stream *s = gid != 0 ? eng_stream_by_gid(j->e, gid) : NULL;
    if (dropped && gid != 0 && (s == NULL || s->dropped)) {
        if (s == NULL &&
            (j->ndrop == 0 ||
             j->drop[j->ndrop - 1] != gid)) { /* a tombstone's own checkpoint finishes it */
            j->drop = base_realloc(j->drop, (j->ndrop + 1) * sizeof *j->drop);
            j->drop[j->ndrop++] = gid;
        }
        return;
    }
    if (s != NULL && s->dropped) {
        return; /* goes with its directory */
    }
    if (s != NULL && s->extents != NULL && gen == 0 && extents_refers_to(s->extents, segno)) {
        return; /* the journal refers to it: until the next checkpoint */
    }
    int64_t known = segno != 0 ? known_gen(s, segno) : -1;
    if (known == (int64_t)gen) {
        return;
    }
    bool copied = known >= 0 && s->ndamage == 0; /* by a compaction that was not committed */
    if (segno != 0 && (known > (int64_t)gen || copied || created_generation > j->generation ||
                       (created_generation == 0 && never_synced(j, gid, s, path)) ||
                       covered(j, s, segno, gen, path) || never_referred(j, s, path))) {
        add_path(&j->remove, &j->nremove, path);
    } else {
        add_path(&j->keep, &j->nkeep, path);
    }
}

enum st recover_judge_files(struct eng *e, struct err *err)
{
    struct judge j = {.e = e, .generation = cat_generation(e->cat)};
    enum st st = segs_list(e->segs, on_file, &j, err);
    for (size_t i = 0; i < j.nremove && st == ST_OK; i++) {
        st = segs_remove_unknown(e->segs, j.remove[i], err);
    }
    if (st == ST_OK && j.covered_files > 0) {
        log_inf("removed files of segments that were let go before the stop; all they held is "
                "removed or stands elsewhere files=%llu msgs=%llu",
                (unsigned long long)j.covered_files, (unsigned long long)j.covered_msgs);
    }
    for (size_t i = 0; i < j.nkeep && st == ST_OK; i++) {
        log_wrn("file \"%s\" stands in no catalogue: moved to quarantine/", j.keep[i]);
        st = segs_quarantine(e->segs, j.keep[i], err);
    }
    struct err full = {0};
    if (st == ST_OK && quarantine_trim(e->env, e->root, &full) != ST_OK) {
        log_wrn("quarantine/ could not be trimmed: %s", full.msg); /* no reason not to start */
    }
    for (size_t i = 0; i < j.ndrop && st == ST_OK; i++) {
        st = segs_drop_stream(e->segs, j.drop[i], err);
    }
    for (size_t i = 0; i < j.nremove; i++) {
        base_free(j.remove[i]);
    }
    for (size_t i = 0; i < j.nkeep; i++) {
        base_free(j.keep[i]);
    }
    base_free(j.remove);
    base_free(j.keep);
    base_free(j.drop);
    return st;
}
