/* Names, subjects, base64url, digests. Pure, but for what OpenSSL keeps. */
#include "objstore/obj_int.h"

#include <openssl/evp.h>
#include <stdio.h>

bool obj_bucket_valid(const char *bucket)
{
    size_t n = 0;
    for (; bucket[n] != 0; n++) {
        char c = bucket[n];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && c != '-' && c != '_') {
            return false;
        }
    }
    return n > 0 && n <= OBJ_BUCKET_BYTES_MAX;
}

/* Length of the well-formed UTF-8 sequence at s; 0 where there is none. */
static size_t utf8_len(const unsigned char *s)
{
    size_t n = s[0] < 0x80                   ? 1
               : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
               : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
               : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                             : 0;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool surrogate = s[0] == 0xed && s[1] >= 0xa0;
    bool beyond = s[0] == 0xf4 && s[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : n;
}

static bool utf8_valid(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    while (*s != 0) {
        size_t n = utf8_len(s);
        if (n == 0) {
            return false;
        }
        s += n;
    }
    return true;
}

bool obj_name_valid(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= OBJ_NAME_BYTES_MAX && utf8_valid(name);
}

enum st obj_check_name(const char *name, struct err *err)
{
    if (name == NULL || *name == 0) {
        return err_set(err, ST_INVALID, 0, "an object needs a name");
    }
    if (!obj_name_valid(name)) {
        return err_set(err, ST_INVALID, 0, "an object's name is UTF-8 of at most %u bytes",
                       OBJ_NAME_BYTES_MAX);
    }
    return ST_OK;
}

enum st obj_check_meta(const struct obj_meta *m, struct err *err)
{
    enum st st = obj_check_name(m->name, err);
    bool text = m->description == NULL || utf8_valid(m->description);
    for (size_t i = 0; i < m->nheaders; i++) {
        text = text && utf8_valid(m->headers[i].name) && utf8_valid(m->headers[i].value);
    }
    for (size_t i = 0; i < m->nmetadata; i++) {
        text = text && utf8_valid(m->metadata[i].key) && utf8_valid(m->metadata[i].value);
    }
    if (st == ST_OK && !text) {
        st = err_set(err, ST_INVALID, 0, "description, headers and metadata are UTF-8");
    }
    if (st == ST_OK && m->chunk_bytes > OBJ_CHUNK_BYTES_MAX) {
        st = err_set(err, ST_INVALID, 0, "chunks of %u bytes are larger than %u", m->chunk_bytes,
                     OBJ_CHUNK_BYTES_MAX);
    }
    return st;
}

/* base64url with padding; base_malloc'ed. */
static char *obj_base64url(const void *data, size_t len)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *p = data;
    char *out = base_malloc((len + 2) / 3 * 4 + 1), *o = out;
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i;
        uint32_t v = (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                     (n > 2 ? (uint32_t)p[i + 2] : 0);
        *o++ = digit[v >> 18];
        *o++ = digit[v >> 12 & 63];
        *o++ = n > 1 ? digit[v >> 6 & 63] : '=';
        *o++ = n > 2 ? digit[v & 63] : '=';
    }
    *o = 0;
    return out;
}

static char *subject(const struct obj_bucket *b, char kind, const char *rest)
{
    size_t n = sizeof "$O..C." + strlen(b->name) + strlen(rest);
    char *s = base_malloc(n);
    (void)snprintf(s, n, "$O.%s.%c.%s", b->name, kind, rest);
    return s;
}

char *obj_meta_subject(const struct obj_bucket *b, const char *name)
{
    char *encoded = obj_base64url(name, strlen(name));
    char *s = subject(b, 'M', encoded);
    base_free(encoded);
    return s;
}

char *obj_chunk_subject(const struct obj_bucket *b, const char *nuid)
{
    return subject(b, 'C', nuid);
}

/* --- digest ----------------------------------------------------------------------------------- */

struct obj_digest {
    EVP_MD_CTX *md; /* owned */
};

struct obj_digest *obj_digest_create(void)
{
    struct obj_digest *d = base_malloc(sizeof *d);
    d->md = EVP_MD_CTX_new();
    ASSERT(d->md != NULL);
    int ok = EVP_DigestInit_ex(d->md, EVP_sha256(), NULL);
    ASSERT(ok == 1);
    return d;
}

void obj_digest_add(struct obj_digest *d, const void *data, size_t len)
{
    int ok = EVP_DigestUpdate(d->md, data, len);
    ASSERT(ok == 1);
}

char *obj_digest_text(struct obj_digest *d)
{
    uint8_t sum[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    int ok = EVP_DigestFinal_ex(d->md, sum, &n);
    ASSERT(ok == 1);
    char *encoded = obj_base64url(sum, n);
    size_t size = sizeof "SHA-256=" + strlen(encoded);
    char *text = base_malloc(size);
    (void)snprintf(text, size, "SHA-256=%s", encoded);
    base_free(encoded);
    return text;
}

void obj_digest_destroy(struct obj_digest *d)
{
    if (d != NULL) {
        EVP_MD_CTX_free(d->md);
        base_free(d);
    }
}
