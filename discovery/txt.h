/* txt: the TXT record of a ronda instance (RFC 6763 6). PURE.
 *
 *   v=1                protocol version, decimal 1-255, required
 *   id=0011223344556677  first 8 bytes of the NodeID, hex, required
 *   c=2a               catalogue version, hex, at most 16 digits, 0 when absent
 *   f=1                flags, hex, at most 2 digits, 0 when absent
 *
 * Unknown keys are skipped. A key of ours given twice makes the record bad: the
 * order of an AvahiStringList is no promise, so "the first one counts" can't be kept.
 */
#ifndef RONDA_DISCOVERY_TXT_H
#define RONDA_DISCOVERY_TXT_H

#include <avahi-common/strlst.h>
#include <stdint.h>

enum { TXT_ID_BYTES = 8 };

struct txt {
    uint8_t version;
    uint8_t flags;
    uint8_t id[TXT_ID_BYTES];
    uint64_t catalog_version;
};

/* NULL: out of memory. The caller frees with avahi_string_list_free(). */
AvahiStringList *txt_build(const struct txt *t);

/* 0, or -EBADMSG with *out zeroed. */
int txt_parse(const AvahiStringList *list, struct txt *out) __attribute__((warn_unused_result));

#endif
