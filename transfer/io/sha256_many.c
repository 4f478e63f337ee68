/* SHA-256 of many pieces side by side: one alone waits for its own instructions. The work is
 * done by Intel's multi-buffer library where the build found it (x86-64). */
#include "transfer/io/sha256.h"

static void one_by_one(const uint8_t *data, size_t each_bytes, size_t count, uint8_t *out)
{
    for (size_t i = 0; i < count; i++)
        sha256(data + i * each_bytes, each_bytes, out + i * HASH_LEN);
}

#ifdef RONDA_IPSEC_MB

#include <intel-ipsec-mb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t manager_key; /* frees a thread's manager when it ends */
static _Thread_local IMB_MGR *manager;
static _Thread_local bool refused; /* no memory, or an old CPU */

static void manager_free(void *m)
{
    free_mb_mgr(m);
}

static void make_key(void)
{
    if (pthread_key_create(&manager_key, manager_free) != 0)
        abort(); /* hash_many_fn cannot fail */
}

/* The library's manager is of one thread. NULL: none to be had. */
static IMB_MGR *thread_manager(void)
{
    if (manager || refused)
        return manager;
    pthread_once(&once, make_key);
    IMB_MGR *m = alloc_mb_mgr(0);
    if (m)
        init_mb_mgr_auto(m, NULL);
    if (!m || imb_get_errno(m) != 0 || pthread_setspecific(manager_key, m) != 0) {
        free_mb_mgr(m);
        refused = true;
        return NULL;
    }
    manager = m;
    return m;
}

static void submit(IMB_MGR *m, const uint8_t *data, size_t len_bytes, uint8_t *out)
{
    IMB_JOB *job = IMB_GET_NEXT_JOB(m);

    *job = (IMB_JOB){.cipher_mode = IMB_CIPHER_NULL,
                     .cipher_direction = IMB_DIR_ENCRYPT,
                     .chain_order = IMB_ORDER_HASH_CIPHER,
                     .hash_alg = IMB_AUTH_SHA_256,
                     .src = data,
                     .msg_len_to_hash_in_bytes = len_bytes,
                     .auth_tag_output = out,
                     .auth_tag_output_len_in_bytes = HASH_LEN};
    (void)IMB_SUBMIT_JOB(m);
}

void sha256_many(const void *data, size_t each_bytes, size_t count, uint8_t *out)
{
    IMB_MGR *m = thread_manager();

    if (!m) {
        one_by_one(data, each_bytes, count, out);
        return;
    }
    for (size_t i = 0; i < count; i++)
        submit(m, (const uint8_t *)data + i * each_bytes, each_bytes, out + i * HASH_LEN);
    while (IMB_FLUSH_JOB(m))
        ;
    if (imb_get_errno(m) != 0)
        abort(); /* hash_many_fn cannot fail; only an empty piece is refused */
}

#else

void sha256_many(const void *data, size_t each_bytes, size_t count, uint8_t *out)
{
    one_by_one(data, each_bytes, count, out);
}

#endif
