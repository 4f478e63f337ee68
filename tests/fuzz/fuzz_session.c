/* A session driven by a stream of operations: frames of the peer's, time, our
 * own wishes. It stays valid, comes to rest, says UP and CLOSE at most once. */
#include <stdlib.h>
#include <string.h>

#include "transfer/core/session.h"

struct stream {
    const uint8_t *at;
    size_t left;
};

static uint8_t take(struct stream *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void frame(struct session *s, uint64_t now, struct stream *in)
{
    uint8_t type = take(in);
    size_t len = take(in);
    struct msg m;

    len = len < in->left ? len : in->left;
    bool ok = msg_decode(type, in->at, len, &m) == 0;
    in->at += len;
    in->left -= len;
    if (!ok)
        return;
    enum session_state was = session_state(s);
    int rc = session_on_msg(s, now, &m, len + MSG_HEAD_BYTES);
    check(rc == 0 || session_state(s) == SESSION_CLOSED);
    check(was != SESSION_CLOSED || rc == ERR_CLOSED);
    check(type < MSG_LEAVE || rc < 0 || m.type == MSG_LEAVE || session_peer_joined(s, m.sid));
}

static void pump(struct session *s, uint64_t now, int *ups, int *closes)
{
    uint8_t out[512];
    struct session_act act;

    for (int n = 0; session_next(s, now, &act); n++) {
        check(n < 8 && *closes == 0);
        *ups += act.type == SESSION_UP;
        *closes += act.type == SESSION_CLOSE;
        check(act.type != SESSION_SEND || msg_encode(&act.msg, out, sizeof(out)) > 0);
    }
    check(session_deadline_ms(s) > now && *ups <= 1 && *closes <= 1);
    check((session_deadline_ms(s) == UINT64_MAX) == (session_state(s) == SESSION_CLOSED));
}

static void wish(struct session *s, uint64_t now, uint8_t op, bool joined[static 256],
                 struct stream *in)
{
    uint8_t sid = take(in);

    switch (op % 6) {
    case 0:
        session_set_active(s, now, sid & 1);
        break;
    case 1:
        if (!joined[sid])
            joined[sid] = session_join(s, sid) == 0;
        break;
    case 2:
        session_leave(s, sid);
        joined[sid] = false;
        break;
    case 3:
        session_on_bytes_in(s, now);
        break;
    case 4:
        session_on_bytes_out(s, now);
        break;
    default:
        if (sid == 1)
            session_close(s, now, ERR_CANCELLED);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t open[] = {
        MSG_HELLO, 16, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, MSG_HELLO_ACK, 2, 0, 1};
    struct session_cfg cfg = {.nick = "fuzz"};
    struct stream in = {data, size}, hello = {open, sizeof(open)};
    bool joined[256] = {false};
    int ups = 0, closes = 0;
    struct session *s;
    uint64_t now = 1;

    if (session_new(&cfg, now, &s) < 0)
        return 0;
    if (take(&in) & 1) { /* straight to OPEN */
        frame(s, now, &hello);
        frame(s, now, &hello);
        check(session_state(s) == SESSION_OPEN);
    }
    while (in.left > 0) {
        uint8_t op = take(&in);
        if (op < 128)
            frame(s, now, &in);
        else if (op < 160)
            now += (uint64_t)take(&in) * 16;
        else
            wish(s, now, op, joined, &in);
        pump(s, now, &ups, &closes);
        check(session_valid(s));
    }
    session_free(s);
    return 0;
}
