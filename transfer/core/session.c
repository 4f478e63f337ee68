#include "transfer/core/session.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transfer/core/name.h"

/* Numbers joined, in no order. A number is in use from its JOIN to its LEAVE,
 * whatever the other side says: nothing that crosses on the way is out of turn. */
struct sids {
    uint16_t count;
    uint16_t at[SESSION_JOINS_MAX];
};

struct session {
    enum session_state state;
    struct msg ours, theirs; /* the two HELLOs */
    uint16_t version;
    size_t early_bytes; /* received before OPEN */
    uint64_t hello_deadline_ms;
    uint64_t in_ms, out_ms; /* last bytes */
    uint64_t frame_ms;      /* last message in: somebody wants this session */
    uint64_t since_ms;      /* active, or not active, since */
    bool wanted;            /* session_set_active() */
    struct sids joined_ours, joined_theirs;
    bool hello_due, ack_due, up_due, echo_due, bye_due, close_due;
    int err; /* CLOSED: why */
};

static bool arrow(enum session_state from, enum session_state to)
{
    switch (from) {
    case SESSION_HELLO:
        return to == SESSION_ACK || to == SESSION_CLOSED;
    case SESSION_ACK:
        return to == SESSION_OPEN || to == SESSION_CLOSED;
    case SESSION_OPEN:
        return to == SESSION_CLOSED;
    case SESSION_CLOSED:
        return false;
    }
    return false;
}

static void session_to(struct session *s, enum session_state to)
{
    assert(arrow(s->state, to));
    s->state = to;
}

static int sids_find(const struct sids *l, uint16_t sid)
{
    for (int i = 0; i < l->count; i++)
        if (l->at[i] == sid)
            return i;
    return -1;
}

static int sids_add(struct sids *l, uint16_t sid)
{
    if (l->count == SESSION_JOINS_MAX)
        return ERR_LIMIT;
    l->at[l->count++] = sid;
    return 0;
}

static bool sids_remove(struct sids *l, uint16_t sid)
{
    int i = sids_find(l, sid);

    if (i < 0)
        return false;
    l->at[i] = l->at[--l->count];
    return true;
}

static uint64_t later(uint64_t a_ms, uint64_t b_ms)
{
    return a_ms > b_ms ? a_ms : b_ms;
}

static uint64_t sooner(uint64_t a_ms, uint64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

static bool is_active(const struct session *s)
{
    return s->wanted || s->joined_theirs.count > 0;
}

/* Call after any change of what is_active() reads. */
static void note_active(struct session *s, uint64_t now_ms, bool was)
{
    if (was != is_active(s))
        s->since_ms = now_ms;
}

/* What the other side would refuse must not leave us: not UTF-8 is no nickname. */
static void nick_copy(char out[static MSG_NICK_BYTES_MAX + 1], const char *nick)
{
    char text[MSG_NICK_BYTES_MAX + 5] = ""; /* a whole character past the limit */

    memcpy(text, nick, strnlen(nick, sizeof(text) - 1));
    name_cut(text, MSG_NICK_BYTES_MAX);
    if (name_utf8(text, strlen(text)))
        memcpy(out, text, strlen(text) + 1);
}

int session_new(const struct session_cfg *cfg, uint64_t now_ms, struct session **out)
{
    struct session *s = calloc(1, sizeof(*s));

    *out = s;
    if (!s)
        return -ENOMEM;
    s->ours.type = MSG_HELLO;
    s->ours.hello.version_min = MSG_VERSION_MIN;
    s->ours.hello.version_max = MSG_VERSION_MAX;
    s->ours.hello.port = cfg->port;
    s->ours.hello.flags = cfg->flags;
    s->ours.hello.catalog_version = cfg->catalog_version;
    nick_copy(s->ours.hello.nick, cfg->nick);
    s->hello_deadline_ms = now_ms + SESSION_HELLO_MS;
    s->in_ms = s->out_ms = s->frame_ms = s->since_ms = now_ms;
    s->hello_due = true;
    return 0;
}

void session_free(struct session *s)
{
    free(s);
}

/* Ends the session: with a BYE from us, unless the other side said it. */
static void end(struct session *s, int err, bool bye)
{
    if (s->state == SESSION_CLOSED)
        return;
    session_to(s, SESSION_CLOSED);
    s->err = err;
    s->hello_due = s->ack_due = s->up_due = s->echo_due = false;
    s->bye_due = bye;
    s->close_due = true;
}

static int fail(struct session *s, int err)
{
    end(s, err, true);
    return err;
}

void session_close(struct session *s, uint64_t now_ms, int err)
{
    (void)now_ms;
    end(s, err, true);
}

static uint16_t version_agree(const struct session *s)
{
    uint16_t lo = s->theirs.hello.version_min, hi = s->theirs.hello.version_max;

    if (lo < MSG_VERSION_MIN)
        lo = MSG_VERSION_MIN;
    if (hi > MSG_VERSION_MAX)
        hi = MSG_VERSION_MAX;
    return lo <= hi ? hi : 0;
}

static int on_hello(struct session *s, const struct msg *m)
{
    if (m->type != MSG_HELLO)
        return fail(s, ERR_PROTOCOL);
    s->theirs = *m;
    if (version_agree(s) == 0)
        return fail(s, ERR_VERSION);
    s->ack_due = true;
    session_to(s, SESSION_ACK);
    return 0;
}

static int on_ack(struct session *s, uint64_t now_ms, const struct msg *m)
{
    if (m->type != MSG_HELLO_ACK)
        return fail(s, ERR_PROTOCOL);
    if (m->version != version_agree(s))
        return fail(s, ERR_VERSION);
    s->version = m->version;
    s->since_ms = now_ms;
    s->up_due = true;
    session_to(s, SESSION_OPEN);
    return 0;
}

static int on_join(struct session *s, uint64_t now_ms, uint16_t sid)
{
    bool was = is_active(s);

    if (sids_find(&s->joined_theirs, sid) >= 0)
        return fail(s, ERR_PROTOCOL);
    if (sids_add(&s->joined_theirs, sid) < 0)
        return fail(s, ERR_LIMIT);
    note_active(s, now_ms, was);
    return 0;
}

static int on_leave(struct session *s, uint64_t now_ms, uint16_t sid)
{
    bool was = is_active(s);

    if (!sids_remove(&s->joined_theirs, sid))
        return fail(s, ERR_PROTOCOL);
    note_active(s, now_ms, was);
    return 0;
}

static int on_open(struct session *s, uint64_t now_ms, const struct msg *m)
{
    switch (m->type) {
    case MSG_HELLO:
    case MSG_HELLO_ACK:
    case MSG_TYPES:
        return fail(s, ERR_PROTOCOL);
    case MSG_KEEPALIVE:
        s->echo_due = !is_active(s) && now_ms >= s->out_ms + SESSION_KEEPALIVE_MS / 2;
        return 0;
    case MSG_JOIN:
        return on_join(s, now_ms, m->sid);
    case MSG_LEAVE:
        return on_leave(s, now_ms, m->sid);
    case MSG_BYE: /* session_on_msg() took it */
    case MSG_CATALOG_GET:
    case MSG_CATALOG:
    case MSG_META_GET:
    case MSG_META:
    case MSG_META_NO:
    case MSG_REFUSE: /* of a JOIN of ours that its owner ends by LEAVE */
        return 0;
    case MSG_MAP:
    case MSG_HAVE:
    case MSG_COMPLETE:
    case MSG_GRANT:
    case MSG_REQUEST:
    case MSG_PASS:
    case MSG_OFFER:
    case MSG_REVOKE:
    case MSG_CANCEL:
    case MSG_DATA:
    case MSG_PEERS:
    case MSG_STAT:
        return sids_find(&s->joined_theirs, m->sid) >= 0 ? 0 : fail(s, ERR_PROTOCOL);
    }
    return fail(s, ERR_PROTOCOL);
}

int session_on_msg(struct session *s, uint64_t now_ms, const struct msg *m, size_t len_bytes)
{
    if (s->state == SESSION_CLOSED)
        return ERR_CLOSED;
    s->in_ms = s->frame_ms = now_ms;
    if (s->state != SESSION_OPEN) {
        s->early_bytes += len_bytes;
        if (len_bytes > SESSION_HELLO_BYTES || s->early_bytes > SESSION_HELLO_BYTES)
            return fail(s, ERR_LIMIT);
    }
    if (m->type == MSG_BYE) {
        end(s, msg_reason_err(m->reason), false);
        return 0;
    }
    switch (s->state) {
    case SESSION_HELLO:
        return on_hello(s, m);
    case SESSION_ACK:
        return on_ack(s, now_ms, m);
    case SESSION_OPEN:
        return on_open(s, now_ms, m);
    case SESSION_CLOSED:
        break;
    }
    return ERR_CLOSED;
}

void session_on_bytes_in(struct session *s, uint64_t now_ms)
{
    s->in_ms = now_ms;
}

void session_on_bytes_out(struct session *s, uint64_t now_ms)
{
    s->out_ms = now_ms;
}

void session_set_active(struct session *s, uint64_t now_ms, bool active)
{
    bool was = is_active(s);

    s->wanted = active;
    note_active(s, now_ms, was);
}

static uint64_t dead_ms(const struct session *s)
{
    return later(s->in_ms, s->since_ms) + SESSION_DEAD_MS;
}

static uint64_t idle_ms(const struct session *s)
{
    return later(s->frame_ms, s->since_ms) + SESSION_IDLE_MS;
}

static void expire(struct session *s, uint64_t now_ms)
{
    switch (s->state) {
    case SESSION_HELLO:
    case SESSION_ACK:
        if (now_ms >= s->hello_deadline_ms)
            end(s, ERR_TIMEOUT, true);
        break;
    case SESSION_OPEN:
        if (is_active(s) && now_ms >= dead_ms(s))
            end(s, ERR_TIMEOUT, true);
        else if (!is_active(s) && now_ms >= idle_ms(s))
            end(s, 0, true);
        break;
    case SESSION_CLOSED:
        break;
    }
}

static bool keepalive_due(const struct session *s, uint64_t now_ms)
{
    if (s->state != SESSION_OPEN)
        return false;
    return s->echo_due || (is_active(s) && now_ms >= s->out_ms + SESSION_KEEPALIVE_MS);
}

static bool take(bool *due)
{
    bool was = *due;

    *due = false;
    return was;
}

/* The next message to send, if one is due; BYE is the last of all. */
static bool next_msg(struct session *s, uint64_t now_ms, struct msg *m)
{
    memset(m, 0, sizeof(*m));
    if (take(&s->hello_due)) {
        *m = s->ours;
    } else if (take(&s->ack_due)) {
        m->type = MSG_HELLO_ACK;
        m->version = version_agree(s);
    } else if (take(&s->bye_due)) {
        m->type = MSG_BYE;
        m->reason = msg_reason(s->err);
    } else if (!s->up_due && keepalive_due(s, now_ms)) {
        s->echo_due = false;
        m->type = MSG_KEEPALIVE;
    } else {
        return false;
    }
    s->out_ms = now_ms;
    return true;
}

bool session_next(struct session *s, uint64_t now_ms, struct session_act *act)
{
    expire(s, now_ms);
    if (next_msg(s, now_ms, &act->msg)) {
        act->type = SESSION_SEND;
        act->err = 0;
        return true;
    }
    if (take(&s->up_due)) {
        act->type = SESSION_UP;
        act->err = 0;
        return true;
    }
    if (take(&s->close_due)) {
        act->type = SESSION_CLOSE;
        act->err = s->err;
        return true;
    }
    return false;
}

uint64_t session_deadline_ms(const struct session *s)
{
    if (s->hello_due || s->ack_due || s->up_due || s->echo_due || s->bye_due || s->close_due)
        return 0;
    switch (s->state) {
    case SESSION_HELLO:
    case SESSION_ACK:
        return s->hello_deadline_ms;
    case SESSION_OPEN:
        if (is_active(s))
            return sooner(s->out_ms + SESSION_KEEPALIVE_MS, dead_ms(s));
        return idle_ms(s);
    case SESSION_CLOSED:
        break;
    }
    return UINT64_MAX;
}

enum session_state session_state(const struct session *s)
{
    return s->state;
}

const struct msg *session_hello(const struct session *s)
{
    return &s->theirs;
}

uint16_t session_version(const struct session *s)
{
    return s->version;
}

int session_join(struct session *s, uint16_t sid)
{
    assert(sids_find(&s->joined_ours, sid) < 0);
    return sids_add(&s->joined_ours, sid);
}

void session_leave(struct session *s, uint16_t sid)
{
    (void)sids_remove(&s->joined_ours, sid);
}

bool session_peer_joined(const struct session *s, uint16_t sid)
{
    return sids_find(&s->joined_theirs, sid) >= 0;
}

static bool sids_valid(const struct sids *l)
{
    if (l->count > SESSION_JOINS_MAX)
        return false;
    for (int i = 0; i < l->count; i++)
        if (sids_find(l, l->at[i]) != i)
            return false;
    return true;
}

bool session_valid(const struct session *s)
{
    bool open = s->state == SESSION_OPEN, closed = s->state == SESSION_CLOSED;

    return sids_valid(&s->joined_ours) && sids_valid(&s->joined_theirs) &&
           (open || closed || s->joined_theirs.count == 0) && (!open || s->version > 0) &&
           (!s->up_due || open) && (closed || !(s->bye_due || s->close_due)) &&
           (!closed || !(s->hello_due || s->ack_due || s->echo_due)) && (closed || s->err == 0);
}
