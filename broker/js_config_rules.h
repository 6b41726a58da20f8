/* What the rules of streams (js_config.c) and of consumers (js_config_cons.c) share: refusing, and
 * comparing. Private to these two. */
#ifndef BROKER_JS_CONFIG_RULES_H
#define BROKER_JS_CONFIG_RULES_H

#include <string.h>

#include "broker/api_errors.h"
#include "broker/js_level.h"
#include "engine/base/subject.h"
#include "engine/store.h"

/* Both return false. */
static inline bool fail(struct api_error *e, enum api_err id)
{
    api_error_set(e, id);
    return false;
}

static inline bool fail_cfg(struct api_error *e, const char *text)
{
    api_error_set2(e, API_STREAM_INVALID_CONFIG, text, NULL);
    return false;
}

static inline bool overlap(const char *a, const char *b)
{
    return subject_overlap(a, strlen(a), b, strlen(b));
}

/* With what the server adds (js_level.h). */
static inline size_t metadata_bytes(const struct store_kv *kv, size_t n)
{
    size_t sum = JS_LEVEL_METADATA_BYTES;
    for (size_t i = 0; i < n; i++) {
        sum += strlen(kv[i].key) + strlen(kv[i].value);
    }
    return sum;
}

static inline bool str_equal(const char *a, const char *b)
{
    return strcmp(a == NULL ? "" : a, b == NULL ? "" : b) == 0;
}

static inline bool strs_equal(char *const *a, size_t na, char *const *b, size_t nb)
{
    if (na != nb) {
        return false;
    }
    for (size_t i = 0; i < na; i++) {
        if (strcmp(a[i], b[i]) != 0) {
            return false;
        }
    }
    return true;
}

static inline bool kv_equal(const struct store_kv *a, size_t na, const struct store_kv *b,
                            size_t nb)
{
    if (na != nb) {
        return false;
    }
    for (size_t i = 0; i < na; i++) {
        if (strcmp(a[i].key, b[i].key) != 0 || strcmp(a[i].value, b[i].value) != 0) {
            return false;
        }
    }
    return true;
}

#endif
