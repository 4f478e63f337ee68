/* rondad: settings, one event_base, signals, and word to the service manager. */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "daemon/api.h"
#include "daemon/config.h"
#include "daemon/log.h"
#include "daemon/node.h"

enum {
    MAIN_FDS_MAX = 65536,
    MAIN_STOP_MS = 3000, /* then we leave, whatever is not finished */
    MAIN_DISK_MS = 500,  /* and after this a disk that does not answer is left, too */
    MAIN_EXIT_FAILED = 1,
    MAIN_EXIT_USAGE = 2
};

enum { ON_TERM, ON_INT, ON_HUP, WATCHDOG, GUARD, MAIN_EVENTS };

struct daemon {
    struct config cfg;
    struct event_base *base;
    struct event *events[MAIN_EVENTS];
    struct node *node;
    struct api *api;
    bool stopping;
};

/* A socket that became descriptor 2 would get our log lines. */
static void standard_fds_open(void)
{
    int fd = open("/dev/null", O_RDWR);

    while (fd >= 0 && fd <= STDERR_FILENO)
        fd = open("/dev/null", O_RDWR);
    if (fd > STDERR_FILENO)
        close(fd);
}

static void fd_limit_raise(void)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
        return;
    rlim_t want = lim.rlim_max < MAIN_FDS_MAX ? lim.rlim_max : MAIN_FDS_MAX;
    if (lim.rlim_cur >= want)
        return;
    lim.rlim_cur = want;
    if (setrlimit(RLIMIT_NOFILE, &lim) < 0)
        log_warn("cannot raise the limit of open files: %s", strerror(errno));
}

static void on_libevent(int severity, const char *text)
{
    if (severity >= EVENT_LOG_WARN)
        log_warn("libevent: %s", text);
}

static void on_stopped(void *arg)
{
    struct daemon *d = arg;

    event_base_loopbreak(d->base);
}

static void on_guard(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    log_warn("not everything was finished in time; it goes on from there after the next start");
    on_stopped(arg);
}

static void on_stop_signal(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct daemon *d = arg;
    const struct timeval guard = {MAIN_STOP_MS / 1000, MAIN_STOP_MS % 1000 * 1000};

    if (d->stopping) { /* asked twice: now */
        on_stopped(d);
        return;
    }
    d->stopping = true;
    log_info("%s: stopping", strsignal(fd));
    sd_notify(0, "STOPPING=1\nSTATUS=Stopping");
    event_add(d->events[GUARD], &guard);
    node_stop(d->node, on_stopped, d);
}

static void on_hangup(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg;
    log_info("SIGHUP does nothing: settings are read at the start (systemctl restart rondad)");
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg;
    sd_notify(0, "WATCHDOG=1");
}

static int event_make(struct daemon *d, int which, int fd, short what, event_callback_fn fn)
{
    d->events[which] = event_new(d->base, fd, what, fn, d);
    return d->events[which] ? 0 : -ENOMEM;
}

static int events_open(struct daemon *d)
{
    uint64_t usec = 0;
    int err = event_make(d, ON_TERM, SIGTERM, EV_SIGNAL | EV_PERSIST, on_stop_signal);

    if (!err)
        err = event_make(d, ON_INT, SIGINT, EV_SIGNAL | EV_PERSIST, on_stop_signal);
    if (!err)
        err = event_make(d, ON_HUP, SIGHUP, EV_SIGNAL | EV_PERSIST, on_hangup);
    if (!err)
        err = event_make(d, GUARD, -1, 0, on_guard);
    if (!err)
        err = event_make(d, WATCHDOG, -1, EV_PERSIST, on_watchdog);
    for (int i = ON_TERM; i <= ON_HUP && !err; i++)
        err = event_add(d->events[i], NULL) < 0 ? -ENOMEM : 0;
    if (!err && sd_watchdog_enabled(0, &usec) > 0) {
        usec /= 2;
        const struct timeval tv = {(time_t)(usec / 1000000), (suseconds_t)(usec % 1000000)};
        event_add(d->events[WATCHDOG], &tv);
    }
    return err;
}

/* What frees itself at a later turn: above all connections that still say BYE,
 * which takes them CONN_FLUSH_MS at most. */
static void loop_drain(struct event_base *base)
{
    static const struct timeval limit = {1, 200000};
    const unsigned all = EVENT_BASE_COUNT_ADDED | EVENT_BASE_COUNT_ACTIVE;

    event_base_loop(base, EVLOOP_NONBLOCK);
    if (event_base_loopexit(base, &limit) < 0)
        return;
    while (event_base_get_num_events(base, all) > 1 && !event_base_got_exit(base)) /* 1: limit */
        event_base_loop(base, EVLOOP_ONCE);
}

static void daemon_close(struct daemon *d)
{
    api_free(d->api);
    if (d->stopping && !node_settle(d->node, MAIN_DISK_MS)) {
        log_warn("a disk does not answer: not waiting for it; what was not synced yet is checked "
                 "or fetched again after the next start");
        _exit(EXIT_SUCCESS);
    }
    node_free(d->node);
    for (int i = 0; i < MAIN_EVENTS; i++)
        if (d->events[i])
            event_free(d->events[i]);
    if (d->base) {
        loop_drain(d->base);
        event_base_free(d->base);
    }
    config_free(&d->cfg);
}

static int daemon_open(struct daemon *d)
{
    char error[NODE_ERROR_BYTES > 1024 ? NODE_ERROR_BYTES : 1024] = "";
    struct node_info info;

    d->base = event_base_new();
    int err = d->base ? events_open(d) : -ENOMEM;
    if (!err)
        err = node_new(d->base, &d->cfg, &d->node, error);
    if (!err)
        err = api_new(d->base, d->node, d->cfg.runtime_dir, &d->api, error);
    if (err) {
        log_error("%s", error[0] ? error : err_text(err));
        return err;
    }
    node_info(d->node, &info);
    log_info("rondad " RONDA_VERSION " is ready: %s, port %u", info.name, info.port);
    sd_notifyf(0, "READY=1\nSTATUS=%s on port %u", info.name, info.port);
    return 0;
}

/* What is to be done before anything runs; the exit code, or -1 to go on. */
static int settings_load(struct config *cfg, int argc, char **argv)
{
    char error[CONFIG_ERROR_BYTES];

    if (config_load(cfg, argc, argv, error) < 0) {
        fprintf(stderr, "rondad: %s\n", error);
        return MAIN_EXIT_USAGE;
    }
    if (!cfg->help && !cfg->version)
        return -1;
    if (cfg->help)
        fputs(config_usage(), stdout);
    else
        puts("rondad " RONDA_VERSION);
    config_free(cfg);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : MAIN_EXIT_FAILED;
}

int main(int argc, char **argv)
{
    struct daemon d = {0};

    standard_fds_open();
    int code = settings_load(&d.cfg, argc, argv);
    if (code >= 0)
        return code;
    log_open(d.cfg.log);
    event_set_log_callback(on_libevent);
    signal(SIGPIPE, SIG_IGN); /* libevent writes to clients' sockets with writev(2) */
    fd_limit_raise();
    code = daemon_open(&d) == 0 ? EXIT_SUCCESS : MAIN_EXIT_FAILED;
    if (code == EXIT_SUCCESS && event_base_dispatch(d.base) < 0)
        code = MAIN_EXIT_FAILED;
    daemon_close(&d);
    return code;
}
