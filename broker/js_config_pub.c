/* Stream configs: the rules of the features of publishing (ADR-43, 49, 50, 51). */
#include "broker/js_config.h"
#include "broker/js_config_pub.h"

static bool fail(struct api_error *e, const char *what)
{
    api_error_set2(e, API_STREAM_INVALID_CONFIG, what, NULL);
    return false;
}

static bool check_markers(struct stream_cfg *c, bool pedantic, struct api_error *e)
{
    int64_t ttl = c->subject_delete_marker_ttl_ns;
    if (ttl == 0) {
        return true;
    }
    if (ttl < 0) {
        return fail(e, "subject delete marker TTL must not be negative");
    }
    if (ttl < NS_PER_S) {
        return fail(e, "subject delete marker TTL must be at least 1 second");
    }
    if (c->allow_rollup && c->deny_purge) {
        return fail(e, "roll-ups require the purge permission");
    }
    if (!c->allow_msg_ttl && pedantic) {
        return fail(e, "subject delete marker cannot be set if message TTLs are disabled");
    }
    c->allow_msg_ttl = true;
    if (!c->allow_rollup) {
        if (pedantic) {
            return fail(e, "subject delete marker cannot be set if roll-ups are disabled");
        }
        c->allow_rollup = true;
        c->deny_purge = false;
    }
    return true;
}

bool js_config_counter_check(const struct stream_cfg *c, struct api_error *e)
{
    const char *off = !c->allow_msg_counter       ? NULL
                      : c->discard == DISCARD_NEW ? "counter stream cannot use discard new"
                      : c->allow_msg_ttl          ? "counter stream cannot use message TTLs"
                      : c->allow_msg_schedules    ? "counter stream cannot use message schedules"
                      : c->retention != RETENTION_LIMITS
                          ? "counter stream can only use limits retention"
                          : NULL;
    return off == NULL || fail(e, off);
}

static bool check_schedules(struct stream_cfg *c, bool pedantic, struct api_error *e)
{
    if (!c->allow_msg_schedules) {
        return true;
    }
    if (c->discard == DISCARD_NEW) {
        return fail(e, "message scheduling cannot use discard new");
    }
    if (c->allow_rollup && c->deny_purge) {
        return fail(e, "roll-ups require the purge permission");
    }
    if (!c->allow_rollup && pedantic) {
        return fail(e, "message scheduling cannot be set if roll-ups are disabled");
    }
    c->allow_rollup = true;
    c->deny_purge = false;
    return true;
}

static bool check_persist(const struct stream_cfg *c, struct api_error *e)
{
    const char *off =
        c->persist != PERSIST_ASYNC    ? NULL
        : c->storage == STORAGE_MEMORY ? "async persist mode is only supported on file storage"
        : c->replicas > 1              ? "async persist mode is not supported on replicated streams"
        : c->allow_atomic ? "async persist mode is not supported with atomic batch publish"
                          : NULL;
    return off == NULL || fail(e, off);
}

bool js_config_pub_check(struct stream_cfg *c, bool pedantic, struct api_error *e)
{
    if (!check_markers(c, pedantic, e) || !check_schedules(c, pedantic, e)) {
        return false;
    }
    return check_persist(c, e);
}

bool js_config_pub_update(const struct stream_cfg *c, const struct stream_cfg *old,
                          struct api_error *e)
{
    if (old->allow_msg_ttl && !c->allow_msg_ttl) {
        return fail(e, "message TTL status can not be disabled");
    }
    if (old->allow_msg_counter != c->allow_msg_counter) {
        return fail(e, "stream configuration update can not change message counter setting");
    }
    if (old->allow_msg_schedules && !c->allow_msg_schedules) {
        return fail(e, "message schedules can not be disabled");
    }
    return true;
}
