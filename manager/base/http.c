#define CURL_DISABLE_TYPECHECK /* its checks are macros over direct calls, and there are none here */
#include "manager/base/http.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "manager/base/cleanup.h"

enum { BODY_MAX = 1 << 20 };

/* Filled once by load(); read-only after that. */
static struct {
	__typeof__(&curl_global_init) global_init;
	__typeof__(&curl_easy_init) init;
	__typeof__(&curl_easy_setopt) setopt;
	__typeof__(&curl_easy_perform) perform;
	__typeof__(&curl_easy_getinfo) getinfo;
	__typeof__(&curl_easy_cleanup) cleanup;
	__typeof__(&curl_easy_strerror) strerror;
	__typeof__(&curl_slist_append) slist_append;
	__typeof__(&curl_slist_free_all) slist_free;
} curl;

static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static const char *load_problem; /* NULL: curl can be used */

static bool find(void *lib, const char *name, void *slot)
{
	void *sym = dlsym(lib, name);
	memcpy(slot, &sym, sizeof(sym)); /* C has no cast from an object to a function pointer */
	return sym;
}

static void load(void)
{
	/* Never closed: curl's own threads and TLS destructors may outlive a call. */
	void *lib = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
	if (!lib) {
		load_problem = "libcurl.so.4 cannot be loaded; install libcurl4";
		return;
	}
	bool ok = find(lib, "curl_global_init", &curl.global_init) &&
		  find(lib, "curl_easy_init", &curl.init) &&
		  find(lib, "curl_easy_setopt", &curl.setopt) &&
		  find(lib, "curl_easy_perform", &curl.perform) &&
		  find(lib, "curl_easy_getinfo", &curl.getinfo) &&
		  find(lib, "curl_easy_cleanup", &curl.cleanup) &&
		  find(lib, "curl_easy_strerror", &curl.strerror) &&
		  find(lib, "curl_slist_append", &curl.slist_append) &&
		  find(lib, "curl_slist_free_all", &curl.slist_free);
	if (!ok)
		load_problem = "libcurl.so.4 lacks a function that is needed; install libcurl4";
	else if (curl.global_init(CURL_GLOBAL_NOTHING) != CURLE_OK)
		load_problem = "libcurl could not be initialised";
}

static void curl_cleanupp(CURL **h)
{
	if (*h)
		curl.cleanup(*h);
}

static void slist_freep(struct curl_slist **l)
{
	curl.slist_free(*l);
}

struct sink {
	struct http_response *rs;
	int error; /* negative errno, why the callback stopped curl */
};

static size_t take(char *data, size_t size, size_t n, void *arg)
{
	struct sink *sink = arg;
	struct http_response *rs = sink->rs;
	size_t add = size * n;
	if (add > BODY_MAX - rs->len) {
		sink->error = -EFBIG;
		return 0;
	}
	char *p = realloc(rs->body, rs->len + add + 1);
	if (!p) {
		sink->error = -ENOMEM;
		return 0;
	}
	memcpy(p + rs->len, data, add);
	rs->len += add;
	p[rs->len] = '\0';
	rs->body = p;
	return add;
}

static int curl_errno(CURL *h, CURLcode code)
{
	long os = 0;
	long connects = 0;
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_COULDNT_CONNECT:
		curl.getinfo(h, CURLINFO_OS_ERRNO, &os);
		return os > 0 ? -(int)os : -ECONNREFUSED;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	case CURLE_COULDNT_RESOLVE_HOST:
		return -EHOSTUNREACH;
	case CURLE_UNSUPPORTED_PROTOCOL:
		/* Also said of an answer that is no HTTP: then there was a connection. */
		curl.getinfo(h, CURLINFO_NUM_CONNECTS, &connects);
		return connects > 0 ? -EPROTO : -EINVAL;
	case CURLE_URL_MALFORMAT:
		return -EINVAL;
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
		return -ECONNRESET;
	default:
		return -EPROTO;
	}
}

static void set_method(CURL *h, const struct http_request *rq)
{
	if (rq->body || strcmp(rq->method, "POST") == 0) {
		curl.setopt(h, CURLOPT_POST, 1L);
		curl.setopt(h, CURLOPT_POSTFIELDS, rq->body ? rq->body : "");
		curl.setopt(h, CURLOPT_POSTFIELDSIZE, (long)(rq->body ? strlen(rq->body) : 0));
	}
	if (strcmp(rq->method, "GET") != 0 || rq->body)
		curl.setopt(h, CURLOPT_CUSTOMREQUEST, rq->method);
}

static void set_options(CURL *h, const struct http_request *rq, struct curl_slist *headers,
			struct sink *sink)
{
	curl.setopt(h, CURLOPT_URL, rq->url);
	curl.setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl.setopt(h, CURLOPT_NOPROXY, "*"); /* http_proxy is meant for the world outside */
	curl.setopt(h, CURLOPT_PROTOCOLS_STR, "http");
	curl.setopt(h, CURLOPT_TIMEOUT_MS, rq->timeout_ms > 0 ? rq->timeout_ms : 1L);
	curl.setopt(h, CURLOPT_HTTPHEADER, headers);
	curl.setopt(h, CURLOPT_WRITEFUNCTION, take);
	curl.setopt(h, CURLOPT_WRITEDATA, sink);
	if (rq->unix_socket)
		curl.setopt(h, CURLOPT_UNIX_SOCKET_PATH, rq->unix_socket);
	if (rq->username) {
		curl.setopt(h, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		curl.setopt(h, CURLOPT_USERNAME, rq->username);
		curl.setopt(h, CURLOPT_PASSWORD, rq->password ? rq->password : "");
	}
	set_method(h, rq);
}

static int add_header(struct curl_slist **headers, const char *line)
{
	struct curl_slist *l = curl.slist_append(*headers, line);
	if (!l)
		return -ENOMEM;
	*headers = l;
	return 0;
}

static int perform(CURL *h, const struct http_request *rq, struct sink *sink, struct err *e)
{
	CURLcode code = curl.perform(h);
	if (code != CURLE_OK) {
		int r = sink->error ? sink->error : curl_errno(h, code);
		if (r == -EFBIG)
			return err_set(e, r, "%s: the answer is larger than 1 MiB", rq->url);
		return err_set(e, r, "%s: %s", rq->url, curl.strerror(code));
	}
	curl.getinfo(h, CURLINFO_RESPONSE_CODE, &sink->rs->status);
	if (sink->rs->status == 0)
		return err_set(e, -EPROTO, "%s: no HTTP answer", rq->url);
	if (!sink->rs->body)
		sink->rs->body = strdup("");
	return sink->rs->body ? 0 : -ENOMEM;
}

int http_request(const struct http_request *rq, struct http_response *rs, struct err *e)
{
	memset(rs, 0, sizeof(*rs));
	pthread_once(&load_once, load);
	if (load_problem)
		return err_set(e, -ENOSYS, "%s", load_problem);
	CLEANUP(curl_cleanupp) CURL *h = curl.init();
	CLEANUP(slist_freep) struct curl_slist *headers = NULL;
	/* No "Expect: 100-continue": it would cost a second where the server ignores it. */
	if (!h || add_header(&headers, "Expect:") < 0 ||
	    (rq->body && add_header(&headers, "Content-Type: application/json") < 0))
		return err_errno(e, -ENOMEM, "%s", rq->url);
	struct sink sink = {.rs = rs};
	set_options(h, rq, headers, &sink);
	int r = perform(h, rq, &sink, e);
	if (r < 0)
		http_response_deinit(rs);
	return r;
}

void http_response_deinit(struct http_response *rs)
{
	free(rs->body);
	memset(rs, 0, sizeof(*rs));
}
