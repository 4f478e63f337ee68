#include <criterion/criterion.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report.h"

typedef int report_fn(FILE *out, const json_t *reply, const struct render_style *style);

static char *report(report_fn *fn, const char *json, unsigned columns)
{
    const struct render_style style = {.columns = columns};
    char *text = NULL;
    size_t len;
    setlocale(LC_CTYPE, "C.UTF-8");
    json_t *reply = json_loads(json, 0, NULL);
    cr_assert_not_null(reply);
    FILE *f = open_memstream(&text, &len);
    cr_assert_eq(fn(f, reply, &style), 0);
    fclose(f);
    json_decref(reply);
    return text;
}

static void expect_report(report_fn *fn, const char *json, const char *want)
{
    char *text = report(fn, json, 0);
    cr_expect_str_eq(text, want);
    free(text);
}

Test(report, summary_of_get)
{
    expect_report(report_got,
                  "{\"name\": \"talk\", \"bytes\": 268435456, \"seconds\": 23.1, \"peers\": 10,"
                  " \"source_copies\": 1.02, \"path\": \"/home/x/talk\"}",
                  "talk: 256.0 MiB in 23.1 s (11.1 MiB/s) from 10 peers; the source has sent "
                  "1.02 copies since it was started -> /home/x/talk\n");
    expect_report(report_got,
                  "{\"name\": \"talk\", \"bytes\": 268435456, \"seconds\": 23.1, \"peers\": 10,"
                  " \"source_copies\": 1.02, \"source_restarted\": true, \"path\": \"/x\"}",
                  "talk: 256.0 MiB in 23.1 s (11.1 MiB/s) from 10 peers; the source was started "
                  "again, and has sent at least 1.02 copies -> /x\n");
    expect_report(report_got, /* the rest of what was begun before */
                  "{\"name\": \"talk\", \"bytes\": 268435456, \"received_bytes\": 1048576,"
                  " \"seconds\": 2, \"peers\": 1, \"path\": \"/x\"}",
                  "talk: 256.0 MiB in 2.0 s (512.0 KiB/s) from 1 peer -> /x\n");
    expect_report(report_got,
                  "{\"name\": \"talk\", \"bytes\": 5, \"seconds\": 0, \"peers\": 0,"
                  " \"source_copies\": null, \"path\": \"/t\"}",
                  "talk: 5 B, nothing had to be fetched -> /t\n");
}

Test(report, summary_of_share_and_verify)
{
    expect_report(report_shared, "{\"id\": \"3fa9\", \"name\": \"a\\u001bb\", \"bytes\": 500}",
                  "3fa9  a\\x1bb  500 B\n");
    expect_report(report_verified,
                  "{\"name\": \"a\", \"bytes\": 5, \"bad_chunks\": 0, \"seconds\": 1}",
                  "a: 5 B, every byte is right (1.0 s)\n");
    expect_report(report_verified, "{\"name\": \"a\", \"bad_chunks\": 2, \"first_bad\": \"b/c\"}",
                  "a: 2 bad chunks, the first in b/c\n");
}

Test(report, peers_tell_which_end_is_on_wifi)
{
    expect_report(
        report_peers,
        "{\"peers\": [{\"id\": \"3f\", \"name\": \"a\", \"wireless\": true,"
        " \"wireless_here\": false}, {\"id\": \"4f\", \"name\": \"b\","
        " \"wireless\": false, \"wireless_here\": true}]}",
        "ID  NAME  ADDRESS  STATE  SHARES  TRANSFERS  RECEIVED  SENT  LINK         ERROR\n"
        "3f  a                          0          0       0 B   0 B  Wi-Fi there  \n"
        "4f  b                          0          0       0 B   0 B  Wi-Fi here   \n");
}

Test(report, catalogue)
{
    expect_report(report_catalog,
                  "{\"shares\": [{\"id\": \"3fa9c13fa9c1ffff\", \"name\": \"talk\", \"names\": "
                  "[\"talk\", \"vortrag\"], \"bytes\": 1024, \"files\": 3, \"sources\": 3,"
                  " \"partial\": 2, \"state\": \"here\"}]}",
                  "ID            NAME                    SIZE  FILES  SOURCES        STATE\n"
                  "3fa9c13fa9c1  talk (also vortrag)  1.0 KiB      3  3 + 2 partial  here\n");
}

Test(report, nonsense_is_read_as_nothing)
{
    static const char *const replies[] = {
        "{}",
        "[]",
        "[1]",
        "{\"shares\": 3}",
        "{\"shares\": [1, null, [], {\"name\": 5, \"names\": [1, null]}]}",
        "{\"node\": [], \"transfers\": [5, {\"bytes\": 1e300}]}",
        "{\"peers\": [{\"address\": 7, \"port\": \"x\"}]}"};
    report_fn *const all[] = {report_catalog, report_status, report_peers,
                              report_shared,  report_got,    report_verified};
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++)
        for (size_t j = 0; j < sizeof(all) / sizeof(all[0]); j++)
            free(report(all[j], replies[i], 40));
}

static void expect_asked(const char *json, const char *want)
{
    char *text = NULL;
    size_t len;
    json_t *reply = json_loads(json, 0, NULL);
    FILE *f = open_memstream(&text, &len);
    report_asked(f, reply);
    fclose(f);
    cr_expect_str_eq(text, want);
    free(text);
    json_decref(reply);
}

Test(report, who_was_asked)
{
    expect_asked("{\"hosts_asked\": 9, \"hosts_waiting\": 1}",
                 "asked 9 hosts, 1 has not answered yet\n");
    expect_asked("{\"hosts_asked\": 9, \"hosts_waiting\": 0}",
                 "asked 9 hosts, all have answered\n");
    expect_asked("{\"hosts_asked\": 1, \"hosts_waiting\": 0}", "asked 1 host, it has answered\n");
    expect_asked("{}", "no other host has been found yet\n");
}

Test(report, a_source_is_told_when_it_may_leave)
{
    char *text = report(report_status,
                        "{\"transfers\": [{\"name\": \"talk\", \"origin\": true,"
                        " \"may_leave\": true}, {\"name\": \"other\", \"may_leave\": true}]}",
                        0);
    cr_expect_not_null(strstr(text, "talk: you may leave now"));
    cr_expect_null(strstr(text, "other: you may leave now"));
    free(text);
}

Test(report, whether_a_share_is_being_fetched)
{
    json_t *reply =
        json_pack("{s:[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}]}", "transfers", "id", "aa", "state",
                  "running", "id", "bb", "state", "paused", "id", "cc", "state", "waiting");
    cr_expect(report_is_fetched(reply, "aa"));
    cr_expect_not(report_is_fetched(reply, "bb"));
    cr_expect(report_is_fetched(reply, "cc"));
    cr_expect_not(report_is_fetched(reply, "dd"));
    json_decref(reply);
}

/* 30 transfers of which the last is fetched, in so many lines. */
static char *report_in_rows(unsigned rows)
{
    const struct render_style style = {.rows = rows};
    char *text = NULL;
    size_t len;
    json_t *list = json_array();
    for (int i = 0; i < 30; i++)
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:b, s:b}", "name", i == 29 ? "last" : "quiet",
                                        "state", i == 29 ? "running" : "seeding", "origin", i == 0,
                                        "may_leave", i == 0));
    json_t *reply = json_pack("{s:o}", "transfers", list);
    FILE *f = open_memstream(&text, &len);
    cr_assert_eq(report_status(f, reply, &style), 0);
    fclose(f);
    json_decref(reply);
    return text;
}

static unsigned count_of(const char *text, const char *part)
{
    unsigned count = 0;
    for (; (text = strstr(text, part)) != NULL; text++)
        count++;
    return count;
}

Test(report, the_active_come_first_when_not_all_fit)
{
    char *text = report_in_rows(12);
    cr_expect_eq(count_of(text, "\n"), 12u, "%s", text);
    cr_expect_lt(strstr(text, "last"), strstr(text, "quiet"));
    cr_expect_not_null(strstr(text, "\nand 25 more\n"), "%s", text);
    cr_expect_not_null(strstr(text, "quiet: you may leave now"));
    free(text);
}

Test(report, what_fits_keeps_its_order)
{
    for (unsigned rows = 0; rows <= 36; rows += 36) {
        char *text = report_in_rows(rows);
        cr_expect_gt(strstr(text, "last"), strstr(text, "quiet"));
        cr_expect_null(strstr(text, " more\n"));
        free(text);
    }
    for (unsigned rows = 1; rows < 36; rows++) {
        char *text = report_in_rows(rows);
        cr_expect_not_null(strstr(text, " more\n"), "%u rows", rows);
        cr_expect(rows < 8 || count_of(text, "\n") <= rows, "%u rows: %s", rows, text);
        free(text);
    }
}

Test(report, progress_of_a_transfer)
{
    struct render_progress p;
    json_t *line = json_loads("{\"state\": \"waiting\", \"done_bytes\": 5, \"bytes\": 9,"
                              " \"peers\": 2, \"source_copies\": null, \"down_per_s\": 1}",
                              0, NULL);
    report_transfer_progress(line, "talk", &p);
    cr_expect_eq(p.done_bytes, 5u);
    cr_expect_eq(p.total_bytes, 9u);
    cr_expect_eq(p.peers, 2);
    cr_expect_lt(p.source_copies, 0);
    cr_expect_not_null(p.note);
    json_decref(line);
}
