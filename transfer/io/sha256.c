#include "transfer/io/sha256.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

/* Half of all calls hash 64 bytes (nodes of a merkle tree): there, looking up the
 * algorithm and making a context would cost several times the hashing. */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t context_key; /* frees a thread's context when it ends */
static EVP_MD *algorithm;
static _Thread_local EVP_MD_CTX *context;

static void free_context(void *ctx)
{
    EVP_MD_CTX_free(ctx);
}

static void fetch_algorithm(void)
{
    algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!algorithm || pthread_key_create(&context_key, free_context) != 0)
        abort(); /* OpenSSL without SHA-256: nothing can be checked */
}

/* A context of this thread, set up once; afterwards a NULL algorithm means "the
 * same again", the cheapest way to start over. */
static EVP_MD_CTX *thread_context(void)
{
    if (context)
        return context;
    pthread_once(&once, fetch_algorithm);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx || !EVP_DigestInit_ex2(ctx, algorithm, NULL) ||
        pthread_setspecific(context_key, ctx) != 0)
        abort(); /* hash_fn cannot fail */
    context = ctx;
    return ctx;
}

void sha256(const void *data, size_t len_bytes, uint8_t out[static HASH_LEN])
{
    EVP_MD_CTX *ctx = thread_context();
    if (!EVP_DigestInit_ex2(ctx, NULL, NULL) || !EVP_DigestUpdate(ctx, data, len_bytes) ||
        !EVP_DigestFinal_ex(ctx, out, NULL))
        abort();
}
