/* err: the error codes of ronda. PURE.
 *
 * Every fallible call returns int: 0 or positive is success, negative is an
 * error. System errors stay -errno; ours start at -1000, so the two never meet.
 */
#ifndef RONDA_ERR_H
#define RONDA_ERR_H

#define RONDA_MUST_CHECK __attribute__((warn_unused_result))

enum {
    ERR_MESSAGE = -1000,   /* a frame that does not parse, or is over its limit */
    ERR_PROTOCOL = -1001,  /* a well-formed message that its state does not allow */
    ERR_VERSION = -1002,   /* no protocol version in common */
    ERR_TLS = -1003,       /* handshake or record layer failed, or a wrong certificate */
    ERR_TIMEOUT = -1004,   /* a deadline passed */
    ERR_CLOSED = -1005,    /* the peer went away */
    ERR_LIMIT = -1006,     /* a ceiling of ours was reached */
    ERR_BENCODE = -1007,   /* not canonical bencoding */
    ERR_MANIFEST = -1008,  /* not a BEP 52 info dictionary that we accept */
    ERR_NAME = -1009,      /* a name that must not reach the disk */
    ERR_HASH = -1010,      /* bytes that do not match their hash */
    ERR_NOT_FOUND = -1011, /* nothing by that name or id */
    ERR_AMBIGUOUS = -1012, /* a name or prefix with more than one meaning */
    ERR_CHANGED = -1013,   /* a shared file is no longer what was hashed */
    ERR_DAMAGED = -1014,   /* local state (journal, index) is damaged */
    ERR_CANCELLED = -1015, /* the owner asked to stop */
    ERR_CONFIG = -1016,    /* a setting that cannot be used */
    ERR_LAST = -1016
};

/* One lower-case English clause for any code of ours or -errno. Static
 * storage (system errors: strerror's); never NULL. */
const char *err_text(int err);

#endif
