/*
 * libcrypto is loaded at the first call: linked, its loading and start-up alone are more than half of what
 * a warm `rrm ensure`, which never hashes, may take.
 */
#include "manager/base/sha256.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/opensslv.h>

#include "manager/base/cleanup.h"
#include "manager/base/log.h"

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
/* Of the version whose headers these are: the ABI is that of its major number. */
static const char libcrypto[] = "libcrypto.so." TEXT(OPENSSL_SHLIB_VERSION);

/* Filled once by load(); read-only after that. */
static struct {
	__typeof__(&OPENSSL_init_crypto) init;
	__typeof__(&EVP_sha256) sha256;
	__typeof__(&EVP_Digest) digest;
	__typeof__(&EVP_MD_CTX_new) ctx_new;
	__typeof__(&EVP_MD_CTX_free) ctx_free;
	__typeof__(&EVP_DigestInit_ex) digest_init;
	__typeof__(&EVP_DigestUpdate) digest_update;
	__typeof__(&EVP_DigestFinal_ex) digest_final;
} crypto;

static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static bool usable;

static bool find(void *lib, const char *name, void *slot)
{
	void *sym = dlsym(lib, name);
	memcpy(slot, &sym, sizeof(sym)); /* C has no cast from an object to a function pointer */
	return sym;
}

static void load(void)
{
	/* Never closed: its exit handlers stay registered. */
	void *lib = dlopen(libcrypto, RTLD_NOW | RTLD_LOCAL);
	usable =
		lib && find(lib, "OPENSSL_init_crypto", &crypto.init) &&
		find(lib, "EVP_sha256", &crypto.sha256) &&
		find(lib, "EVP_Digest", &crypto.digest) &&
		find(lib, "EVP_MD_CTX_new", &crypto.ctx_new) &&
		find(lib, "EVP_MD_CTX_free", &crypto.ctx_free) &&
		find(lib, "EVP_DigestInit_ex", &crypto.digest_init) &&
		find(lib, "EVP_DigestUpdate", &crypto.digest_update) &&
		find(lib, "EVP_DigestFinal_ex", &crypto.digest_final) &&
		/* SHA-256 needs nothing of openssl.cnf, which takes longer to read than the rest. */
		crypto.init(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) == 1;
	if (!usable)
		log_error("event=load library=%s error=\"%s\"", libcrypto,
			  lib ? "it lacks a function that is needed; install libssl3"
			      : "it cannot be loaded; install libssl3");
}

static void hex(const unsigned char *digest, char out[SHA256_HEX_LEN])
{
	static const char digit[] = "0123456789abcdef";
	for (int i = 0; i < 32; i++) {
		out[2 * i] = digit[digest[i] >> 4];
		out[2 * i + 1] = digit[digest[i] & 15];
	}
	out[64] = '\0';
}

int sha256_hex(const void *data, size_t len, char out[SHA256_HEX_LEN])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	pthread_once(&load_once, load);
	if (!usable || crypto.digest(data, len, digest, NULL, crypto.sha256(), NULL) != 1)
		return -EIO;
	hex(digest, out);
	return 0;
}

static void ctx_freep(EVP_MD_CTX **ctx)
{
	if (*ctx)
		crypto.ctx_free(*ctx);
}

/* The whole content of fd, in chunks, into ctx. */
static int feed(EVP_MD_CTX *ctx, int fd, uint64_t max_bytes)
{
	enum { CHUNK = 256 * 1024 };
	CLEANUP(freep) char *buf = malloc(CHUNK);
	if (!buf)
		return -ENOMEM;
	for (uint64_t off = 0;;) {
		ssize_t n = pread(fd, buf, CHUNK, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		off += (uint64_t)n;
		if (off > max_bytes)
			return -EFBIG;
		if (crypto.digest_update(ctx, buf, (size_t)n) != 1)
			return -EIO;
	}
}

int sha256_fd(int fd, uint64_t max_bytes, char out[SHA256_HEX_LEN])
{
	pthread_once(&load_once, load);
	if (!usable)
		return -EIO;
	CLEANUP(ctx_freep) EVP_MD_CTX *ctx = crypto.ctx_new();
	unsigned char digest[EVP_MAX_MD_SIZE];
	if (!ctx)
		return -ENOMEM;
	if (crypto.digest_init(ctx, crypto.sha256(), NULL) != 1)
		return -EIO;
	int rc = feed(ctx, fd, max_bytes);
	if (rc == 0 && crypto.digest_final(ctx, digest, NULL) != 1)
		rc = -EIO;
	if (rc == 0)
		hex(digest, out);
	return rc;
}
