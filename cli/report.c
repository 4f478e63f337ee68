#include "cli/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/table.h"

enum { STATUS_HEAD_LINES = 5 }; /* the node's, an empty one, the table's head */
enum { ID_SHOWN = 12 };         /* hex digits: far more than a network needs to tell shares apart */

const char *report_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

uint64_t report_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    json_int_t number = json_integer_value(value);
    if (json_is_real(value)) {
        double real = json_real_value(value);
        return real > 0 && real < 9e18 ? (uint64_t)real : 0;
    }
    return number < 0 ? 0 : (uint64_t)number;
}

/* missing: when it is absent, null or no number. */
static double real_of(const json_t *object, const char *key, double missing)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : missing;
}

static bool is_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

/* One line, of which strings are escaped: `format` is ours, its arguments are clean. */
static void print_line(FILE *out, const struct render_style *style, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void print_line(FILE *out, const struct render_style *style, const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int len = vasprintf(&text, fmt, args);
    va_end(args);
    if (len < 0)
        return;
    size_t keep =
        !style->redraws || style->columns == 0 ? (size_t)len : render_fit(text, style->columns);
    fprintf(out, "%.*s\n", (int)keep, text);
    free(text);
}

static enum table_colour state_colour(const char *state)
{
    static const struct {
        const char *state;
        enum table_colour colour;
    } colours[] = {{"here", TABLE_GREEN},     {"seeding", TABLE_GREEN},  {"connected", TABLE_GREEN},
                   {"partial", TABLE_YELLOW}, {"running", TABLE_GREEN},  {"waiting", TABLE_YELLOW},
                   {"disk-full", TABLE_RED},  {"paused", TABLE_YELLOW},  {"failed", TABLE_RED},
                   {"changed", TABLE_RED},    {"dialling", TABLE_YELLOW}};
    for (size_t i = 0; i < sizeof(colours) / sizeof(colours[0]); i++)
        if (strcmp(colours[i].state, state) == 0)
            return colours[i].colour;
    return TABLE_PLAIN;
}

static void add_id(struct table *t, const json_t *object)
{
    char id[ID_SHOWN + 1];
    snprintf(id, sizeof(id), "%s", report_text(object, "id"));
    table_add(t, id, TABLE_PLAIN);
}

static void add_state(struct table *t, const json_t *object)
{
    const char *state = report_text(object, "state");
    table_add(t, state, state_colour(state));
}

/* "talk (also talk-v2, vortrag)" */
static void add_names(struct table *t, const json_t *share)
{
    const char *name = report_text(share, "name");
    char *text = NULL;
    size_t len = 0, i, others = 0;
    const json_t *other;
    FILE *f = open_memstream(&text, &len);
    if (f == NULL) {
        table_add(t, name, TABLE_BOLD);
        return;
    }
    fputs(name, f);
    json_array_foreach(json_object_get(share, "names"), i, other)
    {
        const char *also = json_string_value(other);
        if (also != NULL && strcmp(also, name) != 0)
            fprintf(f, "%s%s", others++ == 0 ? " (also " : ", ", also);
    }
    fputs(others != 0 ? ")" : "", f);
    fclose(f);
    table_add(t, text, TABLE_BOLD);
    free(text);
}

static void add_sources(struct table *t, const json_t *share)
{
    char text[2 * RENDER_UNIT_BYTES];
    uint64_t whole = report_number(share, "sources"), partial = report_number(share, "partial");
    int len = snprintf(text, sizeof(text), "%" PRIu64, whole);
    if (partial != 0)
        snprintf(text + len, sizeof(text) - (size_t)len, " + %" PRIu64 " partial", partial);
    table_add(t, text, TABLE_PLAIN);
}

static int print_and_free(struct table *t, FILE *out)
{
    int err = table_print(t, out);
    table_free(t);
    return err;
}

int report_catalog(FILE *out, const json_t *reply, const struct render_style *style)
{
    static const struct table_column columns[] = {
        {"ID", TABLE_LEFT, 0},     {"NAME", TABLE_SHRINKS, 0}, {"SIZE", TABLE_RIGHT, 0},
        {"FILES", TABLE_RIGHT, 1}, {"SOURCES", TABLE_LEFT, 0}, {"STATE", TABLE_LEFT, 0}};
    struct table *t = table_new(columns, sizeof(columns) / sizeof(columns[0]), style);
    size_t i;
    const json_t *share;
    if (t == NULL)
        return -ENOMEM;
    json_array_foreach(json_object_get(reply, "shares"), i, share)
    {
        add_id(t, share);
        add_names(t, share);
        table_add_size(t, report_number(share, "bytes"));
        table_add_number(t, report_number(share, "files"));
        add_sources(t, share);
        add_state(t, share);
    }
    return print_and_free(t, out);
}

void report_asked(FILE *out, const json_t *reply)
{
    uint64_t asked = report_number(reply, "hosts_asked");
    uint64_t waiting = report_number(reply, "hosts_waiting");
    if (asked == 0) {
        fputs("no other host has been found yet\n", out);
        return;
    }
    fprintf(out, "asked %" PRIu64 " host%s", asked, asked == 1 ? "" : "s");
    if (waiting == 0)
        fputs(asked == 1 ? ", it has answered\n" : ", all have answered\n", out);
    else
        fprintf(out, ", %" PRIu64 " %s not answered yet\n", waiting, waiting == 1 ? "has" : "have");
}

static int print_node(FILE *out, const json_t *node, const struct render_style *style)
{
    char uptime[RENDER_UNIT_BYTES], id[ID_SHOWN + 1];
    char *name = render_clean(report_text(node, "name"), style->ascii);
    char *version = render_clean(report_text(node, "version"), style->ascii);
    char *backend = render_clean(report_text(node, "discovery"), style->ascii);
    char *state = render_clean(report_text(node, "discovery_state"), style->ascii);
    bool whole = name != NULL && version != NULL && backend != NULL && state != NULL;
    if (whole) {
        render_escape(id, sizeof(id), report_text(node, "id"), strlen(report_text(node, "id")),
                      style->ascii);
        render_seconds(uptime, real_of(node, "uptime_seconds", -1));
        print_line(out, style, "%s (%s), ronda %s, port %" PRIu64 ", up %s", name, id, version,
                   report_number(node, "port"), uptime);
        print_line(out, style, "discovery: %s%s%s", backend, state[0] != '\0' ? ": " : "", state);
        report_asked(out, node);
    }
    free(name);
    free(version);
    free(backend);
    free(state);
    return whole ? 0 : -ENOMEM;
}

static void add_done(struct table *t, const json_t *transfer)
{
    char text[RENDER_UNIT_BYTES];
    uint64_t done = report_number(transfer, "done_bytes"), all = report_number(transfer, "bytes");
    unsigned percent = done >= all ? 100 : (unsigned)((double)done / (double)all * 100);
    snprintf(text, sizeof(text), "%u%%", percent);
    table_add(t, text, TABLE_PLAIN);
}

static void add_rate(struct table *t, double rate)
{
    char text[RENDER_UNIT_BYTES];
    render_rate(text, rate);
    table_add(t, rate >= 1 ? text : "-", TABLE_PLAIN);
}

/* How often the source has sent the share, of all that it has. */
static void add_copies(struct table *t, const json_t *transfer)
{
    char text[RENDER_UNIT_BYTES];
    double copies = real_of(transfer, "source_copies", -1);
    if (is_true(transfer, "origin"))
        copies = real_of(transfer, "copies_sent", copies);
    if (copies >= 0 && copies < 1e6)
        snprintf(text, sizeof(text), "%.2f", copies);
    else
        snprintf(text, sizeof(text), "?");
    table_add(t, text, TABLE_PLAIN);
}

static int print_transfers(FILE *out, const json_t *transfers, const struct render_style *style)
{
    static const struct table_column columns[] = {
        {"ID", TABLE_LEFT, 1},    {"NAME", TABLE_SHRINKS, 0}, {"STATE", TABLE_LEFT, 0},
        {"SIZE", TABLE_RIGHT, 3}, {"DONE", TABLE_RIGHT, 0},   {"DOWN", TABLE_RIGHT, 0},
        {"UP", TABLE_RIGHT, 5},   {"PEERS", TABLE_RIGHT, 4},  {"COPIES", TABLE_RIGHT, 2}};
    struct table *t = table_new(columns, sizeof(columns) / sizeof(columns[0]), style);
    size_t i;
    const json_t *transfer;
    if (t == NULL)
        return -ENOMEM;
    json_array_foreach(transfers, i, transfer)
    {
        add_id(t, transfer);
        table_add(t, report_text(transfer, "name"), TABLE_BOLD);
        add_state(t, transfer);
        table_add_size(t, report_number(transfer, "bytes"));
        add_done(t, transfer);
        add_rate(t, real_of(transfer, "down_per_s", 0));
        add_rate(t, real_of(transfer, "up_per_s", 0));
        table_add_number(t, report_number(transfer, "peers"));
        add_copies(t, transfer);
    }
    return print_and_free(t, out);
}

/* What a table has no room for: one line a transfer that has something to say. */
static int print_note(FILE *out, const json_t *transfer, const struct render_style *style)
{
    const char *state = report_text(transfer, "state");
    char *name = render_clean(report_text(transfer, "name"), style->ascii);
    char *error = render_clean(report_text(transfer, "error"), style->ascii);
    bool whole = name != NULL && error != NULL;
    if (whole && is_true(transfer, "origin") && is_true(transfer, "may_leave"))
        print_line(out, style, "%s: you may leave now: the others together hold all of it", name);
    if (whole && error[0] != '\0')
        print_line(out, style, "%s: %s", name, error);
    if (whole && strcmp(state, "changed") == 0)
        print_line(out, style, "%s: changed on disk, so it is not served: share it again", name);
    if (whole && strcmp(state, "disk-full") == 0)
        print_line(out, style, "%s: the disk is full: goes on when there is space", name);
    free(name);
    free(error);
    return whole ? 0 : -ENOMEM;
}

static bool is_fetched(const json_t *transfer)
{
    static const char *const states[] = {"running", "waiting", "disk-full", "checking",
                                         "finishing"};
    const char *state = report_text(transfer, "state");
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (strcmp(states[i], state) == 0)
            return true;
    return false;
}

bool report_is_fetched(const json_t *reply, const char *id)
{
    size_t i;
    const json_t *transfer;
    json_array_foreach(json_object_get(reply, "transfers"), i, transfer)
    {
        if (strcmp(report_text(transfer, "id"), id) == 0)
            return is_fetched(transfer);
    }
    return false;
}

/* Does something happen to it, or should? */
static bool is_active(const json_t *transfer)
{
    return is_fetched(transfer) || real_of(transfer, "up_per_s", 0) >= 1;
}

static int append_transfers(json_t *out, const json_t *transfers, bool active)
{
    size_t i;
    json_t *transfer;
    json_array_foreach(transfers, i, transfer)
    {
        if (is_active(transfer) == active && json_array_append(out, transfer) != 0)
            return -ENOMEM;
    }
    return 0;
}

/* Its row and its notes. */
static unsigned count_lines(const json_t *transfer, const struct render_style *style)
{
    char *text = NULL;
    size_t len = 0;
    unsigned lines = 1;
    FILE *f = open_memstream(&text, &len);
    if (f == NULL)
        return lines;
    (void)print_note(f, transfer, style);
    fclose(f);
    for (size_t i = 0; i < len; i++)
        lines += text[i] == '\n';
    free(text);
    return lines;
}

/* How many of the first fit into so many lines. */
static size_t count_fitting(const json_t *transfers, unsigned room,
                            const struct render_style *style)
{
    size_t count = 0, all = json_array_size(transfers);
    for (unsigned used = 0; count < all; count++) {
        used += count_lines(json_array_get(transfers, count), style);
        if (used > room)
            break;
    }
    return count;
}

/* The transfers as they are when they fit, else the active first, and as many as fit
 * above the line that counts the others. A new array, or NULL: out of memory. */
static json_t *choose_transfers(const json_t *transfers, const struct render_style *style)
{
    unsigned room = style->rows > STATUS_HEAD_LINES + 2 ? style->rows - STATUS_HEAD_LINES : 2;
    if (style->rows == 0 || count_fitting(transfers, room, style) == json_array_size(transfers))
        return json_copy((json_t *)transfers);
    json_t *out = json_array();
    if (out == NULL)
        return NULL;
    if (append_transfers(out, transfers, true) != 0 ||
        append_transfers(out, transfers, false) != 0) {
        json_decref(out);
        return NULL;
    }
    size_t keep = count_fitting(out, room - 1, style);
    while (json_array_size(out) > (keep > 0 ? keep : 1))
        json_array_remove(out, json_array_size(out) - 1);
    return out;
}

static int print_chosen(FILE *out, const json_t *transfers, size_t left_out,
                        const struct render_style *style)
{
    size_t i;
    const json_t *transfer;
    int err = print_transfers(out, transfers, style);
    if (left_out != 0)
        fprintf(out, "and %zu more\n", left_out);
    json_array_foreach(transfers, i, transfer)
    {
        if (err == 0)
            err = print_note(out, transfer, style);
    }
    return err;
}

int report_status(FILE *out, const json_t *reply, const struct render_style *style)
{
    const json_t *transfers = json_object_get(reply, "transfers");
    size_t all = json_array_size(transfers);
    int err = print_node(out, json_object_get(reply, "node"), style);
    if (err != 0)
        return err;
    if (all == 0) {
        fputs("\nno shares and no transfers\n", out);
        return 0;
    }
    json_t *chosen = choose_transfers(transfers, style);
    if (chosen == NULL)
        return -ENOMEM;
    fputc('\n', out);
    err = print_chosen(out, chosen, all - json_array_size(chosen), style);
    json_decref(chosen);
    return err;
}

/* "192.0.2.7:24724", "[fe80::1%eth0]:24724"; the address alone of who listens nowhere */
static void add_address(struct table *t, const json_t *peer)
{
    const char *address = report_text(peer, "address");
    uint64_t port = report_number(peer, "port");
    bool bracketed = strchr(address, ':') != NULL && address[0] != '[';
    char *text = NULL;
    if (address[0] == '\0' || port == 0 ||
        asprintf(&text, "%s%s%s:%" PRIu64, bracketed ? "[" : "", address, bracketed ? "]" : "",
                 port) < 0)
        text = NULL;
    table_add(t, text != NULL ? text : address, TABLE_PLAIN);
    free(text);
}

/* Which end of the connection is on Wi-Fi. */
static void add_link(struct table *t, const json_t *peer)
{
    bool there = json_is_true(json_object_get(peer, "wireless"));
    bool here = json_is_true(json_object_get(peer, "wireless_here"));
    const char *text = here ? "Wi-Fi here" : "";

    if (there)
        text = here ? "Wi-Fi, both ends" : "Wi-Fi there";
    table_add(t, text, TABLE_PLAIN);
}

int report_peers(FILE *out, const json_t *reply, const struct render_style *style)
{
    static const struct table_column columns[] = {
        {"ID", TABLE_LEFT, 5},        {"NAME", TABLE_SHRINKS, 0}, {"ADDRESS", TABLE_LEFT, 0},
        {"STATE", TABLE_LEFT, 0},     {"SHARES", TABLE_RIGHT, 2}, {"TRANSFERS", TABLE_RIGHT, 1},
        {"RECEIVED", TABLE_RIGHT, 3}, {"SENT", TABLE_RIGHT, 4},   {"LINK", TABLE_LEFT, 7},
        {"ERROR", TABLE_SHRINKS, 6}};
    struct table *t = table_new(columns, sizeof(columns) / sizeof(columns[0]), style);
    size_t i;
    const json_t *peer;
    if (t == NULL)
        return -ENOMEM;
    json_array_foreach(json_object_get(reply, "peers"), i, peer)
    {
        add_id(t, peer);
        table_add(t, report_text(peer, "name"), TABLE_BOLD);
        add_address(t, peer);
        add_state(t, peer);
        table_add_number(t, report_number(peer, "shares"));
        table_add_number(t, report_number(peer, "transfers"));
        table_add_size(t, report_number(peer, "in_bytes"));
        table_add_size(t, report_number(peer, "out_bytes"));
        add_link(t, peer);
        table_add(t, report_text(peer, "error"), TABLE_PLAIN);
    }
    return print_and_free(t, out);
}

int report_shared(FILE *out, const json_t *done, const struct render_style *style)
{
    char size[RENDER_UNIT_BYTES], id[2 * RENDER_UNIT_BYTES + 1];
    const char *full = report_text(done, "id");
    char *name = render_clean(report_text(done, "name"), style->ascii);
    if (name == NULL)
        return -ENOMEM;
    render_escape(id, sizeof(id), full, strlen(full), style->ascii);
    render_size(size, report_number(done, "bytes"));
    fprintf(out, "%s  %s  %s\n", id, name, size);
    free(name);
    return 0;
}

static void print_copies(FILE *out, const json_t *done)
{
    double copies = real_of(done, "source_copies", -1);
    if (copies < 0 || copies >= 1e6)
        return;
    if (is_true(done, "source_restarted"))
        fprintf(out, "; the source was started again, and has sent at least %.2f copies", copies);
    else
        fprintf(out, "; the source has sent %.2f copies since it was started", copies);
}

int report_got(FILE *out, const json_t *done, const struct render_style *style)
{
    char size[RENDER_UNIT_BYTES], time[RENDER_UNIT_BYTES], rate[RENDER_UNIT_BYTES];
    char *name = render_clean(report_text(done, "name"), style->ascii);
    char *path = render_clean(report_text(done, "path"), style->ascii);
    uint64_t bytes = report_number(done, "bytes"), peers = report_number(done, "peers");
    double seconds = real_of(done, "seconds", 0);
    /* what an earlier run fetched took none of this one's seconds */
    double fetched = real_of(done, "received_bytes", (double)bytes);
    if (name != NULL && path != NULL) {
        render_size(size, bytes);
        render_seconds(time, seconds);
        render_rate(rate, seconds > 0 ? fetched / seconds : 0);
        if (peers == 0) /* all of it was here already */
            fprintf(out, "%s: %s, nothing had to be fetched", name, size);
        else
            fprintf(out, "%s: %s in %s (%s) from %" PRIu64 " peer%s", name, size, time, rate, peers,
                    peers == 1 ? "" : "s");
        print_copies(out, done);
        fprintf(out, "%s%s\n", path[0] != '\0' ? " -> " : "", path);
    }
    int err = name != NULL && path != NULL ? 0 : -ENOMEM;
    free(name);
    free(path);
    return err;
}

int report_verified(FILE *out, const json_t *done, const struct render_style *style)
{
    char size[RENDER_UNIT_BYTES], time[RENDER_UNIT_BYTES];
    char *name = render_clean(report_text(done, "name"), style->ascii);
    char *first = render_clean(report_text(done, "first_bad"), style->ascii);
    uint64_t bad = report_number(done, "bad_chunks");
    if (name != NULL && first != NULL) {
        render_size(size, report_number(done, "bytes"));
        render_seconds(time, real_of(done, "seconds", 0));
        if (bad == 0)
            fprintf(out, "%s: %s, every byte is right (%s)\n", name, size, time);
        else
            fprintf(out, "%s: %" PRIu64 " bad chunk%s%s%s\n", name, bad, bad == 1 ? "" : "s",
                    first[0] != '\0' ? ", the first in " : "", first);
    }
    int err = name != NULL && first != NULL ? 0 : -ENOMEM;
    free(name);
    free(first);
    return err;
}

/* What stands in place of the rate while nothing moves. */
static const char *state_note(const char *state)
{
    static const char *const notes[][2] = {{"checking", "checking what is already here"},
                                           {"waiting", "waiting for somebody who has it"},
                                           {"disk-full", "disk full: goes on when there is space"},
                                           {"finishing", "putting it in place"},
                                           {"paused", "paused"}};
    for (size_t i = 0; i < sizeof(notes) / sizeof(notes[0]); i++)
        if (strcmp(notes[i][0], state) == 0)
            return notes[i][1];
    return NULL;
}

void report_transfer_progress(const json_t *line, const char *name, struct render_progress *out)
{
    uint64_t peers = report_number(line, "peers");
    *out = (struct render_progress){
        .name = name,
        .note = state_note(report_text(line, "state")),
        .done_bytes = report_number(line, "done_bytes"),
        .total_bytes = report_number(line, "bytes"),
        .bytes_per_s = real_of(line, "down_per_s", -1),
        .source_copies = real_of(line, "source_copies", -1),
        .peers = peers < INT32_MAX ? (int64_t)peers : INT32_MAX,
    };
}

void report_bytes_progress(const json_t *line, const char *name, struct render_progress *out)
{
    *out = (struct render_progress){
        .name = name,
        .done_bytes = report_number(line, "done_bytes"),
        .total_bytes = report_number(line, "total_bytes"),
        .bytes_per_s = -1,
        .source_copies = -1,
        .peers = -1,
    };
}
