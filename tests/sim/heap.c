#include "tests/sim/heap.h"

#include <stdbool.h>
#include <stdlib.h>

enum { CHILDREN = 4 };

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
    for (; i > 0 && before(&e, &h->e[(i - 1) / CHILDREN]); i = (i - 1) / CHILDREN)
        h->e[i] = h->e[(i - 1) / CHILDREN];
    h->e[i] = e;
}

static uint32_t first_child(const struct sim_heap *h, uint32_t i)
{
    uint32_t best = CHILDREN * i + 1;

    for (uint32_t c = best + 1; c <= CHILDREN * i + CHILDREN && c < h->n; c++)
        if (before(&h->e[c], &h->e[best]))
            best = c;
    return best;
}

bool sim_heap_pop(struct sim_heap *h, struct sim_event *e)
{
    struct sim_event last;
    uint32_t i = 0;

    if (h->n == 0)
        return false;
    *e = h->e[0];
    last = h->e[--h->n];
    while (CHILDREN * i + 1 < h->n) {
        uint32_t child = first_child(h, i);

        if (!before(&h->e[child], &last))
            break;
        h->e[i] = h->e[child];
        i = child;
    }
    h->e[i] = last;
    return true;
}
