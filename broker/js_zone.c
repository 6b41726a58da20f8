#include "broker/js_zone.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/htab.h"
#include "engine/base/base.h"

#define FOLDER "/usr/share/zoneinfo"
#define LOCAL "/etc/localtime"
#define NAME_MAX_BYTES 255u
#define ZONES_MAX 1024u

struct zone {
    struct htab_node by_name;
    struct tzif *rules; /* owned; NULL: UTC */
    size_t len;
    char name[];
};

struct js_zones {
    struct htab all;
    size_t count;
};

static void clear(struct js_zones *z)
{
    struct htab_node *n;
    while ((n = htab_first(&z->all)) != NULL) {
        struct zone *k = CONTAINER_OF(n, struct zone, by_name);
        htab_del(&z->all, n);
        tzif_destroy(k->rules);
        base_free(k);
    }
    z->count = 0;
}

void js_zones_destroy(struct js_zones *z)
{
    if (z != NULL) {
        clear(z);
        htab_fini(&z->all);
        base_free(z);
    }
}

/* A path below the folder: no step up, nothing absolute. */
static bool plain(const char *name)
{
    if (name[0] == '\0' || name[0] == '/' || name[0] == '\\') {
        return false;
    }
    for (const char *p = name; p != NULL; p = strchr(p, '/')) {
        p += p != name ? 1 : 0;
        if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == '\0')) {
            return false;
        }
    }
    return true;
}

static bool read_file(struct env *env, const char *path, struct tzif **out)
{
    uint8_t *buf = NULL;
    size_t len = 0;
    if (env_read_file(env, path, TZIF_BYTES_MAX, &buf, &len, NULL) != ST_OK) {
        return false;
    }
    enum st st = tzif_parse(buf, len, out);
    base_free(buf);
    return st == ST_OK;
}

static bool read_named(struct env *env, const char *name, struct tzif **out)
{
    char path[sizeof FOLDER + NAME_MAX_BYTES + 512];
    const char *folder = env_getenv(env, "TZDIR");
    if (strcmp(name, "UTC") == 0) {
        return true;
    }
    int n = snprintf(path, sizeof path, "%s/%s",
                     folder != NULL && folder[0] == '/' ? folder : FOLDER, name);
    return n > 0 && (size_t)n < sizeof path && plain(name) && read_file(env, path, out);
}

/* What TZ says, else /etc/localtime; UTC where neither can be read. */
static void read_local(struct env *env, struct tzif **out)
{
    const char *tz = env_getenv(env, "TZ");
    if (tz == NULL) {
        (void)read_file(env, LOCAL, out);
        return;
    }
    tz += tz[0] == ':' ? 1 : 0;
    if (tz[0] == '/') {
        (void)read_file(env, tz, out);
    } else if (strlen(tz) <= NAME_MAX_BYTES) {
        (void)read_named(env, tz, out);
    }
}

bool js_zone_find(struct js_zones **zones, struct env *env, struct brk_str name,
                  const struct tzif **zone_out)
{
    *zone_out = NULL;
    if (name.n == 0 || name.n > NAME_MAX_BYTES || memchr(name.p, 0, name.n) != NULL) {
        return false;
    }
    struct js_zones *z = *zones != NULL ? *zones : (*zones = base_calloc(1, sizeof *z));
    uint64_t h = hash64(0, name.p, name.n);
    for (struct htab_node *n = htab_chain(&z->all, h); n != NULL; n = n->next) {
        struct zone *k = CONTAINER_OF(n, struct zone, by_name);
        if (n->hash == h && k->len == name.n && memcmp(k->name, name.p, name.n) == 0) {
            *zone_out = k->rules;
            return true;
        }
    }
    struct zone *k = base_calloc(1, sizeof *k + name.n + 1);
    memcpy(k->name, name.p, name.n);
    k->len = name.n;
    if (strcmp(k->name, "Local") == 0) {
        read_local(env, &k->rules);
    } else if (!read_named(env, k->name, &k->rules)) {
        base_free(k);
        return false;
    }
    if (z->count == ZONES_MAX) {
        clear(z);
    }
    htab_add(&z->all, &k->by_name, h);
    z->count++;
    *zone_out = k->rules;
    return true;
}
