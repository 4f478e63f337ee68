/* pace: does what the sockets were given keep the uplink busy? PURE.
 *
 * Sockets that have data share the uplink evenly, whatever the order in which they were
 * written: of four chunks begun together none is whole before all are. So but for
 * two, of which one is there when the other's socket runs dry, the next one is begun when
 * those that are under way leave the uplink idle, and not as soon as their sockets are full. What
 * the uplink carries is the best of the last seconds: had it been idle in all of them, it would
 * have been given more.
 *
 * tau is the time that a chunk takes on the own uplink; guess_tau_ms is used until it was
 * measured here. Times are monotonic ms.
 */
#ifndef RONDA_PACE_H
#define RONDA_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PACE_WINDOW_MS = 250, /* long enough for what sockets swallow at once to matter little */
    PACE_WINDOWS = 16,
    PACE_TAU_MIN_MS = 8 /* chunks that take less do not wait: a clock of ms is too coarse */
};

struct pace {
    uint32_t chunk_bytes;
    double best[PACE_WINDOWS]; /* bytes a ms of the last windows; 0: not measured */
    unsigned next;             /* of best */
    uint64_t since_ms;         /* the running window */
    uint64_t bytes;
    bool steady;   /* the window before it had no pause */
    double due_ms; /* when what was given will be out */
};

void pace_init(struct pace *p, uint32_t chunk_bytes);
/* A socket took bytes more. first: of their chunk; whether that one fills the uplink shows
 * from now on. */
void pace_add(struct pace *p, uint64_t now_ms, uint32_t bytes, bool first, double guess_tau_ms);
/* From when on the uplink counts as idle: a quarter of tau after all is out. 0: at once,
 * for chunks are too short to wait. */
uint64_t pace_idle_ms(const struct pace *p, double guess_tau_ms);

#endif
