/* SHA-256 through libcrypto. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { SHA256_HEX_LEN = 65 }; /* 64 digits and the terminator */

/* 0 or -EIO when libcrypto fails. */
int sha256_hex(const void *data, size_t len, char out[SHA256_HEX_LEN]);

/* Hash of what fd holds from offset 0 (pread; the file position stays). 0 or negative errno;
 * -EFBIG when the file is larger than max_bytes. */
int sha256_fd(int fd, uint64_t max_bytes, char out[SHA256_HEX_LEN]);
