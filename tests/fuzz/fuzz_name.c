/* name_check and the ways a name is rewritten: what passes must stay good. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "transfer/core/name.h"

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void try_good_name(const char *name)
{
    char out[NAME_BYTES_MAX + 1];
    name_to_disk(name, out);
    require(name_check(out, strlen(out)) == 0);
    require(strpbrk(out, "\n\r\x1b\x7f") == NULL);
    name_alternative(name, 2, false, out);
    require(name_check(out, strlen(out)) == 0);
    name_alternative(name, 4000000000U, true, out);
    require(name_check(out, strlen(out)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
    char *text = calloc(1, len_bytes + 1);
    if (!text)
        return 0;
    if (len_bytes > 0)
        memcpy(text, data, len_bytes);
    bool utf8 = name_utf8(text, len_bytes);
    if (name_check(text, len_bytes) == 0) {
        require(utf8 && strlen(text) == len_bytes);
        try_good_name(text);
    }
    if (utf8) {
        name_cut(text, len_bytes / 2);
        require(name_utf8(text, strlen(text)) && strlen(text) <= len_bytes / 2);
    }
    free(text);
    return 0;
}
