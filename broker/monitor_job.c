/* Jobs of the monitoring port: pages made one after the other, a piece a slice. */
#include "broker/monitor_int.h"
#include "engine/base/base.h"

/* --- the list --------------------------------------------------------------------------------- */

static void push(struct mon_job *job)
{
    struct monitor *m = job->m;
    job->next = NULL;
    *(m->jobs_last != NULL ? &m->jobs_last->next : &m->jobs_first) = job;
    m->jobs_last = job;
}

static void unlink_job(struct mon_job *job)
{
    struct monitor *m = job->m;
    struct mon_job **p = &m->jobs_first, *last = NULL;
    while (*p != NULL && *p != job) {
        last = *p;
        p = &(*p)->next;
    }
    if (*p == job) {
        *p = job->next;
        if (m->jobs_last == job) {
            m->jobs_last = last;
        }
    }
}

static void free_job(struct mon_job *job)
{
    struct monitor *m = job->m;
    ASSERT(job->barriers == 0 || m->stopping);
    unlink_job(job);
    *(job->all_prev != NULL ? &job->all_prev->all_next : &m->all) = job->all_next;
    if (job->all_next != NULL) {
        job->all_next->all_prev = job->all_prev;
    }
    if (job->page->fini != NULL) {
        job->page->fini(job);
    }
    json_out_fini(&job->out);
    json_out_fini(&job->body);
    base_free(job);
}

/* --- pages by path ---------------------------------------------------------------------------- */

const struct mon_page mon_pages[MON_PAGES] = {
    [MON_PAGE_ROOT] = {"/", mon_root, NULL, false},
    [MON_PAGE_VARZ] = {"/varz", mon_varz, NULL, true},
    [MON_PAGE_HEALTHZ] = {"/healthz", mon_healthz, NULL, false},
    [MON_PAGE_CONNZ] = {"/connz", mon_connz, mon_connz_fini, true},
    [MON_PAGE_JSZ] = {"/jsz", mon_jsz, mon_jsz_fini, true},
};

static enum mon_step not_found(struct mon_job *job)
{
    mon_fail(job, 404, "404 page not found\n");
    return MON_DONE;
}
static const struct mon_page no_page = {"", not_found, NULL, false};

/* The base path itself is the root page; below it the others. */
static const struct mon_page *find_page(const struct monitor *m, const char *path,
                                        size_t *index_out)
{
    const char *base = m->server->opts->http_base_path;
    size_t n = base != NULL ? strlen(base) : 0;
    if (n > 0 && strncmp(path, base, n) != 0) {
        return &no_page;
    }
    path += n;
    for (size_t i = 0; i < MON_PAGES; i++) {
        if (strcmp(path, i == MON_PAGE_ROOT && n > 0 ? "" : mon_pages[i].path) == 0) {
            *index_out = i;
            return &mon_pages[i];
        }
    }
    return &no_page;
}

struct mon_job *mon_job_create(struct mon_conn *c, const struct brk_http_request *r)
{
    struct monitor *m = c->m;
    struct mon_job *job = base_calloc(1, sizeof *job);
    size_t index = MON_PAGES;
    job->m = m;
    job->conn = c;
    job->req = *r;
    job->status = 200;
    job->type = "application/json";
    job->page = find_page(m, r->path, &index);
    if (index < MON_PAGES) {
        m->requests[index]++;
    }
    job->all_next = m->all;
    if (job->all_next != NULL) {
        job->all_next->all_prev = job;
    }
    m->all = job;
    push(job);
    mon_jobs_kick(m);
    return job;
}

void mon_job_abandon(struct mon_job *job)
{
    job->conn = NULL;
    if (job->barriers == 0) {
        free_job(job);
    }
}

bool mon_job_called(struct mon_job *job)
{
    ASSERT(job->barriers > 0);
    job->barriers--;
    if (job->conn == NULL && job->barriers == 0 && !job->m->stopping) {
        free_job(job);
        return false;
    }
    return job->conn != NULL;
}

void mon_job_kick(struct mon_job *job)
{
    if (job->waits) {
        job->waits = false;
        push(job);
        mon_jobs_kick(job->m);
    }
}

void mon_jobs_kick(struct monitor *m)
{
    if (m->jobs_first != NULL && m->slice != NULL) {
        brk_slice_kick(m->slice);
    }
}

void mon_jobs_fini(struct monitor *m)
{
    while (m->all != NULL) {
        free_job(m->all);
    }
}

/* --- making ----------------------------------------------------------------------------------- */

static void finish(struct mon_job *job)
{
    struct mon_conn *c = job->conn;
    struct json_out *page = job->page->indent && job->status == 200 ? &job->body : &job->out;
    size_t len;
    char *body = json_out_take(page, &len);
    int status = job->status;
    const char *type = job->type;
    bool head = job->req.head;
    free_job(job);
    mon_conn_answer(c, status, type, body, len, head);
}

/* A piece of indentation; false: everything is. */
static bool indent_on(struct mon_job *job)
{
    if (!job->page->indent || job->status != 200) {
        return false;
    }
    size_t n = u64_min(job->out.len - job->indented, MON_INDENT_BYTES);
    mon_indent(&job->indent, &job->body, job->out.buf + job->indented, n);
    job->indented += n;
    return job->indented < job->out.len;
}

static void run(struct mon_job *job)
{
    if (job->made || job->status != 200) {
        if (!indent_on(job)) {
            finish(job);
        }
        return;
    }
    enum mon_step step = job->page->step(job);
    if (job->out.len > MON_PAGE_MAX) {
        mon_fail(job, 503,
                 "the page is larger than %zu bytes; ask for less of it (limit, offset, acc)\n",
                 MON_PAGE_MAX);
        step = job->barriers > 0 ? MON_WAITS : MON_DONE;
    }
    if (step == MON_WAITS) {
        ASSERT(job->barriers > 0);
        job->waits = true;
        unlink_job(job);
    }
    job->made = step == MON_DONE;
}

bool mon_jobs_slice(void *arg)
{
    struct monitor *m = arg;
    if (m->stopping || m->jobs_first == NULL || m->held_bytes > MON_HELD_MAX) {
        return false; /* a finished answer kicks again */
    }
    run(m->jobs_first);
    return m->jobs_first != NULL;
}
