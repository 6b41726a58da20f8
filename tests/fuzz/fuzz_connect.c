/* Fuzz target: the JSON of CONNECT. Oracle: no crash, no sanitizer report; what was accepted is
 * accepted again, over the values of the first time, with the same result. */
#include "broker/connect.h"
#include "engine/base/base.h"

static bool same(const char *a, const char *b)
{
    return a == NULL ? b == NULL : b != NULL && strcmp(a, b) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct brk_str json = {(const char *)data, size};
    struct brk_connect a = {.echo = true}, b = {.echo = true};
    struct err err;
    if (size <= 4096 && brk_connect_parse(&a, json, &err) == ST_OK) {
        ASSERT(brk_connect_parse(&b, json, &err) == ST_OK);
        ASSERT(brk_connect_parse(&b, json, &err) == ST_OK);
        ASSERT(same(a.user, b.user) && same(a.pass, b.pass) && same(a.token, b.token));
        ASSERT(same(a.name, b.name) && same(a.lang, b.lang) && same(a.version, b.version));
        ASSERT(a.protocol == b.protocol);
    }
    brk_connect_fini(&a);
    brk_connect_fini(&b);
    return 0;
}
