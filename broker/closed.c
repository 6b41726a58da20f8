/* The ring of closed connections that /connz?state=closed shows. It grows to max_closed_clients
 * with use. */
#include "broker/conn_priv.h"
#include "engine/base/base.h"

static char *dup_or_null(const char *s)
{
    return s == NULL ? NULL : base_strdup(s);
}

static void closed_free(struct brk_closed *k)
{
    base_free(k->name);
    base_free(k->lang);
    base_free(k->version);
    base_free(k->user);
    base_free(k);
}

/* Gives the slot for the next one: behind the newest, or, when the ring is full, the oldest's. */
static struct brk_closed **ring_slot(struct brk_impl *im, uint64_t max)
{
    if (im->closed_kept == max) {
        struct brk_closed **oldest = &im->closed[im->closed_at];
        im->closed_at = (im->closed_at + 1) % max;
        closed_free(*oldest);
        return oldest;
    }
    if (im->closed_kept == im->closed_cap) {
        im->closed_cap = u64_min(im->closed_cap == 0 ? 16 : im->closed_cap * 2, max);
        im->closed = base_realloc(im->closed, im->closed_cap * sizeof *im->closed);
    }
    return &im->closed[im->closed_kept++];
}

void brk_closed_add(struct brk_server *s, const struct brk_conn *c)
{
    struct brk_impl *im = brk_impl_of(s);
    uint64_t max = s->opts->max_closed_clients > 0 ? (uint64_t)s->opts->max_closed_clients : 0;
    s->closed_total++;
    if (max == 0) {
        return;
    }
    struct brk_closed *k = base_calloc(1, sizeof *k);
    k->cid = c->cid;
    k->reason = c->close_reason;
    memcpy(k->ip, c->trans->peer_ip, sizeof k->ip);
    k->port = c->trans->peer_port;
    k->start_real_ns = c->start_real_ns;
    k->stop_real_ns = env_real_ns(s->env);
    k->last_real_ns = c->last_real_ns;
    k->rtt_ns = c->rtt_ns;
    k->flow = c->flow;
    k->subs_count = c->subs.count;
    k->name = dup_or_null(c->name);
    k->lang = dup_or_null(c->lang);
    k->version = dup_or_null(c->version);
    k->user = dup_or_null(c->user);
    k->account = c->account == NULL ? NULL : c->account->name;
    *ring_slot(im, max) = k;
}

void brk_server_each_closed(struct brk_server *s, brk_closed_fn fn, void *arg)
{
    struct brk_impl *im = brk_impl_of(s);
    for (uint64_t i = 0; i < im->closed_kept; i++) {
        uint64_t at = (im->closed_at + im->closed_kept - 1 - i) % im->closed_kept;
        if (!fn(arg, im->closed[at])) {
            return;
        }
    }
}

void brk_closed_fini(struct brk_server *s)
{
    struct brk_impl *im = brk_impl_of(s);
    for (uint64_t i = 0; i < im->closed_kept; i++) {
        closed_free(im->closed[i]);
    }
    base_free(im->closed);
    im->closed = NULL;
    im->closed_kept = im->closed_cap = im->closed_at = 0;
}
