#include "cli/notice.h"

#include <stddef.h>
#include <string.h>

static enum notice_stall stall_of(const char *state)
{
    if (strcmp(state, "disk-full") == 0)
        return NOTICE_DISK_FULL;
    return strcmp(state, "waiting") == 0 ? NOTICE_WAITING : NOTICE_NONE;
}

const char *notice_step(struct notice *n, const char *state, uint64_t now_ms)
{
    static const char *const texts[] = {
        [NOTICE_NONE] = "goes on",
        [NOTICE_DISK_FULL] = "the disk is full: goes on when there is space",
        [NOTICE_WAITING] = "nobody who has it can be reached: waiting"};
    enum notice_stall stall = stall_of(state);
    /* it does not go on either; the end says more */
    if (strcmp(state, "failed") == 0 || strcmp(state, "paused") == 0)
        return NULL;
    if (stall != n->stall) {
        n->stall = stall;
        n->since_ms = now_ms;
    }
    if (stall == n->said || (stall != NOTICE_NONE && now_ms - n->since_ms <= NOTICE_AFTER_MS))
        return NULL;
    n->said = stall;
    return texts[stall];
}
