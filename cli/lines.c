#include "cli/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int lines_keep(struct lines *l, const char *data, size_t len)
{
    if (len > LINES_LINE_MAX - l->len)
        return -EMSGSIZE;
    if (l->len + len > l->room) {
        size_t room = l->room == 0 ? 4096 : l->room;
        while (room < l->len + len)
            room *= 2;
        char *grown = realloc(l->data, room);
        if (grown == NULL)
            return -ENOMEM;
        l->data = grown;
        l->room = room;
    }
    if (len != 0)
        memcpy(l->data + l->len, data, len);
    l->len += len;
    return 0;
}

int lines_end(struct lines *l, lines_fn *fn, void *arg)
{
    size_t len = l->len;
    l->len = 0;
    return len == 0 ? 0 : fn(arg, l->data, len);
}

int lines_feed(struct lines *l, const char *data, size_t len, lines_fn *fn, void *arg)
{
    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t part = end == NULL ? len : (size_t)(end - data);
        int err = lines_keep(l, data, part);
        if (err == 0 && end != NULL)
            err = lines_end(l, fn, arg);
        if (err != 0)
            return err;
        part += end != NULL;
        data += part;
        len -= part;
    }
    return 0;
}

void lines_free(struct lines *l)
{
    free(l->data);
    *l = (struct lines){0};
}
