/* Wi-Fi: the air is one medium, which a byte from a wireless node to another
 * takes twice, and one from a wired node only once. Hence, over an own route that
 * is wireless, a GRANT is for what no wired neighbour holds, nor gets from us now:
 * it is due; wired neighbours come first. And of a leaf, a node asks nothing else
 * while wired ones feed it. They may be slow, stuck or lying: who has got no chunk
 * of them for a while takes any, and since only it knows, it is asked by a GRANT
 * now and then. */
#include "transfer/core/sched_int.h"

/* nb lacks chunk, which we hold, from now on. */
void sched_air_lack(const struct sched *s, struct sched_nb *nb, uint32_t chunk)
{
    nb->lacks++;
    nb->due += s->avail[chunk].wired == 0;
}

void sched_air_unlack(const struct sched *s, struct sched_nb *nb, uint32_t chunk)
{
    nb->lacks--;
    nb->due -= s->avail[chunk].wired == 0;
}

/* nb holds chunk, or gets it from us. Here and below: what is counted of each
 * neighbour is what its maps say. */
void sched_air_wired(struct sched *s, const struct sched_nb *nb, uint32_t chunk)
{
    if (nb->leaf || s->avail[chunk].wired++ > 0 || !chunkmap_has(&s->have, chunk))
        return;
    s->sole--;
    for (uint64_t m = s->live; m; m &= m - 1)
        s->nb[sched_lowest(m)].due -= sched_lacks(&s->nb[sched_lowest(m)], chunk);
}

/* nb does so no more. */
void sched_air_unwired(struct sched *s, const struct sched_nb *nb, uint32_t chunk)
{
    if (nb->leaf || --s->avail[chunk].wired > 0 || !chunkmap_has(&s->have, chunk))
        return;
    s->sole++;
    for (uint64_t m = s->live; m; m &= m - 1)
        s->nb[sched_lowest(m)].due += sched_lacks(&s->nb[sched_lowest(m)], chunk);
}

/* So long wired nodes are relied on. */
static uint64_t patience_ms(const struct sched *s)
{
    return 2 * sched_stall_ms(s) + SCHED_AIR_PATIENCE_MS;
}

/* Do wired neighbours feed us? */
bool sched_air_fed(const struct sched *s, uint64_t now_ms)
{
    return now_ms < s->wired_ms + patience_ms(s);
}

/* A wired source that is silent yet shows itself by its offers. */
uint64_t sched_air_from_ms(const struct sched *s)
{
    uint64_t at = 0;

    for (uint64_t m = s->live; m; m &= m - 1) {
        const struct sched_nb *nb = &s->nb[sched_lowest(m)];

        if (!nb->leaf && nb->offers_us_ms && nb->offers_us_ms + patience_ms(s) > at)
            at = nb->offers_us_ms + patience_ms(s);
    }
    return at;
}

/* From when on nb may be granted; from_ms: sched_air_from_ms(). What is being sent to
 * a wired neighbour is not due any more, what is to a wireless one still is. */
uint64_t sched_air_after_ms(const struct sched *s, const struct sched_nb *nb, uint64_t from_ms)
{
    uint64_t ask_ms = nb->fed_ms + patience_ms(s);

    if (!nb->air || nb->starving)
        return 0;
    return nb->due > (nb->leaf ? nb->asked : 0) ? sched_min(from_ms, ask_ms) : ask_ms;
}

/* Of those who may be granted, those for whom the air is taken once at most; whoever
 * starves as well. One of the former that has not answered yet comes first. */
uint64_t sched_air_prefer(const struct sched *s, uint64_t cand)
{
    uint64_t twice = 0, once = 0;

    for (uint64_t m = s->live; m; m &= m - 1) {
        uint16_t peer = sched_lowest(m);
        const struct sched_nb *nb = &s->nb[peer];

        if (!nb->air || nb->starving)
            continue;
        if (nb->leaf)
            twice |= sched_bit(peer);
        else if (nb->granted || (cand & sched_bit(peer)))
            once |= sched_bit(peer);
    }
    return once ? cand & ~twice : cand;
}
