#include "manager/base/base64.h"

void base64_encode(const char *in, size_t len, char *out)
{
	static const char digit[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *s = (const unsigned char *)in;
	while (len > 0) {
		size_t n = len < 3 ? len : 3;
		unsigned v = (unsigned)s[0] << 16;
		v |= n > 1 ? (unsigned)s[1] << 8 : 0;
		v |= n > 2 ? s[2] : 0;
		*out++ = digit[v >> 18];
		*out++ = digit[v >> 12 & 63];
		*out++ = n > 1 ? digit[v >> 6 & 63] : '=';
		*out++ = n > 2 ? digit[v & 63] : '=';
		s += n;
		len -= n;
	}
	*out = '\0';
}
