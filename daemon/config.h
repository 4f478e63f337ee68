/* config: settings, from defaults, an INI file, then the command line. PURE but
 * for reading the file and the environment it is given.
 *
 * Precedence: command line > file > default. File: --config, else
 * $XDG_CONFIG_HOME/ronda/ronda.conf (~/.config), else /etc/ronda/ronda.conf.
 *
 *   [node]      name, listen (port), state-dir, runtime-dir, download-dir,
 *               peer (host:port, repeatable), wireless = auto|yes|no, log = error|warn|info|debug
 *   [discovery] mode = auto|system|embedded|off, skip-interfaces, only-interfaces
 *               (patterns separated by spaces)
 *   [limits]    reserve (bytes, K/M/G suffix), workers
 */
#ifndef RONDA_CONFIG_H
#define RONDA_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/log.h"
#include "discovery/discovery.h"
#include "transfer/core/err.h"

enum {
    CONFIG_PORT = 24724, /* the data port when none is set */
    CONFIG_PEERS_MAX = 32,
    CONFIG_PATTERNS_MAX = 32,
    CONFIG_ERROR_BYTES = 512
};

struct config {
    char *name;         /* nickname; default "guest-xxxx" from the NodeID, filled in by node.c
                           while NULL */
    char *state_dir;    /* $STATE_DIRECTORY, $XDG_STATE_HOME/ronda, ~/.local/state/ronda */
    char *runtime_dir;  /* $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR/ronda, else /tmp/ronda-<uid> */
    char *download_dir; /* where `get` without -o from an API client without a directory, and
                           later subscriptions, put things; $XDG_DOWNLOAD_DIR or ~/Downloads,
                           /srv/ronda for root */
    uint16_t port;
    bool port_set; /* by the user: then no falling back to another port */
    enum discovery_mode discovery;
    char *peers[CONFIG_PEERS_MAX + 1]; /* "host:port", "[v6%if]:port"; NULL-terminated */
    char *skip_interfaces[CONFIG_PATTERNS_MAX + 1];
    char *only_interfaces[CONFIG_PATTERNS_MAX + 1];
    bool skip_set;
    int wireless;           /* -1 auto, 0 no, 1 yes */
    uint64_t reserve_bytes; /* UINT64_MAX: the store's default */
    unsigned workers;       /* 0: by the number of cores */
    enum log_level log;
    bool help, version; /* --help, --version: print and leave */
};

/* Fills cfg. error: one sentence naming the setting, where it stands and what
 * would be right. ERR_CONFIG, -errno of a --config file that can't be read. */
int config_load(struct config *cfg, int argc, char *const argv[],
                char error[static CONFIG_ERROR_BYTES]) RONDA_MUST_CHECK;
void config_free(struct config *cfg);
/* Text of --help. */
const char *config_usage(void);

/* "host:port", "1.2.3.4:5", "[fe80::1%eth0]:5" into its parts; port is needed.
 * ERR_CONFIG. host holds 256 bytes. */
int config_split_peer(const char *text, char host[static 256], uint16_t *port) RONDA_MUST_CHECK;

#endif
