#include "manager/base/sha256.h"

#include <errno.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "manager/base/cleanup.h"

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
	if (EVP_Digest(data, len, digest, NULL, EVP_sha256(), NULL) != 1)
		return -EIO;
	hex(digest, out);
	return 0;
}

static void ctx_freep(EVP_MD_CTX **ctx)
{
	EVP_MD_CTX_free(*ctx);
}

int sha256_fd(int fd, uint64_t max_bytes, char out[SHA256_HEX_LEN])
{
	enum { CHUNK = 256 * 1024 };
	CLEANUP(ctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	CLEANUP(freep) char *buf = malloc(CHUNK);
	if (!ctx || !buf)
		return -ENOMEM;
	if (EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
		return -EIO;
	uint64_t off = 0;
	for (;;) {
		ssize_t n = pread(fd, buf, CHUNK, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		off += (uint64_t)n;
		if (off > max_bytes)
			return -EFBIG;
		if (EVP_DigestUpdate(ctx, buf, (size_t)n) != 1)
			return -EIO;
	}
	unsigned char digest[EVP_MAX_MD_SIZE];
	if (EVP_DigestFinal_ex(ctx, digest, NULL) != 1)
		return -EIO;
	hex(digest, out);
	return 0;
}
