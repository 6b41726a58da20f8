/* jetstream { domain: NAME }: on a single server a second name of the API, and a member of answers.
 *
 * $JS.<domain>.API.X is delivered as $JS.API.X, and $JS.<domain>.API.$KV.X and .$OBJ.X as $KV.X and
 * $OBJ.X, in every account but the system's: that is how clients that are told a domain reach
 * buckets. What is not one of upstream's subjects keeps its name. Loop thread; no allocation. */
#include "broker/js_int.h"

#include "engine/base/base.h"

_Static_assert(BRK_DOMAIN_MAX <= LIM_NAME_BYTES_MAX, "it stands where names of streams have room");

static bool starts(struct brk_str s, const char *with)
{
    size_t n = strlen(with);
    return s.n > n && memcmp(s.p, with, n) == 0;
}

/* What stands behind "$JS.<domain>.API."; an empty string: something else. */
static struct brk_str behind(const char *domain, struct brk_str s)
{
    size_t n = strlen(domain), at = 4 + n;
    if (s.n <= at + 5 || memcmp(s.p + 4, domain, n) != 0 || memcmp(s.p + at, ".API.", 5) != 0) {
        return (struct brk_str){NULL, 0};
    }
    return (struct brk_str){s.p + at + 5, s.n - at - 5};
}

struct brk_str js_domain_map(void *arg, struct brk_str subject, char *room)
{
    static const char *const areas[] = {"STREAM.",  "CONSUMER.", "DIRECT.",
                                        "ACCOUNT.", "META.",     "SERVER."};
    static const char api[] = "$JS.API.";
    const struct js *js = arg;
    if (!starts(subject, "$JS.")) {
        return subject;
    }
    struct brk_str rest = behind(js->d.opts->domain, subject);
    if (starts(rest, "$KV.") || starts(rest, "$OBJ.")) {
        return rest;
    }
    bool ours = js_str_eq(rest, "INFO", 4);
    for (size_t i = 0; i < ARRAY_LEN(areas); i++) {
        ours = ours || starts(rest, areas[i]);
    }
    if (!ours) {
        return subject;
    }
    memcpy(room, api, sizeof api - 1);
    memcpy(room + sizeof api - 1, rest.p, rest.n);
    return (struct brk_str){room, sizeof api - 1 + rest.n};
}

void js_domain_put(const struct js *js, struct json_out *j)
{
    if (js->d.opts->domain != NULL) {
        json_out_str(j, "domain", js->d.opts->domain);
    }
}
