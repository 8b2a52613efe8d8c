#include "manager/base/utf8.h"

size_t utf8_decode(const char *s, uint32_t *c)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned char b = (unsigned char)*s;
	size_t n = b < 0x80             ? 1
		   : (b & 0xe0) == 0xc0 ? 2
		   : (b & 0xf0) == 0xe0 ? 3
		   : (b & 0xf8) == 0xf0 ? 4
					: 0;

	*c = n <= 1 ? b : b & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return 0;
		*c = *c << 6 | ((unsigned char)s[i] & 0x3f);
	}
	if (!n || *c < least[n] || *c > 0x10ffff || (*c >= 0xd800 && *c <= 0xdfff))
		return 0;
	return n;
}
