#include <errno.h>
#include <getopt.h>
#include <ini.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/config_impl.h"

/* --- the file --- */

struct reading {
    struct config *cfg;
    const char *path;
    FILE *file;
    char *error; /* the first one */
    int err;
    unsigned line; /* inih tells the handler no line numbers: counted as lines are read */
    bool seen[CONFIG_SETTINGS];
};

static void __attribute__((format(printf, 3, 4)))
reading_fail(struct reading *r, int err, const char *fmt, ...)
{
    va_list ap;

    if (r->err)
        return;
    r->err = err;
    int n = snprintf(r->error, CONFIG_ERROR_BYTES, "%.200s:%u: ", r->path, r->line);
    va_start(ap, fmt);
    vsnprintf(r->error + n, CONFIG_ERROR_BYTES - (size_t)n, fmt, ap);
    va_end(ap);
}

/* A line that inih's buffer would cut is an error: half a path is a wrong path. */
static char *read_line(char *buf, int size, void *arg)
{
    struct reading *r = arg;

    if (r->err || !fgets(buf, size, r->file))
        return NULL;
    r->line++;
    size_t len = strlen(buf);
    if (len + 1 == (size_t)size && buf[len - 1] != '\n')
        reading_fail(r, ERR_CONFIG, "the line is longer than %d bytes", size - 2);
    return r->err ? NULL : buf;
}

static void setting_apply(struct reading *r, unsigned i, const char *value)
{
    const struct setting *s = &config_settings[i];

    if (r->seen[i] && !s->repeats) {
        reading_fail(r, ERR_CONFIG, "'%s' is set for the second time (or the line is indented)",
                     s->key);
        return;
    }
    r->seen[i] = true;
    int err = s->set(r->cfg, value);
    if (err == ERR_CONFIG)
        reading_fail(r, err, "%s = %.100s: %s", s->key, value, s->right);
    else if (err)
        reading_fail(r, err, "%s", err_text(err));
}

static void key_unknown(struct reading *r, const char *section, const char *key)
{
    for (unsigned i = 0; i < CONFIG_SETTINGS; i++) {
        if (strcmp(config_settings[i].key, key) != 0)
            continue;
        if (section[0])
            reading_fail(r, ERR_CONFIG, "'%s' belongs into [%s], not into [%.40s]", key,
                         config_settings[i].section, section);
        else
            reading_fail(r, ERR_CONFIG, "'%s' needs a line [%s] above it", key,
                         config_settings[i].section);
        return;
    }
    reading_fail(r, ERR_CONFIG, "there is no setting '%.60s' in [%.40s]", key, section);
}

static int on_setting(void *arg, const char *section, const char *key, const char *value)
{
    struct reading *r = arg;

    for (unsigned i = 0; i < CONFIG_SETTINGS; i++) {
        if (strcmp(config_settings[i].section, section) == 0 &&
            strcmp(config_settings[i].key, key) == 0) {
            setting_apply(r, i, value);
            return r->err == 0;
        }
    }
    key_unknown(r, section, key);
    return 0;
}

/* -ENOENT and the like: there is no such file. */
static int file_load(struct config *cfg, const char *path, char error[static CONFIG_ERROR_BYTES])
{
    struct reading r = {.cfg = cfg, .path = path, .error = error, .file = fopen(path, "re")};

    if (!r.file) {
        int err = -errno;
        snprintf(error, CONFIG_ERROR_BYTES, "%.200s: %s", path, err_text(err));
        return err;
    }
    int bad = ini_parse_stream(read_line, &r, on_setting, &r);
    if (!r.err && ferror(r.file)) {
        r.err = -EIO; /* a folder, for one */
        snprintf(error, CONFIG_ERROR_BYTES, "%.200s: cannot be read", path);
    }
    fclose(r.file);
    if (!r.err && bad != 0) {
        r.line = bad > 0 ? (unsigned)bad : 0;
        reading_fail(&r, ERR_CONFIG, "not a [section], 'key = value' or # comment");
    }
    return r.err;
}

/* An absolute directory from the environment, or NULL (XDG Base Directory:
 * relative ones are to be ignored). The systemd variables may hold several,
 * separated by colons: the first counts. */
static char *env_dir(const char *variable, const char *suffix)
{
    const char *value = getenv(variable);
    char *path;

    if (!value || value[0] != '/')
        return NULL;
    return asprintf(&path, "%.*s%s", (int)strcspn(value, ":"), value, suffix) < 0 ? NULL : path;
}

static char *home_dir(const char *suffix)
{
    const struct passwd *pw;
    char *path = env_dir("HOME", suffix);

    if (path)
        return path;
    pw = getpwuid(getuid());
    if (!pw || !pw->pw_dir || pw->pw_dir[0] != '/')
        return NULL;
    return asprintf(&path, "%s%s", pw->pw_dir, suffix) < 0 ? NULL : path;
}

/* The user's file, else the system's, else none. A home that this process may
 * not look into (ProtectHome=) counts as one without a file. */
static int default_files_load(struct config *cfg, char error[static CONFIG_ERROR_BYTES])
{
    char *path = env_dir("XDG_CONFIG_HOME", "/ronda/ronda.conf");

    if (!path)
        path = home_dir("/.config/ronda/ronda.conf");
    int err = path ? file_load(cfg, path, error) : -ENOENT;
    free(path);
    if (err != -ENOENT && err != -ENOTDIR && err != -EACCES)
        return err;
    err = file_load(cfg, "/etc/ronda/ronda.conf", error);
    if (err != -ENOENT && err != -ENOTDIR)
        return err;
    error[0] = '\0';
    return 0;
}

/* --- the command line --- */

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {"state-dir", required_argument, NULL, 's'},
    {"runtime-dir", required_argument, NULL, 's'},
    {"download-dir", required_argument, NULL, 's'},
    {"name", required_argument, NULL, 's'},
    {"listen", required_argument, NULL, 's'},
    {"discovery", required_argument, NULL, 's'},
    {"peer", required_argument, NULL, 's'},
    {NULL, 0, NULL, 0},
};

const char *config_usage(void)
{
    return "usage: rondad [OPTION]...\n"
           "Shares and fetches files on the local network; the command 'ronda' talks to it.\n"
           "\n"
           "  --config FILE       read FILE instead of ~/.config/ronda/ronda.conf or\n"
           "                      /etc/ronda/ronda.conf\n"
           "  --state-dir DIR     where keys and the list of shares are kept\n"
           "  --runtime-dir DIR   where the control socket goes\n"
           "  --download-dir DIR  where downloads go unless the command names a place\n"
           "  --name NICK         what the neighbours see (default: guest-xxxx)\n"
           "  --listen PORT       data port (default 24724; 0: any)\n"
           "  --discovery MODE    auto, system (avahi-daemon), embedded or off\n"
           "  --peer HOST:PORT    a neighbour that mDNS does not find; may be repeated\n"
           "  --help              this text\n"
           "  --version           version\n";
}

static int option_fail(char error[static CONFIG_ERROR_BYTES], const char *word, const char *what)
{
    snprintf(error, CONFIG_ERROR_BYTES, "%.100s: %s (rondad --help lists the options)", word, what);
    return ERR_CONFIG;
}

/* A path of the command line is relative to where it was typed. */
static int option_path(const char *value, char path[static PATH_MAX])
{
    char cwd[PATH_MAX];
    int n;

    if (value[0] == '/' || value[0] == '\0')
        n = snprintf(path, PATH_MAX, "%s", value);
    else if (!getcwd(cwd, sizeof(cwd)))
        return -errno;
    else
        n = snprintf(path, PATH_MAX, "%s/%s", cwd, value);
    return n < PATH_MAX ? 0 : ERR_CONFIG;
}

static int option_apply(struct config *cfg, const char *option, const char *value, bool *peers,
                        char error[static CONFIG_ERROR_BYTES])
{
    const struct setting *s = config_settings;
    char path[PATH_MAX];
    int err = 0;

    while (!s->option || strcmp(s->option, option) != 0)
        s++;
    if (s->repeats && !*peers) {
        *peers = true; /* the file's are replaced, not added to */
        config_list_clear(cfg->peers);
    }
    if (strstr(option, "-dir")) {
        err = option_path(value, path);
        value = path;
    }
    if (!err)
        err = s->set(cfg, value);
    if (err == ERR_CONFIG)
        snprintf(error, CONFIG_ERROR_BYTES, "--%s %.100s: %s", option, value, s->right);
    else if (err)
        snprintf(error, CONFIG_ERROR_BYTES, "--%s: %s", option, err_text(err));
    return err;
}

/* Walks the options once: with apply false only --config, --help and --version
 * count, and every mistake of form is found. */
static int options_walk(struct config *cfg, int argc, char *const argv[], bool apply,
                        const char **file, char error[static CONFIG_ERROR_BYTES])
{
    bool peers = false;
    int c, which = 0, err = 0;

    optind = 0; /* glibc: start again from the beginning */
    opterr = 0;
    while (!err && (c = getopt_long(argc, argv, "+:h", options, &which)) != -1) {
        if (c == 'c')
            *file = optarg;
        else if (c == 'h')
            cfg->help = true;
        else if (c == 'V')
            cfg->version = true;
        else if (c == ':')
            err = option_fail(error, argv[optind - 1], "a value is missing");
        else if (c == '?')
            err = option_fail(error, argv[optind - 1], "there is no such option");
        else if (apply)
            err = option_apply(cfg, options[which].name, optarg, &peers, error);
    }
    if (!err && optind < argc)
        err = option_fail(error, argv[optind], "not an option");
    return err;
}

/* --- all of it --- */

static int defaults_fill(struct config *cfg, char error[static CONFIG_ERROR_BYTES])
{
    if (!cfg->state_dir)
        cfg->state_dir = env_dir("STATE_DIRECTORY", "");
    if (!cfg->state_dir)
        cfg->state_dir = env_dir("XDG_STATE_HOME", "/ronda");
    if (!cfg->state_dir)
        cfg->state_dir = home_dir("/.local/state/ronda");
    if (!cfg->runtime_dir)
        cfg->runtime_dir = env_dir("RUNTIME_DIRECTORY", "");
    if (!cfg->runtime_dir)
        cfg->runtime_dir = env_dir("XDG_RUNTIME_DIR", "/ronda");
    if (!cfg->runtime_dir && asprintf(&cfg->runtime_dir, "/tmp/ronda-%u", (unsigned)getuid()) < 0)
        cfg->runtime_dir = NULL;
    if (!cfg->download_dir)
        cfg->download_dir = env_dir("XDG_DOWNLOAD_DIR", "");
    if (!cfg->download_dir)
        cfg->download_dir = getuid() == 0 ? strdup("/srv/ronda") : home_dir("/Downloads");
    if (cfg->state_dir && cfg->runtime_dir && cfg->download_dir)
        return 0;
    snprintf(error, CONFIG_ERROR_BYTES,
             "no home directory is known: set HOME, or give --state-dir and --download-dir");
    return ERR_CONFIG;
}

int config_load(struct config *cfg, int argc, char *const argv[],
                char error[static CONFIG_ERROR_BYTES])
{
    const char *file = NULL;

    *cfg = (struct config){.port = CONFIG_PORT,
                           .discovery = DISCOVERY_AUTO,
                           .wireless = -1,
                           .reserve_bytes = UINT64_MAX,
                           .log = LOG_LEVEL_INFO};
    error[0] = '\0';
    int err = options_walk(cfg, argc, argv, false, &file, error);
    if (!err && (cfg->help || cfg->version))
        return 0;
    if (!err)
        err = file ? file_load(cfg, file, error) : default_files_load(cfg, error);
    if (!err)
        err = options_walk(cfg, argc, argv, true, &file, error);
    if (!err)
        err = defaults_fill(cfg, error);
    if (err)
        config_free(cfg);
    return err;
}

void config_free(struct config *cfg)
{
    free(cfg->name);
    free(cfg->state_dir);
    free(cfg->runtime_dir);
    free(cfg->download_dir);
    config_list_clear(cfg->peers);
    config_list_clear(cfg->skip_interfaces);
    config_list_clear(cfg->only_interfaces);
    *cfg = (struct config){0};
}
