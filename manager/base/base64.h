/* Base64 with padding, as Basic auth wants it (RFC 4648, section 4). */
#pragma once
#include <stddef.h>

#define BASE64_SIZE(len) (((len) + 2) / 3 * 4 + 1)

/* out holds BASE64_SIZE(len) bytes and is terminated. */
void base64_encode(const char *in, size_t len, char *out);
