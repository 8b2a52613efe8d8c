/* Characters of bytes that may be UTF-8 or not. Pure. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Bytes of the character that begins at s (NUL-terminated text, not at its end), 0 when there is none that is
 * UTF-8; *c is its code, or the byte. */
size_t utf8_decode(const char *s, uint32_t *c);
