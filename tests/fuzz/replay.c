/* Runs a fuzz target on files, in builds without libFuzzer: replays a corpus, or one found input
 * under a debugger. */
#include <stdint.h>
#include <stdio.h>

#include "engine/base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char *argv[])
{
    for (int i = 1; i < argc; i++) {
        FILE *f = fopen(argv[i], "rb");
        if (f == NULL) {
            fprintf(stderr, "%s: cannot open\n", argv[i]);
            return 1;
        }
        uint8_t *data = base_malloc(16 * MIB);
        size_t size = fread(data, 1, 16 * MIB, f);
        fclose(f);
        uint8_t *exact =
            base_malloc(size + (size == 0)); /* so that a sanitizer sees reads past the end */
        memcpy(exact, data, size);
        (void)LLVMFuzzerTestOneInput(exact, size);
        base_free(exact);
        base_free(data);
    }
    printf("%d inputs replayed\n", argc - 1);
    return 0;
}
