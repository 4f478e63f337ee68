#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/locate.h"

enum { WORDS_MAX = 16 };

struct line {
    char text[256]; /* the words point into it */
    struct args args;
    char error[ARGS_ERROR_BYTES];
    int err;
};

/* Words separated by '|'. */
static void parse(struct line *l, const char *text)
{
    char *rest = l->text, *argv[WORDS_MAX + 1] = {"ronda"};
    int argc = 1;
    snprintf(l->text, sizeof(l->text), "%s", text);
    while (text[0] != '\0' && rest != NULL && argc < WORDS_MAX)
        argv[argc++] = strsep(&rest, "|");
    l->err = args_parse(command_table(), argc, argv, &l->args, l->error);
}

static void expect_error(const char *text, const char *error)
{
    struct line l;
    parse(&l, text);
    cr_expect_eq(l.err, EXIT_USAGE, "%s", text);
    cr_expect_str_eq(l.error, error);
    args_free(&l.args);
}

Test(args, options_may_stand_anywhere)
{
    static const char *const lines[] = {
        "--json|--socket|/s|get|talk|-o|d", "get|talk|-od|--socket=/s|--json",
        "get|--output-dir=d|--json|talk|--socket|/s", "--socket=/s|get|-o|d|--json|--|talk"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct line l;
        parse(&l, lines[i]);
        cr_assert_eq(l.err, 0, "%s: %s", lines[i], l.error);
        cr_expect_eq(l.args.command, &cmd_get);
        cr_expect_str_eq(l.args.socket, "/s");
        cr_expect_str_eq(l.args.dir, "d");
        cr_expect(l.args.json);
        cr_assert_eq(l.args.word_count, 1u);
        cr_expect_str_eq(l.args.words[0], "talk");
        args_free(&l.args);
    }
}

Test(args, words_behind_two_dashes_are_words)
{
    struct line l;
    parse(&l, "share|--|-x|--json|-");
    cr_assert_eq(l.err, 0);
    cr_assert_eq(l.args.word_count, 3u);
    cr_expect_str_eq(l.args.words[1], "--json");
    cr_expect_not(l.args.json);
    args_free(&l.args);
}

Test(args, help_wins_over_later_mistakes)
{
    struct line l;
    parse(&l, "get|--help|--nonsense");
    cr_expect_eq(l.err, 0);
    cr_expect(l.args.help);
    cr_expect_eq(l.args.command, &cmd_get);
    args_free(&l.args);
    parse(&l, "--version");
    cr_expect_eq(l.err, 0);
    cr_expect(l.args.version);
    args_free(&l.args);
}

Test(args, mistakes_are_named)
{
    expect_error("", "no command was given: `ronda help` lists them");
    expect_error("shrae|x", "there is no command `shrae`: did you mean `share`?");
    expect_error("download|x", "there is no command `download`: did you mean `get`?");
    expect_error("frobnicate", "there is no command `frobnicate`: `ronda help` lists them");
    expect_error("get", "`ronda get` needs NAME|ID [-o DIR]");
    expect_error("get|a|b", "`ronda get` does not take `b`");
    expect_error("ls|-o|d", "`ronda ls` does not take -o");
    expect_error("get|a|--name|b", "`ronda get` does not take --name");
    expect_error("share|a|b|--name|c", "--name names one share: give it with one PATH");
    expect_error("get|a|-o", "--output-dir needs a value");
    expect_error("ls|--json=yes", "--json takes no value");
    expect_error("ls|--jsonx", "there is no option `--jsonx`");
    expect_error("ls|-hx", "there is no option `-hx`");
    expect_error("torrent|a|--json", "`ronda torrent` does not take --json");
    expect_error("share|", "an empty word means nothing");
}

Test(args, guesses_are_near)
{
    static const char *const pairs[][2] = {
        {"sahre", "share"},      {"gte", "get"}, {"stat", "status"}, {"verfy", "verify"},
        {"un-share", "unshare"}, {"lss", "ls"},  {"peer", "peers"},  {"list", "ls"}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        const struct command *c = args_guess(command_table(), pairs[i][0]);
        cr_assert_not_null(c, "%s", pairs[i][0]);
        cr_expect_str_eq(c->name, pairs[i][1]);
    }
    cr_expect_null(args_guess(command_table(), "x"));
    cr_expect_null(args_guess(command_table(), ""));
    cr_expect_null(args_guess(command_table(), "a-word-far-longer-than-any-command"));
}

Test(args, every_command_explains_itself)
{
    const struct command *const *table = command_table();
    for (size_t i = 0; table[i] != NULL; i++) {
        cr_expect_eq(args_find(table, table[i]->name), table[i]);
        cr_expect_not_null(strstr(table[i]->details, "Example"), "%s", table[i]->name);
        cr_expect_leq(table[i]->words_min, table[i]->words_max);
        cr_expect_not_null(table[i]->run);
    }
}

struct places {
    char root[64], tmp[80], run[80], xdg[80];
    struct locate_places in;
};

static void make_places(struct places *p)
{
    strcpy(p->root, "/tmp/ronda-test-XXXXXX");
    cr_assert_not_null(mkdtemp(p->root));
    snprintf(p->tmp, sizeof(p->tmp), "%s/t", p->root);
    snprintf(p->run, sizeof(p->run), "%s/r", p->root);
    snprintf(p->xdg, sizeof(p->xdg), "%s/x", p->root);
    p->in = (struct locate_places){.environment = "", /* set but empty is not set */
                                   .runtime_dir = p->xdg,
                                   .tmp_dir = p->tmp,
                                   .system_dir = p->run,
                                   .uid = getuid()};
}

static void remove_places(const struct places *p)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", p->root);
    cr_expect_eq(system(command), 0);
}

static void make_socket(const char *dir, const char *name)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    char folder[90];
    snprintf(folder, sizeof(folder), "%s/%s", dir, name);
    mkdir(dir, 0700);
    mkdir(folder, 0700);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/control.sock", folder);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    close(fd);
}

static void expect_found(const struct places *p, const char *dir, const char *name)
{
    char path[LOCATE_PATH_BYTES], want[LOCATE_PATH_BYTES];
    locate_socket(&p->in, path);
    snprintf(want, sizeof(want), "%s/%s/control.sock", dir, name);
    cr_expect_str_eq(path, want);
}

Test(locate, first_socket_that_is_there)
{
    struct places p;
    char own[32];
    make_places(&p);
    snprintf(own, sizeof(own), "ronda-%u", (unsigned)getuid());
    expect_found(&p, p.xdg, "ronda"); /* none: where it would be */
    p.in.runtime_dir = NULL;
    expect_found(&p, p.tmp, own);
    p.in.runtime_dir = p.xdg;
    make_socket(p.run, "ronda");
    expect_found(&p, p.run, "ronda");
    make_socket(p.tmp, own);
    expect_found(&p, p.tmp, own);
    make_socket(p.xdg, "ronda");
    expect_found(&p, p.xdg, "ronda");
    remove_places(&p);
}

Test(locate, a_stranger_s_directory_is_passed_over)
{
    struct places p;
    char other[32];
    make_places(&p);
    p.in.uid = getuid() + 1; /* who asks is not who owns the directory */
    snprintf(other, sizeof(other), "ronda-%u", (unsigned)p.in.uid);
    make_socket(p.tmp, other);
    make_socket(p.run, "ronda");
    expect_found(&p, p.run, "ronda");
    remove_places(&p);
}

Test(locate, what_was_said_is_taken)
{
    char path[LOCATE_PATH_BYTES];
    struct locate_places in = {
        .option = "/a", .environment = "/b", .tmp_dir = "/", .system_dir = "/"};
    locate_socket(&in, path);
    cr_expect_str_eq(path, "/a");
    in.option = NULL;
    locate_socket(&in, path);
    cr_expect_str_eq(path, "/b");
}
