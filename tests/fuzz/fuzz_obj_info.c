/* Fuzz target: what stands in an object's meta message. What is taken can be written, and what was
 * written is taken and written the same again. */
#include <stdlib.h>

#include "objstore/objstore.h"

#include "engine/base/base.h"
#include "engine/base/subject.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct obj_info i, again;
    if (obj_info_parse(data, size, &i, NULL) != ST_OK) {
        return 0;
    }
    if (i.name == NULL || (i.nuid != NULL && !subject_literal(i.nuid, strlen(i.nuid)))) {
        abort();
    }
    size_t n, m;
    char *text = obj_info_json(&i, &n);
    if (obj_info_parse((const uint8_t *)text, n, &again, NULL) == ST_OK) {
        char *same = obj_info_json(&again, &m);
        if (n != m || memcmp(text, same, n) != 0) {
            abort();
        }
        base_free(same);
        obj_info_fini(&again);
    } else if (n <= OBJ_META_BYTES_MAX) {
        abort();
    }
    struct obj_info copy;
    obj_info_copy(&copy, &i);
    char *copied = obj_info_json(&copy, &m);
    if (n != m || memcmp(text, copied, n) != 0) {
        abort();
    }
    base_free(copied);
    obj_info_fini(&copy);
    base_free(text);
    obj_info_fini(&i);
    return 0;
}
