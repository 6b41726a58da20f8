/* Room for the first file of a start on a full disk.
 *
 * Recovery writes its own file, so each start wants one, and a server that is killed on a full disk
 * would not come up a second time. What the files of earlier lives hold behind the end that
 * recovery judged is final: never read again, not even as evidence. That space is given back;
 * headers and sizes stay as they are.
 *
 * What a crash can leave: zeros, in part, where nothing is read. A punched file that becomes a
 * spare is allocated anew before it is used (jr_spare_get). Start-up only, before the tasks run. */
#include "engine/journal_int.h"

/* Where file i is dead from on; its size when nowhere. */
static uint64_t dead_from(const struct jr *jr, size_t i)
{
    const struct jr_file *f = &jr->files.v[i];
    uint64_t end = LSN_MAX;
    for (size_t k = i + 1; k < jr->files.n; k++) {
        const struct jf_header *h = &jr->files.v[k].h;
        if (!jr->files.v[k].unreadable && h->prev_end_lsn != 0) {
            end = u64_min(end, h->prev_end_lsn);
        }
    }
    /* The end that was judged just now becomes final with the file that is to be made; it would be
     * judged the same again, where nothing lies behind it. */
    if (!jr->rec.damaged && jr->rec.torn_bytes == 0 && jr->rec.end_lsn != 0) {
        end = u64_min(end, jr->rec.end_lsn);
    }
    uint64_t off = end > f->h.base_lsn ? end - f->h.base_lsn : 0;
    return u64_min(u64_max(align_up(off, JF_PAGE), JR_FIRST_OFF), f->h.size);
}

bool jr_make_room(struct jr *jr)
{
    uint64_t freed = 0;
    for (size_t i = 0; i < jr->files.n; i++) {
        const struct jr_file *file = &jr->files.v[i];
        uint64_t from = dead_from(jr, i);
        if (file->unreadable || file->copy_bad || file->damaged || from + JF_PAGE >= file->h.size ||
            file->disk_size < file->h.size) {
            continue; /* evidence, or nothing to be had */
        }
        char name[JR_NAME_MAX];
        char path[4096];
        struct env_file *f;
        jr_file_name(name, file->h.file_no);
        jr_path(jr, path, sizeof(path), name);
        if (env_open(jr->env, path, ENV_RDWR, &f, NULL) != ST_OK) {
            continue;
        }
        uint64_t len = file->h.size - JF_PAGE - from;
        if (env_punch(jr->env, f, from, len, NULL) == ST_OK) {
            freed += len;
        }
        env_close(jr->env, f);
    }
    if (freed != 0) {
        log_wrn("journal: the disk is full: gave back what lies behind the ends of its files "
                "bytes=%llu",
                (unsigned long long)freed);
    }
    return freed != 0;
}
