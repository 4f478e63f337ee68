#include <stdlib.h>

#include "tests/sim/sim.h"

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    if (a->at_ms < b->at_ms || a->at_ms > b->at_ms)
        return a->at_ms < b->at_ms;
    return a->seq < b->seq;
}

void sim_heap_push(struct sim_heap *h, struct sim_event e)
{
    uint32_t i = h->n++;

    if (h->n > h->cap) {
        h->cap = h->cap ? h->cap * 2 : 1024;
        h->e = realloc(h->e, h->cap * sizeof(*h->e));
        if (!h->e)
            abort();
    }
    e.seq = h->seq++;
    for (; i > 0 && before(&e, &h->e[(i - 1) / 2]); i = (i - 1) / 2)
        h->e[i] = h->e[(i - 1) / 2];
    h->e[i] = e;
}

bool sim_heap_pop(struct sim_heap *h, struct sim_event *e)
{
    struct sim_event last;
    uint32_t i = 0;

    if (h->n == 0)
        return false;
    *e = h->e[0];
    last = h->e[--h->n];
    for (;;) {
        uint32_t child = 2 * i + 1;

        if (child >= h->n)
            break;
        if (child + 1 < h->n && before(&h->e[child + 1], &h->e[child]))
            child++;
        if (!before(&h->e[child], &last))
            break;
        h->e[i] = h->e[child];
        i = child;
    }
    h->e[i] = last;
    return true;
}
