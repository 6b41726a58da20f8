/* Consumers as they should be, in the plainest way: arrays over all sequences. Compared with the
 * real ones by test_consumer.c, over the same stand-in. */
#ifndef TESTS_UNIT_ENGINE_CONSUMER_MODEL_H
#define TESTS_UNIT_ENGINE_CONSUMER_MODEL_H

#include "tests/unit/engine/consumer_standin.h"

/* ---- the model ------------------------------------------------------------------------------- */

struct mpend {
    bool is, exhausted, queued;
    uint64_t cseq, dcount;
    int64_t deadline;
};
struct mcons {
    bool there;
    char name[8];
    struct cons_cfg cfg;
    uint64_t delivered_cseq, delivered_sseq, floor_cseq, floor_sseq;
    uint64_t next, lps_resume;
    struct mpend p[SEQS];
    uint64_t queue[SEQS * 4];
    size_t q_head, q_tail;
    bool confirmed[SEQS]; /* acks that were answered */
};
static struct mcons model[CONS];

static struct store_cons *real_of(const struct mcons *m)
{
    size_t i = 0;
    while (i < s->ncons && strcmp(s->cons[i]->cfg.name, m->name) != 0) {
        i++;
    }
    ASSERT(i < s->ncons);
    return s->cons[i];
}

static bool live(uint64_t seq)
{
    return liveset_is_live(s->live, seq);
}

static bool m_matches(const struct mcons *m, uint64_t seq)
{
    const char *subj = subjects[subj_of[seq]];
    for (size_t i = 0; i < m->cfg.nfilters; i++) {
        if (subject_match(subj, strlen(subj), m->cfg.filters[i], strlen(m->cfg.filters[i]))) {
            return true;
        }
    }
    return m->cfg.nfilters == 0;
}
/* The newest of its subject as of lps_resume. */
static bool m_last(const struct mcons *m, uint64_t seq)
{
    for (uint64_t k = seq + 1; k <= m->lps_resume; k++) {
        if (live(k) && subj_of[k] == subj_of[seq]) {
            return false;
        }
    }
    return true;
}
static bool m_new(const struct mcons *m, uint64_t seq)
{
    return live(seq) && seq >= m->next && m_matches(m, seq) &&
           (seq > m->lps_resume || m_last(m, seq));
}
static uint64_t m_npending(const struct mcons *m)
{
    uint64_t n = 0;
    for (uint64_t seq = 1; seq <= s->visible_seq; seq++) {
        n += m_new(m, seq);
    }
    return n;
}
static uint64_t m_count(const struct mcons *m, bool redelivered)
{
    uint64_t n = 0;
    for (uint64_t seq = 1; seq <= s->last_seq; seq++) {
        n += m->p[seq].is && (redelivered ? m->p[seq].dcount > 1 : !m->p[seq].exhausted);
    }
    return n;
}
static void m_settle(struct mcons *m, uint64_t seq)
{
    struct mpend old = m->p[seq];
    m->p[seq] = (struct mpend){0};
    if (old.exhausted) {
        return;
    }
    if (m_count(m, false) == 0) {
        m->floor_cseq = m->delivered_cseq;
        m->floor_sseq = m->delivered_sseq;
    } else if (old.cseq == m->floor_cseq + 1) {
        m->floor_cseq = old.cseq;
        m->floor_sseq = seq;
        for (uint64_t k = seq + 1; k <= s->last_seq; k++) {
            if (m->p[k].is && !m->p[k].exhausted) {
                m->floor_cseq = m->p[k].cseq - 1;
                m->floor_sseq = k - 1;
                break;
            }
        }
    }
}
static void m_removed(uint64_t seq)
{
    for (size_t i = 0; i < CONS; i++) {
        if (model[i].there && model[i].p[seq].is) {
            m_settle(&model[i], seq);
        }
    }
}
static void m_purged(struct mcons *m, uint64_t first)
{
    for (uint64_t k = 1; k < first; k++) {
        if (m->p[k].is) {
            m->floor_cseq = u64_max(m->floor_cseq, m->p[k].cseq);
            m->p[k] = (struct mpend){0};
        }
    }
    m->delivered_sseq = u64_max(m->delivered_sseq, first - 1);
    m->next = u64_max(m->next, first);
    m->floor_sseq = u64_max(m->floor_sseq, first - 1);
    if (m_count(m, false) == 0) {
        m->floor_cseq = m->delivered_cseq;
        m->floor_sseq = m->delivered_sseq;
    }
}

static void m_position(struct mcons *m)
{
    uint64_t start = s->first_seq, last = 0;
    m->lps_resume = 0;
    for (uint64_t seq = s->first_seq; seq <= s->last_seq; seq++) {
        last = live(seq) && m_matches(m, seq) ? seq : last;
    }
    switch (m->cfg.deliver) {
    case DELIVER_ALL:
        break;
    case DELIVER_LAST:
        start = m->cfg.nfilters > 0 ? last : s->last_seq;
        break;
    case DELIVER_NEW:
        start = s->last_seq + 1;
        break;
    case DELIVER_BY_START_SEQ:
        start = m->cfg.opt_start_seq;
        break;
    case DELIVER_BY_START_TIME:
        start = stream_seq_at_time(s, m->cfg.opt_start_time_ns);
        break;
    case DELIVER_LAST_PER_SUBJECT:
        start = s->last_seq;
        for (size_t i = 0; i < ARRAY_LEN(subjects); i++) {
            uint64_t of = 0;
            for (uint64_t seq = s->first_seq; seq <= s->last_seq; seq++) {
                of = live(seq) && subj_of[seq] == i && m_matches(m, seq) ? seq : of;
            }
            if (of != 0) {
                start = m->lps_resume == 0 ? of : u64_min(start, of);
                m->lps_resume = s->last_seq;
            }
        }
        break;
    }
    start = u64_max(start, u64_max(1, s->first_seq));
    m->next = start;
    m->delivered_cseq = m->floor_cseq = 0;
    m->delivered_sseq = m->floor_sseq = start - 1;
}

static int64_t m_wait(const struct mcons *m, uint64_t dcount)
{
    return m->cfg.nbackoff == 0 ? m->cfg.ack_wait_ns
                                : m->cfg.backoff_ns[u64_min(dcount - 1, m->cfg.nbackoff - 1)];
}

static void m_due(struct mcons *m)
{
    for (uint64_t seq = 1; seq <= s->last_seq; seq++) {
        struct mpend *p = &m->p[seq];
        if (!p->is || p->queued || p->exhausted || p->deadline > boot_ns) {
            continue;
        }
        if (m->cfg.max_deliver > 0 && p->dcount >= (uint64_t)m->cfg.max_deliver) {
            p->exhausted = true;
        } else {
            p->queued = true;
            m->queue[m->q_tail++ % ARRAY_LEN(m->queue)] = seq;
        }
    }
}

#endif
