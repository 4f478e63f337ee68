#include "transfer/core/session.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct session *a, *b;
static uint64_t now;

static struct session *make(const char *nick)
{
    struct session_cfg cfg = {
        .nick = nick, .port = 4001, .flags = MSG_FLAG_LEAF, .catalog_version = 77};
    struct session *s;

    cr_assert_eq(session_new(&cfg, now, &s), 0);
    return s;
}

static void setup(void)
{
    now = 1000000;
    a = make("ana");
    b = make("bob");
}

static void teardown(void)
{
    session_free(a);
    session_free(b);
}

TestSuite(session, .init = setup, .fini = teardown);

/* What s asks for next; SESSION_SEND goes through bytes to peer, when there is one. */
static bool step(struct session *s, struct session *peer, struct session_act *act)
{
    uint8_t frame[256];
    struct msg m;

    cr_assert(session_valid(s));
    if (!session_next(s, now, act))
        return false;
    if (act->type == SESSION_SEND && peer) {
        int len = msg_encode(&act->msg, frame, sizeof(frame));
        cr_assert_gt(len, 0);
        cr_assert_eq(msg_decode(frame[4], frame + 5, (size_t)len - 5, &m), 0);
        session_on_bytes_in(peer, now);
        (void)!session_on_msg(peer, now, &m, (size_t)len);
        cr_assert(session_valid(peer));
    }
    return true;
}

static void settle(int ups[2])
{
    struct session_act act;
    bool more = true;

    for (int rounds = 0; more; rounds++) {
        more = false;
        cr_assert_lt(rounds, 100, "never comes to rest");
        if (step(a, b, &act)) {
            more = true;
            ups[0] += act.type == SESSION_UP;
        }
        if (step(b, a, &act)) {
            more = true;
            ups[1] += act.type == SESSION_UP;
        }
    }
}

static void open_both(void)
{
    int ups[2] = {0, 0};

    settle(ups);
    cr_assert_eq(ups[0], 1);
    cr_assert_eq(ups[1], 1);
    cr_assert_eq(session_state(a), SESSION_OPEN);
    cr_assert_eq(session_state(b), SESSION_OPEN);
}

static int give_at(struct session *s, enum msg_type type, uint16_t sid)
{
    struct msg m = {.type = type, .sid = sid};

    return session_on_msg(s, now, &m, 7);
}

static void expect_send(struct session *s, enum msg_type type)
{
    struct session_act act;

    cr_assert(session_next(s, now, &act));
    cr_assert_eq(act.type, SESSION_SEND);
    cr_assert_eq(act.msg.type, type, "%s", msg_type_name((uint8_t)act.msg.type));
}

static void expect_close(struct session *s, int err)
{
    struct session_act act;

    cr_assert(session_next(s, now, &act));
    cr_assert_eq(act.type, SESSION_CLOSE);
    cr_assert_eq(act.err, err);
    cr_assert_not(session_next(s, now, &act));
    cr_assert_eq(session_state(s), SESSION_CLOSED);
    cr_assert_eq(session_deadline_ms(s), UINT64_MAX);
    cr_assert(session_valid(s));
}

/* BYE with err's reason, then CLOSE, once. */
static void expect_end(struct session *s, int err)
{
    struct session_act act;

    cr_assert(session_next(s, now, &act));
    cr_assert_eq(act.type, SESSION_SEND);
    cr_assert_eq(act.msg.type, MSG_BYE);
    cr_assert_eq(msg_reason_err(act.msg.reason), err);
    expect_close(s, err);
}

Test(session, both_shake_hands)
{
    cr_assert_eq(session_version(a), 0);
    open_both();
    cr_assert_eq(session_version(a), 1);
    cr_assert_str_eq(session_hello(a)->hello.nick, "bob");
    cr_assert_eq(session_hello(a)->hello.port, 4001);
    cr_assert_eq(session_hello(b)->hello.catalog_version, 77);
    cr_assert_eq(session_hello(b)->hello.flags, MSG_FLAG_LEAF);
}

Test(session, open_only_after_the_ack)
{
    struct session_act act;

    cr_assert(step(a, b, &act)); /* HELLO a -> b */
    cr_assert_eq(session_state(b), SESSION_ACK);
    cr_assert_str_eq(session_hello(b)->hello.nick, "ana");
    cr_assert(step(b, a, &act)); /* HELLO b -> a */
    cr_assert(step(b, a, &act)); /* ACK b -> a */
    cr_assert_eq(session_state(b), SESSION_ACK);
    cr_assert_eq(session_state(a), SESSION_OPEN);
    cr_assert(step(a, b, &act)); /* the ACK goes before UP is told */
    cr_assert_eq(act.msg.type, MSG_HELLO_ACK);
    cr_assert(step(a, b, &act));
    cr_assert_eq(act.type, SESSION_UP);
}

Test(session, nick_is_cut_between_characters)
{
    char nick[80];
    struct session_act act;

    memset(nick, 'x', 62);
    strcpy(nick + 62, "\xc3\xa9t\xc3\xa9"); /* the 63rd byte begins a character */
    session_free(a);
    a = make(nick);
    cr_assert(session_next(a, now, &act));
    cr_assert_eq(strlen(act.msg.hello.nick), 62);
    session_free(a);
    a = make("\xff\xfe");
    cr_assert(session_next(a, now, &act));
    cr_assert_str_eq(act.msg.hello.nick, "");
}

Test(session, nothing_but_hello_first)
{
    for (int t = MSG_HELLO_ACK; t < MSG_TYPES; t++) {
        if (t == MSG_BYE)
            continue;
        struct session *s = make("s");
        expect_send(s, MSG_HELLO);
        cr_assert_eq(give_at(s, (enum msg_type)t, 0), ERR_PROTOCOL, "%d", t);
        expect_end(s, ERR_PROTOCOL);
        session_free(s);
    }
}

static struct session *in_ack(void)
{
    struct session *s = make("s");
    struct msg hello = {.type = MSG_HELLO, .hello = {.version_min = 1, .version_max = 1}};

    expect_send(s, MSG_HELLO);
    cr_assert_eq(session_on_msg(s, now, &hello, 30), 0);
    expect_send(s, MSG_HELLO_ACK);
    cr_assert_eq(session_state(s), SESSION_ACK);
    return s;
}

Test(session, nothing_but_the_ack_second)
{
    for (int t = MSG_HELLO; t < MSG_TYPES; t++) {
        if (t == MSG_BYE || t == MSG_HELLO_ACK)
            continue;
        struct session *s = in_ack();
        cr_assert_eq(give_at(s, (enum msg_type)t, 0), ERR_PROTOCOL, "%d", t);
        expect_end(s, ERR_PROTOCOL);
        session_free(s);
    }
}

Test(session, hello_never_again)
{
    open_both();
    cr_assert_eq(give_at(a, MSG_HELLO, 0), ERR_PROTOCOL);
    expect_end(a, ERR_PROTOCOL);
    cr_assert_eq(give_at(b, MSG_HELLO_ACK, 0), ERR_PROTOCOL);
    expect_end(b, ERR_PROTOCOL);
}

Test(session, unacquainted_numbers)
{
    for (int t = MSG_LEAVE; t < MSG_TYPES; t++) {
        struct session *s = in_ack();
        struct msg ack = {.type = MSG_HELLO_ACK, .version = 1};
        struct session_act act;
        cr_assert_eq(session_on_msg(s, now, &ack, 7), 0);
        cr_assert(session_next(s, now, &act));
        cr_assert_eq(give_at(s, MSG_JOIN, 5), 0);
        cr_assert_eq(give_at(s, (enum msg_type)t, 6), ERR_PROTOCOL, "%d", t);
        expect_end(s, ERR_PROTOCOL);
        session_free(s);
    }
}

Test(session, join_use_leave)
{
    open_both();
    cr_assert_eq(give_at(a, MSG_JOIN, 5), 0);
    cr_assert(session_peer_joined(a, 5));
    cr_assert_not(session_peer_joined(a, 6));
    for (int t = MSG_MAP; t < MSG_TYPES; t++)
        cr_assert_eq(give_at(a, (enum msg_type)t, 5), 0);
    cr_assert_eq(give_at(a, MSG_LEAVE, 5), 0);
    cr_assert_not(session_peer_joined(a, 5));
    cr_assert_eq(give_at(a, MSG_JOIN, 5), 0, "the number is free again");
    cr_assert_eq(give_at(a, MSG_JOIN, 5), ERR_PROTOCOL, "joined twice");
}

Test(session, catalogue_and_metadata_any_time)
{
    open_both();
    for (int t = MSG_KEEPALIVE; t <= MSG_META_NO; t++)
        cr_assert_eq(give_at(a, (enum msg_type)t, 0), 0);
    cr_assert_eq(give_at(a, MSG_REFUSE, 9), 0);
}

Test(session, joins_have_a_ceiling)
{
    open_both();
    for (uint16_t i = 0; i < SESSION_JOINS_MAX; i++) {
        cr_assert_eq(give_at(a, MSG_JOIN, i), 0);
        cr_assert_eq(session_join(a, (uint16_t)(i + 1000)), 0);
    }
    cr_assert_eq(session_join(a, 2000), ERR_LIMIT);
    session_leave(a, 1003);
    session_leave(a, 1003);
    cr_assert_eq(session_join(a, 2000), 0);
    cr_assert_eq(give_at(a, MSG_JOIN, 900), ERR_LIMIT);
    expect_end(a, ERR_LIMIT);
}

static void hello_with(uint16_t lo, uint16_t hi, int want)
{
    struct session *s = make("s");
    struct msg hello = {.type = MSG_HELLO, .hello = {.version_min = lo, .version_max = hi}};

    expect_send(s, MSG_HELLO);
    cr_assert_eq(session_on_msg(s, now, &hello, 30), want);
    if (want == 0)
        expect_send(s, MSG_HELLO_ACK);
    else
        expect_end(s, want);
    session_free(s);
}

Test(session, versions_overlap_or_not)
{
    hello_with(MSG_VERSION_MIN, MSG_VERSION_MAX, 0);
    hello_with(1, 0xffff, 0);
    hello_with(MSG_VERSION_MAX + 1, 0xffff, ERR_VERSION);
}

Test(session, ack_of_another_version)
{
    struct session *s = in_ack();
    struct msg ack = {.type = MSG_HELLO_ACK, .version = 2};

    cr_assert_eq(session_on_msg(s, now, &ack, 7), ERR_VERSION);
    expect_end(s, ERR_VERSION);
    session_free(s);
}

Test(session, bye_in_any_state)
{
    struct msg bye = {.type = MSG_BYE, .reason = MSG_REASON_NONE};
    struct session *s = in_ack();

    cr_assert_eq(session_on_msg(s, now, &bye, 7), 0);
    expect_close(s, 0);
    session_free(s);
    bye.reason = msg_reason(ERR_LIMIT);
    cr_assert_eq(session_on_msg(a, now, &bye, 7), 0);
    expect_close(a, ERR_LIMIT);
    cr_assert_eq(session_on_msg(a, now, &bye, 7), ERR_CLOSED);
}

Test(session, too_much_before_open)
{
    struct msg hello = {.type = MSG_HELLO, .hello = {.version_min = 1, .version_max = 1}};
    struct msg ack = {.type = MSG_HELLO_ACK, .version = 1};

    expect_send(a, MSG_HELLO);
    cr_assert_eq(session_on_msg(a, now, &hello, SESSION_HELLO_BYTES - 7), 0);
    expect_send(a, MSG_HELLO_ACK);
    cr_assert_eq(session_on_msg(a, now, &ack, 7), 0);
    expect_send(b, MSG_HELLO);
    cr_assert_eq(session_on_msg(b, now, &hello, SESSION_HELLO_BYTES + 1), ERR_LIMIT);
    expect_end(b, ERR_LIMIT);
}

Test(session, hello_deadline_is_absolute)
{
    struct session *s = in_ack();
    struct session_act act;

    cr_assert_eq(session_deadline_ms(s), now + SESSION_HELLO_MS);
    now += SESSION_HELLO_MS - 1;
    session_on_bytes_in(s, now);
    cr_assert_not(session_next(s, now, &act));
    now++;
    expect_end(s, ERR_TIMEOUT);
    session_free(s);
}

Test(session, idle_ends_in_good_order)
{
    struct session_act act;

    open_both();
    cr_assert_eq(session_deadline_ms(a), now + SESSION_IDLE_MS);
    now += SESSION_IDLE_MS - 1;
    cr_assert_not(session_next(a, now, &act), "no keepalives while nobody needs it");
    now++;
    expect_end(a, 0);
}

Test(session, keepalives_while_active)
{
    int ups[2] = {0, 0};

    open_both();
    session_set_active(a, now, true);
    for (int i = 0; i < 60; i++) {
        now += SESSION_KEEPALIVE_MS;
        cr_assert_leq(session_deadline_ms(a), now);
        settle(ups);
        cr_assert_eq(session_state(a), SESSION_OPEN, "the idle side answers");
        cr_assert_eq(session_state(b), SESSION_OPEN, "and does not leave meanwhile");
    }
    session_on_bytes_out(a, now + 500);
    cr_assert_eq(session_deadline_ms(a), now + 500 + SESSION_KEEPALIVE_MS);
}

Test(session, two_idle_ends_do_not_echo_for_ever)
{
    struct session_act act;

    open_both();
    now += SESSION_KEEPALIVE_MS;
    cr_assert_eq(give_at(a, MSG_KEEPALIVE, 0), 0);
    cr_assert(step(a, b, &act));
    cr_assert_eq(act.msg.type, MSG_KEEPALIVE);
    cr_assert(step(b, a, &act), "b had been silent as well");
    cr_assert_not(step(a, b, &act));
    for (int i = 0; i < 100; i++)
        cr_assert_eq(give_at(a, MSG_KEEPALIVE, 0), 0);
    cr_assert_not(step(a, b, &act), "a flood is not answered one by one");
}

Test(session, dead_while_active)
{
    struct session_act act;

    open_both();
    session_set_active(a, now, true);
    for (int i = 0; i < 3; i++) {
        now += SESSION_KEEPALIVE_MS - (i == 2);
        while (session_next(a, now, &act))
            cr_assert_eq(act.msg.type, MSG_KEEPALIVE);
    }
    cr_assert_eq(session_state(a), SESSION_OPEN);
    cr_assert_leq(session_deadline_ms(a), now + 1);
    now++;
    expect_end(a, ERR_TIMEOUT);
}

Test(session, becoming_active_after_a_silence_gives_time)
{
    open_both();
    now += SESSION_IDLE_MS - 1;
    session_set_active(a, now, true);
    expect_send(a, MSG_KEEPALIVE);
    cr_assert_eq(session_state(a), SESSION_OPEN);
    now += SESSION_DEAD_MS;
    expect_end(a, ERR_TIMEOUT);
}

Test(session, their_join_keeps_it_active)
{
    struct session_act act;

    open_both();
    cr_assert_eq(give_at(a, MSG_JOIN, 1), 0);
    now += SESSION_KEEPALIVE_MS;
    expect_send(a, MSG_KEEPALIVE);
    cr_assert_eq(give_at(a, MSG_LEAVE, 1), 0);
    cr_assert_eq(session_deadline_ms(a), now + SESSION_IDLE_MS);
    cr_assert_not(session_next(a, now, &act));
}

Test(session, close_by_us)
{
    open_both();
    session_close(a, now, ERR_CANCELLED);
    session_close(a, now, ERR_LIMIT);
    expect_end(a, ERR_CANCELLED);
    session_close(b, now, 0);
    expect_end(b, 0);
    session_free(NULL);
}

/* Random messages and times: it stays valid, comes to rest and ends at most once. */
Test(session, random_walks)
{
    for (unsigned seed = 1; seed <= 300; seed++) {
        struct session *s = make("walk");
        struct session_act act;
        int closes = 0, ups = 0;
        srand(seed);
        for (int i = 0; i < 200; i++) {
            struct msg m = {.type = (enum msg_type)(1 + rand() % (MSG_TYPES - 1)),
                            .sid = (uint16_t)(rand() % 4)};
            if (i < 2)
                m.type = i == 0 ? MSG_HELLO : MSG_HELLO_ACK;
            if (m.type == MSG_HELLO)
                m.hello.version_min = m.hello.version_max = 1;
            if (m.type == MSG_HELLO_ACK)
                m.version = 1;
            if (rand() % 4 == 0)
                session_set_active(s, now, rand() % 2);
            if (i < 2 || m.type > MSG_KEEPALIVE)
                (void)!session_on_msg(s, now, &m, 10);
            now += (uint64_t)(rand() % 300);
            for (int n = 0; session_next(s, now, &act); n++) {
                cr_assert_lt(n, 8, "seed %u", seed);
                closes += act.type == SESSION_CLOSE;
                ups += act.type == SESSION_UP;
            }
            cr_assert(session_valid(s), "seed %u", seed);
        }
        cr_assert_leq(closes, 1, "seed %u", seed);
        cr_assert_eq(ups, 1, "seed %u", seed);
        session_free(s);
    }
}
