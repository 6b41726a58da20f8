#include "engine/msg_header.h"

#include <stdbool.h>
#include <string.h>

const char *msg_header_get(const uint8_t *hdr, size_t len, const char *name, size_t *value_len_out)
{
    size_t name_len = strlen(name);
    const char *p = hdr != NULL ? memmem(hdr, len, "\r\n", 2) : NULL;
    const char *end = (const char *)hdr + len;
    while (p != NULL) {
        p += 2;
        const char *eol = memmem(p, (size_t)(end - p), "\r\n", 2);
        if (eol == NULL || eol == p) {
            return NULL;
        }
        if ((size_t)(eol - p) > name_len && p[name_len] == ':' && memcmp(p, name, name_len) == 0) {
            p += name_len + 1;
            while (p < eol && (*p == ' ' || *p == '\t')) {
                p++;
            }
            *value_len_out = (size_t)(eol - p);
            return p;
        }
        p = eol;
    }
    return NULL;
}
