#include "transfer/core/err.h"

#include <errno.h>
#include <string.h>

static const char *const texts[] = {
    "malformed message",
    "message out of turn",
    "no protocol version in common",
    "TLS failed",
    "timed out",
    "connection closed",
    "limit reached",
    "not canonical bencoding",
    "not an acceptable manifest",
    "unacceptable name",
    "hash mismatch",
    "not found",
    "ambiguous",
    "file changed since it was shared",
    "local state is damaged",
    "cancelled",
    "unusable setting",
};

_Static_assert(sizeof(texts) / sizeof(texts[0]) == ERR_MESSAGE - ERR_LAST + 1, "a text for each");

const char *err_text(int err)
{
    if (err >= 0)
        return "no error";
    if (err <= ERR_MESSAGE && err >= ERR_LAST)
        return texts[ERR_MESSAGE - err];
    if (err == -ENOSYS) /* openat2(), without which no name from the network is opened */
        return "not offered by this kernel or sandbox (Linux 5.6 or newer is needed)";
    return err > ERR_MESSAGE ? strerror(-err) : "unknown error";
}
