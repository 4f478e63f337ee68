/* TXT records of peers: whatever parses must survive being built and parsed again. */
#include "discovery/txt.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AvahiStringList *list = NULL;
    struct txt first, second;
    while (size > 0) { /* as on the wire: a length byte, then that many bytes */
        size_t len = data[0] < size - 1 ? data[0] : size - 1;
        list = avahi_string_list_add_arbitrary(list, data + 1, len);
        data += len + 1;
        size -= len + 1;
    }
    if (txt_parse(list, &first) == 0) {
        AvahiStringList *again = txt_build(&first);
        int err = txt_parse(again, &second);
        assert(err == 0);
        (void)err;
        assert(first.version == second.version && first.flags == second.flags);
        assert(first.catalog_version == second.catalog_version);
        assert(memcmp(first.id, second.id, sizeof first.id) == 0);
        avahi_string_list_free(again);
    }
    avahi_string_list_free(list);
    return 0;
}
