#include "manager/shimhttp.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "manager/base/base64.h"
#include "manager/base/cleanup.h"

enum { LINE_MAX_LEN = 4096 };

/* "x-opencode-directory: %2Fhome%2Fann%2Fweb\r\n", as encodeURIComponent() has it; NULL without memory. */
static char *directory_line(const char *directory)
{
	static const char name[] = "x-opencode-directory: ";
	char *line = malloc(sizeof(name) + 3 * strlen(directory) + 2);
	if (!line)
		return NULL;
	char *to = stpcpy(line, name);
	for (const char *s = directory; *s; s++) {
		if (isalnum((unsigned char)*s) || strchr("-_.!~*'()", *s))
			*to++ = *s;
		else
			to += sprintf(to, "%%%02X", (unsigned char)*s);
	}
	strcpy(to, "\r\n");
	return line;
}

int shimhttp_init(struct shimhttp *h, const char *username, const char *password,
		  const char *directory)
{
	char plain[128], coded[BASE64_SIZE(sizeof(plain))];
	int n = snprintf(plain, sizeof(plain), "%s:%s", username, password);
	base64_encode(plain, strnlen(plain, (size_t)n), coded);
	explicit_bzero(plain, sizeof(plain));
	*h = (struct shimhttp){.state = SHIMHTTP_HEAD, .directory = directory_line(directory)};
	snprintf(h->authorization, sizeof(h->authorization), "Authorization: Basic %s\r\n", coded);
	return h->directory ? 0 : -ENOMEM;
}

void shimhttp_deinit(struct shimhttp *h)
{
	free(h->directory);
	free(h->head);
	explicit_bzero(h, sizeof(*h));
}

void shimhttp_out_deinit(struct shimhttp_out *o)
{
	free(o->data);
	*o = (struct shimhttp_out){0};
}

static int grow(char **data, size_t *room, size_t need)
{
	if (need <= *room)
		return 0;
	size_t want = need + need / 2 + 256;
	char *grown = realloc(*data, want);
	if (!grown)
		return -ENOMEM;
	*data = grown;
	*room = want;
	return 0;
}

static int put(struct shimhttp_out *o, const char *data, size_t len)
{
	if (grow(&o->data, &o->room, o->len + len) < 0)
		return -ENOMEM;
	memcpy(o->data + o->len, data, len);
	o->len += len;
	return 0;
}

/* Collects up to the next line end, or a whole head. 1: it is there; 0: more is needed. */
static int collect(struct shimhttp *h, const char *in, size_t len, size_t *used, size_t max,
		   bool head)
{
	for (*used = 0; *used < len;) {
		if (h->head_len + 1 >= max)
			return head ? -E2BIG : -EPROTO;
		if (grow(&h->head, &h->head_room, h->head_len + 2) < 0)
			return -ENOMEM;
		char ch = in[(*used)++];
		if (ch == '\0')
			return -EPROTO;
		h->head[h->head_len++] = ch;
		h->head[h->head_len] = '\0';
		if (ch != '\n')
			continue;
		const char *tail = h->head + h->head_len;
		if (!head || (h->head_len >= 3 && tail[-2] == '\n') ||
		    (h->head_len >= 4 && tail[-2] == '\r' && tail[-3] == '\n'))
			return 1;
		/* Empty lines in front of a request are allowed, and dropped. */
		if (h->head_len == 1 || (h->head_len == 2 && tail[-2] == '\r'))
			h->head_len = 0;
	}
	return 0;
}

/* The value of a header line when it is the named one; NULL otherwise. */
static const char *value_of(const char *line, const char *name)
{
	size_t n = strlen(name);
	if (strncasecmp(line, name, n) != 0 || line[n] != ':')
		return NULL;
	line += n + 1;
	return line + strspn(line, " \t");
}

/* "5", not "-5", "+5", "0x5" or "5 6". */
static bool number(const char *s, unsigned base, uint64_t *out)
{
	const char *from = s;
	for (*out = 0; isxdigit((unsigned char)*s); s++) {
		unsigned digit =
			*s <= '9' ? (unsigned)(*s - '0') : (unsigned)((*s | 0x20) - 'a' + 10);
		if (digit >= base || *out >> 58)
			return false;
		*out = *out * base + digit;
	}
	const char *end = s + strspn(s, " \t");
	return s > from && (*end == '\r' || *end == '\n' || (base == 16 && *end == ';'));
}

static bool has_token(const char *value, const char *token)
{
	size_t n = strlen(token), len = strcspn(value, "\r\n");
	for (size_t i = 0; i + n <= len; i++)
		if (strncasecmp(value + i, token, n) == 0)
			return true;
	return false;
}

struct framing {
	bool chunked, upgrade, sized, directory;
	uint64_t length;
};

static int framing_line(struct framing *f, const char *line)
{
	const char *v = value_of(line, "Content-Length");
	if (v) {
		uint64_t n;
		if (!number(v, 10, &n) || (f->sized && n != f->length))
			return -EPROTO;
		f->sized = true;
		f->length = n;
	}
	v = value_of(line, "Transfer-Encoding");
	if (v) {
		/* Any other coding has no end that we could see. */
		if (!has_token(v, "chunked"))
			return -EPROTO;
		f->chunked = true;
	}
	if (value_of(line, "Upgrade"))
		f->upgrade = true;
	if (value_of(line, "x-opencode-directory"))
		f->directory = true;
	return 0;
}

static bool request_line(const char *head)
{
	size_t len = strcspn(head, "\r\n");
	size_t method = strspn(head, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
	return method > 0 && head[method] == ' ' && len > method + strlen("  HTTP/1.1") &&
	       strncmp(head + len - strlen(" HTTP/1.1"), " HTTP/1.", strlen(" HTTP/1.")) == 0;
}

static enum shimhttp_state after_head(struct shimhttp *h, const struct framing *f)
{
	h->matched = 0;
	h->left = f->length;
	if (f->chunked)
		return SHIMHTTP_CHUNK_SIZE;
	if (f->length > 0)
		return SHIMHTTP_BODY;
	return f->upgrade ? SHIMHTTP_UPGRADE : SHIMHTTP_HEAD;
}

static char *next_line(char *line)
{
	return strchr(line, '\n') + 1;
}

/* The whole head is there: on with it, with our lines behind the request line. */
static int pass_head(struct shimhttp *h, struct shimhttp_out *out)
{
	struct framing f = {0};
	char *fields = next_line(h->head);
	int r = request_line(h->head) ? 0 : -EPROTO;
	for (char *line = fields; r == 0 && *line; line = next_line(line))
		r = framing_line(&f, line);
	if (r == 0)
		r = put(out, h->head, (size_t)(fields - h->head));
	if (r == 0)
		r = put(out, h->authorization, strlen(h->authorization));
	if (r == 0 && !f.directory)
		r = put(out, h->directory, strlen(h->directory));
	for (char *line = fields; r == 0 && *line; line = next_line(line))
		if (!value_of(line, "Authorization"))
			r = put(out, line, (size_t)(next_line(line) - line));
	h->head_len = 0;
	h->state = after_head(h, &f);
	return r;
}

static int pass_line(struct shimhttp *h, struct shimhttp_out *out)
{
	int r = put(out, h->head, h->head_len);
	bool empty = h->head[0] == '\n' || strcmp(h->head, "\r\n") == 0;
	if (h->state == SHIMHTTP_TRAILER) {
		h->state = empty ? SHIMHTTP_HEAD : SHIMHTTP_TRAILER;
	} else if (h->state == SHIMHTTP_CHUNK_END) {
		if (!empty)
			r = -EPROTO;
		h->state = SHIMHTTP_CHUNK_SIZE;
	} else {
		if (!number(h->head, 16, &h->left))
			r = -EPROTO;
		h->state = h->left ? SHIMHTTP_CHUNK : SHIMHTTP_TRAILER;
	}
	h->head_len = 0;
	return r;
}

static int pass_data(struct shimhttp *h, const char *in, size_t len, size_t *used,
		     struct shimhttp_out *out)
{
	*used = h->state != SHIMHTTP_RAW && h->left < len ? (size_t)h->left : len;
	int r = put(out, in, *used);
	if (h->state == SHIMHTTP_RAW)
		return r;
	h->left -= *used;
	if (h->left == 0)
		h->state = h->state == SHIMHTTP_CHUNK ? SHIMHTTP_CHUNK_END : SHIMHTTP_HEAD;
	return r;
}

int shimhttp_feed(struct shimhttp *h, const char *in, size_t len, size_t *used,
		  struct shimhttp_out *out)
{
	int r = 0;
	for (*used = 0; r == 0 && *used < len && h->state != SHIMHTTP_UPGRADE;) {
		size_t n = 0;
		bool head = h->state == SHIMHTTP_HEAD;
		if (h->state == SHIMHTTP_BODY || h->state == SHIMHTTP_CHUNK ||
		    h->state == SHIMHTTP_RAW) {
			r = pass_data(h, in + *used, len - *used, &n, out);
		} else {
			r = collect(h, in + *used, len - *used, &n,
				    head ? SHIMHTTP_HEAD_MAX : LINE_MAX_LEN, head);
			if (r == 1)
				r = head ? pass_head(h, out) : pass_line(h, out);
		}
		*used += n;
	}
	return r;
}

void shimhttp_answered(struct shimhttp *h, const char *data, size_t len)
{
	static const char granted[] = "HTTP/1.1 101";
	for (size_t i = 0; i < len && h->state == SHIMHTTP_UPGRADE; i++) {
		if (data[i] != granted[h->matched])
			h->state = SHIMHTTP_HEAD;
		else if (++h->matched == sizeof(granted) - 1)
			h->state = SHIMHTTP_RAW;
	}
}
