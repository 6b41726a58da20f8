#include "engine/msg_header.h"

#include <stdbool.h>
#include <string.h>

/* Where the line at p ends: its CR LF, or the end of the block. */
static const char *line_end(const char *p, const char *end)
{
    const char *eol = p < end ? memmem(p, (size_t)(end - p), "\r\n", 2) : NULL;
    return eol != NULL ? eol : end;
}

const char *msg_header_get(const uint8_t *hdr, size_t len, const char *name, size_t *value_len_out)
{
    size_t name_len = strlen(name);
    const char *p = (const char *)hdr;
    const char *end = p + (hdr != NULL ? len : 0);
    const char *eol = line_end(p, end); /* of the version line */
    while (end - eol > 2) {
        p = eol + 2;
        eol = line_end(p, end);
        if ((size_t)(eol - p) > name_len && p[name_len] == ':' && memcmp(p, name, name_len) == 0) {
            p += name_len + 1;
            while (p < eol && *p == ' ') {
                p++;
            }
            *value_len_out = (size_t)(eol - p);
            return p;
        }
    }
    return NULL;
}
