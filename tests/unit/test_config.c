#include <criterion/criterion.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config.h"

static char dir[] = "/tmp/ronda-test-config-XXXXXX";
static char file[64];
static char error[CONFIG_ERROR_BYTES];

static void setup(void)
{
    static const char *const gone[] = {"STATE_DIRECTORY", "RUNTIME_DIRECTORY", "XDG_STATE_HOME",
                                       "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME",   "XDG_DOWNLOAD_DIR"};

    cr_assert_not_null(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/ronda.conf", dir);
    for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
        unsetenv(gone[i]);
    setenv("HOME", dir, 1);
}

static void teardown(void)
{
    unlink(file);
    rmdir(dir);
}

TestSuite(config, .init = setup, .fini = teardown);

static int load(struct config *cfg, ...)
{
    char *argv[32] = {"rondad"};
    int argc = 1;
    va_list ap;

    va_start(ap, cfg);
    while ((argv[argc] = va_arg(ap, char *)))
        argc++;
    va_end(ap);
    return config_load(cfg, argc, argv, error);
}

static void write_file(const char *text)
{
    FILE *f = fopen(file, "w");
    fputs(text, f);
    fclose(f);
}

static int load_text(struct config *cfg, const char *text)
{
    write_file(text);
    return load(cfg, "--config", file, NULL);
}

Test(config, defaults_with_nothing_at_all)
{
    struct config cfg;
    char path[128];

    cr_assert_eq(load(&cfg, NULL), 0, "%s", error);
    cr_assert_str_eq(error, "");
    cr_assert_null(cfg.name);
    cr_assert_eq(cfg.port, CONFIG_PORT);
    cr_assert_not(cfg.port_set);
    cr_assert_eq(cfg.discovery, DISCOVERY_AUTO);
    cr_assert_eq(cfg.wireless, -1);
    cr_assert_eq(cfg.reserve_bytes, UINT64_MAX);
    cr_assert_eq(cfg.log, LOG_LEVEL_INFO);
    cr_assert_null(cfg.peers[0]);
    cr_assert_not(cfg.skip_set);
    snprintf(path, sizeof(path), "%s/.local/state/ronda", dir);
    cr_assert_str_eq(cfg.state_dir, path);
    snprintf(path, sizeof(path), "/tmp/ronda-%u", getuid());
    cr_assert_str_eq(cfg.runtime_dir, path);
    snprintf(path, sizeof(path), "%s/Downloads", dir);
    cr_assert_str_eq(cfg.download_dir, getuid() == 0 ? "/srv/ronda" : path);
    config_free(&cfg);
}

Test(config, directories_of_the_environment)
{
    struct config cfg;

    setenv("XDG_STATE_HOME", "/x/state", 1);
    setenv("XDG_RUNTIME_DIR", "/x/run", 1);
    setenv("XDG_DOWNLOAD_DIR", "/x/down", 1);
    cr_assert_eq(load(&cfg, NULL), 0);
    cr_assert_str_eq(cfg.state_dir, "/x/state/ronda");
    cr_assert_str_eq(cfg.runtime_dir, "/x/run/ronda");
    cr_assert_str_eq(cfg.download_dir, "/x/down");
    config_free(&cfg);

    setenv("STATE_DIRECTORY", "/var/lib/ronda:/var/lib/other", 1);
    setenv("RUNTIME_DIRECTORY", "/run/ronda", 1);
    cr_assert_eq(load(&cfg, NULL), 0);
    cr_assert_str_eq(cfg.state_dir, "/var/lib/ronda");
    cr_assert_str_eq(cfg.runtime_dir, "/run/ronda");
    config_free(&cfg);

    unsetenv("STATE_DIRECTORY");
    setenv("XDG_STATE_HOME", "relative", 1);
    cr_assert_eq(load(&cfg, NULL), 0);
    cr_assert_str_neq(cfg.state_dir, "relative/ronda", "XDG: relative paths are ignored");
    config_free(&cfg);
}

Test(config, every_setting_of_the_file)
{
    struct config cfg;

    cr_assert_eq(load_text(&cfg, "# ours\n"
                                 "[node]\n"
                                 "name = Bob's ordenador ñandú\n"
                                 "listen = 4000\n"
                                 "state-dir = ~/state\n"
                                 "runtime-dir = /run/x\n"
                                 "download-dir = /srv/x ; here\n"
                                 "peer = 10.0.0.1:5000\n"
                                 "peer = [fe80::1%eth0]:6000\n"
                                 "wireless = no\n"
                                 "log = debug\n"
                                 "[discovery]\n"
                                 "mode = embedded\n"
                                 "skip-interfaces =\n"
                                 "only-interfaces = eth* wlan0\n"
                                 "[limits]\n"
                                 "reserve = 2G\n"
                                 "workers = 3\n"),
                 0, "%s", error);
    cr_assert_str_eq(cfg.name, "Bob's ordenador ñandú");
    cr_assert_eq(cfg.port, 4000);
    cr_assert(cfg.port_set);
    cr_assert_eq(strncmp(cfg.state_dir, dir, strlen(dir)), 0);
    cr_assert_str_eq(cfg.state_dir + strlen(dir), "/state");
    cr_assert_str_eq(cfg.runtime_dir, "/run/x");
    cr_assert_str_eq(cfg.download_dir, "/srv/x");
    cr_assert_str_eq(cfg.peers[0], "10.0.0.1:5000");
    cr_assert_str_eq(cfg.peers[1], "[fe80::1%eth0]:6000");
    cr_assert_null(cfg.peers[2]);
    cr_assert_eq(cfg.wireless, 0);
    cr_assert_eq(cfg.log, LOG_LEVEL_DEBUG);
    cr_assert_eq(cfg.discovery, DISCOVERY_EMBEDDED);
    cr_assert(cfg.skip_set);
    cr_assert_null(cfg.skip_interfaces[0]);
    cr_assert_str_eq(cfg.only_interfaces[0], "eth*");
    cr_assert_str_eq(cfg.only_interfaces[1], "wlan0");
    cr_assert_null(cfg.only_interfaces[2]);
    cr_assert_eq(cfg.reserve_bytes, 2ull << 30);
    cr_assert_eq(cfg.workers, 3);
    config_free(&cfg);
}

Test(config, the_command_line_wins)
{
    struct config cfg;
    char cwd[512], path[600];

    write_file("[node]\nname = file\nlisten = 1\npeer = a:1\npeer = b:2\n[discovery]\nmode=off\n");
    cr_assert_eq(load(&cfg, "--name", "line", "--config", file, "--listen=0", "--peer", "c:3",
                      "--discovery", "system", "--state-dir", "rel", "--peer", "d:4",
                      "--runtime-dir", "/r", "--download-dir", "/d", NULL),
                 0, "%s", error);
    cr_assert_str_eq(cfg.name, "line");
    cr_assert_eq(cfg.port, 0);
    cr_assert(cfg.port_set);
    cr_assert_str_eq(cfg.peers[0], "c:3");
    cr_assert_str_eq(cfg.peers[1], "d:4");
    cr_assert_null(cfg.peers[2], "those of the file are replaced");
    cr_assert_eq(cfg.discovery, DISCOVERY_SYSTEM);
    cr_assert_not_null(getcwd(cwd, sizeof(cwd)));
    snprintf(path, sizeof(path), "%s/rel", cwd);
    cr_assert_str_eq(cfg.state_dir, path);
    cr_assert_str_eq(cfg.runtime_dir, "/r");
    cr_assert_str_eq(cfg.download_dir, "/d");
    config_free(&cfg);
}

Test(config, the_users_file_is_found)
{
    struct config cfg;
    char sub[128];

    setenv("XDG_CONFIG_HOME", dir, 1);
    snprintf(sub, sizeof(sub), "%s/ronda", dir);
    cr_assert_eq(mkdir(sub, 0700), 0);
    snprintf(file, sizeof(file), "%s/ronda/ronda.conf", dir);
    write_file("[node]\nlisten = 77\n");
    cr_assert_eq(load(&cfg, NULL), 0);
    cr_assert_eq(cfg.port, 77);
    config_free(&cfg);
    unlink(file);
    rmdir(sub);
}

/* Each with the words that its error must contain, besides the file. */
Test(config, mistakes_of_the_file_are_named)
{
    static const char long_line[] = "[node]\ndownload-dir = /"
                                    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                                    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                                    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                                    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                                    "xxxxxxxx\n";
    static const struct {
        const char *text, *line, *words;
    } cases[] = {
        {"[node]\nnmae = x\n", ":2: ", "'nmae' in [node]"},
        {"[discovery]\n\nname = x\n", ":3: ", "'name' belongs into [node]"},
        {"name = x\n", ":1: ", "a line [node] above"},
        {"[nodes]\nfoo = x\n", ":2: ", "'foo' in [nodes]"},
        {"[node]\nlisten = 65536\n", ":2: ", "a port from 0 (any) to 65535"},
        {"[node]\nlisten = +1\n", ":2: ", "a port"},
        {"[node]\nlisten =\n", ":2: ", "a port"},
        {"[node]\nlisten = 1\nlisten = 2\n", ":3: ", "second time"},
        {"[node]\nname = a\n  log = info\n", ":3: ", "second time"},
        {"[node]\nname =\n", ":2: ", "1 to 63 bytes"},
        {"[node]\nname = \xff\n", ":2: ", "1 to 63 bytes"},
        {"[node]\nname = a\x1b[31m\n", ":2: ", "1 to 63 bytes"},
        {"[node]\nstate-dir = here\n", ":2: ", "absolute path"},
        {"[node]\npeer = host\n", ":2: ", "host:port"},
        {"[node]\nwireless = maybe\n", ":2: ", "auto, yes or no"},
        {"[node]\nlog = 5\n", ":2: ", "error, warn, info or debug"},
        {"[discovery]\nmode = Auto\n", ":2: ", "auto, system, embedded or off"},
        {"[limits]\nreserve = 5X\n", ":2: ", "bytes"},
        {"[limits]\nreserve = 99999999999T\n", ":2: ", "bytes"},
        {"[limits]\nreserve = M\n", ":2: ", "bytes"},
        {"[limits]\nworkers = 65\n", ":2: ", "0 (by the cores) to 64"},
        {"[node]\nfoo\n", ":2: ", "key = value"},
        {"[node\nname = x\n", ":2: ", "a line [node] above"},
        {long_line, ":2: ", "longer than"},
    };
    struct config cfg;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_expect_eq(load_text(&cfg, cases[i].text), ERR_CONFIG, "case %zu", i);
        cr_expect_eq(strncmp(error, file, strlen(file)), 0, "%s", error);
        cr_expect_not_null(strstr(error, cases[i].line), "case %zu: %s", i, error);
        cr_expect_not_null(strstr(error, cases[i].words), "case %zu: %s", i, error);
    }
}

Test(config, thirty_three_peers_are_too_many)
{
    char text[2000] = "[node]\n";
    struct config cfg;

    for (int i = 0; i < CONFIG_PEERS_MAX; i++)
        strcat(text, "peer = a:1\n");
    cr_assert_eq(load_text(&cfg, text), 0);
    config_free(&cfg);
    strcat(text, "peer = a:1\n");
    cr_assert_eq(load_text(&cfg, text), ERR_CONFIG);
}

Test(config, mistakes_of_the_command_line_are_named)
{
    struct config cfg;

    cr_assert_eq(load(&cfg, "--lisen", "5", NULL), ERR_CONFIG);
    cr_assert_not_null(strstr(error, "--lisen"), "%s", error);
    cr_assert_eq(load(&cfg, "--listen", NULL), ERR_CONFIG);
    cr_assert_not_null(strstr(error, "--listen: a value is missing"), "%s", error);
    cr_assert_eq(load(&cfg, "--listen", "x", NULL), ERR_CONFIG);
    cr_assert_not_null(strstr(error, "--listen x: give a port"), "%s", error);
    cr_assert_eq(load(&cfg, "--peer", "nowhere", NULL), ERR_CONFIG);
    cr_assert_not_null(strstr(error, "nowhere"), "%s", error);
    cr_assert_eq(load(&cfg, "share", NULL), ERR_CONFIG);
    cr_assert_not_null(strstr(error, "share"), "%s", error);
    cr_assert_eq(load(&cfg, "--config", "/nonexistent/x", NULL), -ENOENT);
    cr_assert_not_null(strstr(error, "/nonexistent/x"), "%s", error);
    cr_assert_lt(load(&cfg, "--config", dir, NULL), 0, "a folder");
}

Test(config, help_and_version_come_before_all_else)
{
    struct config cfg;

    cr_assert_eq(load(&cfg, "--config", "/nonexistent/x", "--help", NULL), 0);
    cr_assert(cfg.help);
    config_free(&cfg);
    cr_assert_eq(load(&cfg, "--version", NULL), 0);
    cr_assert(cfg.version);
    config_free(&cfg);
    cr_assert_not_null(strstr(config_usage(), "--discovery"));
}

Test(config, peers_are_split)
{
    static const char *const bad[] = {
        "",       "a",     "a:",    ":1",    "a:0",    "a:65536", "a:1x",
        "a: 1",   "a:+1",  "::1:5", "[::1]", "[::1]:", "[]:5",    "[::1]5",
        "[::1:5", "a b:5", "a/b:5", "[a:5",  "a]:5",   "a:1:2",   "\ta:1"};
    char host[256], text[400];
    uint16_t port;

    cr_assert_eq(config_split_peer("host.local:1", host, &port), 0);
    cr_assert_str_eq(host, "host.local");
    cr_assert_eq(port, 1);
    cr_assert_eq(config_split_peer("1.2.3.4:65535", host, &port), 0);
    cr_assert_str_eq(host, "1.2.3.4");
    cr_assert_eq(port, 65535);
    cr_assert_eq(config_split_peer("[fe80::1%eth0]:5", host, &port), 0);
    cr_assert_str_eq(host, "fe80::1%eth0");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect_eq(config_split_peer(bad[i], host, &port), ERR_CONFIG, "%s", bad[i]);
    memset(text, 'h', 255);
    strcpy(text + 255, ":5");
    cr_assert_eq(config_split_peer(text, host, &port), 0);
    memset(text, 'h', 256);
    strcpy(text + 256, ":5");
    cr_assert_eq(config_split_peer(text, host, &port), ERR_CONFIG);
}
